#include "message.h"

#include <string.h>

#include "deliver.h"
#include "walpush/base/clock.h"

/* Replies that wait for the socket: pongs and the like. A client that asks for more without reading is closed. */
#define REPLY_BYTES 4096

void message_answer(struct conn *c, const struct clientmsg *ping)
{
	struct buf pong = { 0 };

	if (c->out.reply.len > REPLY_BYTES) {
		conn_close(c, 1008);
		return;
	}
	clientmsg_pong(ping, &pong);
	deliver_reply(c, 1, buf_slice(&pong));
	buf_fini(&pong);
}

/* Counts a message, a pong that was not asked for, or an empty piece. */
static bool is_one_too_many(struct conn *c)
{
	if (++c->said <= c->hub->shared->conf->limits.messages_per_second)
		return false;
	conn_close(c, 1008);
	return true;
}

/* A frame announces its length, which may be any below 2^63, before its bytes are there. */
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
	/* Empty pieces of a message have no length by which it could become too long. */
	if (len == 0 && !is_at_end(c) && is_one_too_many(c))
		return false;
	buf_add(&c->rx, bytes, len);
	return is_at_end(c) && take_message(c, out);
}

/* A pong that was not asked for is allowed, as a sign of life. The library answers pings by itself: one for what one read brings. */
void message_heard_pong(struct conn *c)
{
	c->heard = clock_us();
	if (!c->pinged && is_one_too_many(c))
		return;
	c->pinged = false;
}
