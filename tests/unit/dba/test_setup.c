/* setup: sql/setup.sql is the script of the shipped sidecar.conf; and what a script says of a configuration. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "walpush/change/decode.h"
#include "walpush/dba/setup.h"
#include "needs.h"
#include "walpush/rules/reads.h"
#include "walpush/text/sqltext.h"

#define SHIPPED "sql/setup.sql"

static struct rules *rules_of(struct conf *conf)
{
	struct fail why = { 0 };
	struct rules *r = rules_new(conf, &why);

	if (!r)
		fail_msg("%s", why.text);
	return r;
}

static void read_file(const char *path, struct buf *out)
{
	FILE *file = fopen(path, "r");
	size_t n;

	assert_non_null(file);
	while ((n = fread(buf_reserve(out, 65536), 1, 65536, file)) > 0)
		out->len += n;
	buf_add_text(out, "");
	fclose(file);
}

static void write_file(const char *path, const struct buf *text)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	assert_int_equal(fwrite(text->data, 1, text->len, file), text->len);
	assert_int_equal(fclose(file), 0);
}

static void test_the_shipped_script_is_that_of_the_shipped_file(void **state)
{
	struct fail why = { 0 };
	struct conf *conf = conf_load("sidecar.conf", &why);
	struct rules *rules;
	struct buf script = { 0 }, shipped = { 0 };

	(void)state;
	if (!conf)
		fail_msg("%s", why.text);
	rules = rules_of(conf);
	setup_script(conf, rules, &(struct setup_options){ .role = "walpush", .plugin = SETUP_WAL2JSON }, &script);
	if (getenv("WALPUSH_UPDATE_DOCS"))
		write_file(SHIPPED, &script);
	read_file(SHIPPED, &shipped);
	if (!slice_equal(buf_slice(&script), buf_slice(&shipped)))
		fail_msg(SHIPPED
			 " is not what walpush sql prints; run WALPUSH_UPDATE_DOCS=1 build/dev/unit/dba/test_setup");
	buf_fini(&script);
	buf_fini(&shipped);
	rules_free(rules);
	conf_free(conf);
}

static const char odd[] =
	"database = { url = \"postgresql://app@db/app\"  slot = \"odd_slot\" }\n"
	"jwt = { algorithm = \"HS256\"  key = \"secret\" }\n"
	"streams = { orders = { path = \"/ws/<int:x>/\"  admit = \"SELECT 'a{{b' WHERE {path.x} > 0 -- why ; \"\n"
	"            groups = [ \"orders\" ] } }\n"
	"tables = { orders = { from = \"O'Brien.Order\"  type = \"order\"  key = \"order_id\"\n"
	"           groups = [ \"orders_{old.shop}_{lookup.x}\", \"orders_{shop}\" ]\n"
	"           lookup = \"SELECT 1 AS x WHERE {item} = 1\"\n"
	"           actions = { new = { on = \"insert\" column = \"fresh\" becomes = \"yes\" }\n"
	"                       paid = { column = \"state\" becomes = \"paid\" } } }\n"
	"         lines = { message = \"{\\\"was\\\": \\\"{old.amount}\\\", \\\"who\\\": \\\"{actor.name}\\\"}\"\n"
	"                   groups = [ \"lines\" ] } }\n"
	"actor = { query = \"SELECT name FROM people WHERE id = {id}\" }\n"
	"membership = { people = { user = \"id\" columns = [ \"active\" ] } }\n";

struct odd {
	struct conf *conf;
	struct rules *rules;
};

static int make_odd(void **state)
{
	static struct odd made;
	struct fail why = { 0 };

	made.conf = conf_parse("odd.conf", slice_of(odd), &why);
	if (!made.conf)
		fail_msg("%s", why.text);
	made.rules = rules_of(made.conf);
	*state = &made;
	return 0;
}

static int free_odd(void **state)
{
	struct odd *made = *state;

	rules_free(made->rules);
	conf_free(made->conf);
	return 0;
}

static void test_old_columns_are_those_of_groups_lookups_and_conditions(void **state)
{
	const struct odd *made = *state;
	const char **columns;

	/* Not "fresh": an inserted row has no former value. */
	assert_int_equal(rules_identity_columns(rules_table(made->rules, 0), &columns), 3);
	assert_string_equal(columns[0], "shop");
	assert_string_equal(columns[1], "item");
	assert_string_equal(columns[2], "state");
	free((void *)columns);
	/* Of a message, its former values; not those of other queries. */
	assert_int_equal(rules_identity_columns(rules_table(made->rules, 1), &columns), 1);
	assert_string_equal(columns[0], "amount");
	free((void *)columns);
	assert_int_equal(rules_identity_columns(rules_table(made->rules, 2), &columns), 2);
	assert_string_equal(columns[0], "id");
	assert_string_equal(columns[1], "active");
	free((void *)columns);
}

