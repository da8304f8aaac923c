/*
 * deliver: from the topic logs to the sockets. Hub thread.
 *
 * A connection gets what lies between its cursors and the published position. With one topic that is one run of frames after the
 * other, written from the log's memory without a copy. With several, runs are merged by event id, and an id that stands in two of
 * them is written once.
 */
#include <sys/socket.h>
#include <utlist.h>

#include "parts.h"
#include "walpush/base/clock.h"
#include "walpush/base/mem.h"

static const struct event_id last_id = { UINT64_MAX, UINT32_MAX };

/* --- channels -------------------------------------------------------------------------------------------------- */

struct channel *channel_for(struct hub *h, struct topic *t)
{
	struct channel *ch;

	HASH_FIND_PTR(h->channels, &t, ch);
	if (!ch) {
		ch = mem_new(sizeof(*ch));
		ch->topic = t;
		HASH_ADD_PTR(h->channels, topic, ch);
	}
	return ch;
}

static void channel_free(struct hub *h, struct channel *ch)
{
	if (ch->dirty)
		LL_DELETE2(h->dirty, ch, next_dirty);
	HASH_DEL(h->channels, ch);
	free(ch);
}

void channel_mark(struct hub *h, struct channel *ch)
{
	if (ch->dirty)
		return;
	ch->dirty = true;
	LL_PREPEND2(h->dirty, ch, next_dirty);
}

void sub_join(struct sub *s, struct conn *c, struct channel *ch, struct cursor cursor)
{
	*s = (struct sub){ .conn = c, .channel = ch, .cursor = cursor };
	DL_APPEND(ch->subs, s);
}

void sub_leave(struct sub *s)
{
	struct hub *h = s->conn->hub;
	struct mail mail = { .kind = MAIL_LEFT, .hub = h->index, .topic = s->channel->topic };

	cursor_release(&s->cursor);
	DL_DELETE(s->channel->subs, s);
	if (!s->channel->subs)
		channel_free(h, s->channel);
	hub_tell_tap(h, &mail);
}

/* --- writing --------------------------------------------------------------------------------------------------- */

void conn_behind(struct conn *c, bool behind)
{
	if (c->is_behind == behind)
		return;
	c->is_behind = behind;
	if (behind) {
		c->behind_since = clock_us();
		DL_APPEND2(c->hub->behind, c, prev_behind, next_behind);
		lws_callback_on_writable(c->wsi);
	} else {
		DL_DELETE2(c->hub->behind, c, prev_behind, next_behind);
	}
}

/* What the socket takes at once. The library would call the same send, by a longer way: a twentieth of what a delivery costs. Errors are
 * left for it to find. */
static size_t send_direct(struct conn *c, const char *bytes, size_t len)
{
	ssize_t n = c->direct < 0 || lws_partial_buffered(c->wsi)
			    ? 0
			    : send(c->direct, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL);

	return n > 0 ? (size_t)n : 0;
}

void conn_limit(struct conn *c, lsn_t limit)
{
	bool was_held = c->is_held;

	c->limit = limit;
	c->frozen_at = 0;
	c->is_held = limit != LSN_MAX;
	if (c->is_held && !was_held)
		DL_APPEND2(c->hub->held, c, prev_held, next_held);
	else if (!c->is_held && was_held)
		DL_DELETE2(c->hub->held, c, prev_held, next_held);
}

void conn_resync(struct conn *c, const char *reason, struct event_id id)
{
	c->resync_due = true;
	c->resync_reason = reason;
	c->resync_id = id;
}

/* Bytes that are frames already. The library keeps what the socket does not take; until that is gone nothing more is written. */
int deliver_raw(struct conn *c, const char *bytes, size_t len)
{
	size_t sent = send_direct(c, bytes, len);

	metrics_add(c->hub->counts, METRICS_SENT_BYTES, (int64_t)len);
	if (sent == len)
		return 0;
	if (lws_write(c->wsi, (unsigned char *)bytes + sent, len - sent, LWS_WRITE_RAW) < 0)
		return -1;
	if (lws_partial_buffered(c->wsi))
		conn_behind(c, true);
	return 0;
}

int deliver_text(struct conn *c, struct slice payload)
{
	char header[FRAME_HEADER_MAX];
	struct buf *frame = &c->hub->scratch;

	buf_clear(frame);
	buf_add(frame, header, frame_header(header, payload.len));
	buf_add_slice(frame, payload);
	return deliver_raw(c, frame->data, frame->len);
}

static int write_resync(struct conn *c)
{
	metrics_count(c->hub->counts, METRICS_RESYNCS, c->resync_reason);
	c->resync_due = false;
	return notice_refetch(c, c->resync_reason, c->resync_id);
}

