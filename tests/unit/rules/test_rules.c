#include <stddef.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "parts.h"
#include "mapping.h"
#include "walpush/base/event_id.h"

static void compiles_the_application(void **state)
{
	const struct rules_section *s;
	struct path_values path;
	struct mapping m;

	(void)state;
	mapping_open(&m, MAPPING_CONF);
	assert_int_equal(rules_n_streams(m.rules), 2);
	assert_string_equal(rules_stream(m.rules, 0)->admit.name, "admit of requests");
	assert_string_equal(rules_stream(m.rules, 0)->admit.sql, "SELECT 1 FROM users u WHERE u.id = $1 AND $2 > 0");
	assert_int_equal(rules_match_path(m.rules, SLICE("/ws/notifications/7/"), &path), 1);
	assert_string_equal(path_value(&path, "user_id"), "7");
	assert_int_equal(rules_match_path(m.rules, SLICE("/ws/other/7/"), &path), -1);
	s = mapping_section(m.rules, "requests", 0);
	assert_int_equal(s->groups[0].parts[1].slot, 2);
	assert_int_equal(s->fields[0], 6);
	assert_int_equal(s->updated_at, 8);
	assert_int_equal(s->actor_column, -1);
	assert_int_equal(s->actions[0].condition.column, 6);
	assert_int_equal(s->actions[0].actor_column, 4);
	assert_int_equal(s->actions[1].actor_column, -1);
	assert_null(mapping_section(m.rules, "requests", 1));
	s = mapping_section(m.rules, "sendbacks", 0);
	assert_string_equal(s->lookup.sql, "SELECT r.withdrawn_by_id AS user_id FROM requests r WHERE r.id = $1");
	assert_true(s->group_uses_lookup[0]);
	assert_int_equal(s->actor_column, 4);
	assert_string_equal(rules_actor(m.rules)->sql, "SELECT username FROM users WHERE id = $1");
	assert_int_equal(rules_n_tables(m.rules), 5);
	assert_int_equal(rules_table(m.rules, 3)->memberships[0]->user, 1);
	assert_int_equal(rules_table(m.rules, 4)->memberships[0]->user, -1);
	assert_null(rules_find(m.rules, SLICE("public"), SLICE("users")));
	assert_null(rules_find(m.rules, SLICE("other"), SLICE("requests")));
	mapping_close(&m);
}

static char *conf_with(const char *streams, const char *tables)
{
	struct buf text = { 0 };

	buf_add_text(&text, MAPPING_BASE);
	buf_addf(&text, "streams = { s = { %s } }\n",
		 streams ? streams : "path = \"/a/<x>/\" admit = \"SELECT 1\" groups = [ \"g\" ]");
	buf_add_text(&text,
		     tables ? tables : "tables = { roles = { type = \"r\" key = \"role_id\" groups = [ \"g\" ] } }");
	return buf_steal(&text);
}

/* rules_new, or where that goes well rules_bind, says `wanted` and the line. */
static void expect_refusal(const char *streams, const char *tables, unsigned line, const char *wanted)
{
	char *text = conf_with(streams, tables);
	struct catalog *catalog = mapping_catalog();
	struct fail why = { 0 };
	struct conf *conf = conf_parse("test.conf", slice_of(text), &why);
	struct rules *rules;

	if (!conf)
		fail_msg("conf_parse: %s", why.text);
	rules = rules_new(conf, &why);
	if (rules && rules_bind(rules, catalog, &why))
		fail_msg("accepted: %s", text);
	if (!strstr(why.text, wanted))
		fail_msg("\"%s\" is not in \"%s\"", wanted, why.text);
	assert_int_equal(why.line, line);
	assert_memory_equal(why.text, "test.conf:", 10);
	rules_free(rules);
	conf_free(conf);
	catalog_free(catalog);
	free(text);
}

#define STREAM(admit, groups) "path = \"/a/<x>/\" admit = \"" admit "\" groups = [ \"" groups "\" ]"

