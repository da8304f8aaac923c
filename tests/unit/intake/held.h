/*
 * held: an intake whose world the test holds in its hands: answers, clock, timer, memory; and scripts of what happens to it.
 *
 * Rules, catalog, decoder, txn and questions are the real ones. A script is words, each one event; what the intake does and asks is
 * written down in `told`. Answers come in the order of the questions of their session. "?snapshot" is asked in the session for rows, "?known"
 * in that for questions, "?spare-lookup(5)" in the spare.
 *
 *   B7@2      BEGIN of xid 7, commit 2 (LSN 0/200, its end 0/240)      C     COMMIT
 *   p5        row of plain, key 5: asks nothing                        a5    of asks: a lookup with 5
 *   h5        of shows: a data query with 5                            n5    of named: the name of actor 5
 *   z5        of pairs: a lookup and a data query with 5
 *   d5        of deciders: a membership of user 5                      c5    of a partition of parent, key 5
 *   u5        of a table that is not listed                            y5    of one that was made since the catalog was read
 *   e5        of plain, with a column that the catalog does not know   b5    of a table that inherits from parent, deciders and closing
 *   t, T      TRUNCATE of plain; of deciders
 *   m, M      a message that tells of DDL; another message             ?     a record that cannot be read
 *   s10:10:   the answers to the questions for snapshots, in both sessions: their text, or s! where they failed
 *   s10:10:*  the same of a standby
 *   r10:10:   the same in the session for rows alone                    v10:10: in that for questions alone
 *   l=5  l!   the answer to another question: one value, or none ("l="), or it failed; l~5: in a column of another name; l!55P03: with
 *             this SQLSTATE
 *   o=5  o!   the answer in the spare session
 *   w         the timer for another snapshot is due                     +5    so many µs later
 *   W         limits.answer is over for the head                        P     the timer of a probe is due
 *   J         the session for questions was lost                        Z     the configuration was read again
 *   f3 f!     from now on the answer to the question for a position: commit 3 is flushed; or it fails. At first nothing is flushed. These
 *             answers come by themselves, and are not told
 *   g3,5      the same where commits may be visible before they are flushed: 3 is flushed, 5 is inserted
 *   i3,5      as g3,5, and the server does not know of it
 *   j3,5      a standby has replayed 3 and received 5; j3,0: its walreceiver does not run
 *   V         the timer of a head that waits for the log is due         S     that of a position that was not flushed
 *   D5, U5    DELETE and UPDATE of shows, key 5                         O5    UPDATE that makes key 6 of key 5
 *   Z5        UPDATE of pairs, key 5
 *   q5, Q5    INSERT and UPDATE of asks, with 5 as its key too
 *   k3        everything before commit 3 was sent                      #3    commits below 3 were handled before this connection
 *   R         the owner read the catalog                               X     the connection was lost: intake_clear
 *   %2        a part of commit 2 was published by another decoding
 *   N         the stream comes from a standby
 *   L, H, E   the owner begins a look; one that holds; it ends         |     nothing: a mark in what was told
 */
#ifndef TEST_HELD_H
#define TEST_HELD_H

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "as_pgoutput.h"
#include "mapping.h"
#include "parts.h"
#include "walpush/change/decode.h"
#include "walpush/pg/position.h"
#include "walpush/pg/snapshot.h"

