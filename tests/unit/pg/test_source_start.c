/* Whole starts of a stream, played with results that no server made. An error's SQLSTATE cannot be put into such a result: test_source.c
 * plays those. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "source_start.h"
#include "walpush/base/mem.h"

#define COLUMNS_MOST 8

static char plugin[16]; /* of the configuration */
static const struct source_options plain = { .no_prefix = "nobody", .add = "", .filter = "", .server = 150000 };

static struct source_starting start;
static struct conf_database conf;

static int open_start(void **state)
{
	static char slot[] = "walpush", publication[] = "pages", zone[] = "Europe/Berlin";

	(void)state;
	strcpy(plugin, "wal2json");
	conf = (struct conf_database){ .slot = slot, .plugin = plugin, .publication = publication, .timezone = zone };
	start = (struct source_starting){ .conf = &conf };
	source_start_first(&start);
	return 0;
}

static int close_start(void **state)
{
	(void)state;
	source_start_fini(&start);
	return 0;
}

/* "a|b|c" as the one row of a result; NULL: no row. A column "-" is SQL NULL. */
static PGresult *answer(size_t n_columns, const char *row)
{
	static char name[] = "column";
	PGresult *result = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);
	PGresAttDesc columns[COLUMNS_MOST];
	char *text = row ? mem_text(row) : NULL, *rest = text;

	for (size_t i = 0; i < n_columns; i++)
		columns[i] = (PGresAttDesc){ .name = name, .typid = 25, .typlen = -1 };
	assert_true(PQsetResultAttrs(result, (int)n_columns, columns));
	for (int i = 0; row && i < (int)n_columns; i++) {
		char *value = strsep(&rest, "|");
		bool is_null = strcmp(value, "-") == 0;

		assert_true(PQsetvalue(result, 0, i, is_null ? NULL : value, is_null ? -1 : (int)strlen(value)));
	}
	free(text);
	return result;
}

static enum source_step take(PGresult *result, struct fail *why)
{
	enum source_step step;

	*why = (struct fail){ 0 };
	step = source_start_take(&start, result, why);
	PQclear(result);
	return step;
}

/* As far as the question about the slot. */
static void come_to_the_slot(void)
{
	struct fail why;

	assert_int_equal(start.asked, SOURCE_ASKS_SETTINGS);
	assert_int_equal(take(answer(1, "0"), &why), SOURCE_STEP_ASK);
	assert_int_equal(start.asked, SOURCE_ASKS_IDENTITY);
	assert_string_equal(start.command.data, "IDENTIFY_SYSTEM");
	assert_int_equal(take(answer(4, "7123|1|0/5000|app"), &why), SOURCE_STEP_ASK);
	assert_int_equal(start.asked, SOURCE_ASKS_SLOT);
}

#define GOOD_SLOT "wal2json|logical|t|0/4000|reserved|UTF8|1700000000000|-"

static void a_good_start_streams(void **state)
{
	struct fail why;

	(void)state;
	assert_non_null(strstr(start.command.data, "'transaction_timeout'"));
	assert_non_null(strstr(start.command.data, ", pg_catalog.set_config('timezone', 'Europe/Berlin', false)"));
	come_to_the_slot();
	assert_string_equal(start.system_id, "7123");
	assert_string_equal(start.timeline, "1");
	assert_int_equal(start.server_end, 0x5000);
	assert_non_null(strstr(start.command.data, "WHERE slot_name = 'walpush'"));
	assert_int_equal(take(answer(8, GOOD_SLOT), &why), SOURCE_STEP_PLACE);
	assert_int_equal(start.confirmed, 0x4000);
	source_start_place(&start, 0x4800, &plain);
	assert_int_equal(start.asked, SOURCE_ASKS_STREAM);
	assert_string_equal(start.command.data,
			    "START_REPLICATION SLOT \"walpush\" LOGICAL 0/4800 (\"format-version\" '2', "
			    "\"include-types\" 'false', \"include-type-oids\" 'true', \"include-lsn\" 'true', "
			    "\"include-timestamp\" 'true', \"include-xids\" 'true', \"add-msg-prefixes\" 'nobody')");
	assert_int_equal(take(PQmakeEmptyPGresult(NULL, PGRES_COPY_BOTH), &why), SOURCE_STEP_STREAM);
}