static void refuses_what_no_stream_can_answer(void **state)
{
	(void)state;
	expect_refusal(STREAM("SELECT {path.y}", "g"), NULL, 4, "admit of s: {path.y} is not in its path /a/<x>/");
	expect_refusal(STREAM("SELECT {admit.y}", "g"), NULL, 4,
		       "{admit.y} cannot stand here; what can: {path.x}, {token.x}");
	expect_refusal(STREAM("SELECT {y}", "g"), NULL, 4, "admit of s, character 8: {y} cannot stand here");
	expect_refusal(STREAM("SELECT 1", "g_{path.z}"), NULL, 4, "groups of s: {path.z} is not in its path");
	expect_refusal(STREAM("SELECT 1", "g_{lookup.z}"), NULL, 4, "{lookup.z} cannot stand here");
	expect_refusal(STREAM("SELECT 1", "g_{{5}}"), NULL, 4, "a group's name cannot hold braces");
}

#define TABLE(body) "tables = { requests = { type = \"request\" key = \"request_id\" " body " } }"
#define GROUPS "groups = [ \"g_{unit_id}\" ] "

static void refuses_columns_that_are_not_there(void **state)
{
	(void)state;
	expect_refusal(NULL, TABLE("groups = [ \"g_{unitid}\" ]"), 5,
		       "{unitid} in groups of requests: public.requests has no column unitid; it has id, request_type, "
		       "unit_id");
	expect_refusal(NULL, TABLE("groups = [ \"g_{unit_id}_{old.x}\" ]"), 5, "{old.x} in groups of requests");
	expect_refusal(NULL, TABLE("groups = [ \"g_{lookup.x}\" ] lookup = \"SELECT {y}\""), 5,
		       "{y} in lookup of requests");
	expect_refusal(NULL, TABLE(GROUPS "fields = [ \"state\" ]"), 5,
		       "fields of requests: public.requests has no column state");
	expect_refusal(NULL, TABLE(GROUPS "columns = [ \"x\" ]"), 5, "columns of requests");
	expect_refusal(NULL, TABLE(GROUPS "exclude = [ \"x\" ]"), 5, "exclude of requests");
	expect_refusal(NULL, TABLE(GROUPS "actor = \"x\""), 5, "actor of requests");
	expect_refusal(NULL, TABLE(GROUPS "when = { column = \"x\" equals = \"1\" }"), 5, "when of requests");
	expect_refusal(NULL, TABLE(GROUPS "actions = { a = { column = \"x\" becomes = \"1\" } }"), 5, "a of requests");
	expect_refusal(NULL, TABLE(GROUPS "actions = { a = { actor = \"x\" } }"), 5, "actor of requests");
	expect_refusal(
		NULL, TABLE(GROUPS) " membership = { user_units = { user = \"uid\" } }", 5,
		"user of membership user_units: public.user_units has no column uid; it has id, user_id, unit_id");
	expect_refusal(NULL, TABLE(GROUPS) " membership = { roles = { columns = [ \"x\" ] } }", 5,
		       "columns of membership roles");
}

static void refuses_what_a_table_cannot_mean(void **state)
{
	(void)state;
	expect_refusal(NULL, TABLE("groups = [ \"g_{lookup.x}\" ]"), 5, "use {lookup.…}, but it has no lookup");
	expect_refusal(NULL, TABLE("groups = [ \"g_{path.x}\" ]"), 5, "{path.x} cannot stand here");
	expect_refusal(NULL, TABLE("groups = [ \"g\" ] lookup = \"SELECT {lookup.x}\""), 5,
		       "lookup of requests, character 8");
	expect_refusal(NULL, TABLE(GROUPS "fields = [ \"data\" ]"), 5, "a member \"data\" of its own");
	expect_refusal(NULL, TABLE(GROUPS "fields = [ \"status\", \"status\" ]"), 5, "stands there twice");
	expect_refusal(NULL, "tables = { roles = { type = \"r\" key = \"id\" groups = [ \"g\" ] } }", 5,
		       "key of roles");
	expect_refusal(NULL, "tables = { nope = { type = \"r\" key = \"k\" groups = [ \"g\" ] } }", 5,
		       "there is no table public.nope");
	expect_refusal(NULL, TABLE(GROUPS) " actor = { query = \"SELECT {user}\" }", 5, "only {id} can stand");
	expect_refusal(NULL, TABLE(GROUPS) " actor = { query = \"SELECT 1\" }", 5, "by {id}");
}

#define WORDED(body) "tables = { requests = { groups = [ \"g_{unit_id}\" ] " body " } }"
#define MESSAGE(json) "message = \"" json "\" "