#define HELD_TABLES                                                                                                    \
	"tables = {\n"                                                                                                 \
	"  plain = { type = \"plain\" key = \"plain_id\" groups = [ \"p_{id}\" ] }\n"                                  \
	"  asks = { type = \"asks\" key = \"asks_id\" lookup = \"SELECT g FROM x WHERE y = {ref}\"\n"                  \
	"    groups = [ \"a_{lookup.g}\" ] }\n"                                                                        \
	"  shows = { type = \"shows\" key = \"shows_id\" groups = [ \"s_{id}\" ] data-query = \"SELECT {id}\" }\n"     \
	"  pairs = { type = \"pairs\" key = \"pairs_id\" lookup = \"SELECT g FROM x WHERE y = {ref}\"\n"               \
	"    groups = [ \"z_{lookup.g}\" ] data-query = \"SELECT {ref}\" }\n"                                          \
	"  named = { type = \"named\" key = \"named_id\" groups = [ \"n_{id}\" ] actor = \"by_id\" }\n"                \
	"  parent = { type = \"parent\" key = \"parent_id\" groups = [ \"q_{id}\" ] }\n"                               \
	"  closing = { type = \"closing\" key = \"closing_id\" groups = [ \"x_{id}\" ] close = 4403 }\n"               \
	"}\n"                                                                                                          \
	"actor = { query = \"SELECT username FROM users WHERE id = {id}\" }\n"                                         \
	"membership = { deciders = { user = \"user_id\" } }\n"                                                         \
	"limits = { bulk = 3 record-bytes = \"2 MiB\" }\n"

#define HELD_QUESTIONS 1024

struct held_timer {
	void (*due)(void *ctx); /* NULL: it does not run */
	void *ctx;
	int64_t wait; /* µs */
};

struct held_question {
	enum outside_session session;
	bool is_snapshot, is_position, is_data;
	char *state; /* what the test makes of it; freed with it */
	sqlpipe_done *done;
	void *ctx;
};

struct held {
	struct mapping rules;
	struct outside outside;
	struct metrics *metrics;
	struct intake *intake;

	int64_t now;
	struct held_timer timers[OUTSIDE_TIMERS];
	bool has_memory;
	bool is_shared;                                  /* all queries read a common table */
	bool reads_itself;                               /* the lookup reads the table of its section */
	const char *reads_table;                         /* the lookups read this table, too; NULL: none */
	struct held_question *questions[HELD_QUESTIONS]; /* open ones, the oldest first */
	size_t n_questions;
	char *position; /* the word that answers the questions for positions; NULL: nothing is flushed */

	unsigned xid, commit; /* of the transaction that is sent */
	lsn_t handled, half_told;
	unsigned n_calls; /* of the world, by the intake */
	struct buf told;
};

static struct held held;
static bool held_is_pgoutput; /* the records are sent as messages of pgoutput; it stays from test to test */

static inline void held_tell(const char *what)
{
	buf_addf(&held.told, "%s ", what);
}

/* --- the world --------------------------------------------------------------------------------------------------- */

static inline const char *held_says(enum outside_session session, bool is_snapshot)
{
	return session == OUTSIDE_SPARE ? "?spare-" : is_snapshot && session == OUTSIDE_QUESTIONS ? "?known" : "?";
}

static inline struct sqlpipe_query *held_ask(void *at, enum outside_session session, const char *statement,
					     const char *sql, size_t n_values, const char *const *values,
					     sqlpipe_done *done, void *ctx)
{
	struct held_question *q = calloc(1, sizeof(*q));
	bool is_snapshot = strcmp(sql, SNAPSHOT_SQL) == 0, is_known = is_snapshot && session == OUTSIDE_QUESTIONS;

	(void)at;
	held.n_calls++;
	assert_true(held.n_questions < HELD_QUESTIONS);
	*q = (struct held_question){ .session = session,
				     .is_snapshot = is_snapshot,
				     .is_position = sql == position_async_sql,
				     .is_data = strncmp(statement, "data-query", 10) == 0,
				     .done = done,
				     .ctx = ctx };
	held.questions[held.n_questions++] = q;
	if (q->is_position)
		return (struct sqlpipe_query *)q;
	buf_addf(&held.told, "%s%.*s", held_says(session, is_snapshot), is_known ? 0 : (int)strcspn(statement, " "),
		 statement);
	for (size_t i = 0; i < n_values; i++)
		buf_addf(&held.told, "(%s)", values[i] ? values[i] : "NULL");
	buf_add_text(&held.told, " ");
	return (struct sqlpipe_query *)q;
}

static inline void held_remove(size_t i)
{
	free(held.questions[i]->state);
	free(held.questions[i]);
	held.n_questions--;
	memmove(held.questions + i, held.questions + i + 1, (held.n_questions - i) * sizeof(*held.questions));
}

