#include "walpush/intake/intake.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "ahead.h"
#include "look.h"
#include "parts.h"
#include "emit.h"
#include "walpush/base/fail.h"
#include "walpush/base/mem.h"
#include "walpush/base/memory.h"
#include "walpush/pg/source.h"

/*
 * The intake connects its parts, and only intake.c calls the owner. Invariants: `receiving` is the last one of `transactions`, or NULL; each
 * record of the queue belongs to one of them. All fields belong to the thread that called intake_new.
 */
struct intake {
	pthread_t home;
	const struct intake_calls *calls;
	void *ctx;
	struct outside *own; /* NULL: `outside` belongs to the caller */

	struct queue queue;
	struct transactions transactions;
	struct visible *visible;       /* when rows may be sent */
	struct transaction *receiving; /* between BEGIN and COMMIT, at the queue's end */
	struct relations *relations;   /* of the replication stream; pgoutput alone has them */
	struct asker asker;
	struct bind bind;
	struct skip skip;
	struct emit emit;
	struct look look;
	struct later later;
	struct heard heard, soon;
	struct txn *txn;
	const struct outside *outside;
	struct metrics_counts *counts;

	bool paused, running, waiting_catalog;
	bool heard_enough; /* the head waited for the log, and the record that is received ends the wait */
	uint64_t n_records;
	uint64_t catalog_covers; /* records up to this number were received before the catalog was read */
	lsn_t position;          /* of a keepalive, until the queue is empty; 0: none */
	int64_t answer_limit;    /* µs: limits.answer */
	uint32_t n_queries;      /* of the rules, as the breakers know them */
	uint64_t waiting;        /* the head's number, if it waits for answers alone; 0: it does not */
	uint64_t timed;          /* the same, while limits.answer runs for it */
	struct buf refetch;      /* intake_refetch: pairs of names, each ended by a zero */
};

static void intake_run(struct intake *in);

/* --- transactions ---------------------------------------------------------------------------------------------- */

static void transaction_free(struct intake *in, struct transaction *t)
{
	visible_leave(in->visible, t);
	visible_leave(in->asker.known, t);
	DL_DELETE(in->transactions.first, t);
	free(t);
}

static struct intake_place place_of(const struct intake *in, const struct transaction *t)
{
	struct intake_place place = { .is_first = in->transactions.first == t };

	if (t) {
		place.commit = t->lsn;
		place.xid = t->xid;
	}
	return place;
}

struct intake_place intake_place(const struct intake *in)
{
	return place_of(in, in->receiving);
}

/* The stream cannot go on because of the transaction `t`. NULL: the reason is outside a transaction. */
static void break_stream(struct intake *in, enum intake_broken kind, const struct transaction *t,
			 const struct fail *why)
{
	struct intake_place place = place_of(in, t);

	in->calls->broken(in->ctx, kind, &place, why);
}

/* --- handling the head ------------------------------------------------------------------------------------------ */

static void handle_begin(struct intake *in, const struct record *r)
{
	struct change change;
	struct fail why;

	if (r->transaction->repeated)
		return;
	if (!plugin_decode(&in->bind.decoder, NULL, r->text, &change, &why))
		fail_never("intake: a BEGIN that was decoded before is malformed: %s", why.text);
	txn_begin(in->txn, change.lsn, change.timestamp);
}

static void refetch(struct intake *in, const char *schema, const char *table)
{
	const struct rules_table *pattern;

	for (size_t i = 0; (pattern = rules_pattern_at(in->bind.rules, slice_of(schema), slice_of(table), i)); i++)
		for (size_t k = 0; k < pattern->n_sections; k++)
			txn_mark_gone(in->txn, pattern->sections[k], schema);
}

/* At the end, because another decoding of the transaction does not know of it: the numbers of the rows are the same. */
static void take_refetch(struct intake *in)
{
	const char *at = in->refetch.data, *end = at + in->refetch.len;

	while (at < end) {
		const char *table = at + strlen(at) + 1;

		refetch(in, at, table);
		at = table + strlen(table) + 1;
	}
	buf_fini(&in->refetch);
}

