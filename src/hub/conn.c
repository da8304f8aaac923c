#include "conn.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "goodbye.h"
#include "walpush/base/clock.h"
#include "walpush/base/fail.h"
#include "walpush/base/flood.h"
#include "walpush/base/log.h"
#include "walpush/base/mem.h"

/* µs from a close frame, ours or the client's, until the connection ends even if the client does nothing. */
#define CLOSE_WAIT 5000000
/* The same while the process stops and waits for the client's answer. Our close frame is on its way, and arrives even after the process ends. */
#define LAST_ANSWER 1000000

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
	struct conns *all = c->of;
	uint32_t i = all->first_free;

	while (i < all->n_slots && all->slots[i].conn)
		i++;
	if (i == all->n_slots) {
		uint32_t n = all->n_slots ? all->n_slots * 2 : 64;

		all->slots = mem_resize(all->slots, n, sizeof(*all->slots));
		memset(all->slots + all->n_slots, 0, (n - all->n_slots) * sizeof(*all->slots));
		all->n_slots = n;
	}
	all->first_free = i + 1;
	all->slots[i].conn = c;
	c->id = (uint64_t)++all->slots[i].generation << 32 | i;
}

static void slot_leave(struct conn *c)
{
	uint32_t i = (uint32_t)c->id;

	c->of->slots[i].conn = NULL;
	if (i < c->of->first_free)
		c->of->first_free = i;
}

struct conn *conn_find(const struct conns *all, uint64_t id)
{
	uint32_t i = (uint32_t)id;

	if (i >= all->n_slots || all->slots[i].generation != id >> 32)
		return NULL;
	return all->slots[i].conn;
}

/* --- lists ------------------------------------------------------------------------------------------------------- */

void conn_limit(struct conn *c, lsn_t limit)
{
	bool was_limited = c->is_limited;

	c->limit = limit;
	c->changed_at = 0;
	c->is_limited = limit != LSN_MAX;
	if (c->is_limited && !was_limited)
		DL_APPEND2(c->of->limited, c, prev_limited, next_limited);
	else if (!c->is_limited && was_limited)
		DL_DELETE2(c->of->limited, c, prev_limited, next_limited);
}

void conn_resync(struct conn *c, const char *reason, struct event_id id)
{
	c->resync_due = true;
	c->resync_reason = reason;
	c->resync_id = id;
}

void conn_rest(struct conn *c, bool rests)
{
	if (c->is_resting == rests)
		return;
	c->is_resting = rests;
	if (rests)
		DL_APPEND2(c->of->resting, c, prev_resting, next_resting);
	else
		DL_DELETE2(c->of->resting, c, prev_resting, next_resting);
}

void conn_due(struct conn *c, bool is_due)
{
	if (c->is_due == is_due)
		return;
	c->is_due = is_due;
	if (is_due)
		DL_APPEND2(c->of->due, c, prev_due, next_due);
	else
		DL_DELETE2(c->of->due, c, prev_due, next_due);
}

void conn_sit(struct conn *c, const struct mail *mail)
{
	const struct mail_given *given = &mail->given;

	c->subs = mem_new_array(given->n_seats, sizeof(*c->subs));
	c->n_subs = given->n_seats;
	for (size_t i = 0; i < given->n_seats; i++)
		channel_join(&c->of->channels, &c->subs[i], c, &given->seats[i]);
	free(given->seats);
}

void conn_stand_up(struct conn *c)
{
	for (size_t i = 0; i < c->n_subs; i++)
		channel_leave(&c->subs[i]);
	free(c->subs);
	c->subs = NULL;
	c->n_subs = 0;
}

/* --- beginning and end ------------------------------------------------------------------------------------------- */

void conn_born(struct conn *c, struct conns *all, struct lws *wsi)
{
	writer_init(&c->out, &all->writers, wsi);
	c->hub = all->hub;
	c->of = all;
	c->limit = LSN_MAX;
	c->stream = -1;
	c->edition = edition_ref(all->hub->edition);
	c->born = c->heard = clock_us();
	DL_APPEND(all->all, c);
	slot_take(c);
	conn_to(c, CONN_NEW);
}

const char *conn_stream_name(const struct conn *c)
{
	return c->stream < 0 ? "" : rules_stream(c->edition->rules, (size_t)c->stream)->conf->name;
}

const char *conn_path(const struct conn *c)
{
	if (c->ticket)
		return c->ticket->path;
	return c->request.path ? c->request.path->shown : "";
}

static struct audit_client client_of(const struct conn *c)
{
	return (struct audit_client){ c->ticket ? c->ticket->user : NULL, &c->peer,
				      c->stream < 0 ? NULL : conn_stream_name(c) };
}