static int write_replies(struct conn *c)
{
	int result = deliver_raw(c, c->reply.data, c->reply.len);

	buf_fini(&c->reply);
	return result;
}

/* --- merging --------------------------------------------------------------------------------------------------- */

/* A close among what is lost was meant for those who were admitted before it, and could hear up to there. */
struct missed deliver_nothing_missed(const struct conn *c)
{
	return (struct missed){ c->admitted, c->frozen_at ? c->frozen_at : c->limit - 1, 0 };
}

static void resync_because_lost(struct conn *c, struct missed *missed)
{
	for (size_t i = 0; i < c->n_subs; i++)
		cursor_to_head(&c->subs[i].cursor, c->hub->published, missed);
	conn_resync(c, "history", (struct event_id){ c->hub->published, 0 });
}

/* The logs were emptied, and the mail that says so, with the reason, is on its way. */
static bool is_emptied(const struct hub *h)
{
	return topiclog_published(h->shared->log) < h->published;
}

static lsn_t horizon(const struct conn *c)
{
	return c->limit < c->hub->published ? c->limit : c->hub->published;
}

/* The sub with the lowest id that is due, and the lowest id of the others, which its run must stay below. NULL: nothing is due. */
static struct sub *next_sub(struct conn *c, struct event_id *before, bool *lost)
{
	lsn_t published = horizon(c);
	struct run run, lowest = { 0 };
	struct sub *first = NULL;

	*before = last_id;
	for (size_t i = 0; i < c->n_subs; i++) {
		struct sub *s = &c->subs[i];
		enum cursor_state state = cursor_run(&s->cursor, published, last_id, 0, &run);
		int order;

		if (state == CURSOR_LOST)
			*lost = true;
		if (state != CURSOR_HAS_RUN)
			continue;
		order = first ? event_id_compare(run.first, lowest.first) : -1;
		if (order == 0 && run.tag.close &&
		    !lowest.tag.close) { /* of the two this one is told, because it closes */
			cursor_advance(&first->cursor, 1);
			return next_sub(c, before, lost);
		}
		if (order == 0) { /* the same message through another group */
			cursor_advance(&s->cursor, 1);
			i--;
		} else if (order < 0) {
			*before = first ? lowest.first : last_id;
			lowest = run;
			first = s;
		} else if (event_id_compare(run.first, *before) < 0) {
			*before = run.first;
		}
	}
	return first;
}

static enum cursor_state next_run(struct conn *c, struct sub **sub, struct run *run)
{
	struct event_id before = last_id;
	bool lost = false;

	*sub = c->n_subs == 1 ? c->subs : next_sub(c, &before, &lost);
	if (lost)
		return CURSOR_LOST;
	if (!*sub)
		return CURSOR_AT_END;
	return cursor_run(&(*sub)->cursor, horizon(c), before, RUN_BYTES, run);
}

/* Behind its limit not even that is said. */
static bool may_resync(const struct conn *c)
{
	return c->resync_id.lsn <= c->limit;
}

static int write_run(struct conn *c, const struct run *run)
{
	if (run->tag.kind || run->tag.close)
		return notice_tagged(c, run);
	return deliver_raw(c, run->bytes, run->len);
}

/* The message up to this commit that ends its readers' connections, if there is one. */
static bool find_last_word(const struct sub *s, lsn_t commit, struct cursor *at, struct run *run)
{
	*at = cursor_copy(&s->cursor);
	while (cursor_run(at, commit + 1, last_id, RUN_BYTES, run) == CURSOR_HAS_RUN) {
		if (run->tag.close)
			return true;
		cursor_advance(at, run->entries);
	}
	cursor_release(at);
	return false;
}

/* Such a message was meant for those who could hear before its transaction, whatever that did to their permission. */
static int deliver_last_word(struct conn *c)
{
	struct cursor at;
	struct run run;
	int result = 0;

	for (size_t i = 0; i < c->n_subs && c->state == CONN_OPEN && result == 0; i++) {
		if (!find_last_word(&c->subs[i], c->frozen_at, &at, &run))
			continue;
		result = write_run(c, &run);
		cursor_release(&at);
	}
	return result;
}

static int tell_loss(struct conn *c)
{
	struct missed missed = deliver_nothing_missed(c);
	int result;

	resync_because_lost(c, &missed);
	result = may_resync(c) ? write_resync(c) : 0;
	if (result == 0 && missed.close)
		conn_close(c, missed.close);
	return result;
}