static void publish_head(struct intake *in, const struct transaction *t)
{
	struct txn_skipped skipped;

	if (t->is_ddl)
		txn_add_member(in->txn, NULL);
	txn_finish(in->txn, in->calls->is_half_told(in->ctx, t->lsn));
	if (in->refetch.len)
		take_refetch(in);
	if (txn_n_messages(in->txn) || txn_n_marks(in->txn) || txn_n_members(in->txn) || txn_skipped(in->txn, &skipped))
		in->calls->publish(in->ctx, in->txn, t->next_lsn);
	else
		in->calls->position(in->ctx, t->next_lsn);
}

static bool handle_commit(struct intake *in, const struct record *r)
{
	struct transaction *t = r->transaction;

	switch (look_at_commit(&in->look, t)) {
	case LOOK_ASK:
		in->calls->look(in->ctx);
		return false;
	case LOOK_WAIT:
		return false;
	case LOOK_GO_ON:
		break;
	}
	if (!t->repeated)
		publish_head(in, t);
	transaction_free(in, t);
	return true;
}

static bool handle_row(struct intake *in, struct record *r)
{
	struct fail why = { 0 };

	switch (emit_row(&in->emit, r, r->number <= in->catalog_covers, &why)) {
	case EMIT_OVER:
		return true;
	case EMIT_WAITS:
		if (r->asked)
			queue_asked(&in->queue, r);
		in->waiting = transaction_is_visible(r->transaction) ? r->number : 0;
		return false;
	case EMIT_HEARS:
		return false;
	case EMIT_STALE:
		in->catalog_covers = in->n_records;
		in->waiting_catalog = true;
		in->calls->stale_catalog(in->ctx);
		return false;
	case EMIT_BROKEN:
		break_stream(in, INTAKE_UNREADABLE, r->transaction, &why);
	}
	return false;
}

/* True: the head is handled. */
static bool handle(struct intake *in, struct record *r)
{
	switch (r->kind) {
	case 'B':
		handle_begin(in, r);
		return true;
	case 'C':
		return handle_commit(in, r);
	default:
		return handle_row(in, r);
	}
}

/* A head that waits for the log waits in vain while nothing is received. */
static void control_flow(struct intake *in)
{
	bool paused = in->queue.bytes > (in->paused ? INTAKE_BYTES / 2 : INTAKE_BYTES);

	if (paused == in->paused)
		return;
	in->paused = paused;
	in->calls->pause(in->ctx, paused);
	if (paused && (in->heard.need || in->soon.need))
		intake_run(in);
}

/* Records after the keepalive are handled too by now, so the position may be an old one. */
static void take_position(struct intake *in)
{
	lsn_t position = in->position;

	if (!position || !intake_is_idle(in))
		return;
	in->position = 0;
	in->calls->position(in->ctx, position);
}

/* --- limits.answer ----------------------------------------------------------------------------------------------- */

/* The row is made of its columns and of the answers that are there. The reason does not delay the rows after it. */
static void on_answer_limit(void *ctx)
{
	struct intake *in = ctx;
	struct record *r = in->queue.head;

	if (!r || !in->timed || r->number != in->timed)
		return;
	in->timed = 0;
	if (in->look.held)
		return; /* the limit begins again when the look is over */
	metrics_add(in->counts, METRICS_ROWS_UNANSWERED, 1);
	questions_late(in->asker.questions);
	answers_give_up(&r->answers);
	r->given_up = true;
	intake_run(in);
}

/* The limit is for all questions of one row together, from the moment when only they are missing. */
static void time_head(struct intake *in)
{
	if (in->waiting && in->waiting != in->timed)
		in->outside->wake(in->outside->at, OUTSIDE_TIMER_ANSWER, in->answer_limit, on_answer_limit, in);
	in->timed = in->waiting;
}

/* --- running ------------------------------------------------------------------------------------------------------ */

