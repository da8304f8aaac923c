/* conn: one connection from its upgrade to its end. Hub thread; called by libwebsockets. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "hub_impl.h"
#include "walpush/clock.h"
#include "walpush/log.h"
#include "walpush/mem.h"
#include "walpush/resync.h"

/* µs between a ping and giving up on its answer, and between our close frame and the client's. */
#define PONG_WAIT 10000000
#define CLOSE_WAIT 5000000

static const char *const state_names[] = { "new", "wait-auth", "admitting", "open", "closing" };

static void conn_to(struct conn *c, enum conn_state next)
{
	assert(c->state != CONN_CLOSING && next > c->state);
	log_debug("connection", CONN_WHO(c), log_s("from", state_names[c->state]), log_s("to", state_names[next]));
	c->state = next;
}

/* --- slots: ids that outlive the connections they name ---------------------------------------------------------- */

static void slot_take(struct conn *c)
{
	struct hub *h = c->hub;
	uint32_t i = h->first_free;

	while (i < h->n_slots && h->slots[i].conn)
		i++;
	if (i == h->n_slots) {
		uint32_t n = h->n_slots ? h->n_slots * 2 : 64;

		h->slots = mem_resize(h->slots, n, sizeof(*h->slots));
		memset(h->slots + h->n_slots, 0, (n - h->n_slots) * sizeof(*h->slots));
		h->n_slots = n;
	}
	h->first_free = i + 1;
	h->slots[i].conn = c;
	c->id = (uint64_t)++h->slots[i].generation << 32 | i;
}

static void slot_leave(struct conn *c)
{
	uint32_t i = (uint32_t)c->id;

	c->hub->slots[i].conn = NULL;
	if (i < c->hub->first_free)
		c->hub->first_free = i;
}

struct conn *conn_find(struct hub *h, uint64_t id)
{
	uint32_t i = (uint32_t)id;

	if (i >= h->n_slots || h->slots[i].generation != id >> 32)
		return NULL;
	return h->slots[i].conn;
}

/* --- the end ---------------------------------------------------------------------------------------------------- */

/* Before its state changes. */
static void no_longer_open(const struct conn *c)
{
	if (c->state == CONN_OPEN)
		metrics_add_at(c->hub->counts, METRICS_CONNECTIONS, c->label, -1);
}

static struct audit_client client_of(const struct conn *c)
{
	const struct rules_stream *s = c->stream < 0 ? NULL : rules_stream(c->edition->rules, (size_t)c->stream);

	return (struct audit_client){ c->ticket ? c->ticket->user : NULL, &c->peer, s ? s->conf->name : NULL };
}

void conn_tell_audit(const struct conn *c, const char *what, unsigned code, const char *reason)
{
	struct audit_client client = client_of(c);

	audit_ended(c->hub->shared->audit, what, &client, code, reason);
}

static void refuse(struct conn *c, unsigned code, const char *reason)
{
	metrics_count(c->hub->counts, METRICS_REFUSALS, reason);
	conn_tell_audit(c, "refused", code, reason);
	conn_close(c, code);
}

static void forget_token(struct conn *c)
{
	if (c->token)
		explicit_bzero(c->token, strlen(c->token));
	free(c->token);
	free(c->path);
	c->token = NULL;
	c->path = NULL;
}

static void leave_all(struct conn *c)
{
	for (size_t i = 0; i < c->n_subs; i++)
		sub_leave(&c->subs[i]);
	free(c->subs);
	c->subs = NULL;
	c->n_subs = 0;
}

static void take_seats(struct conn *c, const struct mail *mail)
{
	c->subs = mem_new_array(mail->n_seats, sizeof(*c->subs));
	c->n_subs = mail->n_seats;
	for (size_t i = 0; i < mail->n_seats; i++)
		sub_join(&c->subs[i], c, channel_for(c->hub, mail->seats[i].topic), mail->seats[i].cursor);
}