static void the_options_are_quoted(void **state)
{
	static const struct {
		struct source_options options;
		const char *wanted, *missing;
	} cases[] = {
		{ { "walpush.ddl", "nobody", "public.a", "", 150000 },
		  "'walpush.ddl', \"add-tables\" 'public.a')",
		  "filter-tables" },
		{ { "p", "nobody", "public.it's", "public.b,public.c", 150000 },
		  ", \"add-tables\" 'public.it''s', \"filter-tables\" 'public.b,public.c')",
		  NULL },
		{ { NULL, "p", "", "public.b", 150000 }, "'p', \"filter-tables\" 'public.b')", "add-tables" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		source_start_place(&start, 1, &cases[i].options);
		assert_non_null(strstr(start.command.data, cases[i].wanted));
		if (cases[i].missing)
			assert_null(strstr(start.command.data, cases[i].missing));
	}
}

static void the_slots_plugin_decides_what_is_asked_for(void **state)
{
	static const struct {
		const char *configured, *slots;
		const char *prefix;
		int server;
		const char *asked; /* NULL: the plugins differ */
	} cases[] = {
		{ "auto", "wal2json", NULL, 150000, "\"add-msg-prefixes\" 'nobody', \"add-tables\" 'public.a')" },
		{ "auto", "pgoutput", NULL, 150000, "0/4800 (proto_version '1', publication_names '\"pages\"')" },
		{ "pgoutput", "pgoutput", NULL, 150000, "(proto_version '1', publication_names '\"pages\"')" },
		{ "auto", "pgoutput", "walpush.ddl", 140000, "publication_names '\"pages\"', messages 'true')" },
		{ "auto", "pgoutput", "walpush.ddl", 139999, "publication_names '\"pages\"')" },
		{ "auto", "test_decoding", NULL, 150000, NULL },
		{ "pgoutput", "wal2json", NULL, 150000, NULL },
		{ "wal2json", "pgoutput", NULL, 150000, NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct source_options options = { cases[i].prefix, "nobody", "public.a", "", cases[i].server };
		struct fail why;
		char row[80];

		strcpy(plugin, cases[i].configured);
		source_start_first(&start);
		come_to_the_slot();
		snprintf(row, sizeof(row), "%s|logical|t|0/4000|reserved|UTF8|1700000000000|%s", cases[i].slots,
			 i % 2 ? "0 19800" : "-");
		assert_int_equal(take(answer(8, row), &why), cases[i].asked ? SOURCE_STEP_PLACE : SOURCE_STEP_FIX);
		if (!cases[i].asked)
			continue;
		assert_int_equal(start.is_pgoutput, strcmp(cases[i].slots, "pgoutput") == 0);
		assert_string_equal(start.plugin, cases[i].slots);
		assert_string_equal(start.zone, i % 2 ? "0 19800" : "");
		source_start_place(&start, 0x4800, &options);
		assert_non_null(strstr(start.command.data, cases[i].asked));
	}
}

/* The server's settings may have no rows: an old one knows none of the names. */
static void no_timeout_needs_to_be_reset(void **state)
{
	struct fail why;

	(void)state;
	assert_int_equal(take(answer(1, NULL), &why), SOURCE_STEP_ASK);
	assert_int_equal(start.asked, SOURCE_ASKS_IDENTITY);
}

static void a_strange_identity_needs_a_person(void **state)
{
	static const struct {
		size_t n_columns;
		const char *row;
	} cases[] = { { 4, NULL }, { 2, "7123|1" }, { 4, "7123|1|nowhere|app" }, { 4, "7123|1|-|app" } };

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct fail why;

		source_start_first(&start);
		assert_int_equal(take(answer(1, "0"), &why), SOURCE_STEP_ASK);
		assert_int_equal(take(answer(cases[i].n_columns, cases[i].row), &why), SOURCE_STEP_FIX);
		assert_string_equal(why.text, "IDENTIFY_SYSTEM was answered strangely: is this PostgreSQL?");
		assert_null(start.system_id);
	}
}

static void a_slot_that_cannot_be_used_needs_a_person(void **state)
{
	static const struct {
		size_t n_columns;
		const char *row, *said, *sqlstate;
	} cases[] = {
		{ 6, NULL, "slot \"walpush\" does not exist", "42704" },
		{ 8, "pgoutput|logical|t|0/4000|reserved|UTF8|1700000000000|-",
		  "slot \"walpush\" has plugin pgoutput, and database.plugin says wal2json: move the slot with what "
		  "walpush sql --switch prints, or set database.plugin = \"pgoutput\"",
		  "" },
		{ 8, "test_decoding|logical|t|0/4000|reserved|UTF8|1700000000000|-",
		  "slot \"walpush\" is logical with plugin \"test_decoding\", not logical with wal2json", "" },
		{ 8, "-|physical|-|-|reserved|UTF8|1700000000000|-", "slot \"walpush\" is physical with plugin \"\"",
		  "" },
		{ 8, "wal2json|logical|f|0/4000|reserved|UTF8|1700000000000|-", "belongs to another database", "" },
		{ 8, "wal2json|logical|-|0/4000|reserved|UTF8|1700000000000|-", "belongs to another database", "" },
		{ 8, "wal2json|logical|t|0/4000|lost|UTF8|1700000000000|-", "is lost: PostgreSQL removed WAL it needed",
		  "" },
		/* PostgreSQL 14 and later show no positions of a slot that was invalidated. */
		{ 8, "wal2json|logical|t|-|lost|UTF8|1700000000000|-", "is lost: PostgreSQL removed WAL it needed",
		  "" },
		{ 8, "wal2json|logical|t|-|-|UTF8|1700000000000|-", "slot \"walpush\" has no confirmed_flush_lsn", "" },
		{ 8, "wal2json|logical|t|0/4000|reserved|LATIN1|1700000000000|-", "the database's encoding is LATIN1",
		  "" },
		{ 3, "wal2json|logical|t", "was answered strangely", "" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct fail why;

		source_start_first(&start);
		come_to_the_slot();
		assert_int_equal(take(answer(cases[i].n_columns, cases[i].row), &why), SOURCE_STEP_FIX);
		if (!strstr(why.text, cases[i].said))
			fail_msg("case %zu: \"%s\"", i, why.text);
		assert_string_equal(why.sqlstate, cases[i].sqlstate);
	}
}

/* WAL that is to be removed is still there, and a slot whose bound is not known has no word for it. */
static void a_slot_that_may_be_lost_soon_streams(void **state)
{
	static const char *const rows[] = { "wal2json|logical|t|0/4000|extended|UTF8|1700000000000|-",
					    "wal2json|logical|t|0/4000|unreserved|UTF8|1700000000000|-",
					    "wal2json|logical|t|0/4000|-|UTF8|1700000000000|-" };

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct fail why;

		source_start_first(&start);
		come_to_the_slot();
		assert_int_equal(take(answer(8, rows[i]), &why), SOURCE_STEP_PLACE);
	}
}

static PGresult *answer_of(ExecStatusType status)
{
	return PQmakeEmptyPGresult(NULL, status);
}

/* At each question: what does not fit it is a failure, whatever it is. */
static void a_refusal_fails_at_every_question(void **state)
{
	static const ExecStatusType refusals[] = { PGRES_FATAL_ERROR, PGRES_EMPTY_QUERY, PGRES_COMMAND_OK,
						   PGRES_COPY_OUT, PGRES_BAD_RESPONSE };
	struct fail why;

	(void)state;
	for (int question = SOURCE_ASKS_SETTINGS; question <= SOURCE_ASKS_STREAM; question++) {
		for (size_t i = 0; i < sizeof(refusals) / sizeof(*refusals); i++) {
			start.asked = question;
			assert_int_equal(take(answer_of(refusals[i]), &why), SOURCE_STEP_FAIL);
			assert_string_not_equal(why.text, "");
		}
		start.asked = question;
		assert_int_equal(take(answer_of(PGRES_COPY_BOTH), &why),
				 question == SOURCE_ASKS_STREAM ? SOURCE_STEP_STREAM : SOURCE_STEP_FAIL);
	}
	start.asked = SOURCE_ASKS_STREAM;
	assert_int_equal(take(answer(1, "x"), &why), SOURCE_STEP_FIX);
}

/* A server that was replaced behind the same address: the second start knows nothing of the first. */
static void another_start_tells_another_system(void **state)
{
	struct fail why;

	(void)state;
	come_to_the_slot();
	assert_int_equal(take(answer(8, GOOD_SLOT), &why), SOURCE_STEP_PLACE);
	source_start_first(&start);
	assert_int_equal(take(answer(1, "0"), &why), SOURCE_STEP_ASK);
	assert_int_equal(take(answer(4, "9999|3|1/0|app"), &why), SOURCE_STEP_ASK);
	assert_int_equal(take(answer(8, "wal2json|logical|t|0/10|reserved|UTF8|1700000000000|-"), &why),
			 SOURCE_STEP_PLACE);
	assert_string_equal(start.system_id, "9999");
	assert_string_equal(start.timeline, "3");
	assert_int_equal(start.server_end, UINT64_C(1) << 32);
	assert_int_equal(start.confirmed, 0x10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_good_start_streams, open_start, close_start),
		cmocka_unit_test_setup_teardown(the_options_are_quoted, open_start, close_start),
		cmocka_unit_test_setup_teardown(the_slots_plugin_decides_what_is_asked_for, open_start, close_start),
		cmocka_unit_test_setup_teardown(no_timeout_needs_to_be_reset, open_start, close_start),
		cmocka_unit_test_setup_teardown(a_strange_identity_needs_a_person, open_start, close_start),
		cmocka_unit_test_setup_teardown(a_slot_that_cannot_be_used_needs_a_person, open_start, close_start),
		cmocka_unit_test_setup_teardown(a_slot_that_may_be_lost_soon_streams, open_start, close_start),
		cmocka_unit_test_setup_teardown(a_refusal_fails_at_every_question, open_start, close_start),
		cmocka_unit_test_setup_teardown(another_start_tells_another_system, open_start, close_start),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