/* Handles as many records as it can, and asks ahead. Called whenever the head may have become ready. A call from within itself does nothing. */
static void intake_run(struct intake *in)
{
	assert(pthread_equal(in->home, pthread_self()));
	if (in->running || in->waiting_catalog || in->look.held)
		return;
	in->running = true;
	in->waiting = 0;
	in->heard_enough = false;
	while (in->queue.head && handle(in, in->queue.head))
		queue_pop(&in->queue);
	if (in->queue.head && !in->waiting_catalog)
		ahead_ask(&in->queue, in->visible, &in->asker, &in->bind);
	questions_sent(in->asker.questions);
	plugin_decoder_rest(&in->bind.decoder);
	plugin_decoder_rest(&in->later.bind.decoder);
	in->running = false;
	time_head(in);
	take_position(in);
	control_flow(in);
}

/* --- receipt --------------------------------------------------------------------------------------------------- */

/* Everything that commits below was received. True: the head need not wait any longer for it. */
static bool moved(struct intake *in, lsn_t upto)
{
	bool content = heard_moved(&in->heard, upto), receivers = heard_moved(&in->soon, upto);

	return content || receivers;
}

/* The same by a record, which is queued first. */
static void hear(struct intake *in, lsn_t upto)
{
	in->heard_enough |= moved(in, upto);
}

static struct transaction *begin(struct intake *in, const struct change *change, lsn_t given)
{
	struct transaction *t = mem_new(sizeof(*t));

	t->xid = change->xid;
	t->lsn = change->lsn;
	t->next_lsn = change->next_lsn;
	t->repeated = change->lsn < given;
	t->number = ++in->transactions.n;
	DL_APPEND(in->transactions.first, t);
	hear(in, t->lsn);
	return t;
}

/* A COMMIT of pgoutput has no xid. */
static bool is_of(const struct change *commit, const struct transaction *t)
{
	return commit->xid ? commit->xid == t->xid : commit->lsn == t->lsn;
}

/* BEGIN and COMMIT are decoded at once, because they decide the transaction of the other records. */
static bool receive_frame(struct intake *in, struct record *r, lsn_t given, struct fail *why)
{
	struct change change;

	if (!plugin_decode(&in->bind.decoder, NULL, r->text, &change, why))
		return false;
	if (change.kind == CHANGE_COMMIT) {
		r->transaction = in->receiving;
		if (!in->receiving || !is_of(&change, in->receiving))
			return fail_set(why, "a COMMIT came without its BEGIN");
		in->receiving->next_lsn = change.next_lsn;
		skip_note_end(&in->skip, in->receiving);
		in->receiving = NULL;
		hear(in, r->transaction->next_lsn);
		return true;
	}
	if (in->receiving)
		return fail_set(why, "a BEGIN came inside of a transaction");
	in->receiving = r->transaction = begin(in, &change, given);
	return true;
}

static bool receive(struct intake *in, struct record *r, lsn_t given, struct fail *why)
{
	if (record_is_frame(r))
		return receive_frame(in, r, given, why);
	if (!in->receiving)
		return fail_set(why, "a row came outside of a transaction");
	r->transaction = in->receiving;
	visible_want(in->visible, r->transaction);
	return true;
}

/* A message is never queued: it costs only a look at its first bytes, so a transaction may have any number of them. */
static void receive_message(struct intake *in, struct slice text)
{
	struct transaction *t = in->receiving;

	if (!t)
		return;
	skip_note_size(t, text.len);
	if (t->repeated || !plugin_is_ddl(text))
		return;
	t->is_ddl = true;
	visible_want(in->visible, t);
}

/* Logical messages, inside a transaction or outside, actions of a newer wal2json, and what pgoutput says of tables, types and origins. Any role may
 * send messages, so they are not kept and not logged. */
static bool is_passed_over(char kind, bool is_pgoutput)
{
	return kind && (is_pgoutput ? strchr("ROYM", kind) != NULL : strchr("BCIUDT", kind) == NULL);
}