/* The tap first: it does not count on the topics of one that is gone. */
static void retire(struct conn *c)
{
	struct mail ended = { .kind = MAIL_ENDED, .hub = c->hub->index, .connection = c->id };

	if (c->ticket)
		hub_tell_tap(c->hub, &ended);
	ticket_unref(c->ticket);
	c->ticket = NULL;
	conn_limit(c, LSN_MAX);
	c->resync_due = false;
	deliver_never(c);
	leave_all(c);
	forget_token(c);
}

/* The close frame is ours, not the library's: with libuv, Debian's build ends a connection that a callback wants closed before its
 * close frame is out. The client answers with its own, upon which the library hangs up; or the deadline does. */
static void say_goodbye(struct conn *c)
{
	unsigned char frame[4] = { 0x88, 2, (unsigned char)(c->close_code >> 8), (unsigned char)c->close_code };

	if (c->is_behind || c->said_goodbye)
		return;
	c->said_goodbye = true;
	if (lws_write(c->wsi, frame, sizeof(frame), LWS_WRITE_RAW) < 0)
		conn_kill(c);
}

void conn_kill(struct conn *c)
{
	lws_set_timeout(c->wsi, PENDING_TIMEOUT_USER_OK, LWS_TO_KILL_ASYNC);
}

void conn_close(struct conn *c, unsigned code)
{
	if (c->state == CONN_CLOSING)
		return;
	no_longer_open(c);
	metrics_count_number(c->hub->counts, METRICS_CLOSES, code);
	log_debug("closing", CONN_WHO(c), log_n("code", code));
	retire(c);
	c->close_code = (uint16_t)code;
	c->deadline = clock_us() + CLOSE_WAIT;
	conn_to(c, CONN_CLOSING);
	say_goodbye(c);
}

static void conn_gone(struct conn *c)
{
	struct hub *h = c->hub;

	no_longer_open(c);
	retire(c);
	conn_behind(c, false);
	free(c->epoch);
	buf_fini(&c->rx);
	buf_fini(&c->reply);
	DL_DELETE(h->conns, c);
	slot_leave(c);
	edition_unref(c->edition);
	c->hub = NULL;
}

/* --- frames of our own ------------------------------------------------------------------------------------------- */

static void queue_frame(struct conn *c, unsigned char opcode, struct slice payload)
{
	char header[FRAME_HEADER_MAX];
	size_t n = frame_header(header, payload.len);

	header[0] = (char)(0x80 | opcode);
	buf_add(&c->reply, header, n);
	buf_add_slice(&c->reply, payload);
}

void conn_queue(struct conn *c, struct slice payload)
{
	queue_frame(c, 1, payload);
}

void conn_reply(struct conn *c, unsigned char opcode, struct slice payload)
{
	if (c->state == CONN_CLOSING)
		return;
	queue_frame(c, opcode, payload);
	if (!c->is_behind && deliver(c) < 0)
		conn_kill(c);
}

void conn_send(struct conn *c, struct slice payload)
{
	conn_reply(c, 1, payload);
}

/* --- admission -------------------------------------------------------------------------------------------------- */

void conn_ask_admission(struct conn *c)
{
	const struct hub_shared *shared = c->hub->shared;
	struct mail mail = { .kind = MAIL_ADMIT, .hub = c->hub->index, .connection = c->id };
	struct fail why = { 0 };
	struct token token = { 0 };

	if (!token_verify(shared->keys, slice_of(c->token), clock_wall_us() / 1000000, &token, &why)) {
		flood_info("token refused", CONN_WHO(c), log_s("reason", why.text));
		refuse(c, 4401, "token");
		return;
	}
	c->expires = token.expires;
	c->ticket = ticket_new(rules_stream(c->edition->rules, (size_t)c->stream), c->path, &token, &c->peer);
	token_fini(&token);
	forget_token(c);
	c->deadline = 0;
	if (!conn_follow(c)) {
		conn_close(c, 1012);
		return;
	}
	mail.ticket = ticket_ref(c->ticket);
	mail.id = c->since;
	mail.has_since = c->has_since;
	if (c->epoch)
		mem_copy_text(mail.text, sizeof(mail.text), c->epoch);
	free(c->epoch);
	c->epoch = NULL;
	conn_to(c, CONN_ADMITTING);
	hub_tell_tap(c->hub, &mail);
}