static void refuses_what_a_message_cannot_say(void **state)
{
	(void)state;
	expect_refusal(NULL, WORDED(MESSAGE("{\\\"a\\\":\\\"{x}\\\"}")), 5,
		       "{x} in message of requests: public.requests has no column x; it has id");
	expect_refusal(NULL, WORDED(MESSAGE("{\\\"a\\\":\\\"{old.x} {id}\\\"}")), 5, "{old.x} in message of requests");
	expect_refusal(NULL, WORDED(MESSAGE("{\\\"a\\\":\\\"{lookup.x}\\\"}")), 5,
		       "message of requests uses {lookup.…}, but it has no lookup");
	expect_refusal(NULL, WORDED(MESSAGE("{\\\"a\\\":\\\"{actor.x}\\\"}")), 5,
		       "message of requests uses {actor.…}, but there is no actor query");
	expect_refusal(NULL, WORDED(MESSAGE("{\\\"a\\\":\\\"{path.x}\\\"}")), 5,
		       "message of requests: the string \"{path.x}\": {path.x} cannot stand here; what can: {op}");
	expect_refusal(NULL, WORDED(MESSAGE("{\\\"a\\\":\\\"{id}\\\"}") "fields = [ \"status\" ]"), 5,
		       "data-query and fields mean nothing");
	expect_refusal(NULL, WORDED(MESSAGE("{\\\"a\\\":\\\"{id}\\\"}") "data-query = \"SELECT {id}\""), 5,
		       "data-query and fields mean nothing");
	expect_refusal(NULL, TABLE(GROUPS "data-query = \"SELECT {x}\""), 5, "{x} in data-query of requests");
	expect_refusal(NULL, TABLE(GROUPS "data-query = \"SELECT {lookup.x}\""), 5,
		       "data-query of requests, character 8: {lookup.x} cannot stand here");
	expect_refusal(STREAM("SELECT 1", "g") " hello = \"{\\\"a\\\":\\\"{path.y}\\\"}\"", NULL, 4,
		       "hello of s: {path.y} is not in its path /a/<x>/");
	expect_refusal(
		STREAM("SELECT 1", "g") " resync = \"{\\\"a\\\":\\\"{admit.y}\\\"}\"", NULL, 4,
		"resync of s: the string \"{admit.y}\": {admit.y} cannot stand here; what can: {stream}, {epoch}");
}

#define PEOPLE(body) "tables = { people = { type = \"p\" key = \"p_id\" groups = [ \"g\" ] " body " } }"
#define PEOPLE_WORDED(json, body) "tables = { people = { groups = [ \"g\" ] message = \"" json "\" " body " } }"

/* What names a column that the same section withholds contradicts itself, wherever it stands. */
static void refuses_to_name_what_is_withheld(void **state)
{
	(void)state;
	expect_refusal(NULL, TABLE(GROUPS "fields = [ \"status\" ] exclude = [ \"status\" ]"), 5,
		       "fields of requests: status: exclude withholds it");
	expect_refusal(NULL, TABLE(GROUPS "fields = [ \"status\", \"purpose\" ] columns = [ \"id\", \"status\" ]"), 5,
		       "fields of requests: purpose: columns does not list it");
	expect_refusal(NULL, PEOPLE_WORDED("{\\\"a\\\":\\\"{ssn}\\\"}", "exclude = [ \"ssn\" ]"), 5,
		       "message of people: {ssn}: exclude withholds it");
	expect_refusal(NULL, PEOPLE_WORDED("{\\\"a\\\":\\\"was {old.otp}\\\"}", "exclude = [ \"name\", \"otp\" ]"), 5,
		       "message of people: {old.otp}: exclude withholds it");
	expect_refusal(NULL, PEOPLE_WORDED("{\\\"a\\\":[\\\"{otp:text}\\\"]}", "columns = [ \"name\" ]"), 5,
		       "message of people: {otp");
	/* The key names the row in every message and in a delete's data. */
	expect_refusal(NULL, PEOPLE("exclude = [ \"ssn\" ]"), 5,
		       "exclude of people: ssn is in the primary key of public.people");
	expect_refusal(
		NULL, "tables = { links = { type = \"l\" key = \"k\" groups = [ \"g\" ] exclude = [ \"right_id\" ] } }",
		5, "right_id is in the primary key of public.links");
	expect_refusal(NULL, PEOPLE("columns = [ \"ssn\", \"nope\" ]"), 5, "columns of people");
	expect_refusal(NULL, PEOPLE("quiet = [ \"nope\" ]"), 5, "quiet of people: public.people has no column nope");
}