static void enqueue(struct intake *in, struct record *r)
{
	queue_push(&in->queue, r);
	/* While the head waits, a record only joins the queue. Its questions are still asked in time, because every answer calls intake_run. */
	if (in->queue.head == r || in->queue.ask_next == r || in->heard_enough)
		intake_run(in);
	else
		control_flow(in);
}

/* False: the stream is broken. */
static bool take_record(struct intake *in, struct record *r, lsn_t given)
{
	const struct transaction *t = in->receiving;
	enum intake_broken kind = INTAKE_UNREADABLE;
	struct fail why = { 0 };

	if (receive(in, r, given, &why)) {
		if (record_is_frame(r) || skip_receive(&in->skip, in->outside, r, &why)) {
			enqueue(in, r);
			return true;
		}
		t = r->transaction;
		kind = INTAKE_NO_MEMORY;
	}
	record_free(r);
	break_stream(in, kind, t, &why);
	return false;
}

/* A row of pgoutput, or a TRUNCATE of one table. */
static bool take_row(struct intake *in, char *bytes, struct slice text, lsn_t given)
{
	struct fail why = { 0 };
	struct relation *relation = relations_find(in->relations, text, 0, &why);

	if (relation)
		return take_record(in, record_new(bytes, text, relation, ++in->n_records), given);
	source_free_record(bytes);
	break_stream(in, INTAKE_UNREADABLE, in->receiving, &why);
	return false;
}

/* A TRUNCATE of several tables: one record for each. */
static void take_truncates(struct intake *in, struct slice text, size_t n, lsn_t given)
{
	bool goes_on = true;

	for (size_t i = 0; goes_on && i < n; i++) {
		char *one = mem_new(RELATION_TRUNCATE_BYTES);

		goes_on = take_row(in, one, relations_truncate(text, i, one), given);
	}
}

/* What is no record: it only says something about records. */
static void pass_over(struct intake *in, char kind, struct slice text)
{
	struct fail why = { 0 };

	if (kind == 'M')
		receive_message(in, text);
	else if (relation_is_told(text) && !relations_take(in->relations, text, &why))
		break_stream(in, INTAKE_UNREADABLE, in->receiving, &why);
}

void intake_record(struct intake *in, char *bytes, struct slice text, lsn_t given)
{
	char kind = plugin_kind(text);
	size_t n = relations_count(text);

	if (is_passed_over(kind, plugin_is_pgoutput(text))) {
		pass_over(in, kind, text);
		source_free_record(bytes);
	} else if (n == 1) {
		take_row(in, bytes, text, given);
	} else if (n) {
		take_truncates(in, text, n, given);
		source_free_record(bytes);
	} else {
		take_record(in, record_new(bytes, text, NULL, ++in->n_records), given);
	}
}

void intake_position(struct intake *in, lsn_t end)
{
	if (in->receiving)
		return;
	in->position = end;
	if (moved(in, end))
		intake_run(in);
	take_position(in);
}

/* --- the owner's look ------------------------------------------------------------------------------------------- */

void intake_looks(struct intake *in, bool held)
{
	look_begin(&in->look, in->transactions.first, in->receiving, held);
}

void intake_looked(struct intake *in)
{
	look_end(&in->look);
	intake_run(in);
}

bool intake_zone(struct intake *in, const char *zone)
{
	return plugin_decoder_zone(&in->bind.decoder, zone);
}

void intake_forget_looks(struct intake *in)
{
	look_forget(&in->look);
}

/* --- callbacks of visible and questions --------------------------------------------------------------------------- */

static void nothing(void *ctx)
{
	(void)ctx;
}

static void on_asked(void *ctx)
{
	struct intake *in = ctx;

	questions_forget(in->asker.questions);
}

static void on_again(void *ctx)
{
	struct intake *in = ctx;

	questions_forget(in->asker.questions);
	ahead_again(&in->queue);
}

static void on_more(void *ctx)
{
	intake_run(ctx);
}

static void on_leaves(void *ctx)
{
	struct intake *in = ctx;

	visible_withdraw(in->asker.known);
}