static void test_names_are_quoted(void **state)
{
	const struct odd *made = *state;
	struct buf out = { 0 };

	needs_wanted(&out, made->rules);
	assert_string_equal(
		out.data, "VALUES\n        ('O''Brien', 'Order', ARRAY['shop', 'item', 'state']::text[], true, true),\n"
			  "        ('public', 'lines', ARRAY['amount']::text[], false, false),\n"
			  "        ('public', 'people', ARRAY['id', 'active']::text[], false, false)");
	buf_clear(&out);
	sqltext_ident(&out, "user");
	sqltext_ident(&out, "people_2");
	sqltext_ident(&out, "O\"Brien");
	assert_string_equal(out.data, "\"user\"people_2\"O\"\"Brien\"");
	buf_fini(&out);
}

static const char quiet[] = "database = { url = \"postgresql://app@db/app\"  slot = \"s\" }\n"
			    "jwt = { algorithm = \"HS256\"  key = \"secret\" }\n"
			    "streams = { s = { path = \"/ws/\"  admit = \"SELECT 1\"  groups = [ \"g\" ] } }\n"
			    "tables = { users = { type = \"u\"  key = \"k\"  groups = [ \"g_{role}\" ]  quiet = [ "
			    "\"last_login\", \"it's\" ] } }\n";

/* An update is compared by all other columns, so the log must hold their old values. */
static void test_quiet_needs_the_other_columns(void **state)
{
	struct fail why = { 0 };
	struct conf *conf = conf_parse("quiet.conf", slice_of(quiet), &why);
	struct rules *rules;
	struct buf out = { 0 };

	(void)state;
	if (!conf)
		fail_msg("%s", why.text);
	rules = rules_of(conf);
	needs_wanted(&out, rules);
	assert_memory_equal(out.data,
			    "VALUES\n        ('public', 'users', ARRAY['role']::text[]\n         || ARRAY(SELECT ", 75);
	assert_non_null(strstr(out.data, "s.nspname = 'public' AND k.relname = 'users'"));
	assert_non_null(strstr(out.data, "q.attname <> ALL (ARRAY['last_login', 'it''s']::text[])), true, true)"));
	buf_fini(&out);
	rules_free(rules);
	conf_free(conf);
}

static void test_a_query_becomes_a_view(void **state)
{
	const struct odd *made = *state;
	struct buf out = { 0 };

	reads_view(&out, 7, &rules_stream(made->rules, 0)->admit);
	assert_string_equal(out.data, "CREATE TEMP VIEW walpush_reads_7 AS SELECT 1 AS one FROM (\n"
				      "    SELECT 'a{b' WHERE NULL > 0 -- why\n) AS q");
	buf_fini(&out);
}

static void test_the_script_has_the_slot_and_the_role(void **state)
{
	const struct odd *made = *state;
	struct buf out = { 0 };

	setup_script(made->conf, made->rules, &(struct setup_options){ .role = "o'role", .plugin = SETUP_WAL2JSON },
		     &out);
	assert_non_null(strstr(out.data, "\\set slot 'odd_slot' \\endif\n"));
	assert_non_null(strstr(out.data, "\\set role 'o''role' \\endif\n"));
	assert_non_null(strstr(out.data, "-- lookup of orders\nCREATE TEMP VIEW walpush_reads_2 "));
	assert_non_null(strstr(out.data, "DROP VIEW walpush_reads_1, walpush_reads_2, walpush_reads_3;\n"));
	buf_clear(&out);
	setup_script(made->conf, made->rules, &(struct setup_options){ .plugin = SETUP_WAL2JSON }, &out);
	assert_non_null(strstr(out.data, "\\set role 'walpush' \\endif\n"));
	buf_fini(&out);
}

/* Whatever sends it to the server, psql or not; all of it or nothing. */
static void test_the_event_trigger_is_one_transaction_of_sql(void **state)
{
	struct buf script = { 0 };
	const char *begin, *commit;

	(void)state;
	setup_ddl(&script);
	begin = strstr(script.data, "\nBEGIN;\n");
	commit = strstr(script.data, "\nCOMMIT;\n");
	assert_non_null(begin);
	assert_non_null(commit);
	assert_string_equal(commit, "\nCOMMIT;\n");
	for (const char *line = script.data; line < begin; line = strchr(line, '\n') + 1)
		if (*line != '\n' && strncmp(line, "--", 2) != 0)
			fail_msg("this stands before BEGIN: %.40s", line);
	assert_null(strchr(begin, '\\'));
	assert_non_null(strstr(begin, "pg_logical_emit_message(true, '" DECODE_DDL_PREFIX "', "));
	buf_fini(&script);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_shipped_script_is_that_of_the_shipped_file),
		cmocka_unit_test_setup_teardown(test_old_columns_are_those_of_groups_lookups_and_conditions, make_odd,
						free_odd),
		cmocka_unit_test_setup_teardown(test_names_are_quoted, make_odd, free_odd),
		cmocka_unit_test(test_quiet_needs_the_other_columns),
		cmocka_unit_test_setup_teardown(test_a_query_becomes_a_view, make_odd, free_odd),
		cmocka_unit_test_setup_teardown(test_the_script_has_the_slot_and_the_role, make_odd, free_odd),
		cmocka_unit_test(test_the_event_trigger_is_one_transaction_of_sql),
	};

	setenv("DATABASE_URL", "postgresql://walpush@localhost/app", 1);
	setenv("JWT_SIGNING_KEY", "a key that stands in no script", 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