/* "ssn name": the columns of people for which the question is answered with yes. */
static char *columns_with(const struct rules_section *s, bool (*question)(const struct rules_section *s, size_t column))
{
	struct buf out = { 0 };

	buf_add_text(&out, "");
	for (size_t i = 0; i < s->table->n_columns; i++)
		if (question(s, i))
			buf_addf(&out, "%s%s", out.len ? " " : "", s->table->columns[i].name);
	return buf_steal(&out);
}

static bool is_loud(const struct rules_section *s, size_t column)
{
	return rules_loud(s, column) != NULL;
}

static bool is_quiet(const struct rules_section *s, size_t column)
{
	return s->quiet && s->quiet[column];
}

struct column_case {
	const char *tables, *wanted;
};

static void expect_columns(const struct column_case *cases, size_t n,
			   bool (*question)(const struct rules_section *s, size_t column))
{
	for (size_t i = 0; i < n; i++) {
		struct mapping m;
		struct buf text = { 0 };
		char *got;

		buf_addf(&text, "%s%s%s", MAPPING_BASE, MAPPING_STREAMS, cases[i].tables);
		mapping_open(&m, text.data);
		got = columns_with(mapping_section(m.rules, "people", 0), question);
		if (strcmp(got, cases[i].wanted) != 0)
			fail_msg("%s: got \"%s\", wanted \"%s\"", cases[i].tables, got, cases[i].wanted);
		free(got);
		mapping_close(&m);
		buf_fini(&text);
	}
}

#define EXPECT_COLUMNS(cases, question) expect_columns(cases, sizeof(cases) / sizeof((cases)[0]), question)

static void knows_the_secrets_that_are_sent(void **state)
{
	static const struct column_case cases[] = {
		{ PEOPLE(""), "ssn otp" },
		{ PEOPLE("exclude = [ \"otp\" ]"), "ssn" },
		{ PEOPLE("exclude = [ \"name\" ]"), "ssn otp" },
		{ PEOPLE("columns = [ \"ssn\", \"otp\" ]"), "" },     /* they are meant */
		{ PEOPLE("columns = [ \"name\", \"otp\" ]"), "ssn" }, /* `key` shows it all the same */
		/* `data` is what the query says; what else the message shows is not. */
		{ PEOPLE("data-query = \"SELECT 1\""), "ssn" },
		{ PEOPLE("data-query = \"SELECT 1\" fields = [ \"otp\" ]"), "ssn otp" },
		{ PEOPLE_WORDED("{\\\"a\\\":\\\"{name}\\\"}", ""), "" },
		{ PEOPLE_WORDED("{\\\"a\\\":\\\"{old.otp} {has_token}\\\"}", ""), "otp" },
		{ PEOPLE_WORDED("{\\\"a\\\":\\\"{otp}\\\"}", "columns = [ \"otp\" ]"), "" },
	};

	(void)state;
	EXPECT_COLUMNS(cases, rules_sends_secret);
}

#define QUIET "quiet = [ \"ssn\", \"name\", \"otp\", \"last_login\" ] "

static void what_the_rules_read_is_never_quiet(void **state)
{
	static const struct column_case quiet[] = {
		{ PEOPLE(""), "" },
		{ PEOPLE("quiet = [ ]"), "" },
		{ PEOPLE(QUIET), "name otp last_login" },
		{ PEOPLE(QUIET "when = { column = \"otp\" equals = \"1\" }"), "name last_login" },
		{ PEOPLE(QUIET "actions = { a = { column = \"name\" becomes = \"x\" actor = \"otp\" } }"),
		  "last_login" },
		{ PEOPLE(QUIET "lookup = \"SELECT {name}, {old.otp}\""), "last_login" },
		{ PEOPLE(QUIET "actor = \"otp\""), "name otp last_login" },
		{ "tables = { people = { type = \"p\" key = \"k\" groups = [ \"g_{name}\", \"h_{old.last_login}\" "
		  "] " QUIET "} }",
		  "otp" },
	};
	static const struct column_case loud[] = {
		{ PEOPLE(QUIET), "ssn" },
		{ PEOPLE(QUIET "when = { column = \"otp\" equals = \"1\" }"), "ssn otp" },
		{ PEOPLE("when = { column = \"otp\" equals = \"1\" }"), "" },
	};

	(void)state;
	EXPECT_COLUMNS(quiet, is_quiet);
	EXPECT_COLUMNS(loud, is_loud);
}

