#include "walpush/intake.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "walpush/clock.h"
#include "walpush/log.h"
#include "walpush/mem.h"
#include "walpush/repeat.h"
#include "walpush/questions.h"
#include "walpush/snapshot.h"
#include "walpush/source.h"

#define SNAPSHOT_SQL "SELECT pg_catalog.pg_current_snapshot()"
/* A transaction that is not visible yet is looked for again at once this many times, then after 1 ms, doubling to 32 ms: most are
 * visible within a few milliseconds; under synchronous replication it can take without bound. */
#define AT_ONCE 8
#define WAIT_MOST_MS 32
/* A snapshot is of use for so long (µs): xids have 32 bits, and must not come round meanwhile. */
#define SNAPSHOT_AGE 10000000

struct transaction { /* from its BEGIN's receipt until its COMMIT is handled */
	struct transaction *prev, *next;
	uint64_t number;
	uint32_t xid;
	lsn_t lsn, next_lsn;
	bool repeated; /* handled before a reconnect */
	bool wanted;   /* it has rows: it must be visible before they are handled */
	bool visible;
	uint64_t questioned; /* rows whose sections asked something */
};

struct answers { /* of one section of a row; NULL: not asked */
	struct question *lookup, *data, *actor;
	bool left_out; /* neither lookup nor data was asked: there were too many */
};

struct record {
	struct record *next;
	char *bytes;
	struct slice text;
	uint64_t number;
	char kind; /* of wal2json's action: B C I U D T M, or 0 */
	bool asked;
	struct transaction *transaction;
	struct answers *answers; /* one a section; NULL: nothing was asked */
	size_t n_answers;
};

struct intake {
	struct event_base *loop;
	struct sqlpipe *sql;
	const struct intake_calls *calls;
	void *ctx;
	const struct rules *rules;
	uint64_t bulk;

	struct record *head, **tail; /* a singly linked queue */
	struct record *ask_next;     /* the first that was not asked */
	size_t bytes;
	struct questions *questions; /* shared from one snapshot's asking to the next one's */
	bool paused, running, waiting_catalog;
	uint64_t n_records;
	lsn_t position;          /* a keepalive's, which waits for what is queued; 0: none */
	uint64_t catalog_covers; /* records up to this number were received before the catalog was read */
	const char *said_missing;

	struct transaction *receiving;    /* between BEGIN and COMMIT, at the queue's end */
	struct transaction *transactions; /* all that are not handled yet, in order */
	uint64_t n_transactions;
	unsigned n_unseen; /* wanted and not visible */
	struct sqlpipe_query *snapshot;
	uint64_t snapshot_covers; /* transactions up to this number were received before it was asked */
	struct snapshot seen;     /* the last one */
	int64_t seen_at;          /* µs; 0: there is none */
	unsigned fruitless;
	struct event *again;
	struct repeat trouble;

	struct decoder *decoder;
	struct row row;
	struct txn *txn;
	struct buf scratch;
};

static void intake_run(struct intake *in);

/* --- records --------------------------------------------------------------------------------------------------- */

static void drop_answers(struct record *r)
{
	for (size_t i = 0; i < r->n_answers; i++) {
		question_unref(r->answers[i].lookup);
		question_unref(r->answers[i].data);
		question_unref(r->answers[i].actor);
	}
	free(r->answers);
	r->answers = NULL;
	r->n_answers = 0;
}

