/*
 * ask: one admit query for all listeners with the same stream and values.
 *
 * The queries of one turn of the loop are sent at its end: each once, and the WAL position after up to BATCH_QUESTIONS of them. A listener
 * never joins a query that runs already, because the query's snapshot may be older than the reason to ask; it waits for the next query. So at
 * most two queries exist for each stream and its values, however many clients connect, and open admissions are bounded by the connections.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "parts.h"
#include "walpush/base/mem.h"

/* On a standby every visible commit is replayed. */
const char ask_position_sql[] =
	"SELECT CASE WHEN r THEN pg_catalog.pg_last_wal_replay_lsn() ELSE pg_catalog.pg_current_wal_flush_lsn() END,"
	" CASE WHEN r THEN pg_catalog.pg_last_wal_replay_lsn() ELSE pg_catalog.pg_current_wal_insert_lsn() END,"
	" (EXTRACT(epoch FROM pg_catalog.current_setting('wal_writer_delay')::interval)::numeric * "
	"1000000::numeric)::bigint"
	" FROM pg_catalog.pg_is_in_recovery() r";

/* --- questions ---------------------------------------------------------------------------------------------------- */

static struct question *question_new(struct listener *l, const struct rules_stream *s, const char **values,
				     struct buf *key)
{
	struct question *q = mem_new(sizeof(*q) + key->len);
	char *at = q->key + strlen(key->data) + 1;

	q->all = l->all;
	q->edition = edition_ref(l->all->present->edition);
	q->stream = s;
	memcpy(q->key, key->data, key->len);
	q->key_len = key->len;
	q->values = mem_new_array(s->admit.source.n_refs, sizeof(char *));
	for (size_t i = 0; i < s->admit.source.n_refs; i++) {
		q->values[i] = values[i] ? at + 1 : NULL;
		at += values[i] ? strlen(values[i]) + 2 : 1;
	}
	HASH_ADD_KEYPTR(hh, l->all->questions, q->key, q->key_len, q);
	return q;
}

static struct question *question_of(struct listener *l)
{
	const struct rules_stream *s = listener_stream(l);
	const char **values = mem_new_array(s->admit.source.n_refs, sizeof(char *));
	struct buf key = { 0 };
	struct question *q;

	ticket_params(l->ticket, s, values);
	buf_addf(&key, "%016" PRIx64, l->ticket->stream);
	buf_add_char(&key, '\0');
	for (size_t i = 0; i < s->admit.source.n_refs; i++) {
		buf_add_char(&key, values[i] != NULL);
		if (values[i])
			buf_add(&key, values[i], strlen(values[i]) + 1);
	}
	HASH_FIND(hh, l->all->questions, key.data, key.len, q);
	if (!q)
		q = question_new(l, s, values, &key);
	buf_fini(&key);
	free(values);
	return q;
}

void ask_free(struct question *q)
{
	HASH_DEL(q->all->questions, q);
	edition_unref(q->edition);
	free(q->values);
	free(q);
}

void ask_now(struct question *q)
{
	if (q->query || q->is_due)
		return;
	if (q->in_turn)
		DL_DELETE2(q->all->turn, q, prev_due, next_due);
	q->in_turn = false;
	q->is_due = true;
	DL_APPEND2(q->all->due, q, prev_due, next_due);
	admit_wake(q->all, ADMIT_SOON);
}

static void join(struct listener *l)
{
	l->question = question_of(l);
	listener_move(l, &l->question->for_next);
	ask_now(l->question);
}

void ask_in_turn(struct listener *l)
{
	struct admissions *all = l->all;
	struct question *q = l->question = question_of(l);

	listener_move(l, &q->for_next);
	if (q->query || q->is_due || q->in_turn)
		return;
	if (!all->turn && !all->share.left)
		all->share.moved = admit_clock(all);
	q->in_turn = true;
	DL_APPEND2(all->turn, q, prev_due, next_due);
	admit_wake(all, ADMIT_SOON);
	admit_wake(all, ADMIT_AFTER_A_TICK);
}

/* --- when it can be asked ------------------------------------------------------------------------------------------- */