static void on_replaced(void *ctx)
{
	struct intake *in = ctx;

	visible_replaced(in->asker.known);
}

static void on_ask(void *ctx)
{
	struct intake *in = ctx;

	in->calls->hear(in->ctx);
}

static void on_promoted(void *ctx)
{
	struct intake *in = ctx;

	in->calls->promoted(in->ctx);
}

static const struct heard_calls heard_calls = { on_ask, on_more };
static const struct visible_calls visible_calls = { nothing, nothing, on_more, on_promoted };
static const struct visible_calls known_calls = { on_asked, on_again, on_more, on_promoted };
static const struct questions_calls questions_calls = { on_more, on_leaves, on_replaced };

void intake_session_lost(struct intake *in, const struct sqlpipe *lost)
{
	if (!in->own || outside_questions_on(in->own, lost))
		questions_session_lost(in->asker.questions);
	intake_run(in);
}

/* --- life ------------------------------------------------------------------------------------------------------ */

void intake_clear(struct intake *in)
{
	while (in->queue.head)
		queue_pop(&in->queue);
	while (in->transactions.first)
		transaction_free(in, in->transactions.first);
	visible_forget(in->visible);
	visible_forget(in->asker.known);
	in->receiving = NULL;
	relations_forget(in->relations);
	in->position = 0;
	in->skip.large = 0;
	heard_clear(&in->heard);
	heard_clear(&in->soon);
	later_rules(&in->later, &in->queue, in->bind.rules);
	look_clear(&in->look);
	control_flow(in);
}

struct intake *intake_new_in(const struct outside *outside, const struct conf_limits *limits,
			     struct metrics_counts *counts, const struct intake_calls *calls, void *ctx)
{
	struct intake *in = mem_new(sizeof(*in));

	in->home = pthread_self();
	in->outside = outside;
	in->calls = calls;
	in->ctx = ctx;
	in->counts = counts;
	in->asker.questions = questions_new(outside, counts, &questions_calls, in);
	in->asker.known = visible_new(outside, OUTSIDE_QUESTIONS, &in->transactions, &known_calls, in);
	in->asker.heard = &in->heard;
	in->asker.reads = calls->reads;
	in->asker.ctx = ctx;
	in->visible = visible_new(outside, OUTSIDE_ROWS, &in->transactions, &visible_calls, in);
	in->waiting_catalog = true;
	in->relations = relations_new();
	bind_init(&in->bind);
	later_init(&in->later);
	in->heard = (struct heard){ .outside = outside, .calls = &heard_calls, .ctx = in, .patience = HEARD_PATIENCE };
	in->soon = (struct heard){ .outside = outside, .calls = &heard_calls, .ctx = in, .patience = HEARD_SOON };
	in->emit = (struct emit){ .bind = &in->bind,
				  .asker = &in->asker,
				  .skip = &in->skip,
				  .queue = &in->queue,
				  .later = &in->later,
				  .heard = &in->heard,
				  .soon = &in->soon,
				  .counts = counts,
				  .is_full = &in->paused };
	intake_limits(in, limits);
	return in;
}

struct intake *intake_new(struct event_base *loop, const struct conf_limits *limits, struct sqlpipe *rows,
			  struct sqlpipe *const questions[2], struct metrics_counts *counts,
			  const struct intake_calls *calls, void *ctx)
{
	struct outside_pipes pipes = { rows, { questions[0], questions[1] } };
	struct outside *outside = outside_new(loop, &pipes);
	struct intake *in = intake_new_in(outside, limits, counts, calls, ctx);

	in->own = outside;
	return in;
}

void intake_free(struct intake *in)
{
	if (!in)
		return;
	intake_clear(in);
	questions_free(in->asker.questions);
	visible_free(in->asker.known);
	visible_free(in->visible);
	bind_fini(&in->bind);
	relations_free(in->relations);
	later_fini(&in->later);
	txn_free(in->txn);
	outside_free(in->own);
	buf_fini(&in->refetch);
	free(in);
}