static void record_free(struct record *r)
{
	drop_answers(r);
	source_free_record(r->bytes);
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
	record_free(r);
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

/* --- visible first --------------------------------------------------------------------------------------------- */

static void ask_snapshot(struct intake *in);

/* The answers came from before the transaction was visible: they are asked for again. */
static void ask_again(struct intake *in)
{
	struct record *first = NULL;

	questions_forget(in->questions);
	for (struct record *r = in->head; r && r != in->ask_next; r = r->next) {
		if (!r->asked || r->transaction->visible)
			continue;
		drop_answers(r);
		r->asked = false;
		r->transaction->questioned = 0;
		first = first ? first : r;
	}
	if (first)
		in->ask_next = first;
}

static void saw(struct intake *in, const struct snapshot *snapshot)
{
	struct transaction *t;
	bool progress = false, all = true;

	DL_FOREACH(in->transactions, t) {
		if (t->visible || !t->wanted)
			continue;
		if (snapshot_sees(snapshot, t->xid)) {
			t->visible = progress = true;
			in->n_unseen--;
		} else if (t->number <= in->snapshot_covers) {
			all = false;
		}
	}
	in->fruitless = progress ? 0 : in->fruitless + 1;
	if (!all)
		ask_again(in);
}

static void say_blind(struct intake *in, const struct fail *why)
{
	unsigned times;
	enum log_level level = repeat_level(&in->trouble, LOG_LEVEL_ERROR, why->text, clock_us(), &times);

	log_write(level, "cannot tell which transactions are visible; asking again",
		  LOG_FIELDS(log_s("error", why->text), log_s("sqlstate", why->sqlstate), log_n("times", times)));
}

static void on_snapshot(void *ctx, struct sqlrows *rows, const struct fail *why)
{
	struct intake *in = ctx;
	struct snapshot snapshot = { 0 };
	struct fail bad = { 0 };

	in->snapshot = NULL;
	if (!rows || rows->n_rows != 1 || !snapshot_parse(slice_of(sqlrows_get(rows, 0, 0)), &snapshot, &bad)) {
		say_blind(in, why ? why : &bad);
		in->fruitless = AT_ONCE + 10; /* the longest wait */
		ask_again(in);
	} else {
		saw(in, &snapshot);
		snapshot_fini(&in->seen);
		in->seen = snapshot;
		in->seen_at = clock_us();
	}
	sqlrows_free(rows);
	ask_snapshot(in);
	intake_run(in);
}

static void on_again(evutil_socket_t fd, short what, void *arg)
{
	struct intake *in = arg;

	(void)fd;
	(void)what;
	in->fruitless++;
	ask_snapshot(in);
	intake_run(in);
}

/*
 * One question for all that wait, and never two at a time. The rows' own questions follow on the same connection without waiting
 * for the answer: the server takes them in order, so they see at least what the snapshot sees, and are good if that turns out to
 * be enough. What was asked before the snapshot may see less, and is not shared any more.
 */
static void ask_snapshot(struct intake *in)
{
	unsigned late = in->fruitless;

	if (in->snapshot || !in->n_unseen || event_pending(in->again, EV_TIMEOUT, NULL))
		return;
	if (late >= AT_ONCE && (late - AT_ONCE) % 2 == 0) {
		int64_t ms = late - AT_ONCE >= 10 ? WAIT_MOST_MS : 1 << ((late - AT_ONCE) / 2);
		struct timeval wait = clock_timeval(ms * 1000);

		event_add(in->again, &wait);
		return;
	}
	in->snapshot_covers = in->n_transactions;
	questions_forget(in->questions);
	in->snapshot = sqlpipe_ask(in->sql, "snapshot", SNAPSHOT_SQL, 0, NULL, on_snapshot, in);
}

/* Done is done for good: a transaction of a backlog was so before it was received, and an earlier snapshot may know. What was asked since
 * that one sees it as well. */
static bool was_seen(const struct intake *in, const struct transaction *t)
{
	return in->seen_at && clock_us() - in->seen_at < SNAPSHOT_AGE && snapshot_sees(&in->seen, t->xid);
}

static void must_be_seen(struct intake *in, struct transaction *t)
{
	if (t->wanted || t->repeated)
		return;
	t->wanted = true;
	t->visible = was_seen(in, t);
	if (t->visible)
		return;
	in->n_unseen++;
	ask_snapshot(in);
}

/* --- questions ------------------------------------------------------------------------------------------------- */

static const struct question_kind lookup_kind = {
	.failed = "a lookup failed; its groups are told to refetch",
	.mend = "correct the `lookup` query, or grant SELECT on what it reads",
};
static const struct question_kind data_kind = {
	.failed = "a data query failed; `data` has the row's columns",
	.mend = "correct the `data-query`, or grant SELECT on what it reads",
	.no_json = "a data query does not return JSON; `data` has the row's columns",
};
static const struct question_kind actor_kind = {
	.failed = "the actor query failed; updated_by is null",
	.mend = "correct `actor.query`, or grant SELECT on what it reads",
};

static void on_answer(void *ctx)
{
	intake_run(ctx);
}

static struct question *ask_about_row(struct intake *in, const struct route_plan *plan,
				      const struct question_kind *kind, const struct rules_query *q)
{
	char **values = mem_new_array(q->source.n_refs, sizeof(char *));
	struct question *asked;
	size_t n = 0;

	for (size_t i = 0; i < q->source.n_parts; i++) {
		if (!q->source.parts[i].is_ref)
			continue;
		buf_clear(&in->scratch);
		if (route_param(plan, &q->source.parts[i], &in->scratch))
			values[n] = mem_text_of(buf_slice(&in->scratch));
		n++;
	}
	asked = questions_ask(in->questions, kind, q, n, (const char *const *)values);
	for (size_t i = 0; i < n; i++)
		free(values[i]);
	free(values);
	return asked;
}

static struct question *ask_actor(struct intake *in, const struct route_plan *plan)
{
	const struct rules_query *q = rules_actor(in->rules);
	const struct column *id = row_value(plan->row, (size_t)plan->actor_column);
	const char *values[16];

	buf_clear(&in->scratch);
	if (!id || !row_text(id, &in->scratch))
		return NULL;
	assert(q->source.n_refs <= sizeof(values) / sizeof(*values));
	for (size_t i = 0; i < q->source.n_refs; i++)
		values[i] = in->scratch.data;
	return questions_ask(in->questions, &actor_kind, q, q->source.n_refs, values);
}

static bool is_open(const struct question *q)
{
	return q && !question_is_answered(q);
}

static bool is_answered(const struct record *r)
{
	for (size_t i = 0; i < r->n_answers; i++)
		if (is_open(r->answers[i].lookup) || is_open(r->answers[i].data) || is_open(r->answers[i].actor))
			return false;
	return true;
}

/* --- rows ------------------------------------------------------------------------------------------------------ */

enum bound { BOUND, BOUND_NOT_LISTED, BOUND_STALE, BOUND_CORRUPT };

/* Decodes the record into in->row. */
static enum bound bind_row(struct intake *in, const struct record *r, struct change *change,
			   const struct rules_table **table)
{
	struct fail why = { 0 };

	if (!decode_record(in->decoder, r->text, change, &why)) {
		log_error("a record is not in wal2json's format; all tables' groups are told to refetch",
			  log_s("error", why.text), log_n("offset", why.offset), log_lsn("commit", r->transaction->lsn),
			  log_s("mend", "report it with the versions of PostgreSQL and wal2json"));
		return BOUND_CORRUPT;
	}
	if (change->kind == CHANGE_MESSAGE)
		return BOUND_NOT_LISTED;
	*table = rules_find(in->rules, change->schema, change->table);
	if (!*table)
		return BOUND_NOT_LISTED;
	if (change->kind == CHANGE_TRUNCATE)
		return BOUND;
	return row_bind(&in->row, (*table)->catalog, change) ? BOUND : BOUND_STALE;
}

static void ask_section(struct intake *in, struct record *r, const struct rules_section *section, size_t i, size_t n)
{
	struct answers *a;
	struct route_plan plan;
	bool questions;

	if (!route_section(section, &in->row, &plan))
		return;
	questions = plan.wants_lookup || plan.wants_data;
	if (!questions && !plan.wants_actor)
		return;
	if (!r->answers) {
		r->answers = mem_new_array(n, sizeof(*r->answers));
		r->n_answers = n;
	}
	a = &r->answers[i];
	a->left_out = questions && r->transaction->questioned++ >= in->bulk;
	if (plan.wants_lookup && !a->left_out)
		a->lookup = ask_about_row(in, &plan, &lookup_kind, &section->lookup);
	if (plan.wants_data && !a->left_out)
		a->data = ask_about_row(in, &plan, &data_kind, &section->data);
	if (plan.wants_actor)
		a->actor = ask_actor(in, &plan);
}

static void ask_questions(struct intake *in, struct record *r, const struct change *change,
			  const struct rules_table *table)
{
	r->asked = true;
	if (change->kind == CHANGE_TRUNCATE)
		return;
	for (size_t i = 0; i < table->n_sections; i++)
		ask_section(in, r, table->sections[i], i, table->n_sections);
}

static void mark_table(struct intake *in, const struct rules_table *table, const char *reason)
{
	for (size_t i = 0; i < table->n_sections; i++)
		txn_mark(in->txn, table->sections[i], reason);
}

static void mark_all(struct intake *in, const char *reason)
{
	for (size_t i = 0; i < rules_n_tables(in->rules); i++)
		mark_table(in, rules_table(in->rules, i), reason);
}

/* Whose permission the row changes. Nothing is asked for it, so limits.bulk does not count it. */
static void note_members(struct intake *in, const struct rules_table *table, const struct change *change)
{
	struct route_members members;

	for (size_t i = 0; i < table->n_memberships; i++) {
		if (change->kind == CHANGE_TRUNCATE)
			members = (struct route_members){ .everybody = true };
		else
			route_membership(table->memberships[i], &in->row, &members);
		if (members.everybody)
			txn_add_member(in->txn, NULL);
		for (size_t k = 0; k < members.n; k++) {
			buf_clear(&in->scratch);
			row_text(members.users[k], &in->scratch);
			buf_add_char(&in->scratch, '\0');
			txn_add_member(in->txn, in->scratch.data);
		}
	}
}

/* What it changed is not known: it may be anything. */
static void mark_corrupt(struct intake *in)
{
	if (rules_has_memberships(in->rules))
		txn_add_member(in->txn, NULL);
	mark_all(in, "unknown");
}

/* Once, not for every row. */
static void say_missing(struct intake *in, const struct rules_section *section, const char *column)
{
	if (!column || column == in->said_missing)
		return;
	in->said_missing = column;
	log_error(
		"a group or a message names a column that the query does not return; the group is left out, the value "
		"is null",
		log_s("column", column), log_s("section", section->conf->name),
		log_s("mend", "add the column to the SELECT list of the lookup, or of the actor query"));
}

static void route_row(struct intake *in, const struct record *r, const struct rules_table *table)
{
	for (size_t i = 0; i < table->n_sections; i++) {
		const struct answers *a = i < r->n_answers ? &r->answers[i] : NULL;
		struct txn_answers answers = { 0 };
		struct route_plan plan;

		if (a && a->lookup)
			answers.lookup = question_rows(a->lookup);
		if (a && a->actor)
			answers.actor = question_rows(a->actor);
		if (a && a->data)
			answers.data = question_rows(a->data);
		if (!route_section(table->sections[i], &in->row, &plan))
			continue;
		answers.data_left_out = plan.wants_data && a && a->left_out;
		say_missing(in, table->sections[i], txn_row(in->txn, &plan, &answers));
	}
}

/* The catalog is read again for a row that it does not fit. A catalog that was read behind the row's receipt and still does not fit it
 * is that of a table that was changed once more since: the row goes out as far as the two agree. */
static bool catalog_is_fresh(struct intake *in, const struct record *r)
{
	if (r->number <= in->catalog_covers)
		return true;
	in->catalog_covers = in->n_records;
	in->waiting_catalog = true;
	in->calls->stale_catalog(in->ctx);
	return false;
}

/* True when the row is done with. */
static bool handle_row(struct intake *in, struct record *r)
{
	const struct rules_table *table = NULL;
	struct change change;

	if (r->transaction->repeated)
		return true;
	if (!r->transaction->visible || (r->asked && !is_answered(r)))
		return false;
	switch (bind_row(in, r, &change, &table)) {
	case BOUND_NOT_LISTED:
		return true;
	case BOUND_CORRUPT:
		mark_corrupt(in);
		return true;
	case BOUND_STALE:
		if (!catalog_is_fresh(in, r))
			return false;
		break;
	case BOUND:
		break;
	}
	if (!r->asked) {
		ask_questions(in, r, &change, table);
		if (in->ask_next == r)
			in->ask_next = r->next;
		if (!is_answered(r))
			return false;
	}
	note_members(in, table, &change);
	if (change.kind == CHANGE_TRUNCATE)
		mark_table(in, table, "truncate");
	else
		route_row(in, r, table);
	return true;
}

/* --- transactions ---------------------------------------------------------------------------------------------- */

static void handle_begin(struct intake *in, const struct record *r)
{
	struct change change;
	struct fail why;

	if (r->transaction->repeated)
		return;
	if (!decode_record(in->decoder, r->text, &change, &why))
		abort(); /* it was decoded when it came */
	txn_begin(in->txn, change.lsn, change.timestamp);
}

static void handle_commit(struct intake *in, const struct record *r)
{
	struct transaction *t = r->transaction;

	if (!t->repeated) {
		txn_finish(in->txn);
		if (txn_n_messages(in->txn) || txn_n_marks(in->txn) || txn_n_members(in->txn))
			in->calls->publish(in->ctx, in->txn, t->next_lsn);
		else
			in->calls->handled(in->ctx, t->next_lsn);
	}
	transaction_free(in, t);
}

/* True when the head is done with. */
static bool handle(struct intake *in, struct record *r)
{
	switch (r->kind) {
	case 'B':
		handle_begin(in, r);
		return true;
	case 'C':
		handle_commit(in, r);
		return true;
	default:
		return handle_row(in, r);
	}
}

/* Is it visible, or will the snapshot that is on its way tell? */
static bool may_ask(const struct intake *in, const struct transaction *t)
{
	return t->visible || (in->snapshot && t->number <= in->snapshot_covers);
}

static void ask_ahead(struct intake *in)
{
	while (in->ask_next && questions_open(in->questions) < INTAKE_ASKED &&
	       questions_bytes(in->questions) < INTAKE_BYTES) {
		struct record *r = in->ask_next;
		const struct rules_table *table = NULL;
		struct change change;

		if (r->kind != 'B' && r->kind != 'C' && !r->transaction->repeated && !r->asked) {
			if (!may_ask(in, r->transaction))
				return;
			switch (bind_row(in, r, &change, &table)) {
			case BOUND:
				ask_questions(in, r, &change, table);
				break;
			case BOUND_STALE:
				return; /* its turn will come as the head */
			default:
				break;
			}
		}
		in->ask_next = r->next;
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

static void intake_run(struct intake *in)
{
	if (in->running || in->waiting_catalog)
		return;
	in->running = true;
	while (in->head && handle(in, in->head))
		pop_head(in);
	if (in->head && !in->waiting_catalog)
		ask_ahead(in);
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
	must_be_seen(in, r->transaction);
	return true;
}

void intake_record(struct intake *in, char *bytes, struct slice text, lsn_t handled)
{
	struct record *r = mem_new(sizeof(*r));
	struct fail why = { 0 };

	r->bytes = bytes;
	r->text = text;
	r->kind = kind_of(text);
	r->number = ++in->n_records;
	if (!receive(in, r, handled, &why)) {
		record_free(r);
		in->calls->broken(in->ctx, &why);
		return;
	}
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

void intake_position(struct intake *in, lsn_t end)
{
	if (in->receiving)
		return;
	in->position = end;
	take_position(in);
}

/* The next stream may be another server's, with other xids. */
static void forget_snapshot(struct intake *in)
{
	if (in->snapshot)
		sqlpipe_forget(in->sql, in->snapshot);
	in->snapshot = NULL;
	snapshot_fini(&in->seen);
	in->seen_at = 0;
}

void intake_clear(struct intake *in)
{
	struct transaction *t, *next;

	while (in->head)
		pop_head(in);
	DL_FOREACH_SAFE(in->transactions, t, next)
		transaction_free(in, t);
	forget_snapshot(in);
	in->receiving = NULL;
	in->position = 0;
	in->fruitless = 0;
	control_flow(in);
}

/* --- life ------------------------------------------------------------------------------------------------------ */

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
	in->again = event_new(loop, -1, 0, on_again, in);
	if (!in->again)
		abort();
	return in;
}

void intake_free(struct intake *in)
{
	if (!in)
		return;
	intake_clear(in);
	questions_free(in->questions);
	event_free(in->again);
	decoder_free(in->decoder);
	row_fini(&in->row);
	txn_free(in->txn);
	buf_fini(&in->scratch);
	free(in);
}

void intake_limits(struct intake *in, const struct conf_limits *limits)
{
	struct txn_limits bounds = {
		.bulk = (uint64_t)limits->bulk,
		.bytes = (size_t)limits->transaction_bytes,
		.row_bytes = (size_t)limits->row_bytes,
	};

	assert(!in->head);
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

bool intake_is_full(const struct intake *in)
{
	return in->paused;
}