/* The client knows a commit that this process has not read yet: from the process that had the slot before, or from another replica. */
static bool is_ahead(const struct listener *l)
{
	const struct admissions *all = l->all;

	return !l->is_open && l->has_since && ticket_knows_epoch(l->ticket, all->present->epoch, l->epoch) &&
	       l->since.lsn >= topiclog_published(all->present->log) && l->since.index > 0 &&
	       all->calls->may_come(all->ctx, l->since.lsn, admit_clock(all) - l->waits_from);
}

/* If a reload has changed the stream, the hub closes the connection. */
static bool may_ask(const struct listener *l)
{
	return admit_is_fed(l->all) && !is_ahead(l) && listener_stream(l);
}

static void ask_or_wait(struct listener *l)
{
	if (may_ask(l))
		join(l);
	else
		listener_move(l, &l->all->unasked);
}

void ask_about(struct listener *l)
{
	l->all->n_asked++;
	l->question = NULL;
	l->batch = NULL;
	listener_to(l, LISTENER_WAITING);
	listener_may_be_late(l);
	ask_or_wait(l);
}

void ask_all_waiting(struct admissions *all)
{
	struct listener *l, *next;

	DL_FOREACH_SAFE(all->unasked, l, next)
		if (may_ask(l))
			join(l);
	if (all->turn || all->awaiting)
		admit_wake(all, ADMIT_SOON);
}

/* --- asking ------------------------------------------------------------------------------------------------------- */

/* The batch of this turn. NULL: permission never changes, so the position does not matter. */
static struct batch *batch_of_turn(struct admissions *all)
{
	if (!all->batch && (!all->present->rules || rules_has_memberships(all->present->rules))) {
		all->batch = mem_new(sizeof(*all->batch));
		all->batch->all = all;
		all->batch->need = NEED_UNKNOWN;
		DL_APPEND(all->batches, all->batch);
	}
	return all->batch;
}

/* The batch is complete: the position is read after its queries. */
static void seal(struct admissions *all)
{
	struct batch *b = all->batch;

	all->batch = NULL;
	if (b)
		b->query = all->calls->ask(all->ctx, "position", ask_position_sql, 0, NULL, all->on_position, b);
}

/* False: the query calls an object of a role that is not trusted. Only the bound rules know. */
static bool is_trusted(const struct admit_present *present, const struct rules_stream *s)
{
	int at = present->rules ? rules_stream_index(present->rules, s->identity) : -1;

	return at < 0 || !rules_stream(present->rules, (size_t)at)->strangers;
}

static void refuse(struct question *q)
{
	while (q->for_next)
		listener_refuse(q->for_next, 1013, "query", "the admit query calls what a stranger owns");
	ask_free(q);
}

static void send_question(struct question *q)
{
	struct admissions *all = q->all;
	const struct rules_query *admit = &q->stream->admit;
	struct listener *l;
	int64_t now = admit_clock(all);

	while ((l = q->for_next)) {
		listener_move(l, &q->asked);
		listener_to(l, LISTENER_ASKED);
		verdict_asked(&l->verdict, l->is_open ? 0 : topiclog_published(all->present->log), now);
		l->from = l->verdict.known;
		listener_may_be_late(l);
	}
	all->n_out++;
	q->batch = batch_of_turn(all);
	q->query = all->calls->ask(all->ctx, admit->name, admit->sql, admit->source.n_refs,
				   (const char *const *)q->values, all->on_answer, q);
	all->n_queries++;
	metrics_add(all->present->counts, METRICS_ADMIT_QUERIES, 1);
	if (q->batch && ++q->batch->n_questions == BATCH_QUESTIONS)
		seal(all);
}

void ask_send_due(struct admissions *all)
{
	struct question *q;

	while ((q = all->due)) {
		DL_DELETE2(all->due, q, prev_due, next_due);
		q->is_due = false;
		if (!q->for_next)
			ask_free(q); /* all its listeners have ended */
		else if (is_trusted(all->present, q->stream))
			send_question(q);
		else
			refuse(q);
	}
	seal(all);
}
