#include "deliver.h"

#include <utlist.h>

#include "notice.h"
#include "walpush/base/clock.h"
#include "walpush/base/resync.h"

/* Bytes: the most that one write takes from a log, and so the most that the library copies for a stalled connection. */
#define RUN_BYTES 65536
/* Bytes: the most that one connection receives before the others have their turn. */
#define TURN_BYTES (1u << 20)
/* µs: connections whose rests end so close together are served together. */
#define REST_TOGETHER 5000
/* Runs of one log: how far ahead the last mark is looked for. */
#define MARKS_AHEAD 1024

static const struct event_id last_id = { UINT64_MAX, UINT32_MAX };

static int write_resync(struct conn *c)
{
	metrics_count(c->hub->counts, METRICS_RESYNCS, c->resync_reason);
	c->resync_due = false;
	return notice_refetch(c, c->resync_reason, c->resync_id);
}

/* --- merging --------------------------------------------------------------------------------------------------- */

/* A close among the lost entries concerns the connection if the connection was admitted before it and was allowed to receive it. */
struct missed deliver_missed_range(const struct conn *c)
{
	return (struct missed){ c->admitted, c->changed_at ? c->changed_at : c->limit - 1, 0 };
}

static void resync_because_lost(struct conn *c, struct missed *missed)
{
	for (size_t i = 0; i < c->n_subs; i++)
		cursor_to_head(&c->subs[i].cursor, c->hub->published, missed);
	conn_resync(c, "history", (struct event_id){ c->hub->published, 0 });
}

/* The logs were emptied, and MAIL_EMPTIED is on its way. Until the hub takes it, cursors may find entries of the new history with positions
 * below the hub's: these entries are not published, and the tap has not asked about their readers yet. So this check comes after each look into
 * a log and before the write: the tap lowers the position before it appends. */
static bool is_emptied(const struct hub_facts *hub)
{
	return topiclog_published(hub->shared->log) < hub->published;
}

static lsn_t horizon(const struct conn *c)
{
	lsn_t upto = c->limit < c->hub->published ? c->limit : c->hub->published;

	return c->rests_at && c->rests_at < upto ? c->rests_at : upto;
}