static inline void held_forget(void *at, enum outside_session session, struct sqlpipe_query *query)
{
	size_t i = 0;

	(void)at;
	while (held.questions[i] != (struct held_question *)query)
		i++;
	assert_int_equal(held.questions[i]->session, session);
	if (!held.questions[i]->is_position)
		buf_addf(&held.told, "forget-%s ",
			 session == OUTSIDE_SPARE          ? "probe"
			 : !held.questions[i]->is_snapshot ? "question"
			 : session == OUTSIDE_QUESTIONS    ? "known"
							   : "snapshot");
	held_remove(i);
}

static inline void held_cancel(void *at, enum outside_session session)
{
	(void)at;
	for (size_t i = 0; i < held.n_questions; i++)
		assert_int_not_equal(held.questions[i]->session, session);
	held_tell(session == OUTSIDE_SPARE ? "cancel-spare" : "cancel");
}

/* Nothing may be open in the two sessions. */
static inline void held_replace(void *at)
{
	(void)at;
	for (size_t i = 0; i < held.n_questions; i++)
		assert_int_equal(held.questions[i]->session, OUTSIDE_ROWS);
	held_tell("replace");
}

static inline int64_t held_now(void *at)
{
	(void)at;
	held.n_calls++;
	return held.now;
}

static inline void held_wake(void *at, enum outside_timer timer, int64_t us, void (*due)(void *ctx), void *ctx)
{
	static const char *const names[] = { "wait", "wait-known", "limit", "probe-in", "heard", "settled-in" };

	(void)at;
	held.timers[timer] = (struct held_timer){ due, ctx, us };
	if (timer != OUTSIDE_TIMER_ANSWER && timer != OUTSIDE_TIMER_HEARD)
		buf_addf(&held.told, "%s-%lld ", names[timer], (long long)(us / 1000));
}

static inline bool held_has_memory(void *at, size_t bytes)
{
	(void)at;
	held.n_calls++;
	(void)bytes;
	return held.has_memory;
}

/* --- the owner --------------------------------------------------------------------------------------------------- */

/* "n_5=asha": what the actor's query answered, and what the data query did. */
static inline void held_tell_answers(const struct txn_message *m)
{
	json_t *payload = json_loadb(m->payload.at, m->payload.len, 0, NULL);
	const char *section = m->section->conf->name, *by = json_string_value(json_object_get(payload, "updated_by"));
	json_t *data = json_object_get(payload, "data");

	assert_non_null(payload);
	if (strcmp(section, "named") == 0)
		buf_addf(&held.told, "=%s", by ? by : "null");
	if (strcmp(section, "shows") == 0 || strcmp(section, "pairs") == 0)
		buf_addf(&held.told, "=%" JSON_INTEGER_FORMAT, json_integer_value(json_object_get(data, "x")));
	json_decref(payload);
}

static inline void held_tell_messages(const struct txn *t)
{
	for (size_t i = 0; i < txn_n_messages(t); i++) {
		struct txn_message m = txn_message(t, i);
		const char *group = m.groups;

		for (size_t k = 0; k < m.n_groups; k++, group += strlen(group) + 1) {
			buf_add_char(&held.told, ' ');
			tmpl_group_display(slice_of(group), &held.told);
		}
		held_tell_answers(&m);
		if (m.is_bulk)
			buf_add_text(&held.told, " bulk");
	}
	for (size_t i = 0; i < txn_n_marks(t); i++)
		buf_addf(&held.told, " %s-%s", txn_marked(t, i).reason, txn_marked(t, i).section->conf->name);
}

