/* Which queries read a common table: the order of the queries, the answers of the server, and the conversation with it. */
#include <stddef.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "mapping.h"
#include "walpush/rules/overlap.h"

#define STREAMS                                                                                                        \
	"streams = { b = { path = \"/b/<x>/\" admit = \"SELECT 1\" groups = [ \"g\" ] }\n"                             \
	"  a = { path = \"/a/<x>/\" admit = \"SELECT 2\" groups = [ \"g\" ] } }\n"
#define TABLES                                                                                                         \
	"tables = {\n"                                                                                                 \
	"  requests = { type = \"r\" key = \"request_id\" groups = [ \"g\" ]\n"                                        \
	"    lookup = \"SELECT 3\" data-query = \"SELECT 4\" }\n"                                                      \
	"  more = { from = \"requests\" type = \"m\" key = \"more_id\" groups = [ \"g\" ] }\n"                         \
	"  crates = { type = \"c\" key = \"crate_id\" groups = [ \"g\" ] data-query = \"SELECT 5\" }\n"                \
	"  sendbacks = { type = \"s\" key = \"sendback_id\" groups = [ \"g\" ] lookup = \"SELECT 3\" } }\n"
#define ACTOR "actor = { query = \"SELECT username FROM users WHERE id = {id}\" }\n"
#define CONF MAPPING_BASE STREAMS TABLES ACTOR
/* Their indexes. */
enum { LOOKUP, DATA, DATA_OF_CRATES, SAME_LOOKUP, ACTOR_QUERY, ADMIT_B, ADMIT_A, N_QUERIES };

#define ONE_STREAM "streams = { s = { path = \"/a/<x>/\" admit = \"SELECT 1\" groups = [ \"g\" ] } }\n"

static void expect_queries(const struct rules *rules, const char *wanted)
{
	struct buf got = { 0 };

	for (size_t i = 0; i < rules_n_queries(rules); i++) {
		const struct rules_query *q = rules_query_at(rules, i);

		assert_int_equal(q->at, i);
		buf_addf(&got, "%s%s", i ? ", " : "", q->name);
	}
	assert_string_equal(got.len ? got.data : "", wanted);
	buf_fini(&got);
}

static void every_query_has_its_index(void **state)
{
	static const struct {
		const char *conf, *wanted;
	} cases[] = {
		{ CONF, "lookup of requests, data-query of requests, data-query of crates, lookup of sendbacks, "
			"query of actor, admit of b, admit of a" },
		{ MAPPING_BASE STREAMS "tables = { requests = { type = \"r\" key = \"k\" groups = [ \"g\" ] } }\n",
		  "admit of b, admit of a" },
		{ MAPPING_CONF, "lookup of sendbacks, query of actor, admit of requests, admit of notifications" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct mapping m;
		struct fail why;
		struct rules *plain;

		mapping_open(&m, cases[i].conf);
		plain = rules_new(m.conf, &why);
		expect_queries(m.rules, cases[i].wanted);
		expect_queries(plain, cases[i].wanted);
		rules_free(plain);
		mapping_close(&m);
	}
}

/* --- what the server answers ------------------------------------------------------------------------------------------ */

/* "public.users 0 3": the table, and the queries that read it. */
static void add_row(struct overlap *o, const char *text)
{
	struct buf name = { 0 };
	const char *blank = strchr(text, ' ');
	const char *row[OVERLAP_COLUMNS] = { NULL, blank + 1 };
	struct fail why = { 0 };

	buf_add(&name, text, (size_t)(blank - text));
	row[0] = name.data;
	assert_true(overlap_add(o, row, &why));
	buf_fini(&name);
}

static void fail_query(struct overlap *o, size_t query, const char *sqlstate)
{
	struct fail why = { .text = "refused" };

	strcpy(why.sqlstate, sqlstate);
	overlap_fail(o, query, &why);
}

/* "2-3:public.users": each pair that overlaps, and the table. */
static void tell_pairs(const struct overlap *o, struct buf *out)
{
	for (size_t a = 0; a < N_QUERIES; a++)
		for (size_t b = a + 1; b < N_QUERIES; b++) {
			const char *table = overlap_table(o, a, b);

			assert_int_equal(overlap_shares(o, a, b), overlap_shares(o, b, a));
			if (overlap_shares(o, a, b))
				buf_addf(out, "%s%zu-%zu:%s", out->len ? " " : "", a, b, table ? table : "?");
		}
}

/* The two lookups are the same text. */
#define SAME "0-3:?"

static void who_reads_a_common_table(void **state)
{
	static const struct {
		const char *rows[4];
		int unknown[3]; /* index + 1 */
		const char *wanted;
	} cases[] = {
		{ { NULL }, { 0 }, SAME },
		{ { "t 2" }, { 0 }, SAME },
		{ { "t 2 5" }, { 0 }, SAME " 2-5:t" },
		{ { "t 2 4 5" }, { 0 }, SAME " 2-4:t 2-5:t 4-5:t" },
		{ { "t 0 1 3" }, { 0 }, "0-1:t 0-3:t 1-3:t" },
		/* Not over two tables. */
		{ { "t 2 5", "u 2 4" }, { 0 }, SAME " 2-4:u 2-5:t" },
		/* The first table is named. */
		{ { "t 5", "u 5 6", "v 5 6" }, { 0 }, SAME " 5-6:u" },
		/* What is unknown overlaps with the same text alone. */
		{ { "t 2 4 5" }, { 2 + 1 }, SAME " 4-5:t" },
		{ { "t 0 1 3" }, { 0 + 1 }, SAME " 1-3:t" },
		{ { "t 0 1 3" }, { 0 + 1, 3 + 1, 1 + 1 }, SAME },
	};
	struct mapping m;

	(void)state;
	mapping_open(&m, CONF);
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct overlap *o = overlap_new(m.rules);
		struct buf got = { 0 };

		for (size_t k = 0; k < 4 && cases[i].rows[k]; k++)
			add_row(o, cases[i].rows[k]);
		for (size_t k = 0; k < 3 && cases[i].unknown[k]; k++)
			fail_query(o, (size_t)cases[i].unknown[k] - 1, "42P01");
		tell_pairs(o, &got);
		assert_string_equal(got.len ? got.data : "", cases[i].wanted);
		assert_true(overlap_shares(o, ADMIT_A, ADMIT_A));
		buf_fini(&got);
		overlap_free(o);
	}
	mapping_close(&m);
}