bool conn_follow(struct conn *c)
{
	const struct edition *next = c->hub->edition;
	int stream;

	/* The values of its path bear names of the old edition until the token is verified. */
	if (c->edition == next || c->path || c->stream < 0)
		return true;
	stream = rules_stream_index(next->rules, rules_stream(c->edition->rules, (size_t)c->stream)->identity);
	if (stream < 0)
		return false;
	edition_unref(c->edition);
	c->edition = edition_ref(next);
	c->stream = stream;
	return true;
}

/* Nothing is delivered before all mails are taken. */
void conn_admitted(struct conn *c, const struct mail *mail)
{
	const struct rules_stream *stream = rules_stream(c->edition->rules, (size_t)c->stream);

	take_seats(c, mail);
	conn_to(c, CONN_OPEN);
	c->label = (uint8_t)c->edition->stream_labels[c->stream];
	metrics_add_at(c->hub->counts, METRICS_CONNECTIONS, c->label, 1);
	c->admitted = mail->admitted;
	conn_limit(c, mail->limit);
	/* Who is to refetch by connecting again has just done so. */
	if (mail->resync && !stream->resync_closes)
		conn_resync(c, "history", mail->id);
	notice_hello(c, mail->id, mail->resumed);
	deliver_later(c);
}

void conn_moved(struct conn *c, const struct mail *mail)
{
	leave_all(c);
	take_seats(c, mail);
	conn_limit(c, LSN_MAX);
	conn_resync(c, resync_name(resync_reason(mail->text)), mail->id);
	deliver_later(c);
}

/* --- the library's callbacks -------------------------------------------------------------------------------------- */

static void conn_born(struct conn *c, struct lws *wsi)
{
	struct hub *h = lws_context_user(lws_get_context(wsi));

	c->wsi = wsi;
	c->hub = h;
	c->direct = lws_is_ssl(wsi) ? -1 : lws_get_socket_fd(wsi);
	c->edition = edition_ref(h->edition);
	c->peer = visitor_of(wsi)->address;
	c->born = c->heard = clock_us();
	DL_APPEND(h->conns, c);
	slot_take(c);
	handshake_read(h->shared, c);
}

static void conn_established(struct conn *c)
{
	visitor_arrived(visitor_of(c->wsi));
	conn_to(c, CONN_WAIT_AUTH);
	metrics_add(c->hub->counts, METRICS_HANDSHAKES, 1);
	if (c->stream < 0)
		conn_close(c, 4403);
	else if (!c->token)
		c->deadline = c->heard + c->hub->shared->conf->limits.handshake * 1000;
	else if (strlen(c->token) > (size_t)c->hub->shared->conf->limits.token_bytes)
		refuse(c, 4401, "token");
	else
		conn_ask_admission(c);
}

static int conn_writable(struct conn *c)
{
	conn_behind(c, false);
	if (c->state != CONN_CLOSING)
		return deliver(c);
	say_goodbye(c);
	return 0;
}

/* Its answer to our close frame ends the connection; its own is answered by the library, unless it is none: a code has two bytes, and
 * is below 5000. */
static int peer_closes(struct conn *c, const unsigned char *payload, size_t len)
{
	if (len == 1 || (len > 1 && (payload[0] << 8 | payload[1]) >= 5000))
		conn_close(c, 1002);
	else
		retire(c); /* it counts no more, and hears no more */
	return c->said_goodbye ? -1 : 0;
}

static int refuse_upgrade(struct hub *h, struct lws *wsi, unsigned status, const char *why)
{
	visitor_of(wsi)->refused = true;
	log_debug("upgrade refused", log_n("hub", h->index), log_peer(&visitor_of(wsi)->address),
		  log_n("status", status), log_s("reason", why));
	metrics_count(h->counts, METRICS_REFUSALS, why);
	audit_ended(h->shared->audit, "refused", &(struct audit_client){ .peer = &visitor_of(wsi)->address }, status,
		    why);
	if (status)
		handshake_refuse(wsi, status);
	return -1;
}