static inline void held_publish(void *ctx, const struct txn *t, lsn_t next_lsn)
{
	struct txn_skipped skipped;

	(void)ctx;
	assert_int_equal(next_lsn, txn_lsn(t) + 0x40);
	buf_addf(&held.told, "publish-%u:", (unsigned)(txn_lsn(t) >> 8));
	held_tell_messages(t);
	for (size_t i = 0; i < txn_n_members(t); i++)
		buf_addf(&held.told, " member-%s", txn_member(t, i) ? txn_member(t, i) : "everybody");
	if (txn_skipped(t, &skipped))
		buf_addf(&held.told, " skipped%s%s", skipped.n_sections ? "-" : "",
			 skipped.n_sections ? skipped.sections[0]->conf->name : "");
	buf_add_text(&held.told, "; ");
}

static inline void held_handled(void *ctx, lsn_t next_lsn)
{
	(void)ctx;
	buf_addf(&held.told, "handled-%x; ", (unsigned)next_lsn);
}

static inline void held_pause(void *ctx, bool paused)
{
	(void)ctx;
	held_tell(paused ? "pause" : "go-on");
}

static inline void held_stale(void *ctx)
{
	(void)ctx;
	held_tell("stale");
}

static inline void held_look(void *ctx)
{
	(void)ctx;
	held_tell("look");
}

static inline void held_broken(void *ctx, enum intake_broken kind, const struct intake_place *place,
			       const struct fail *why)
{
	(void)ctx;
	assert_string_not_equal(why->text, "");
	buf_addf(&held.told, "broken-%s-%u%s ", kind == INTAKE_NO_MEMORY ? "memory" : "unreadable",
		 (unsigned)(place->commit >> 8), place->is_first ? "-first" : "");
}

static inline void held_hear(void *ctx)
{
	(void)ctx;
	held_tell("hear");
}

static inline void held_promoted(void *ctx)
{
	(void)ctx;
	held_tell("promoted");
}

static inline bool held_overlap(void *ctx, uint32_t a, uint32_t b)
{
	(void)ctx;
	return a == b || held.is_shared;
}

static inline bool held_reads(void *ctx, uint32_t query, const struct catalog_table *table)
{
	(void)ctx;
	(void)query;
	return (held.reads_itself && strcmp(table->name, "asks") == 0) ||
	       (held.reads_table && strcmp(table->name, held.reads_table) == 0);
}

static inline bool held_half_told(void *ctx, lsn_t commit)
{
	(void)ctx;
	return commit == held.half_told;
}

static const struct intake_calls held_calls = { held_half_told, held_publish, held_handled, held_pause,
						held_stale,     held_look,    held_broken,  held_hear,
						held_overlap,   held_reads,   held_promoted };

/* --- records ----------------------------------------------------------------------------------------------------- */

static inline void held_send_bytes(const char *text, size_t len)
{
	char *bytes = malloc(len + 1);

	memcpy(bytes, text, len);
	intake_record(held.intake, bytes, (struct slice){ bytes, len }, held.handled);
}

static inline void held_send(const char *text, size_t len)
{
	if (held_is_pgoutput)
		as_pgoutput(text, len, held_send_bytes);
	else
		held_send_bytes(text, len);
}

static inline void held_frame(char action)
{
	char text[160];
	int n = snprintf(text, sizeof(text),
			 "{\"action\":\"%c\",\"xid\":%u,\"timestamp\":\"2025-11-14 12:34:56.5+00\",\"lsn\":\"0/%X\","
			 "\"nextlsn\":\"0/%X\"}",
			 action, held.xid, held.commit << 8, (held.commit << 8) + 0x40);

	held_send(text, (size_t)n);
}

/* UPDATE or DELETE of shows or asks. wal2json prints the old key of both. */
static inline void held_change(const char *table, char action, unsigned id, unsigned old)
{
	struct buf text = { 0 };

	buf_addf(&text,
		 "{\"action\":\"%c\",\"xid\":%u,\"timestamp\":\"2025-11-14 12:34:56.5+00\",\"lsn\":\"0/1\",\"schema\":"
		 "\"public\",\"table\":\"%s\"",
		 action, held.xid, table);
	if (action == 'U')
		buf_addf(&text,
			 ",\"columns\":[{\"name\":\"id\",\"typeoid\":23,\"value\":%u},{\"name\":\"ref\",\"typeoid\":23,"
			 "\"value\":%u}]",
			 id, id);
	buf_addf(&text, ",\"identity\":[{\"name\":\"id\",\"typeoid\":23,\"value\":%u}]}", old);
	held_send(text.data, text.len);
	buf_fini(&text);
}