static void before_the_first_answer_nothing_overlaps(void **state)
{
	(void)state;
	assert_true(overlap_shares(NULL, 3, 3));
	assert_false(overlap_shares(NULL, 2, 5));
	assert_null(overlap_table(NULL, 3, 3));
	overlap_free(NULL);
	assert_null(overlap_end(NULL));
}

/* More queries than there are bits in a word. */
static void there_may_be_many_queries(void **state)
{
	struct buf conf = { 0 };
	struct mapping m;
	struct overlap *o;

	(void)state;
	buf_addf(&conf, "%s%stables = {\n", MAPPING_BASE, ONE_STREAM);
	for (unsigned i = 0; i < 130; i++)
		buf_addf(&conf,
			 "t%u = { from = \"crates\" type = \"c\" key = \"k\" groups = [ \"g\" ] lookup = \"SELECT %u\" "
			 "}\n",
			 i, i + 2);
	buf_add_text(&conf, "}\n");
	mapping_open(&m, conf.data);
	assert_int_equal(rules_n_queries(m.rules), 131);
	o = overlap_new(m.rules);
	add_row(o, "t 0 63 64 130");
	for (size_t i = 0; i < 131; i++)
		assert_int_equal(overlap_table(o, i, 130) != NULL, i == 0 || i == 63 || i == 64 || i == 130);
	overlap_free(o);
	mapping_close(&m);
	buf_fini(&conf);
}

static void its_tables_are_named(void **state)
{
	static const char *const wanted[] = {
		[0] = "",
		[1] = "t1",
		[2] = "t1, t2",
		[8] = "t1, t2, t3, t4, t5, t6, t7, t8",
		[9] = "t1, t2, t3, t4, t5, t6, t7, t8, and 1 more",
	};
	struct mapping m;
	struct overlap *o;

	(void)state;
	mapping_open(&m, CONF);
	o = overlap_new(m.rules);
	for (unsigned n = 0; n < sizeof(wanted) / sizeof(*wanted); n++) {
		struct buf row = { 0 }, got = { 0 };

		buf_addf(&row, "t%u 6", n);
		if (n)
			add_row(o, row.data);
		overlap_add_tables(o, ADMIT_A, &got);
		if (wanted[n])
			assert_string_equal(got.len ? got.data : "", wanted[n]);
		buf_fini(&row);
		buf_fini(&got);
	}
	assert_string_equal(overlap_table(o, ADMIT_A, ADMIT_A), "t1");
	assert_null(overlap_table(o, ADMIT_B, ADMIT_B));
	overlap_free(o);
	mapping_close(&m);
}

