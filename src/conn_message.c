/* conn_message: what the client says: tokens, pings, and too much. Hub thread. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "hub_impl.h"
#include "walpush/clock.h"
#include "walpush/log.h"
#include "walpush/mem.h"

/* Replies that wait for the socket: pongs and the like. A client that asks for more without reading is closed. */
#define REPLY_BYTES 4096

static bool is_too_long_a_token(struct conn *c, const char *token)
{
	if (strlen(token) <= (size_t)c->hub->shared->conf->limits.token_bytes)
		return false;
	conn_close(c, 4401);
	return true;
}

void conn_take_token(struct conn *c, const char *token)
{
	if (is_too_long_a_token(c, token))
		return;
	c->token = mem_text(token);
	conn_ask_admission(c);
}

void conn_renew(struct conn *c, const char *token_text)
{
	struct fail why = { 0 };
	struct token token = { 0 };
	char until[80];
	struct tm utc;
	time_t expires;

	if (is_too_long_a_token(c, token_text))
		return;
	if (!token_verify(c->hub->shared->keys, slice_of(token_text), clock_wall_us() / 1000000, &token, &why) ||
	    strcmp(token.user, c->ticket->user) != 0) {
		flood_info("renewed token refused", CONN_WHO(c),
			   log_s("reason", why.text[0] ? why.text : "it belongs to another user"));
		token_fini(&token);
		conn_tell_audit(c, "refused", 4401, "token");
		conn_close(c, 4401);
		return;
	}
	c->expires = expires = (time_t)token.expires;
	token_fini(&token);
	gmtime_r(&expires, &utc);
	strftime(until, sizeof(until), "{\"type\":\"auth_ok\",\"expires_at\":\"%Y-%m-%dT%H:%M:%SZ\"}", &utc);
	conn_send(c, slice_of(until));
}

void conn_take_ping(struct conn *c, const struct clientmsg *ping)
{
	struct buf pong = { 0 };

	if (c->reply.len > REPLY_BYTES) {
		conn_close(c, 1008);
		return;
	}
	clientmsg_pong(ping, &pong);
	conn_send(c, buf_slice(&pong));
	buf_fini(&pong);
}

/* Counts a message, or what comes in place of one. */
static bool is_one_too_many(struct conn *c)
{
	if (++c->said <= c->hub->shared->conf->limits.messages_per_second)
		return false;
	conn_close(c, 1008);
	return true;
}

static void take_message(struct conn *c, struct slice text)
{
	struct clientmsg message;

	metrics_add(c->hub->counts, METRICS_CLIENT_MESSAGES, 1);
	if (is_one_too_many(c))
		return;
	clientmsg_parse(text, &message);
	if (message.kind == CLIENTMSG_AUTH)
		conn_event(c, CONN_ON_AUTH, &(struct conn_cause){ .message = &message });
	else if (message.kind == CLIENTMSG_PING)
		conn_event(c, CONN_ON_PING, &(struct conn_cause){ .message = &message });
	clientmsg_fini(&message);
}

/* A frame says how long it is before it is there. Its length may be any below 2^63. */
static bool is_too_long(const struct conn *c, size_t len)
{
	size_t most = (size_t)c->hub->shared->conf->limits.message_bytes,
	       announced = lws_remaining_packet_payload(c->wsi);

	return announced > most || c->rx.len + len + announced > most;
}

static bool is_at_end(const struct conn *c)
{
	return lws_is_final_fragment(c->wsi) && !lws_remaining_packet_payload(c->wsi);
}

void conn_take_bytes(struct conn *c, const char *bytes, size_t len)
{
	c->heard = clock_us();
	if (is_too_long(c, len)) {
		conn_close(c, 1009);
		return;
	}
	/* Empty pieces of a message have no length by which it could become too long. */
	if (len == 0 && !is_at_end(c) && is_one_too_many(c))
		return;
	buf_add(&c->rx, bytes, len);
	if (!is_at_end(c))
		return;
	take_message(c, buf_slice(&c->rx));
	if (c->rx.data)
		explicit_bzero(c->rx.data, c->rx.len);
	buf_fini(&c->rx);
}

/* One that was not asked for is allowed, as a sign of life. Pings the library answers by itself: one for what one read brings. */
void conn_take_pong(struct conn *c)
{
	c->heard = clock_us();
	if (!c->pinged && is_one_too_many(c))
		return;
	c->pinged = false;
}