/* `second`: the name of a second column, NULL: none. `pad`: more bytes in a text column "pad". */
static inline void held_row(const char *table, unsigned id, const char *second, unsigned value, size_t pad)
{
	struct buf text = { 0 };

	buf_addf(&text,
		 "{\"action\":\"I\",\"xid\":%u,\"timestamp\":\"2025-11-14 12:34:56.5+00\",\"lsn\":\"0/1\",\"schema\":"
		 "\"public\",\"table\":\"%s\",\"columns\":[{\"name\":\"id\",\"typeoid\":23,\"value\":%u}",
		 held.xid, table, id);
	if (second)
		buf_addf(&text, ",{\"name\":\"%s\",\"typeoid\":23,\"value\":%u}", second, value);
	if (pad) {
		buf_add_text(&text, ",{\"name\":\"pad\",\"typeoid\":25,\"value\":\"");
		memset(buf_reserve(&text, pad), 'x', pad);
		text.len += pad;
		buf_add_text(&text, "\"}");
	}
	buf_add_text(&text, "]}");
	held_send(text.data, text.len);
	buf_fini(&text);
}

static inline void held_truncate(const char *table)
{
	char text[200];
	int n = snprintf(text, sizeof(text),
			 "{\"action\":\"T\",\"xid\":%u,\"timestamp\":\"2025-11-14 12:34:56.5+00\",\"lsn\":\"0/1\","
			 "\"schema\":\"public\",\"table\":\"%s\"}",
			 held.xid, table);

	held_send(text, (size_t)n);
}

static inline void held_message(const char *prefix)
{
	char text[200];
	int n = snprintf(text, sizeof(text),
			 "{\"action\":\"M\",\"xid\":%u,\"timestamp\":\"2025-11-14 12:34:56.5+00\",\"lsn\":\"0/1\","
			 "\"transactional\":true,\"prefix\":\"%s\",\"content\":\"\"}",
			 held.xid, prefix);

	held_send(text, (size_t)n);
}

/* --- answers ----------------------------------------------------------------------------------------------------- */

/* The oldest question of the session; NULL: there is none. */
static inline struct held_question *held_oldest(enum outside_session session)
{
	for (size_t i = 0; i < held.n_questions; i++)
		if (held.questions[i]->session == session)
			return held.questions[i];
	return NULL;
}

/* Without those for positions. */
static inline size_t held_n_asked(void)
{
	size_t n = 0;

	for (size_t i = 0; i < held.n_questions; i++)
		n += !held.questions[i]->is_position;
	return n;
}

static inline struct held_question held_take(enum outside_session session, bool is_snapshot)
{
	struct held_question *oldest = held_oldest(session), q;
	size_t i = 0;

	assert_non_null(oldest);
	q = *oldest;
	assert_int_equal(q.is_snapshot, is_snapshot);
	while (held.questions[i] != oldest)
		i++;
	held_remove(i);
	return q;
}

static inline struct sqlrows *held_snapshot_rows(const char *value)
{
	struct sqlrows *rows = sqlrows_new(1, 2);
	size_t len = strcspn(value, "*");
	char *text = strndup(value, len);

	sqlrows_set(rows, 0, 0, text);
	sqlrows_set(rows, 0, 1, value[len] ? "true" : "false");
	free(text);
	return rows;
}

static inline struct sqlrows *held_rows(const char *value)
{
	struct sqlrows *rows = sqlrows_new(1, 1);
	bool is_other = *value == '~';

	sqlrows_name(rows, 0, is_other ? "other" : "g");
	sqlrows_set(rows, 0, 0, value + is_other);
	return rows;
}

