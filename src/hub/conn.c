/* conn: what one connection holds, from its upgrade to its end. Hub thread. When which of it is done, conn_table says. */
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "parts.h"
#include "walpush/base/clock.h"
#include "walpush/base/log.h"
#include "walpush/base/mem.h"
#include "walpush/share/renewal.h"
#include "walpush/base/resync.h"

void conn_to(struct conn *c, enum conn_state next)
{
	if (next <= c->state)
		fail_never("conn: from %s to %s", conn_table_state(c->state), conn_table_state(next));
	log_debug("connection", CONN_WHO(c), log_s("from", conn_table_state(c->state)),
		  log_s("to", conn_table_state(next)));
	if (c->state == CONN_OPEN)
		metrics_add_at(c->hub->counts, METRICS_CONNECTIONS, c->label, -1);
	if (next == CONN_OPEN)
		metrics_add_at(c->hub->counts, METRICS_CONNECTIONS, c->label, 1);
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
void conn_retire(struct conn *c)
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
void conn_say_goodbye(struct conn *c)
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
	c->is_hung_up = true;
	lws_set_timeout(c->wsi, PENDING_TIMEOUT_USER_OK, LWS_TO_KILL_ASYNC);
}

void conn_close(struct conn *c, unsigned code)
{
	conn_event(c, CONN_ON_CLOSE, &(struct conn_cause){ .code = code });
}

void conn_refuse(struct conn *c, unsigned code, const char *reason)
{
	metrics_count(c->hub->counts, METRICS_REFUSALS, reason);
	conn_tell_audit(c, "refused", code, reason);
	conn_close(c, code);
}

/* The answer repeats the code, if there is one. What does not take it at once is beyond a close frame. */
void conn_leave(struct conn *c, const unsigned char *payload, size_t len)
{
	unsigned char frame[4] = { 0x88 };

	conn_retire(c);
	conn_behind(c, false);
	buf_fini(&c->reply);
	c->deadline = depart_deadline(c->hub, clock_us() + CLOSE_WAIT);
	conn_to(c, CONN_LEAVING);
	if (len > 1)
		memcpy(frame + 2, payload, frame[1] = 2);
	c->said_goodbye = true;
	lws_write(c->wsi, frame, 2u + frame[1], LWS_WRITE_RAW);
}

/* It may be of a token. */
static void forget_piece(struct conn *c)
{
	if (c->rx.data)
		explicit_bzero(c->rx.data, c->rx.len);
	buf_fini(&c->rx);
}

void conn_gone(struct conn *c)
{
	struct hub *h = c->hub;

	conn_to(c, CONN_GONE);
	conn_retire(c);
	conn_behind(c, false);
	free(c->epoch);
	forget_piece(c);
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
	if (c->state >= CONN_CLOSING)
		return;
	queue_frame(c, opcode, payload);
	conn_flush(c);
}

void conn_flush(struct conn *c)
{
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
	const char *missing;

	if (!token_verify(shared->keys, slice_of(c->token), clock_wall_us() / 1000000, &token, &why)) {
		flood_info("token refused", CONN_WHO(c), log_s("reason", why.text));
		conn_refuse(c, 4401, "token");
		return;
	}
	c->expires = token.expires;
	c->ticket = ticket_new(rules_stream(c->edition->rules, (size_t)c->stream), c->path, &token, &c->peer, &missing);
	token_fini(&token);
	if (!c->ticket) {
		flood_info("token refused", CONN_WHO(c), log_s("reason", "claim"), log_s("claim", missing));
		conn_refuse(c, 4401, "claim");
		return;
	}
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

/* The mail's reference is the connection's from now on. A renewal that needed no answer has set the expiry meanwhile, but no ticket. */
static void take_ticket(struct conn *c, const struct mail *mail)
{
	if (mail->ticket != c->ticket)
		c->expires = mail->ticket->expires;
	ticket_unref(c->ticket);
	c->ticket = mail->ticket;
	c->answered = mail->number;
}

/* Nothing is delivered before all mails are taken. */
void conn_admitted(struct conn *c, const struct mail *mail)
{
	const struct rules_stream *stream = rules_stream(c->edition->rules, (size_t)c->stream);

	take_seats(c, mail);
	take_ticket(c, mail);
	c->label = (uint8_t)c->edition->stream_labels[c->stream];
	conn_to(c, CONN_OPEN);
	c->admitted = mail->admitted;
	conn_limit(c, mail->limit);
	/* Who is to refetch by connecting again has just done so. */
	if (mail->resync && !stream->resync_closes)
		conn_resync(c, "history", mail->id);
	notice_hello(c, mail->id, mail->resumed);
	if (mail->number > 0)
		conn_queue_auth_ok(c, NULL);
	deliver_later(c);
}

/* What is left unread may hold a close that was meant for it. */
static void note_missed_close(struct conn *c, lsn_t upto)
{
	struct missed missed = deliver_nothing_missed(c);

	for (size_t i = 0; i < c->n_subs; i++)
		cursor_to_head(&c->subs[i].cursor, upto, &missed);
	if (missed.close)
		c->last_code = (uint16_t)missed.close;
}

void conn_moved(struct conn *c, const struct mail *mail)
{
	note_missed_close(c, mail->id.lsn);
	leave_all(c);
	take_seats(c, mail);
	conn_limit(c, mail->limit);
	conn_resync(c, resync_name(resync_reason(mail->text)), mail->id);
	deliver_later(c);
}

void conn_renewed(struct conn *c, const struct mail *mail)
{
	bool same = ticket_same_claims(c->ticket, mail->ticket);
	char epoch[TICKET_EPOCH_MAX];

	take_ticket(c, mail);
	if (mail->resync)
		conn_moved(c, mail);
	ticket_epoch(c->ticket, c->hub->epoch, epoch);
	conn_queue_auth_ok(c, renewal_tells_epoch(same, mail->resync) ? epoch : NULL);
	deliver_later(c);
}

/* --- the begin --------------------------------------------------------------------------------------------------- */

void conn_born(struct conn *c, struct lws *wsi)
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
	conn_to(c, CONN_NEW);
	handshake_read(h->shared, c);
}

void conn_arrive(struct conn *c)
{
	visitor_arrived(visitor_of(c->wsi));
	conn_to(c, CONN_WAIT_AUTH);
	metrics_add(c->hub->counts, METRICS_HANDSHAKES, 1);
	if (c->stream < 0)
		conn_close(c, 4403);
	else if (!c->token)
		c->deadline = c->heard + c->hub->shared->conf->limits.handshake * 1000;
	else if (strlen(c->token) > (size_t)c->hub->shared->conf->limits.token_bytes)
		conn_refuse(c, 4401, "token");
	else
		conn_ask_admission(c);
}