/* One mistake is one error, also where the rules meet what conf has refused. */
static void says_all_errors_of_a_file(void **state)
{
	static const char text[] = MAPPING_BASE
		"streams = {\n"
		"a = { path = \"/a/<int:x>/\" admit = \"SELECT {path.y}\" groups = [ \"g_{q}\", \"{{\", \"g\" ] }\n"
		"b = { path = \"/a/<int:y>/\" admit = 5 groups = [ \"g_{path.z}\" ] }\n"
		"c = { pth = \"/c/<x>/\" admit = \"SELECT 1\" groups = [ \"g_{path.x}\" ] hello = \"{}\" }\n"
		"}\n"
		"tables = {\n"
		"t = { type = \"t\" key = \"id\" groups = [ \"g_{lookup.x}\" ] fields = [ \"x\", \"x\" ] }\n"
		"u = { type = \"t\" key = \"k\" groups = [ \"g_{lookup.x}\" ] lookup = 5 }\n"
		"v = { message = \"{\\\"a\\\": \\\"{actor.x}\\\"}\" groups = [ \"g\" ] }\n"
		"}\n"
		"actor = { query = \"\\xff\" }\n";
	static const struct {
		unsigned line;
		const char *says;
	} wanted[] = {
		{ 5, "admit of a: {path.y} is not in its path" },
		{ 5, "{q} cannot stand here" },
		{ 5, "a group's name cannot hold braces" },
		{ 6, "streams.b.admit should be a string" },
		{ 6, "groups of b: {path.z} is not in its path" },
		{ 6, "the path of stream b matches" },
		{ 7, "streams.c.pth is not known" },
		{ 10, "groups of t use {lookup.…}, but it has no lookup" },
		{ 10, "key of t: the message has a member \"id\"" },
		{ 10, "fields of t: \"x\" stands there twice" },
		{ 11, "tables.u.lookup should be a string" },
		{ 14, "actor.query is not valid UTF-8" },
	};
	struct fails all = { 0 };
	struct conf *conf = conf_parse_all("test.conf", slice_of(text), &all);

	(void)state;
	assert_non_null(conf);
	assert_null(rules_new_all(conf, &all));
	for (size_t i = 0; i < all.n && i < sizeof(wanted) / sizeof(wanted[0]); i++) {
		if (all.at[i].line != wanted[i].line || !strstr(all.at[i].text, wanted[i].says))
			fail_msg("\"%s\" in place of \"%s\"", all.at[i].text, wanted[i].says);
	}
	assert_int_equal(all.n, sizeof(wanted) / sizeof(wanted[0]));
	fails_fini(&all);
	conf_free(conf);
}

/* A reload that changes it closes no connection. */
static void public_is_no_part_of_a_streams_identity(void **state)
{
	struct conf_stream s = { .name = mem_text("s"),
				 .path = { mem_text("/"), 1 },
				 .admit = { mem_text("SELECT 1"), 1 } };
	uint64_t identity = rules_digest_stream(&s);

	(void)state;
	s.public = true;
	assert_true(rules_digest_stream(&s) == identity);
	free(s.name);
	free(s.path.text);
	free(s.admit.text);
}

static void refuses_two_paths_of_one_shape(void **state)
{
	static const char text[] =
		MAPPING_BASE "streams = {\n"
			     "a = { path = \"/a/<int:x>/\" admit = \"SELECT 1\" groups = [ \"g\" ] }\n"
			     "b = { path = \"/a/<int:y>/\" admit = \"SELECT 1\" groups = [ \"g\" ] }\n"
			     "}\n" TABLE(GROUPS);
	struct fail why = { 0 };
	struct conf *conf = conf_parse("test.conf", slice_of(text), &why);

	(void)state;
	assert_non_null(conf);
	assert_null(rules_new(conf, &why));
	assert_string_equal(why.text,
			    "test.conf:6: the path of stream b matches what that of stream a (line 5) matches");
	conf_free(conf);
}