/* Returns the sub with the lowest id that is due; NULL: nothing is due. `before` is the lowest id of the other subs: the run must stay
 * below it. */
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
		if (order == 0 && run.tag.close && !lowest.tag.close) { /* of two copies, deliver the one that closes */
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

/* A resync above the limit waits, as messages do. */
static bool may_resync(const struct conn *c)
{
	return c->resync_id.lsn <= c->limit;
}

static int write_run(struct conn *c, const struct run *run)
{
	if (run->tag.kind || run->tag.close)
		return notice_tagged(c, run);
	return writer_raw(&c->out, run->bytes, run->len);
}

/* Finds the message that closes its readers' connections, up to and including this commit. */
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

/* Such a message is for every client that could receive before its transaction, even if the transaction removed the permission. */
static int deliver_last_word(struct conn *c)
{
	struct cursor at;
	struct run run;
	int result = 0;

	for (size_t i = 0; i < c->n_subs && c->state == CONN_OPEN && result == 0; i++) {
		if (!find_last_word(&c->subs[i], c->changed_at, &at, &run))
			continue;
		if (!is_emptied(c->hub))
			result = write_run(c, &run);
		cursor_release(&at);
	}
	return result;
}

static int tell_loss(struct conn *c)
{
	struct missed missed = deliver_missed_range(c);
	int result;

	resync_because_lost(c, &missed);
	result = may_resync(c) ? write_resync(c) : 0;
	if (result == 0 && missed.close)
		conn_close_saying(c, missed.close, CONN_BY_A_CHANGE);
	return result;
}

/* --- marks: entries that say "refetch" because a lookup was not answered ------------------------------------------ */

static bool is_mark(const struct entry_tag *tag)
{
	return tag->kind == ENTRY_REFETCH && tag->reason == RESYNC_LOOKUP && !tag->close;
}

static void on_rest(lws_sorted_usec_list_t *sul);

static void rest_in(struct conns *all, struct lws_context *context, int64_t now, int64_t us)
{
	all->rest_ends = now + us;
	lws_sul_schedule(context, 0, &all->rest, on_rest, us);
}

/* µs until the next mark may be written. 0: now; also before its end, when what is due is told first, and a last word may be behind the mark. */
static int64_t rest_left(const struct conn *c)
{
	int64_t left = c->rest_until ? c->rest_until - clock_us() : 0;

	return left <= REST_TOGETHER || c->passes || c->last_code || c->changed_at || c->departs ? 0 : left;
}

static void rest(struct conn *c, int64_t left)
{
	int64_t now = clock_us();

	conn_rest(c, true);
	if (!c->of->rest_ends || now + left < c->of->rest_ends)
		rest_in(c->of, lws_get_context(c->out.wsi), now, left);
}

/* Goes through what is due, log by log. `one` is false: no further in this log. */
static void look_ahead(struct conn *c, bool (*one)(void *ctx, const struct run *run), void *ctx)
{
	for (size_t i = 0; i < c->n_subs; i++) {
		struct cursor at = cursor_copy(&c->subs[i].cursor);
		struct run run;

		for (unsigned n = 0; n < MARKS_AHEAD; n++) {
			if (cursor_run(&at, horizon(c), last_id, RUN_BYTES, &run) != CURSOR_HAS_RUN || !one(ctx, &run))
				break;
			cursor_advance(&at, run.entries);
		}
		cursor_release(&at);
	}
}

static bool note_first_mark(void *ctx, const struct run *run)
{
	lsn_t *first = ctx;

	if (is_mark(&run->tag) && (!*first || run->first.lsn < *first))
		*first = run->first.lsn;
	return !is_mark(&run->tag);
}

/* The commit of the next mark, as far as it looks; 0: there is none. */
static lsn_t next_mark(struct conn *c)
{
	lsn_t first = 0;

	look_ahead(c, note_first_mark, &first);
	return first;
}

/* Where the connection rests, all of the mark's commit rests with it: if the process ends, the client comes back from before the commit. What it
 * was told of it could otherwise have been told in place of what another process tells then. */
static void look_for_rest(struct conn *c)
{
	c->rests_at = 0;
	if (rest_left(c))
		c->rests_at = next_mark(c);
}

struct due { /* ahead */
	struct event_id last_mark, first_message;
};

static bool note_due(void *ctx, const struct run *run)
{
	struct due *due = ctx;

	if (!is_mark(&run->tag) && event_id_compare(run->first, due->first_message) < 0)
		due->first_message = run->first;
	if (is_mark(&run->tag) && event_id_compare(run->first, due->last_mark) > 0)
		due->last_mark = run->first;
	return true;
}

/* The last mark that is published, as far as it looks; and is there a message before it? All that is not delivered is behind `mark`. */
static struct event_id last_mark(struct conn *c, struct event_id mark, bool *has_message)
{
	struct due due = { mark, last_id };

	look_ahead(c, note_due, &due);
	*has_message = event_id_compare(due.first_message, due.last_mark) < 0;
	return due.last_mark;
}

/* Must this one be written? The first is, unless the last one comes before any message, and the last. */
static bool counts(struct conn *c, struct event_id mark)
{
	int order = c->passes ? event_id_compare(mark, c->last_mark) : 1;
	bool has_message;

	if (order < 0)
		return false;
	c->passes = false;
	if (order == 0)
		return true;
	c->last_mark = last_mark(c, mark, &has_message);
	c->passes = event_id_compare(mark, c->last_mark) < 0;
	return !c->passes || has_message;
}

static int take_run(struct conn *c, struct sub *sub, const struct run *run)
{
	bool is_passed = is_mark(&run->tag) && !counts(c, run->first);
	struct topic *topic = sub->channel->topic; /* a message that closes the connection takes its subs */

	cursor_advance(&sub->cursor, run->entries);
	if (is_passed)
		return 0;
	if (write_run(c, run) < 0)
		return -1;
	metrics_add(c->hub->counts, METRICS_DELIVERIES, run->entries);
	c->of->written += run->entries;
	c->told += run->entries;
	sent_note(&c->of->sent, topic, run);
	return 0;
}

/* --- runs ------------------------------------------------------------------------------------------------------- */

static int deliver_runs(struct conn *c)
{
	size_t left = TURN_BYTES;
	struct sub *sub;
	struct run run;

	look_for_rest(c);
	for (;;) {
		switch (next_run(c, &sub, &run)) {
		case CURSOR_AT_END:
			if (c->rests_at) {
				rest(c, rest_left(c));
				return 0;
			}
			return c->changed_at && c->changed_at < c->hub->published ? deliver_last_word(c) : 0;
		case CURSOR_LOST:
			if (is_emptied(c->hub))
				return 0;
			if (tell_loss(c) < 0)
				return -1;
			if (c->resync_due)
				return 0;
			break;
		case CURSOR_HAS_RUN:
			if (is_emptied(c->hub))
				return 0;
			if (is_mark(&run.tag) && rest_left(c)) {
				rest(c, rest_left(c));
				return 0;
			}
			if (take_run(c, sub, &run) < 0)
				return -1;
			if (is_mark(&run.tag))
				look_for_rest(c);
			left -= run.len < left ? run.len : left;
			break;
		}
		if (c->out.is_behind || c->state != CONN_OPEN)
			return 0;
		if (left == 0) { /* the others' turn; delivery goes on when the socket is writable */
			writer_behind(&c->out, true);
			return 0;
		}
	}
}

int deliver(struct conn *c)
{
	if (c->out.is_behind)
		return 0;
	if (c->out.reply.len && writer_queued(&c->out) < 0)
		return -1;
	if (c->state != CONN_OPEN || c->out.is_behind)
		return 0;
	if (c->resync_due && !may_resync(c))
		return 0;
	if (c->resync_due && write_resync(c) < 0)
		return -1;
	if (c->out.is_behind || c->state != CONN_OPEN || c->n_subs == 0)
		return 0;
	return deliver_runs(c);
}

/* --- turns ----------------------------------------------------------------------------------------------------- */

void deliver_flush(struct conn *c)
{
	if (!c->out.is_behind && deliver(c) < 0)
		writer_kill(&c->out);
}

void deliver_reply(struct conn *c, unsigned char opcode, struct slice payload)
{
	if (c->state >= CONN_CLOSING)
		return;
	writer_queue(&c->out, opcode, payload);
	deliver_flush(c);
}

static void serve(struct conn *c)
{
	if (deliver(c) < 0)
		writer_kill(&c->out); /* not freed here: the library ends it from its own loop */
	else if (c->last_code && c->state == CONN_OPEN)
		conn_close_saying(c, c->last_code, c->last_words);
}

static void serve_channel(struct channel *ch)
{
	struct sub *s, *next;

	DL_FOREACH_SAFE(ch->subs, s, next) {
		if (next) { /* the kernel evicts the cache in each send */
			__builtin_prefetch(next->conn);
			__builtin_prefetch(next->next);
		}
		serve(s->conn);
	}
}

static void let_go(struct conn *c)
{
	struct missed missed = deliver_missed_range(c);
	bool lost = false;

	for (size_t i = 0; i < c->n_subs; i++)
		lost = cursor_fell_off(&c->subs[i].cursor, c->hub->published, &missed) || lost;
	if (!lost || is_emptied(c->hub))
		return;
	resync_because_lost(c, &missed);
	if (missed.close) {
		c->last_code = (uint16_t)missed.close;
		c->last_words = CONN_BY_A_CHANGE;
		conn_due(c, true);
	}
}

/* Connections that wait for their sockets, have a limit or rest, must not keep memory that the logs have dropped. */
static void let_go_of_dropped(struct conns *all)
{
	struct writer *w;
	struct conn *c;

	DL_FOREACH(all->writers.behind, w)
		let_go(conn_of_writer(w));
	DL_FOREACH2(all->limited, c, next_limited)
		let_go(c);
	DL_FOREACH2(all->resting, c, next_resting)
		let_go(c);
}

void deliver_note_committed(struct conns *all, const struct mail *mail)
{
	if (mail->committed && (!all->committed || mail->committed < all->committed))
		all->committed = mail->committed;
}

void deliver_turn(struct conns *all)
{
	struct channel *ch;
	struct conn *c;

	let_go_of_dropped(all);
	sent_begin(&all->sent, all->hub->shared->conf->admin.token != NULL);
	all->written = 0;
	while ((c = all->due)) {
		conn_due(c, false);
		serve(c);
	}
	while ((ch = channel_take_dirty(&all->channels)))
		serve_channel(ch);
	if (all->committed && all->written)
		metrics_observe(all->hub->counts, METRICS_COMMIT_TO_WRITTEN, clock_wall_us() - all->committed,
				all->written);
	all->committed = 0;
	sent_end(&all->sent);
}

int64_t deliver_rested(struct conns *all, int64_t now)
{
	int64_t wait = 0;
	struct conn *c, *next;

	DL_FOREACH_SAFE2(all->resting, c, next, next_resting) {
		int64_t left = c->rest_until - now;

		if (left > REST_TOGETHER) {
			wait = wait && wait < left ? wait : left;
			continue;
		}
		conn_rest(c, false);
		serve(c);
	}
	return wait;
}

static void on_rest(lws_sorted_usec_list_t *sul)
{
	struct conns *all = lws_container_of(sul, struct conns, rest);
	int64_t now = clock_us(), wait;

	all->rest_ends = 0;
	wait = deliver_rested(all, now);
	if (wait && all->resting)
		rest_in(all, lws_get_context(all->resting->out.wsi), now, wait);
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

void deliver_measure(struct conns *all, int64_t now)
{
	lsn_t published = all->hub->published, from = published;
	int64_t n = 0, oldest = now;
	struct writer *w;

	DL_FOREACH(all->writers.behind, w) {
		lsn_t unread = unread_from(conn_of_writer(w));

		n++;
		from = unread < from ? unread : from;
		oldest = w->behind_since < oldest ? w->behind_since : oldest;
	}
	metrics_set(all->hub->counts, METRICS_READERS_BEHIND, n);
	metrics_set(all->hub->counts, METRICS_READER_LAG_SECONDS, now - oldest);
	metrics_set(all->hub->counts, METRICS_READER_LAG_BYTES, (int64_t)(published - from));
}