static int deliver_runs(struct conn *c)
{
	size_t left = TURN_BYTES;
	struct sub *sub;
	struct run run;

	for (;;) {
		switch (next_run(c, &sub, &run)) {
		case CURSOR_AT_END:
			return c->frozen_at && c->frozen_at < c->hub->published ? deliver_last_word(c) : 0;
		case CURSOR_LOST:
			if (is_emptied(c->hub))
				return 0;
			if (tell_loss(c) < 0)
				return -1;
			if (c->resync_due)
				return 0;
			break;
		case CURSOR_HAS_RUN:
			cursor_advance(&sub->cursor, run.entries);
			if (write_run(c, &run) < 0)
				return -1;
			metrics_add(c->hub->counts, METRICS_DELIVERIES, run.entries);
			c->hub->written += run.entries;
			left -= run.len < left ? run.len : left;
			break;
		}
		if (c->is_behind || c->state != CONN_OPEN)
			return 0;
		if (left == 0) { /* the others' turn; it goes on when the socket is writable */
			conn_behind(c, true);
			return 0;
		}
	}
}

int deliver(struct conn *c)
{
	if (c->is_behind)
		return 0;
	if (c->reply.len && write_replies(c) < 0)
		return -1;
	if (c->state != CONN_OPEN || c->is_behind)
		return 0;
	if (c->resync_due && !may_resync(c))
		return 0;
	if (c->resync_due && write_resync(c) < 0)
		return -1;
	if (c->is_behind || c->state != CONN_OPEN || c->n_subs == 0)
		return 0;
	return deliver_runs(c);
}

/* --- turns ----------------------------------------------------------------------------------------------------- */

static void serve(struct conn *c)
{
	if (deliver(c) < 0)
		conn_kill(c); /* not freed here: the library ends it from its own loop */
	else if (c->last_code && c->state == CONN_OPEN)
		conn_close(c, c->last_code);
}

void deliver_later(struct conn *c)
{
	if (c->is_due)
		return;
	c->is_due = true;
	DL_APPEND2(c->hub->due, c, prev_due, next_due);
}

void deliver_never(struct conn *c)
{
	if (c->is_due)
		DL_DELETE2(c->hub->due, c, prev_due, next_due);
	c->is_due = false;
}

void deliver_due(struct hub *h)
{
	struct channel *ch;
	struct sub *s, *next;
	struct conn *c;

	while ((c = h->due)) {
		deliver_never(c);
		serve(c);
	}
	while ((ch = h->dirty)) {
		h->dirty = ch->next_dirty;
		ch->dirty = false;
		DL_FOREACH_SAFE(ch->subs, s, next) {
			if (next) { /* each send has the kernel empty the cache */
				__builtin_prefetch(next->conn);
				__builtin_prefetch(next->next);
			}
			serve(s->conn);
		}
	}
}

static void let_go(struct conn *c)
{
	struct missed missed = deliver_nothing_missed(c);
	bool lost = false;

	for (size_t i = 0; i < c->n_subs; i++)
		lost = cursor_fell_off(&c->subs[i].cursor, c->hub->published, &missed) || lost;
	if (!lost || is_emptied(c->hub))
		return;
	resync_because_lost(c, &missed);
	if (missed.close) {
		c->last_code = (uint16_t)missed.close;
		deliver_later(c);
	}
}

void deliver_let_go(struct hub *h)
{
	struct conn *c;

	DL_FOREACH2(h->behind, c, next_behind)
		let_go(c);
	DL_FOREACH2(h->held, c, next_held)
		let_go(c);
}

/* --- how far behind --------------------------------------------------------------------------------------------- */

static lsn_t unread_from(struct conn *c)
{
	lsn_t from = c->hub->published;
	struct run run;

	for (size_t i = 0; i < c->n_subs; i++)
		if (cursor_run(&c->subs[i].cursor, c->hub->published, last_id, 0, &run) == CURSOR_HAS_RUN &&
		    run.first.lsn < from)
			from = run.first.lsn;
	return from;
}

void deliver_measure(struct hub *h, int64_t now)
{
	int64_t n = 0, oldest = now;
	lsn_t from = h->published;
	struct conn *c;

	DL_FOREACH2(h->behind, c, next_behind) {
		lsn_t unread = unread_from(c);

		n++;
		from = unread < from ? unread : from;
		oldest = c->behind_since < oldest ? c->behind_since : oldest;
	}
	metrics_set(h->counts, METRICS_READERS_BEHIND, n);
	metrics_set(h->counts, METRICS_READER_LAG_SECONDS, now - oldest);
	metrics_set(h->counts, METRICS_READER_LAG_BYTES, (int64_t)(h->published - from));
}
