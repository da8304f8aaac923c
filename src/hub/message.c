#include "message.h"

#include <string.h>

#include "deliver.h"
#include "walpush/base/clock.h"

/* Bytes of replies that wait for the socket, such as pongs. A client that causes more without reading is closed. */
#define REPLY_BYTES 4096

void message_answer(struct conn *c, const struct clientmsg *ping)
{
	struct buf pong = { 0 };

	if (c->out.reply.len > REPLY_BYTES) {
		conn_close_saying(c, 1008, "replies are not read");
		return;
	}
	clientmsg_pong(ping, &pong);
	deliver_reply(c, 1, buf_slice(&pong));
	buf_fini(&pong);
}

/* Counts a message, an unsolicited pong, or an empty piece. */
static bool is_one_too_many(struct conn *c)
{
	if (++c->said <= c->hub->shared->conf->limits.messages_per_second)
		return false;
	conn_close(c, 1008);
	return true;
}

/* A frame announces its length before its bytes are there. The length may be any below 2^63. */
static bool is_too_long(const struct conn *c, size_t len)
{
	size_t most = (size_t)c->hub->shared->conf->limits.message_bytes,
	       announced = lws_remaining_packet_payload(c->out.wsi);

	return announced > most || c->rx.len + len + announced > most;
}

static bool is_at_end(const struct conn *c)
{
	return lws_is_final_fragment(c->out.wsi) && !lws_remaining_packet_payload(c->out.wsi);
}

/* The message may hold a token: its bytes are wiped, and only `out` still has it. */
static bool take_message(struct conn *c, struct clientmsg *out)
{
	bool is_read;

	metrics_add(c->hub->counts, METRICS_CLIENT_MESSAGES, 1);
	is_read = !is_one_too_many(c);
	if (is_read)
		clientmsg_parse(buf_slice(&c->rx), out);
	if (c->rx.data)
		explicit_bzero(c->rx.data, c->rx.len);
	buf_fini(&c->rx);
	return is_read;
}

bool message_read(struct conn *c, const char *bytes, size_t len, struct clientmsg *out)
{
	c->heard = clock_us();
	if (is_too_long(c, len)) {
		conn_close(c, 1009);
		return false;
	}
	/* Empty pieces never make a message too long, so they are counted. */
	if (len == 0 && !is_at_end(c) && is_one_too_many(c))
		return false;
	buf_add(&c->rx, bytes, len);
	return is_at_end(c) && take_message(c, out);
}

/* An unsolicited pong is allowed, as a sign of life. The library answers pings by itself, with one pong for all pings of one read. */
void message_heard_pong(struct conn *c)
{
	c->heard = clock_us();
	if (!c->pinged && is_one_too_many(c))
		return;
	c->pinged = false;
}
