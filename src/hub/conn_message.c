/* conn_message: what the client says: tokens, pings, and too much. Hub thread. */
#include <stdlib.h>
#include <string.h>

#include "parts.h"
#include "walpush/base/clock.h"
#include "walpush/base/log.h"
#include "walpush/base/mem.h"
#include "walpush/share/renewal.h"
#include "walpush/base/timetext.h"

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

void conn_queue_auth_ok(struct conn *c, const char *epoch)
{
	struct buf message = { 0 };
	char until[TIMETEXT_MAX];

	buf_addf(&message, "{\"type\":\"auth_ok\",\"expires_at\":\"%s\"", timetext_s(until, c->expires));
	if (epoch)
		buf_addf(&message, ",\"epoch\":\"%s\"", epoch);
	buf_add_char(&message, '}');
	conn_queue(c, buf_slice(&message));
	buf_fini(&message);
}

/* Its expiry counts, and nothing else of it: what was told to the tap and to the client is of the same claims. */
static void renew_at_once(struct conn *c, const struct token *token)
{
	c->expires = token->expires;
	conn_queue_auth_ok(c, NULL);
	conn_flush(c);
}

static void ask_again(struct conn *c, const struct ticket *ticket)
{
	struct mail mail = { .kind = MAIL_RENEW, .hub = c->hub->index, .connection = c->id };

	mail.number = ++c->asked;
	mail.holds = c->answered;
	mail.ticket = ticket_ref((struct ticket *)ticket);
	hub_tell_tap(c->hub, &mail);
}

static void refuse_renewal(struct conn *c, const char *reason, const char *text, const char *claim)
{
	flood_info("renewed token refused", CONN_WHO(c), log_s("reason", text), log_s("claim", claim ? claim : ""));
	conn_refuse(c, 4401, reason);
}

static struct ticket *ticket_of(const struct conn *c, const struct token *token, const char **missing)
{
	return ticket_renewed(c->ticket, rules_stream(c->edition->rules, (size_t)c->stream), token, missing);
}

void conn_renew(struct conn *c, const char *token_text)
{
	struct renewal_token facts = { .is_asked = c->asked != c->answered };
	struct fail why = { 0 };
	struct token token = { 0 };
	struct ticket *ticket = NULL;
	const char *missing = NULL;

	if (is_too_long_a_token(c, token_text))
		return;
	facts.is_valid =
		token_verify(c->hub->shared->keys, slice_of(token_text), clock_wall_us() / 1000000, &token, &why);
	facts.is_same_user = facts.is_valid && strcmp(token.user, c->ticket->user) == 0;
	if (facts.is_same_user)
		ticket = ticket_of(c, &token, &missing);
	facts.has_claims = ticket != NULL;
	facts.same_claims = ticket && ticket_same_claims(c->ticket, ticket);
	switch (renewal_judge(&facts)) {
	case RENEWAL_AT_ONCE:
		renew_at_once(c, &token);
		break;
	case RENEWAL_ASKED:
		ask_again(c, ticket);
		break;
	case RENEWAL_NO_TOKEN:
		refuse_renewal(c, "token", why.text, NULL);
		break;
	case RENEWAL_NOT_THEIRS:
		refuse_renewal(c, "token", "it belongs to another user", NULL);
		break;
	case RENEWAL_NO_CLAIM:
		refuse_renewal(c, "claim", "claim", missing);
		break;
	}
	ticket_unref(ticket);
	token_fini(&token);
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
