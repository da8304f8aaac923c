#include "parts.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "walpush/base/fail.h"
#include "walpush/base/mem.h"
#include "walpush/base/memory.h"

/* --- records --------------------------------------------------------------------------------------------------- */

void intake_record_free(struct record *r)
{
	intake_drop_answers(r);
	source_free_record(r->bytes);
	free(r->names);
	free(r);
}

static size_t record_cost(const struct record *r)
{
	return r->text.len + sizeof(*r) + 64;
}

static void pop_head(struct intake *in)
{
	struct record *r = in->head;

	in->head = r->next;
	if (!in->head)
		in->tail = &in->head;
	if (in->ask_next == r)
		in->ask_next = r->next;
	in->bytes -= record_cost(r);
	intake_record_free(r);
}

static void transaction_free(struct intake *in, struct transaction *t)
{
	if (t->wanted && !t->visible)
		in->n_unseen--;
	DL_DELETE(in->transactions, t);
	free(t);
}

/* wal2json prints the action first. Anything else is found out when the record is decoded. */
static char kind_of(struct slice text)
{
	static const char start[] = "{\"action\":\"";

	if (text.len <= sizeof(start) || memcmp(text.at, start, sizeof(start) - 1) != 0)
		return 0;
	return text.at[sizeof(start) - 1];
}

/* --- transactions ---------------------------------------------------------------------------------------------- */

static struct intake_place place_of(const struct intake *in, const struct transaction *t)
{
	struct intake_place place = { .is_first = in->transactions == t };

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

void intake_break(struct intake *in, enum intake_broken kind, const struct transaction *t, const struct fail *why)
{
	struct intake_place place = place_of(in, t);

	in->calls->broken(in->ctx, kind, &place, why);
}

static void handle_begin(struct intake *in, const struct record *r)
{
	struct change change;
	struct fail why;

	if (r->transaction->repeated)
		return;
	if (!decode_record(in->decoder, r->text, &change, &why))
		fail_never("a BEGIN that was decoded before is malformed: %s",
			   why.text); /* it was decoded when it came */
	txn_begin(in->txn, change.lsn, change.timestamp);
}

static bool handle_commit(struct intake *in, const struct record *r)
{
	struct transaction *t = r->transaction;
	struct txn_skipped skipped;

	if (!intake_is_looked_at(in, t))
		return false;
	if (!t->repeated) {
		if (t->is_ddl)
			txn_add_member(in->txn, NULL);
		txn_finish(in->txn);
		if (txn_n_messages(in->txn) || txn_n_marks(in->txn) || txn_n_members(in->txn) ||
		    txn_skipped(in->txn, &skipped))
			in->calls->publish(in->ctx, in->txn, t->next_lsn);
		else
			in->calls->handled(in->ctx, t->next_lsn);
	}
	transaction_free(in, t);
	return true;
}

/* True when the head is done with. */
static bool handle(struct intake *in, struct record *r)
{
	switch (r->kind) {
	case 'B':
		handle_begin(in, r);
		return true;
	case 'C':
		return handle_commit(in, r);
	default:
		return intake_handle_row(in, r);
	}
}

static void control_flow(struct intake *in)
{
	bool paused = in->bytes > (in->paused ? INTAKE_BYTES / 2 : INTAKE_BYTES);

	if (paused == in->paused)
		return;
	in->paused = paused;
	in->calls->pause(in->ctx, paused);
}

/* What came behind the keepalive is handled as well by now, so the position may be an old one. */
static void take_position(struct intake *in)
{
	lsn_t position = in->position;

	if (!position || in->head || in->transactions)
		return;
	in->position = 0;
	in->calls->handled(in->ctx, position);
}

void intake_run(struct intake *in)
{
	if (in->running || in->waiting_catalog || in->look.held)
		return;
	in->running = true;
	while (in->head && handle(in, in->head))
		pop_head(in);
	if (in->head && !in->waiting_catalog)
		intake_ask_ahead(in);
	in->running = false;
	take_position(in);
	control_flow(in);
}

/* --- receipt --------------------------------------------------------------------------------------------------- */

/* BEGIN and COMMIT are decoded at once: they frame all the rest. */
static bool receive_frame(struct intake *in, struct record *r, lsn_t handled, struct fail *why)
{
	struct change change;
	struct transaction *t;

	if (!decode_record(in->decoder, r->text, &change, why))
		return false;
	if (change.kind == CHANGE_COMMIT) {
		r->transaction = in->receiving;
		if (!in->receiving || in->receiving->xid != change.xid)
			return fail_set(why, "a COMMIT came without its BEGIN");
		in->receiving = NULL;
		return true;
	}
	if (in->receiving)
		return fail_set(why, "a BEGIN came inside of a transaction");
	t = mem_new(sizeof(*t));
	t->number = ++in->n_transactions;
	t->xid = change.xid;
	t->lsn = change.lsn;
	t->next_lsn = change.next_lsn;
	t->repeated = change.lsn < handled;
	DL_APPEND(in->transactions, t);
	in->receiving = r->transaction = t;
	return true;
}

static bool receive(struct intake *in, struct record *r, lsn_t handled, struct fail *why)
{
	if (r->kind == 'B' || r->kind == 'C')
		return receive_frame(in, r, handled, why);
	if (!in->receiving)
		return fail_set(why, "a row came outside of a transaction");
	r->transaction = in->receiving;
	intake_must_be_seen(in, r->transaction);
	return true;
}

/* Logical messages, inside of a transaction or not, and actions that a newer plugin may have. Any role may send messages, so they
 * are not kept, and leave no line in the log. */
static bool is_passed_over(char kind)
{
	return kind && !strchr("BCIUDT", kind);
}

static void enqueue(struct intake *in, struct record *r)
{
	*in->tail = r;
	in->tail = &r->next;
	if (!in->ask_next)
		in->ask_next = r;
	in->bytes += record_cost(r);
	/* Behind a head that waits, a record only joins the queue; questions are asked in time because every answer runs the queue. */
	if (in->head == r || in->ask_next == r)
		intake_run(in);
	else
		control_flow(in);
}

void intake_record(struct intake *in, char *bytes, struct slice text, lsn_t handled)
{
	char kind = kind_of(text);
	struct record *r;
	struct fail why = { 0 };

	if (is_passed_over(kind)) {
		if (kind == 'M')
			intake_message(in, text);
		source_free_record(bytes);
		return;
	}
	r = mem_new(sizeof(*r));
	r->bytes = bytes;
	r->text = text;
	r->kind = kind;
	r->number = ++in->n_records;
	if (!receive(in, r, handled, &why)) {
		intake_record_free(r);
		intake_break(in, INTAKE_UNREADABLE, in->receiving, &why);
	} else if (r->kind == 'B' || r->kind == 'C' || intake_fits(in, r)) {
		enqueue(in, r);
	}
}

void intake_position(struct intake *in, lsn_t end)
{
	if (in->receiving)
		return;
	in->position = end;
	take_position(in);
}

void intake_clear(struct intake *in)
{
	struct transaction *t, *next;

	while (in->head)
		pop_head(in);
	DL_FOREACH_SAFE(in->transactions, t, next)
		transaction_free(in, t);
	intake_forget_snapshot(in);
	in->receiving = NULL;
	in->position = 0;
	in->large = 0;
	in->fruitless = 0;
	in->look.wanted = false;
	control_flow(in);
}

/* --- life ------------------------------------------------------------------------------------------------------ */

static void on_answer(void *ctx)
{
	intake_run(ctx);
}

struct intake *intake_new(struct event_base *loop, const struct conf_limits *limits, struct sqlpipe *sql,
			  struct metrics_counts *counts, const struct intake_calls *calls, void *ctx)
{
	struct intake *in = mem_new(sizeof(*in));