static void rows_that_are_none(void **state)
{
	static const char *const rows[][OVERLAP_COLUMNS] = {
		{ NULL, "1" }, { "t", NULL },   { "t", "7" },
		{ "t", "-1" }, { "t", "1,2" },  { "t", "x" },
		{ "t", "1 " }, { "t", "1  9" }, { "t", "1 99999999999999999999" },
	};
	struct mapping m;

	(void)state;
	mapping_open(&m, CONF);
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct overlap *o = overlap_new(m.rules);
		struct fail why = { 0 };
		bool ok = overlap_add(o, rows[i], &why);

		/* A blank at the end says nothing. */
		assert_int_equal(ok, rows[i][1] && strcmp(rows[i][1], "1 ") == 0);
		assert_int_equal(why.text[0] != '\0', !ok);
		overlap_free(o);
	}
	mapping_close(&m);
}

/* --- which of two answers counts --------------------------------------------------------------------------------------- */

/* A letter a query: k is known, r refused, w waited for a lock in vain. */
static struct overlap *answer(const struct rules *rules, const char *letters)
{
	struct overlap *o = overlap_new(rules);

	for (size_t i = 0; letters[i]; i++)
		if (letters[i] != 'k')
			fail_query(o, i, letters[i] == 'w' ? "55P03" : "42P01");
	return o;
}

static void a_lock_takes_nothing_back(void **state)
{
	static const struct {
		const char *before, *now;
		bool stays;
	} cases[] = {
		{ NULL, "wwwwwww", false },      { "kkkkkkk", "kkkkkkk", false }, { "kkkkkkk", "kkwkkkk", true },
		{ "kkkkkkk", "kkrkkkk", false }, { "kkwkkkk", "kkwkkkk", false }, { "kwkkkkk", "kkwkkkk", false },
		{ "kwkkkkk", "kwwkkkk", true },  { "kwwkkkk", "kwkkkkk", false }, { "rrrrrrr", "wrrrrrr", false },
		{ "kkkkkkk", "krwkkkk", true },
	};
	struct mapping m;

	(void)state;
	mapping_open(&m, CONF);
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct overlap *before = cases[i].before ? answer(m.rules, cases[i].before) : NULL;
		struct overlap *now = answer(m.rules, cases[i].now);
		bool passes = strchr(cases[i].now, 'w') != NULL;
		struct overlap *counts;

		assert_int_equal(overlap_may_pass(now), passes);
		counts = overlap_update(before, now);
		assert_ptr_equal(counts, cases[i].stays ? before : now);
		overlap_free(counts);
	}
	mapping_close(&m);
}

/* --- the conversation -------------------------------------------------------------------------------------------------- */

static void tell_statement(const char *sql, struct buf *out)
{
	static const char *const words[][2] = {
		{ "BEGIN READ WRITE", "B" },      { "SAVEPOINT ", "S" }, { "ROLLBACK TO SAVEPOINT ", "U" },
		{ "SET LOCAL search_path", "N" }, { "WITH ", "Q" },      { "ROLLBACK", "E" },
	};
	const char view[] = "CREATE TEMP VIEW walpush_reads_";

	if (out->len)
		buf_add_char(out, ' ');
	if (strncmp(sql, view, strlen(view)) == 0) {
		buf_addf(out, "V%c", sql[strlen(view)]);
		return;
	}
	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
		if (strncmp(sql, words[i][0], strlen(words[i][0])) == 0) {
			buf_add_text(out, words[i][1]);
			return;
		}
	fail_msg("strange: %s", sql);
}

/* "V1=42P01" in the script refuses the statement of that name; "Q!" answers a strange row. */
static void answer_statement(struct overlap_reading *r, const char *name, const char *script)
{
	static const char *const rows[][OVERLAP_COLUMNS] = { { "t", "0 2" }, { NULL, "1" } };
	struct fail why = { .text = "refused" };
	const char *here = strstr(script, name);
	char after = here ? here[strlen(name)] : '\0';

	if (after == '=') {
		mem_copy_text(why.sqlstate, sizeof(why.sqlstate), here + strlen(name) + 1);
		overlap_answered(r, &why);
		return;
	}
	if (strcmp(name, "Q") == 0)
		for (int i = 0; i < (after == '!' ? 2 : 1); i++)
			overlap_row(r, rows[i]);
	overlap_answered(r, NULL);
}