static const char many_sections[] = MAPPING_BASE MAPPING_STREAMS
	"tables = {\n"
	"  one = { from = \"requests\" type = \"a\" key = \"a_id\" groups = [ \"g\" ] }\n"
	"  odd = { from = \"Odd S.my, table+\" type = \"b\" key = \"b_id\" groups = [ \"g\" ] }\n"
	"  two = { from = \"public.requests\" type = \"c\" key = \"c_id\" groups = [ \"g\" ] }\n"
	"}\n"
	"membership = { requests = { } }\n";

/* A stand-in for what wal2json does with its list: names without their backslashes, a '|' where one ends. */
static void parse_as_wal2json(const char *list, struct buf *out)
{
	for (; *list; list++) {
		if (*list == '\\')
			buf_add_char(out, *++list);
		else if (*list == ',' || *list == ' ')
			buf_add_char(out, '|');
		else
			buf_add_char(out, *list);
	}
}

static void lists_each_table_once(void **state)
{
	struct fail why = { 0 };
	struct conf *conf = conf_parse("test.conf", slice_of(many_sections), &why);
	struct rules *rules;
	struct buf out = { 0 }, parsed = { 0 };

	(void)state;
	if (!conf)
		fail_msg("%s", why.text);
	rules = rules_new(conf, &why);
	assert_non_null(rules);
	rules_add_tables(rules, &out);
	assert_string_equal(out.data, "public.requests,Odd\\ S.my\\,\\ table\\+");
	parse_as_wal2json(out.data, &parsed);
	assert_string_equal(parsed.data, "public.requests|Odd S.my, table+");
	buf_clear(&out);
	rules_catalog_param(rules, &out);
	assert_string_equal(out.data, "{\"public.requests\",\"Odd S.my, table+\"}");
	assert_int_equal(rules_table(rules, 0)->n_sections, 2);
	assert_string_equal(rules_table(rules, 0)->sections[1]->type_json, "c");
	assert_int_equal(rules_table(rules, 0)->n_memberships, 1);
	assert_true(rules_has_memberships(rules));
	assert_string_equal(rules_section(rules, "two")->type_json, "c");
	assert_null(rules_section(rules, "requests"));
	assert_string_equal(rules_table(rules, 1)->schema, "Odd S");
	assert_string_equal(rules_table(rules, 1)->name, "my, table+");
	buf_fini(&out);
	buf_fini(&parsed);
	rules_free(rules);
	conf_free(conf);
}

static uint32_t digest_of(const char *text)
{
	struct fail why = { 0 };
	struct conf *conf = conf_parse("test.conf", slice_of(text), &why);
	struct rules *rules = conf ? rules_new(conf, &why) : NULL;
	uint32_t digest;

	if (!rules)
		fail_msg("%s", why.text);
	digest = rules_digest(rules);
	rules_free(rules);
	conf_free(conf);
	return digest;
}

static uint32_t feed_digest_of(const char *text)
{
	struct fail why = { 0 };
	struct conf *conf = conf_parse("test.conf", slice_of(text), &why);
	struct rules *rules = conf ? rules_new(conf, &why) : NULL;
	uint32_t digest;

	if (!rules)
		fail_msg("%s", why.text);
	digest = rules_digest_feed(rules);
	rules_free(rules);
	conf_free(conf);
	return digest;
}

#define DIGEST_CONF(body) MAPPING_BASE MAPPING_STREAMS TABLE(body)