/* "!": it failed, perhaps with an SQLSTATE; "": a snapshot's text, or no row; else the value. */
static inline void held_answer_in(enum outside_session session, bool is_snapshot, const char *value)
{
	struct held_question q = held_take(session, is_snapshot);
	struct fail why = { 0 };

	fail_set(&why, "the query failed");
	if (*value == '!')
		mem_copy_text(why.sqlstate, sizeof(why.sqlstate), value + 1);
	if (*value == '!')
		q.done(q.ctx, NULL, &why);
	else if (is_snapshot && *value)
		q.done(q.ctx, held_snapshot_rows(value), NULL);
	else
		q.done(q.ctx, *value ? held_rows(value) : sqlrows_new(0, 1), NULL);
}

static inline void held_answer(bool is_snapshot, const char *value)
{
	held_answer_in(OUTSIDE_QUESTIONS, is_snapshot, value);
}

/* Of both sessions, as far as they ask. */
static inline void held_snapshots(const char *value)
{
	struct held_question *rows = held_oldest(OUTSIDE_ROWS), *known = held_oldest(OUTSIDE_QUESTIONS);
	bool has_known = known && known->is_snapshot;

	assert_true(rows || has_known);
	if (rows)
		held_answer_in(OUTSIDE_ROWS, true, value);
	if (has_known)
		held_answer_in(OUTSIDE_QUESTIONS, true, value);
}

/* The end of that commit. */
static inline void held_set_lsn(struct sqlrows *rows, size_t column, unsigned long commit)
{
	char text[LSN_TEXT_MAX];

	lsn_format(text, commit ? (commit << 8) + 0x40 : 0);
	sqlrows_set(rows, 0, column, text);
}

/* The answer of f3, f!, g3,5 or j3,5; NULL: nothing is flushed. */
static inline struct sqlrows *held_position(const char *word)
{
	struct sqlrows *rows = sqlrows_new(1, 5);
	unsigned long flush = word ? strtoul(word + 1, NULL, 10) : 0;
	const char *comma = word ? strchr(word, ',') : NULL;
	unsigned long other = comma ? strtoul(comma + 1, NULL, 10) : flush;

	held_set_lsn(rows, word && *word == 'j' ? 0 : 2, other);
	held_set_lsn(rows, 1, flush);
	sqlrows_set(rows, 0, 3, "200000");
	sqlrows_set(rows, 0, 4, comma && *word == 'g' ? "true" : "false");
	return rows;
}

static inline bool held_answer_position(const char *word)
{
	struct held_question *q = held_oldest(OUTSIDE_QUESTIONS), taken;
	struct fail why = { .text = "the query failed" };

	if (!q || !q->is_position)
		return false;
	taken = held_take(OUTSIDE_QUESTIONS, false);
	if (word && word[1] == '!')
		taken.done(taken.ctx, NULL, &why);
	else
		taken.done(taken.ctx, held_position(word), NULL);
	return true;
}

/* --- scripts ------------------------------------------------------------------------------------------------------ */

static inline void held_row_of(char table, unsigned value)
{
	static unsigned id = 100;

	switch (table) {
	case 'p':
		held_row("plain", value, NULL, 0, 0);
		break;
	case 'a':
		held_row("asks", ++id, "ref", value, 0);
		break;
	case 'q':
		held_row("asks", value, "ref", value, 0);
		break;
	case 'h':
		held_row("shows", value, "ref", value, 0);
		break;
	case 'z':
		held_row("pairs", value, "ref", value, 0);
		break;
	case 'n':
		held_row("named", value, "by_id", value, 0);
		break;
	case 'd':
		held_row("deciders", ++id, "user_id", value, 0);
		break;
	case 'c':
		held_row("part", value, NULL, 0, 0);
		break;
	case 'b':
		held_row("both", value, NULL, 0, 0);
		break;
	case 'u':
		held_row("others", value, NULL, 0, 0);
		break;
	case 'y':
		held_row("made", value, NULL, 0, 0);
		break;
	case 'e':
		held_row("plain", value, "added", 1, 0);
		break;
	default:
		fail_msg("no event %c", table);
	}
}