static void tell_unknown(const struct overlap *o, struct buf *out)
{
	for (size_t i = 0; i < 3; i++)
		if (overlap_unknown(o, i))
			buf_addf(out, "%s%zu", out->len ? " " : "", i);
	if (overlap_may_pass(o))
		buf_add_text(out, " may pass");
}

static void converse(const struct rules *rules, const char *script, const char *statements, const char *unknown)
{
	struct overlap_reading *r = overlap_begin(rules);
	struct buf told = { 0 }, got = { 0 };
	struct overlap *o;
	const char *sql;

	while ((sql = overlap_statement(r))) {
		size_t from = told.len ? told.len + 1 : 0;

		assert_true(told.len < 200);
		tell_statement(sql, &told);
		answer_statement(r, told.data + from, script);
	}
	assert_string_equal(told.len ? told.data : "", statements);
	o = overlap_end(r);
	tell_unknown(o, &got);
	assert_string_equal(got.len ? got.data : "", unknown);
	if (rules_n_queries(rules))
		assert_int_equal(overlap_shares(o, 0, 2), !strchr(unknown, '0') && !strchr(unknown, '2'));
	overlap_free(o);
	buf_fini(&told);
	buf_fini(&got);
}

#define THREE                                                                                                          \
	MAPPING_BASE ONE_STREAM                                                                                        \
		"tables = { crates = { type = \"c\" key = \"k\" groups = [ \"g\" ] lookup = \"SELECT 2\" } }\n" ACTOR

static void a_refused_query_keeps_the_others(void **state)
{
	static const struct {
		const char *script, *statements, *unknown;
	} cases[] = {
		{ "", "B S V0 S V1 S V2 N Q E", "" },
		{ "V0=42P01", "B S V0 U V1 S V2 N Q E", "0" },
		{ "V1=42P01", "B S V0 S V1 U V2 N Q E", "1" },
		{ "V2=42P01", "B S V0 S V1 S V2 U N Q E", "2" },
		{ "V0=42P01 V1=42501", "B S V0 U V1 U V2 N Q E", "0 1" },
		{ "V0=42P01 V1=42P01 V2=42P01", "B S V0 U V1 U V2 U N Q E", "0 1 2" },
		{ "V1=55P03", "B S V0 S V1 U V2 N Q E", "1 may pass" },
		{ "V0=55P03 V1=42P01", "B S V0 U V1 U V2 N Q E", "0 1 may pass" },
		{ "B=25006", "B E", "0 1 2" },
		{ "B=25006 E=25P01", "B E", "0 1 2" },
		{ "S=53000", "B S E", "0 1 2 may pass" },
		{ "V1=42P01 U=3B001", "B S V0 S V1 U E", "0 1 2" },
		{ "N=57014", "B S V0 S V1 S V2 N E", "0 1 2 may pass" },
		{ "Q=57014", "B S V0 S V1 S V2 N Q E", "0 1 2 may pass" },
		{ "V1=42P01 Q=57014", "B S V0 S V1 U V2 N Q E", "0 1 2 may pass" },
		{ "Q!", "B S V0 S V1 S V2 N Q E", "0 1 2" },
		/* It is over then anyway. */
		{ "E=57P01", "B S V0 S V1 S V2 N Q E", "" },
	};
	struct mapping m;

	(void)state;
	mapping_open(&m, THREE);
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		converse(m.rules, cases[i].script, cases[i].statements, cases[i].unknown);
	mapping_close(&m);
}

static void a_conversation_may_be_given_up(void **state)
{
	struct mapping m;
	struct overlap_reading *r;

	(void)state;
	mapping_open(&m, THREE);
	r = overlap_begin(m.rules);
	/* A lock is waited for less long than the server looks for deadlocks. */
	assert_non_null(strstr(overlap_statement(r), "SET LOCAL lock_timeout = '50ms'"));
	overlap_answered(r, NULL);
	overlap_free(overlap_end(r));
	mapping_close(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_query_has_its_index),
		cmocka_unit_test(who_reads_a_common_table),
		cmocka_unit_test(before_the_first_answer_nothing_overlaps),
		cmocka_unit_test(there_may_be_many_queries),
		cmocka_unit_test(its_tables_are_named),
		cmocka_unit_test(rows_that_are_none),
		cmocka_unit_test(a_lock_takes_nothing_back),
		cmocka_unit_test(a_refused_query_keeps_the_others),
		cmocka_unit_test(a_conversation_may_be_given_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