static void the_digest_tells_rules_apart(void **state)
{
	static const char *const others[] = {
		DIGEST_CONF("groups = [ \"g_{id}\" ]"),
		DIGEST_CONF("groups = [ \"g_{unit_id}\", \"h\" ]"),
		DIGEST_CONF(GROUPS "when = { column = \"status\" equals = \"x\" }"),
		DIGEST_CONF(GROUPS "fields = [ \"status\" ]"),
		DIGEST_CONF(GROUPS "columns = [ \"status\" ]"),
		DIGEST_CONF(GROUPS "exclude = [ \"status\" ]"),
		DIGEST_CONF(GROUPS "quiet = [ \"status\" ]"),
		DIGEST_CONF(GROUPS "lookup = \"SELECT 1\""),
		DIGEST_CONF(GROUPS "actions = { a = { column = \"status\" becomes = \"x\" } }"),
		DIGEST_CONF(GROUPS) " limits = { bulk = 7 }",
	};
	uint32_t digest = digest_of(DIGEST_CONF(GROUPS));

	(void)state;
	/* Lines, streams and what else the file says have no part in it. */
	assert_int_equal(digest,
			 digest_of(MAPPING_BASE "\n\n" MAPPING_STREAMS TABLE(GROUPS) " membership = { roles = { } }"));
	assert_int_equal(digest, digest_of(DIGEST_CONF(GROUPS "reads-ignore = [ \"units\" ]")));
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		assert_int_not_equal(digest, digest_of(others[i]));
}

/* Who has a position of another numbering, or entries of another format, must not go on with it. */
static void the_epoch_has_the_versions_of_numbers_and_entries(void **state)
{
	struct mapping m;
	uint32_t digest;

	(void)state;
	mapping_open(&m, MAPPING_CONF);
	digest = rules_digest(m.rules);
	assert_int_equal(digest, rules_digest_of(m.rules, EVENT_NUMBERING, EVENT_ENTRY_FORMAT));
	assert_int_not_equal(digest, rules_digest_of(m.rules, EVENT_NUMBERING + 1, EVENT_ENTRY_FORMAT));
	assert_int_not_equal(digest, rules_digest_of(m.rules, EVENT_NUMBERING, EVENT_ENTRY_FORMAT + 1));
	assert_int_not_equal(rules_digest_of(m.rules, 1, 2), rules_digest_of(m.rules, 2, 1));
	mapping_close(&m);
}

static void long_names_stay_unique(void **state)
{
#define LONG "a_section_with_a_name_so_long_that_postgresql_would_cut_it_somewhere_"
	static const char text[] = MAPPING_BASE MAPPING_STREAMS
		"tables = {\n" LONG
		"1 = { from = \"requests\" type = \"a\" key = \"k\" groups = [ \"g\" ] lookup = \"SELECT 1\" }\n" LONG
		"2 = { from = \"requests\" type = \"a\" key = \"k\" groups = [ \"g\" ] lookup = \"SELECT 2\" } }\n";
	struct mapping m;

	(void)state;
	mapping_open(&m, text);
	assert_int_equal(strlen(mapping_section(m.rules, "requests", 0)->lookup.name), 63);
	assert_int_equal(strlen(mapping_section(m.rules, "requests", 1)->lookup.name), 63);
	assert_string_not_equal(mapping_section(m.rules, "requests", 0)->lookup.name,
				mapping_section(m.rules, "requests", 1)->lookup.name);
	assert_string_equal(mapping_section(m.rules, "requests", 1)->lookup.name,
			    "lookup of a_section_with_a_name_so_long_that_postgresq#5d82ffb3");
	mapping_close(&m);
}

static void binds_again(void **state)
{
	struct catalog *again = mapping_catalog();
	struct fail why = { 0 };
	struct mapping m;

	(void)state;
	mapping_open(&m, MAPPING_CONF);
	assert_true(rules_bind(m.rules, again, &why));
	assert_ptr_equal(mapping_section(m.rules, "requests", 0)->table, catalog_find(again, "public", "requests"));
	mapping_close(&m);
	catalog_free(again);
}

/* What decides whether a reload starts the stream again, though ids mean the same. */
static void the_feed_has_a_digest_of_its_own(void **state)
{
	uint32_t digest = feed_digest_of(DIGEST_CONF(GROUPS));

	(void)state;
	assert_int_equal(digest, feed_digest_of(DIGEST_CONF(GROUPS) " limits = { stall = 7 }"));
	assert_int_not_equal(digest, feed_digest_of(DIGEST_CONF(GROUPS) " membership = { roles = { } }"));
	assert_int_not_equal(digest, feed_digest_of(DIGEST_CONF(GROUPS "close = 4000")));
	assert_int_not_equal(digest, feed_digest_of(DIGEST_CONF(GROUPS "actions = { a = { on = \"insert\" } }")));
}