	in->loop = loop;
	in->sql = sql;
	in->questions = questions_new(sql, counts, on_answer, in);
	in->calls = calls;
	in->ctx = ctx;
	in->tail = &in->head;
	in->waiting_catalog = true;
	in->decoder = decoder_new();
	intake_limits(in, limits);
	intake_visible_init(in);
	return in;
}

void intake_free(struct intake *in)
{
	if (!in)
		return;
	intake_clear(in);
	questions_free(in->questions);
	intake_visible_fini(in);
	decoder_free(in->decoder);
	row_fini(&in->row);
	txn_free(in->txn);
	buf_fini(&in->scratch);
	free(in);
}

void intake_record_limit(struct intake *in, const struct conf_limits *limits)
{
	in->record_bytes = (size_t)memory_record_bytes((uint64_t)limits->record_bytes);
}

void intake_limits(struct intake *in, const struct conf_limits *limits)
{
	struct txn_limits bounds = {
		.bulk = (uint64_t)limits->bulk,
		.bytes = (size_t)limits->transaction_bytes,
		.row_bytes = (size_t)limits->row_bytes,
	};

	assert(!in->head);
	intake_record_limit(in, limits);
	in->bulk = bounds.bulk;
	txn_free(in->txn);
	in->txn = txn_new(&bounds);
}

void intake_rules(struct intake *in, const struct rules *rules)
{
	in->rules = rules;
	questions_forget(in->questions); /* the same name may be another query's now */
	in->waiting_catalog = false;
	intake_run(in);
}

bool intake_is_idle(const struct intake *in)
{
	return !in->head && !in->transactions;
}

size_t intake_bytes(const struct intake *in)
{
	return in->bytes;
}

bool intake_owes(const struct intake *in)
{
	return in->transactions && in->transactions != in->receiving;
}

int64_t intake_blind_since(const struct intake *in)
{
	const struct transaction *t = in->head ? in->head->transaction : NULL;

	return t && t->wanted && !t->visible ? t->wanted_at : 0;
}

uint64_t intake_skipped(const struct intake *in)
{
	return in->n_skipped;
}

lsn_t intake_large(const struct intake *in)
{
	return in->large;
}

bool intake_is_full(const struct intake *in)
{
	return in->paused;
}