static bool overlap(void *ctx, uint32_t a, uint32_t b)
{
	struct intake *in = ctx;

	return in->calls->overlap(in->ctx, a, b);
}

static void close_breakers(struct intake *in)
{
	in->n_queries = (uint32_t)rules_n_row_queries(in->bind.rules);
	questions_texts(in->asker.questions, in->n_queries, overlap, in);
}

static void take_limits(struct intake *in, const struct conf_limits *limits)
{
	in->skip.record_bytes = (size_t)memory_record_bytes((uint64_t)limits->record_bytes);
	in->answer_limit = limits->answer * 1000;
	questions_limit(in->asker.questions, in->answer_limit);
}

/* Rules of another configuration may follow, with other queries: until then a breaker opens for its own text alone, and nobody is told of it. */
void intake_reload(struct intake *in, const struct conf_limits *limits)
{
	const struct rules *rules = in->bind.rules;

	take_limits(in, limits);
	in->n_queries = 0;
	questions_texts(in->asker.questions, rules ? (uint32_t)rules_n_row_queries(rules) : 0, NULL, NULL);
}

void intake_standby(struct intake *in, bool is_standby)
{
	visible_of(in->visible, is_standby);
	visible_of(in->asker.known, is_standby);
}

void intake_refetch(struct intake *in, const char *schema, const char *table)
{
	buf_add(&in->refetch, schema, strlen(schema) + 1);
	buf_add(&in->refetch, table, strlen(table) + 1);
}

void intake_async_commits(struct intake *in, bool is_async)
{
	questions_async(in->asker.questions, is_async);
}

void intake_limits(struct intake *in, const struct conf_limits *limits)
{
	struct txn_limits bounds = {
		.bulk = (uint64_t)limits->bulk,
		.bytes = (size_t)limits->transaction_bytes,
		.row_bytes = (size_t)limits->row_bytes,
	};

	assert(!in->queue.head);
	take_limits(in, limits);
	in->asker.bulk = bounds.bulk;
	txn_free(in->txn);
	in->txn = in->emit.txn = txn_new(&bounds);
}

void intake_rules(struct intake *in, const struct rules *rules)
{
	in->bind.rules = rules;
	later_rules(&in->later, &in->queue, rules);
	if (in->n_queries != rules_n_row_queries(rules))
		close_breakers(in);
	questions_forget(in->asker.questions); /* the same name may belong to another query now */
	in->waiting_catalog = false;
	intake_run(in);
}

/* --- state ------------------------------------------------------------------------------------------------------- */

bool intake_is_idle(const struct intake *in)
{
	return !in->queue.head && !in->transactions.first;
}

size_t intake_bytes(const struct intake *in)
{
	return in->queue.bytes;
}

bool intake_owes(const struct intake *in)
{
	const struct transaction *first = in->transactions.first;

	return first && first != in->receiving;
}

int64_t intake_blind_since(const struct intake *in)
{
	const struct transaction *t = in->queue.head ? in->queue.head->transaction : NULL;
	const struct sight *sight = t ? &t->sights[OUTSIDE_ROWS] : NULL;

	return sight && sight->wanted && !sight->visible ? sight->since : 0;
}

uint64_t intake_skipped(const struct intake *in)
{
	return in->skip.n;
}

lsn_t intake_large(const struct intake *in)
{
	return in->skip.large;
}

void intake_each_left_out(const struct intake *in, void (*each)(void *ctx, const struct intake_left_out *q), void *ctx)
{
	const struct breakers *breakers = questions_breakers(in->asker.questions);
	struct breaker_state state;

	for (uint32_t i = 0; i < in->n_queries; i++) {
		struct intake_left_out q = { .query = i };

		if (!breakers_state(breakers, i, &state))
			continue;
		q.cause = state.cause;
		q.reason = breaker_reason_text(state.reason);
		q.since = state.since;
		each(ctx, &q);
	}
}

unsigned intake_n_left_out(const struct intake *in)
{
	return breakers_open(questions_breakers(in->asker.questions));
}

bool intake_is_full(const struct intake *in)
{
	return in->paused;
}