#define IDENTITY(path, admit, groups, more)                                                                            \
	MAPPING_BASE "streams = { s = { path = \"" path "\"  admit = \"" admit "\"  groups = [ \"" groups "\" ] " more \
		     "} }\n" TABLE(GROUPS)

static uint64_t identity_of(const char *text)
{
	struct fail why = { 0 };
	struct conf *conf = conf_parse("test.conf", slice_of(text), &why);
	struct rules *rules = conf ? rules_new(conf, &why) : NULL;
	uint64_t identity;

	if (!rules)
		fail_msg("%s", why.text);
	identity = rules_stream(rules, 0)->identity;
	assert_int_equal(rules_stream_index(rules, identity), 0);
	assert_int_equal(rules_stream_index(rules, identity + 1), -1);
	rules_free(rules);
	conf_free(conf);
	return identity;
}

static void a_stream_is_the_same_only_if_all_of_it_is(void **state)
{
	static const char *const others[] = {
		IDENTITY("/b/<int:x>/", "SELECT 1", "g", ""),
		IDENTITY("/a/<int:x>/", "SELECT 2", "g", ""),
		IDENTITY("/a/<int:x>/", "SELECT 1", "h", ""),
		IDENTITY("/a/<int:x>/", "SELECT 1", "g\", \"h", ""),
		IDENTITY("/a/<int:x>/", "SELECT 1", "g", "resync = \"close\""),
		IDENTITY("/a/<int:x>/", "SELECT 1", "g", "hello = \"{}\""),
	};
	uint64_t identity = identity_of(IDENTITY("/a/<int:x>/", "SELECT 1", "g", ""));

	(void)state;
	assert_int_equal(identity, identity_of("\n" IDENTITY("/a/<int:x>/", "SELECT 1", "g", "")));
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		assert_int_not_equal(identity, identity_of(others[i]));
}

/* Of a running installation: with another digest every client gets `resync` when walpush is upgraded. */
static void digests_stay_from_release_to_release(void **state)
{
	struct fail why = { 0 };
	struct conf *conf =
		conf_parse("test.conf", SLICE(DIGEST_CONF(GROUPS "actions = { a = { on = \"insert\" } }")), &why);
	struct rules *rules = rules_new(conf, &why);

	(void)state;
	assert_int_equal(rules_digest_of(rules, 2, 1), 0xf1bec6e9);
	if (EVENT_NUMBERING == 2 && EVENT_ENTRY_FORMAT == 1)
		assert_int_equal(rules_digest_feed(rules), 0x4c0b1d4a);
	assert_int_equal(identity_of(IDENTITY("/a/<int:x>/", "SELECT 1", "g", "")), UINT64_C(0x89c2caeeba7dcbad));
	assert_int_equal(identity_of(IDENTITY("/a/<int:x>/", "SELECT 1", "g\", \"h", "hello = \"{}\"")),
			 UINT64_C(0xd0399207b0eae65d));
	rules_free(rules);
	conf_free(conf);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(compiles_the_application),
		cmocka_unit_test(refuses_what_no_stream_can_answer),
		cmocka_unit_test(refuses_columns_that_are_not_there),
		cmocka_unit_test(refuses_what_a_table_cannot_mean),
		cmocka_unit_test(refuses_what_a_message_cannot_say),
		cmocka_unit_test(refuses_to_name_what_is_withheld),
		cmocka_unit_test(knows_the_secrets_that_are_sent),
		cmocka_unit_test(what_the_rules_read_is_never_quiet),
		cmocka_unit_test(says_all_errors_of_a_file),
		cmocka_unit_test(public_is_no_part_of_a_streams_identity),
		cmocka_unit_test(refuses_two_paths_of_one_shape),
		cmocka_unit_test(lists_each_table_once),
		cmocka_unit_test(the_digest_tells_rules_apart),
		cmocka_unit_test(the_feed_has_a_digest_of_its_own),
		cmocka_unit_test(a_stream_is_the_same_only_if_all_of_it_is),
		cmocka_unit_test(the_epoch_has_the_versions_of_numbers_and_entries),
		cmocka_unit_test(digests_stay_from_release_to_release),
		cmocka_unit_test(long_names_stay_unique),
		cmocka_unit_test(binds_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