static int confirm_upgrade(struct lws *wsi)
{
	struct hub *h = lws_context_user(lws_get_context(wsi));
	unsigned status = 0;
	const char *why = handshake_check(h->shared, wsi, &status);

	return why ? refuse_upgrade(h, wsi, status, why) : 0;
}

static int plain_http(struct lws *wsi)
{
	struct hub *h = lws_context_user(lws_get_context(wsi));

	if (handshake_path_exists(h->shared, wsi))
		return refuse_upgrade(h, wsi, 426, "upgrade");
	return refuse_upgrade(h, wsi, 404, "path");
}

int conn_callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len)
{
	struct conn *c = user;

	switch (reason) {
	case LWS_CALLBACK_RAW_ADOPT: /* after CONNECT, which the library takes for the begin of another protocol */
	case LWS_CALLBACK_RAW_RX:
		return -1;
	case LWS_CALLBACK_HTTP_CONFIRM_UPGRADE:
		return confirm_upgrade(wsi);
	case LWS_CALLBACK_HTTP:
		return plain_http(wsi);
	case LWS_CALLBACK_FILTER_PROTOCOL_CONNECTION:
		conn_born(c, wsi);
		return 0;
	case LWS_CALLBACK_ESTABLISHED:
		conn_established(c);
		return 0;
	case LWS_CALLBACK_RECEIVE:
		conn_take_bytes(c, in, len);
		return 0;
	case LWS_CALLBACK_RECEIVE_PONG:
		conn_take_pong(c);
		return 0;
	case LWS_CALLBACK_SERVER_WRITEABLE:
		return conn_writable(c);
	case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE:
		return peer_closes(c, in, len);
	case LWS_CALLBACK_CLOSED:
	case LWS_CALLBACK_HTTP_DROP_PROTOCOL:
	case LWS_CALLBACK_WS_SERVER_DROP_PROTOCOL:
		if (c && c->hub)
			conn_gone(c);
		return 0;
	case LWS_CALLBACK_WSI_DESTROY: /* always the last, and the only one after a handshake that broke off */
		if (c && c->hub)
			conn_gone(c);
		visitor_gone(wsi);
		return 0;
	default:
		return 0;
	}
}

/* --- once a second ------------------------------------------------------------------------------------------------ */

static void ping(struct conn *c, int64_t now)
{
	if (c->pinged && now - c->heard > c->hub->shared->conf->listen.ping * 1000 + PONG_WAIT) {
		conn_kill(c);
	} else if (!c->pinged && now - c->heard > c->hub->shared->conf->listen.ping * 1000) {
		c->pinged = true;
		conn_reply(c, 9, SLICE("ping")); /* the library tells of no empty pong */
	}
}

/* Spread over a tenth before it, so that those who came together do not go together. */
static bool is_too_old(const struct conn *c, int64_t now)
{
	int64_t most = c->hub->shared->conf->listen.max_age * 1000;

	return most && now - c->born > most - most / 10 * (int64_t)(c->id * UINT64_C(0x9E3779B97F4A7C15) >> 54) / 1024;
}

void conn_sweep(struct conn *c, int64_t now, int64_t wall_s)
{
	c->said = 0;
	if (c->state == CONN_CLOSING) {
		if (now > c->deadline)
			conn_kill(c);
	} else if ((c->close_at && now >= c->close_at) || is_too_old(c, now)) {
		conn_close(c, 1012);
	} else if (c->deadline && now > c->deadline) {
		refuse(c, 4401, "late");
	} else if (c->is_behind && now - c->behind_since > c->hub->shared->conf->limits.stall * 1000) {
		flood_info("a reader is stalled", CONN_WHO(c), log_n("code", 4408));
		conn_close(c, 4408);
	} else if (c->expires && wall_s >= c->expires) {
		conn_tell_audit(c, "expired", 4401, NULL);
		conn_close(c, 4401);
	} else {
		ping(c, now);
	}
}