void conn_tell_audit(const struct conn *c, const char *what, unsigned code, const char *reason)
{
	struct audit_client client = client_of(c);

	audit_ended(c->hub->shared->audit, what, &client, code, reason);
}

/* MAIL_ENDED is posted before any MAIL_LEFT: while the tap knows the connection, it counts on the connection's logs. */
void conn_retire(struct conn *c)
{
	struct mail ended = { .kind = MAIL_ENDED, .hub = c->hub->index, .connection = c->id };

	if (c->ticket)
		mailbox_post(c->hub->shared->to_tap, &ended);
	ticket_unref(c->ticket);
	c->ticket = NULL;
	conn_limit(c, LSN_MAX);
	c->resync_due = false;
	conn_rest(c, false);
	conn_due(c, false);
	conn_stand_up(c);
	handshake_forget_token(&c->request);
}

/* The bytes may be a piece of a token. */
static void forget_piece(struct conn *c)
{
	if (c->rx.data)
		explicit_bzero(c->rx.data, c->rx.len);
	buf_fini(&c->rx);
}

/* Once for each connection, when its end is certain, and while it still knows its user. `words`: a literal; the peer's own are not logged. */
static void log_end(const struct conn *c, unsigned code, const char *by, const char *words)
{
	if (c->state == CONN_OPEN)
		flood_info("connection ended", CONN_WHO(c), log_n("code", code), log_s("by", by),
			   log_s("reason", words), log_ms("age_ms", clock_us() - c->born), log_n("messages", c->told));
	else if (c->state > CONN_NEW && c->state < CONN_CLOSING)
		flood_info("connection ended before it was admitted", CONN_WHO(c), log_n("code", code), log_s("by", by),
			   log_s("reason", words), log_ms("age_ms", clock_us() - c->born));
}

/* Codes of RFC 6455, section 7.1.5, that no frame holds. */
enum { NO_CODE = 1005, NO_FRAME = 1006 };

void conn_gone(struct conn *c)
{
	const char *words = c->out.close_words ? c->out.close_words : "";

	if (c->out.close_code)
		log_end(c, c->out.close_code, "walpush", words);
	else
		log_end(c, NO_FRAME, "network", words);
	conn_to(c, CONN_GONE);
	conn_retire(c);
	writer_fini(&c->out);
	handshake_forget(&c->request);
	forget_piece(c);
	DL_DELETE(c->of->all, c);
	slot_leave(c);
	edition_unref(c->edition);
	c->hub = NULL;
}

void conns_fini(struct conns *all)
{
	free(all->slots);
	buf_fini(&all->writers.scratch);
	sent_fini(&all->sent);
}

/* --- closing ----------------------------------------------------------------------------------------------------- */

void conn_start_to_close(struct conn *c, unsigned code, const char *words)
{
	int64_t now = clock_us();

	c->out.close_words = words ? words : goodbye_words(code);
	log_end(c, code, "walpush", c->out.close_words);
	metrics_count_number(c->hub->counts, METRICS_CLOSES, code);
	conn_retire(c);
	c->out.close_code = (uint16_t)code;
	c->deadline = now + CLOSE_WAIT;
	conn_hurry(c, now);
	conn_to(c, CONN_CLOSING);
	writer_goodbye(&c->out);
}

void conn_close(struct conn *c, unsigned code)
{
	conn_close_saying(c, code, NULL);
}

void conn_close_saying(struct conn *c, unsigned code, const char *words)
{
	enum conn_act act = conn_table_act(c->state, CONN_ON_CLOSE);

	if (act == CONN_CLOSE)
		conn_start_to_close(c, code, words);
	else if (act == CONN_HANG_UP)
		writer_kill(&c->out);
	else if (act != CONN_IGNORE)
		fail_never("conn: closed while %s", conn_table_state(c->state));
}

void conn_refuse(struct conn *c, unsigned code, const char *reason, const char *words)
{
	metrics_count(c->hub->counts, METRICS_REFUSALS, reason);
	conn_tell_audit(c, "refused", code, reason);
	conn_close_saying(c, code, words);
}

void conn_leave(struct conn *c, const unsigned char *payload, size_t len)
{
	int64_t now = clock_us();

	log_end(c, len > 1 ? (unsigned)payload[0] << 8 | payload[1] : NO_CODE, "client", "");
	conn_retire(c);
	writer_fini(&c->out);
	c->deadline = now + CLOSE_WAIT;
	conn_hurry(c, now);
	conn_to(c, CONN_LEAVING);
	writer_answer_close(&c->out, payload, len);
}

void conn_hurry(struct conn *c, int64_t now)
{
	if (c->hub->draining && c->deadline > now + LAST_ANSWER)
		c->deadline = now + LAST_ANSWER;
}