static inline bool held_fire(enum outside_timer timer)
{
	struct held_timer t = held.timers[timer];

	if (!t.due)
		return false;
	held.timers[timer].due = NULL;
	held.now += t.wait;
	t.due(t.ctx);
	return true;
}

static inline void held_fire_snapshots(void)
{
	bool rows = held_fire(OUTSIDE_TIMER_ROWS), known = held_fire(OUTSIDE_TIMER_QUESTIONS);

	assert_true(rows || known);
}

static inline void held_event(const char *word)
{
	const char *rest = word + 1;
	unsigned n = (unsigned)strtoul(rest, NULL, 10);

	switch (*word) {
	case 'B':
		held.xid = n;
		held.commit = (unsigned)strtoul(strchr(rest, '@') + 1, NULL, 10);
		held_frame('B');
		break;
	case 'C':
		held_frame('C');
		break;
	case 't':
	case 'T':
		held_truncate(*word == 't' ? "plain" : "deciders");
		break;
	case 'm':
		held_message(DECODE_DDL_PREFIX);
		break;
	case 'M':
		held_message("others");
		break;
	case '?':
		held_send("{\"action\":\"I\",nonsense", 22);
		break;
	case 's':
		held_snapshots(rest);
		break;
	case 'r':
	case 'v':
		held_answer_in(*word == 'r' ? OUTSIDE_ROWS : OUTSIDE_QUESTIONS, true, rest);
		break;
	case 'l':
	case 'o':
		held_answer_in(*word == 'l' ? OUTSIDE_QUESTIONS : OUTSIDE_SPARE, false, rest + (*rest == '='));
		break;
	case 'w':
		held_fire_snapshots();
		break;
	case 'W':
	case 'P':
		assert_true(held_fire(*word == 'W' ? OUTSIDE_TIMER_ANSWER : OUTSIDE_TIMER_PROBE));
		break;
	case 'J':
		intake_session_lost(held.intake, NULL);
		break;
	case '+':
		held.now += n;
		break;
	case 'k':
		intake_position(held.intake, n << 8);
		break;
	case '#':
		held.handled = n << 8;
		break;
	case '%':
		held.half_told = n << 8;
		break;
	case 'R':
		intake_rules(held.intake, held.rules.rules);
		break;
	case 'X':
		intake_clear(held.intake);
		break;
	case 'L':
	case 'H':
		intake_looks(held.intake, *word == 'H');
		break;
	case 'E':
		intake_looked(held.intake);
		break;
	case 'F':
		intake_forget_looks(held.intake);
		break;
	case '|':
		held_tell("|");
		break;
	case 'N':
		intake_standby(held.intake, true);
		break;
	case 'f':
	case 'g':
	case 'i':
	case 'j':
		free(held.position);
		held.position = mem_text(word);
		break;
	case 'V':
	case 'S':
		assert_true(held_fire(*word == 'V' ? OUTSIDE_TIMER_HEARD : OUTSIDE_TIMER_SETTLED));
		break;
	case 'D':
	case 'U':
		held_change("shows", *word, n, n);
		break;
	case 'O':
		held_change("shows", 'U', n + 1, n);
		break;
	case 'Z':
		if (*rest) {
			held_change("pairs", 'U', n, n);
			break;
		}
		intake_reload(held.intake, &held.rules.conf->limits);
		intake_rules(held.intake, held.rules.rules);
		break;
	case 'Q':
		held_change("asks", 'U', n, n);
		break;
	default:
		held_row_of(*word, n);
	}
}

static inline void held_play(const char *script)
{
	char *words = mem_text(script), *rest = words, *word;

	while ((word = strsep(&rest, " ")))
		if (*word) {
			held_event(word);
			while (held_answer_position(held.position)) {
			}
		}
	free(words);
}

/* Plays, and compares what was told since the last time. */
static inline void held_expect(const char *script, const char *wanted)
{
	buf_clear(&held.told);
	buf_add_text(&held.told, "");
	held_play(script);
	while (held.told.len && held.told.data[held.told.len - 1] == ' ')
		held.told.data[--held.told.len] = '\0';
	if (strcmp(held.told.data, wanted) != 0)
		fail_msg("%s\ntold   \"%s\"\nwanted \"%s\"", script, held.told.data, wanted);
}

/* --- life --------------------------------------------------------------------------------------------------------- */

static inline struct catalog *held_catalog(void)
{
	static const char *const columns[][2] = {
		{ "plain", "id" },         { "asks", "id" },   { "asks", "ref" },    { "shows", "id" },
		{ "shows", "ref" },        { "named", "id" },  { "named", "by_id" }, { "deciders", "id" },
		{ "deciders", "user_id" }, { "parent", "id" }, { "closing", "id" },  { "pairs", "id" },
		{ "pairs", "ref" },
	};
	static const char *const kin[][CATALOG_QUERY_COLUMNS] = {
		{ "public", "part", NULL, "public", "parent" },
		{ "public", "both", NULL, "public", "parent" },
		{ "public", "both", NULL, "public", "deciders" },
		{ "public", "both", NULL, "public", "closing" },
		{ "public", "others" },
	};
	struct catalog *c = catalog_new();
	struct fail why;

	for (size_t i = 0; i < sizeof(columns) / sizeof(*columns); i++) {
		bool is_key = strcmp(columns[i][1], "id") == 0;
		const char *const row[CATALOG_QUERY_COLUMNS] = { "public", columns[i][0], columns[i][1],
								 "23",     "0",           is_key ? "t" : "f",
								 "f" };

		assert_true(catalog_add(c, row, &why));
	}
	for (size_t i = 0; i < sizeof(kin) / sizeof(*kin); i++)
		assert_true(catalog_add(c, kin[i], &why));
	return c;
}

static inline void held_open_rules(void)
{
	struct fail why = { 0 };

	held = (struct held){ .now = 1000000, .has_memory = true };
	held.rules.catalog = held_catalog();
	held.rules.conf = conf_parse("test.conf", SLICE(MAPPING_BASE MAPPING_STREAMS HELD_TABLES), &why);
	held.rules.rules = held.rules.conf ? rules_new(held.rules.conf, &why) : NULL;
	if (!held.rules.rules || !rules_bind(held.rules.rules, held.rules.catalog, &why))
		mapping_die("rules", &why);
	held.outside = (struct outside){ NULL,         held_ask, held_forget, held_cancel,
					 held_replace, held_now, held_wake,   held_has_memory };
	held.metrics = metrics_new(1);
}

static inline int held_open(void **state)
{
	(void)state;
	held_open_rules();
	held.intake =
		intake_new_in(&held.outside, &held.rules.conf->limits, metrics_of_tap(held.metrics), &held_calls, NULL);
	intake_rules(held.intake, held.rules.rules);
	return 0;
}

static inline int held_close(void **state)
{
	(void)state;
	intake_free(held.intake);
	assert_int_equal(held.n_questions, 0); /* it forgot those that were open */
	metrics_free(held.metrics);
	mapping_close(&held.rules);
	free(held.position);
	buf_fini(&held.told);
	return 0;
}

/* From the beginning, for the next row of a table of cases. */
static inline void held_again(void)
{
	held_close(NULL);
	held_open(NULL);
}

struct held_case {
	const char *script, *told;
};

static inline void held_play_cases(const struct held_case *cases, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		held_again();
		held_expect(cases[i].script, cases[i].told);
	}
}

static inline int held_with_wal2json(void **state)
{
	(void)state;
	held_is_pgoutput = false;
	return 0;
}

static inline int held_with_pgoutput(void **state)
{
	(void)state;
	held_is_pgoutput = true;
	return 0;
}

/* With the records of each plugin. */
#define HELD_RUN(tests)                                                                                                \
	(cmocka_run_group_tests_name("wal2json", tests, held_with_wal2json, NULL) +                                    \
	 cmocka_run_group_tests_name("pgoutput", tests, held_with_pgoutput, NULL))

#define HELD_PLAY(cases) held_play_cases((cases), sizeof(cases) / sizeof(*(cases)))

#endif
