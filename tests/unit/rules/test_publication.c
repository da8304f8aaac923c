/* What a publication sends, compared with what the rules need. The rows are what publication_query returns. */
#include <stddef.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "mapping.h"
#include "walpush/rules/publication.h"

#define ROWS_MOST 12
#define PUBLICATION "publication|true|true|true|true|true|false||||"
#define TABLE(name) "table|public|" name "|public|" name "|false|true|true|public|" name "||"
#define UNSENT(name) "table|public|" name "|public|" name "|false|true|true||||"
#define ALL_BUT_USER_UNITS PUBLICATION, TABLE("requests"), TABLE("crates"), TABLE("sendbacks"), TABLE("roles")
#define ALL ALL_BUT_USER_UNITS, TABLE("user_units")

#define STREAM "streams = { s = { path = \"/a/<x>/\" admit = \"SELECT 1\" groups = [ \"g\" ] } }\n"
/* One section, of `people`. */
#define PEOPLE(more)                                                                                                   \
	MAPPING_BASE STREAM                                                                                            \
		"tables = { people = { type = \"person\" key = \"person_id\" groups = [ \"g_{name}\" ] " more " } }\n"
#define PEOPLE_COLUMN(name) "table|public|people|public|people|false|true|true|public|people|" name "|"

/* Empty values are null. */
static void set_row(struct sqlrows *rows, size_t row, const char *text)
{
	char *copy = mem_text(text), *rest = copy;

	for (size_t i = 0; i < PUBLICATION_COLUMNS && rest; i++) {
		const char *value = strsep(&rest, "|");

		sqlrows_set(rows, row, i, *value ? value : NULL);
	}
	free(copy);
}

static struct publication *publication_of(const char *const *texts, struct fail *why)
{
	size_t n = 0;
	struct sqlrows *rows;
	struct publication *p;

	while (n < ROWS_MOST && texts[n])
		n++;
	rows = sqlrows_new(n, PUBLICATION_COLUMNS);
	for (size_t i = 0; i < n; i++)
		set_row(rows, i, texts[i]);
	p = publication_new(rows, why);
	sqlrows_free(rows);
	return p;
}

static const char *const kinds[] = {
	[PUBLICATION_ABSENT] = "absent", [PUBLICATION_OPERATION] = "operation", [PUBLICATION_ROOT] = "root",
	[PUBLICATION_TABLE] = "table",   [PUBLICATION_AS_ROOT] = "as-root",     [PUBLICATION_COLUMN] = "column",
	[PUBLICATION_FILTER] = "filter", [PUBLICATION_GENERATED] = "generated", [PUBLICATION_IDENTITY] = "identity",
};

/* "table crates pushed: the text | the mend" */
static void write_lack(void *ctx, const struct publication_lack *lack)
{
	struct buf *out = ctx;

	buf_addf(out, "%s%s %s%s%s%s: %s | %s", out->len ? "\n" : "", kinds[lack->kind],
		 lack->table ? lack->table->name : "all", lack->is_deciding ? " deciding" : "",
		 lack->is_pushed ? " pushed" : "", lack->is_hint ? " hint" : "", lack->text, lack->mend);
	assert_int_equal(lack->is_sql, lack->mend[strlen(lack->mend) - 1] == ';');
}

static void expect(const char *conf, const char *const *rows, const char *wanted)
{
	struct mapping m;
	struct fail why = { 0 };
	struct publication *p = publication_of(rows, &why);
	struct buf got = { 0 };
	size_t lines = 0, hints = 0, n;

	assert_non_null(p);
	mapping_open(&m, conf);
	n = publication_compare(p, m.rules, write_lack, &got);
	assert_string_equal(got.len ? got.data : "", wanted);
	for (const char *at = wanted; at && *at; at = strchr(at, '\n') ? strchr(at, '\n') + 1 : NULL) {
		lines++;
		hints += strstr(at, " hint:") && (!strchr(at, '\n') || strstr(at, " hint:") < strchr(at, '\n'));
	}
	assert_int_equal(n, lines - hints);
	buf_fini(&got);
	publication_free(p);
	mapping_close(&m);
}

struct expected {
	const char *rows[ROWS_MOST];
	const char *wanted;
};

static void each(const char *conf, const struct expected *cases, size_t n)
{
	for (size_t i = 0; i < n; i++)
		expect(conf, cases[i].rows, cases[i].wanted);
}

#define EACH(conf, cases) each(conf, cases, sizeof(cases) / sizeof(*(cases)))

static void what_is_missing(void **state)
{
	static const struct expected cases[] = {
		{ { ALL }, "" },
		{ { UNSENT("requests"), TABLE("crates") },
		  "absent all deciding pushed: there is no publication w: nothing can be streamed | CREATE PUBLICATION "
		  "w "
		  "FOR TABLE ONLY public.requests WITH (publish_via_partition_root = true);" },
		{ { ALL_BUT_USER_UNITS, UNSENT("user_units") },
		  "table user_units deciding: publication w does not send public.user_units | ALTER PUBLICATION w ADD "
		  "TABLE ONLY public.user_units;" },
		/* Made after the catalog was read. */
		{ { ALL_BUT_USER_UNITS },
		  "table user_units deciding: publication w does not send public.user_units | ALTER PUBLICATION w ADD "
		  "TABLE ONLY public.user_units;" },
		/* Published without an identity, the application's UPDATE would fail. */
		{ { ALL_BUT_USER_UNITS, "table|public|user_units|public|user_units|false|false|true||||" },
		  "table user_units deciding: publication w does not send public.user_units | ALTER TABLE ONLY "
		  "public.user_units REPLICA IDENTITY FULL; ALTER PUBLICATION w ADD TABLE ONLY public.user_units;" },
		{ { ALL_BUT_USER_UNITS, "table|public|user_units|public|user_units|false|true|false||||" },
		  "table user_units deciding: public.user_units is unlogged: no publication sends it | ALTER TABLE "
		  "public.user_units SET LOGGED;" },
		{ { "publication|true|false|true|false|true|false||||", TABLE("requests"), TABLE("crates"),
		    TABLE("sendbacks"), TABLE("roles"), TABLE("user_units") },
		  "operation all deciding pushed: publication w does not publish update: nobody hears of it | ALTER "
		  "PUBLICATION w SET (publish = 'insert, update, delete, truncate');\n"
		  "operation all deciding pushed: publication w does not publish truncate: nobody hears of it | ALTER "
		  "PUBLICATION w SET (publish = 'insert, update, delete, truncate');" },
	};

	(void)state;
	EACH(MAPPING_CONF, cases);
}

static void names_are_quoted(void **state)
{
	static const char conf[] = "database = { url = \"postgresql:///x\" slot = \"w\" publication = \"select\" }\n"
				   "jwt = { algorithm = \"HS256\" key = \"a-secret-of-a-length-that-suits\" }\n"
				   "listen = { origins = [ \"*\" ] }\n" STREAM
				   "tables = { people = { type = \"person\" key = \"k\" groups = [ \"g\" ] } }\n";
	static const struct expected cases[] = {
		{ { PUBLICATION, TABLE("people"), "table|public|people|Odd.S|a \"b|false|false|true||||" },
		  "table people pushed: publication \"select\" does not send \"Odd.S\".\"a \"\"b\" | ALTER TABLE "
		  "ONLY "
		  "\"Odd.S\".\"a \"\"b\" REPLICA IDENTITY FULL; ALTER PUBLICATION \"select\" ADD TABLE ONLY "
		  "\"Odd.S\".\"a \"\"b\";" },
	};

	(void)state;
	EACH(conf, cases);
}

#define ROOT(as) "table|public|people|public|people|true|true|true|" as "||"
#define LEAF(identity, as) "table|public|people|public|leaf|false|" identity "|true|" as "||"

static void partitions_and_children(void **state)
{
	static const struct expected cases[] = {
		{ { PUBLICATION, ROOT("public|people"), LEAF("true", "public|people") }, "" },
		/* A later leaf would not be sent either. */
		{ { PUBLICATION, LEAF("true", "public|leaf"), ROOT("|") },
		  "table people pushed: publication w does not send public.people | ALTER PUBLICATION w ADD TABLE ONLY "
		  "public.people;" },
		{ { PUBLICATION, LEAF("false", "|"), ROOT("|") },
		  "table people pushed: publication w does not send public.people | ALTER TABLE ONLY public.leaf "
		  "REPLICA "
		  "IDENTITY FULL; ALTER PUBLICATION w ADD TABLE ONLY public.people;" },
		{ { LEAF("false", "|"), ROOT("|") },
		  "absent all pushed: there is no publication w: nothing can be streamed | ALTER TABLE ONLY "
		  "public.leaf "
		  "REPLICA IDENTITY FULL; CREATE PUBLICATION w FOR TABLE ONLY public.people WITH "
		  "(publish_via_partition_root = true);" },
		{ { "publication|true|true|true|true|false|false||||", ROOT("public|people"),
		    LEAF("true", "public|leaf") },
		  "root people pushed: publication w sends the rows of public.people under the names of its partitions "
		  "(publish_via_partition_root is off) | ALTER PUBLICATION w SET (publish_via_partition_root = "
		  "true);" },
		/* Children by INHERITS are members of a publication on their own. */
		{ { PUBLICATION, TABLE("people"), LEAF("true", "|"),
		    "table|public|people|public|more|false|true|true||||" },
		  "table people pushed: publication w does not send 2 of the tables that count as public.people | "
		  "ALTER "
		  "PUBLICATION w ADD TABLE ONLY public.leaf, ONLY public.more;" },
		/* The listed table is a partition itself. */
		{ { PUBLICATION, "table|public|people|public|people|false|true|true|public|everybody||" },
		  "as-root people pushed: publication w sends the rows of public.people as those of public.everybody "
		  "(publish_via_partition_root is on) | ALTER PUBLICATION w SET (publish_via_partition_root = "
		  "false);" },
		{ { PUBLICATION, ROOT("public|everybody") },
		  "as-root people pushed: publication w sends the rows of public.people as those of public.everybody "
		  "(publish_via_partition_root is on) | name that table in its place, or take that table out of the "
		  "publication" },
	};

	(void)state;
	EACH(PEOPLE(""), cases);
}

#define WHOLE                                                                                                          \
	"BEGIN; ALTER PUBLICATION w DROP TABLE ONLY public.people; ALTER PUBLICATION w ADD TABLE ONLY public.people; " \
	"COMMIT;"
#define LACKS(columns)                                                                                                 \
	"column people pushed: publication w has a column list for public.people that lacks " columns                  \
	", which the rules use | " WHOLE

static void column_lists(void **state)
{
	static const struct {
		const char *conf;
		const char *rows[ROWS_MOST];
		const char *wanted;
	} cases[] = {
		{ PEOPLE(""),
		  { PEOPLE_COLUMN("ssn") },
		  LACKS("name, otp, last_login, password_changed_at, has_token, updated_at") },
		{ PEOPLE("exclude = [ \"otp\", \"password_changed_at\", \"has_token\", \"updated_at\" ]"),
		  { PEOPLE_COLUMN("last_login"), PEOPLE_COLUMN("name"), PEOPLE_COLUMN("ssn") },
		  "" },
		{ PEOPLE("columns = [ \"ssn\" ]"),
		  { PEOPLE_COLUMN("last_login"), PEOPLE_COLUMN("ssn") },
		  LACKS("name") },
		{ PEOPLE("columns = [ \"ssn\" ]"), { PEOPLE_COLUMN("name"), PEOPLE_COLUMN("ssn") }, "" },
		{ PEOPLE("columns = [ \"ssn\" ]"), { PEOPLE_COLUMN("name") }, LACKS("ssn") },
		/* Excluded, and used nevertheless. */
		{ PEOPLE("columns = [ \"ssn\" ] actor = \"otp\""),
		  { PEOPLE_COLUMN("name"), PEOPLE_COLUMN("ssn") },
		  LACKS("otp") },
		{ PEOPLE("columns = [ \"ssn\" ] when = { column = \"has_token\" equals = \"t\" }"),
		  { PEOPLE_COLUMN("name"), PEOPLE_COLUMN("ssn") },
		  LACKS("has_token") },
		{ PEOPLE("columns = [ \"ssn\" ] actions = { in = { column = \"last_login\" changes = true } }"),
		  { PEOPLE_COLUMN("name"), PEOPLE_COLUMN("ssn") },
		  LACKS("last_login") },
		{ PEOPLE("columns = [ \"ssn\" ] lookup = \"SELECT {otp}::int\""),
		  { PEOPLE_COLUMN("name"), PEOPLE_COLUMN("ssn") },
		  LACKS("otp") },
		{ PEOPLE("data-query = \"SELECT {otp}::int\""),
		  { PEOPLE_COLUMN("name"), PEOPLE_COLUMN("ssn"), PEOPLE_COLUMN("updated_at") },
		  LACKS("otp") },
		/* A change of any other column is a message. */
		{ PEOPLE("columns = [ \"ssn\" ] quiet = [ \"last_login\", \"otp\", \"has_token\", \"updated_at\" ]"),
		  { PEOPLE_COLUMN("name"), PEOPLE_COLUMN("ssn") },
		  LACKS("password_changed_at") },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		const char *rows[ROWS_MOST] = { PUBLICATION };

		for (size_t k = 0; cases[i].rows[k]; k++)
			rows[k + 1] = cases[i].rows[k];
		expect(cases[i].conf, rows, cases[i].wanted);
	}
}

#define USER_UNITS(column) "table|public|user_units|public|user_units|false|true|true|public|user_units|" column "|"

static void columns_that_decide(void **state)
{
	static const char conf[] = MAPPING_BASE MAPPING_STREAMS MAPPING_TABLES_ALONE
		"membership = { user_units = { user = \"user_id\" columns = [ \"unit_id\" ] } }\n";
	static const struct expected cases[] = {
		{ { PUBLICATION, TABLE("requests"), TABLE("crates"), TABLE("sendbacks"), USER_UNITS("unit_id"),
		    USER_UNITS("user_id") },
		  "" },
		{ { PUBLICATION, TABLE("requests"), TABLE("crates"), TABLE("sendbacks"), USER_UNITS("id") },
		  "column user_units deciding: publication w has a column list for public.user_units that lacks "
		  "user_id, "
		  "unit_id, which the rules use | BEGIN; ALTER PUBLICATION w DROP TABLE ONLY public.user_units; ALTER "
		  "PUBLICATION w ADD TABLE ONLY public.user_units; COMMIT;" },
	};

	(void)state;
	EACH(conf, cases);
}

/* pgoutput describes a partition's rows as those of its root. */
static void identities_that_are_not_the_roots(void **state)
{
	static const struct expected cases[] = {
		{ { "misread|public|people|public|people_1||||public|people||", PUBLICATION, PEOPLE_COLUMN("") },
		  "identity people pushed: publication w sends old rows of public.people_1 as if they had the replica "
		  "identity of public.people, and they have another: values would be taken for what they are not | "
		  "ALTER "
		  "TABLE ONLY public.people_1 REPLICA IDENTITY FULL;" },
		{ { "misread|public|others|public|others_1||||public|others||", PUBLICATION, PEOPLE_COLUMN("") }, "" },
	};

	(void)state;
	EACH(PEOPLE(""), cases);
}

static void row_filters(void **state)
{
	static const struct expected cases[] = {
		{ { PUBLICATION, "table|public|people|public|people|false|true|true|public|people||(has_token AND (ssn "
				 "> '5'::text))" },
		  "filter people pushed: publication w has a row filter for public.people, (has_token AND (ssn > "
		  "'5'::text)): changes of other rows are not sent | " WHOLE },
	};

	(void)state;
	EACH(PEOPLE(""), cases);
}

#define GENERATED(column) "generated|public|people||||||||" column "|"
#define SET_GENERATED "ALTER PUBLICATION w SET (publish_generated_columns = stored);"

static void generated_columns(void **state)
{
	static const struct expected cases[] = {
		{ { GENERATED("name"), PUBLICATION, TABLE("people") },
		  "generated people pushed: section people uses column name of public.people, which is generated, and "
		  "before PostgreSQL 18 no publication sends such columns | take it out of the rules, or use a slot of "
		  "wal2json, which sends it" },
		/* Nothing but `data` shows it. */
		{ { GENERATED("otp"), PUBLICATION, TABLE("people") },
		  "generated people pushed hint: section people uses column otp of public.people, which is generated, "
		  "and "
		  "before PostgreSQL 18 no publication sends such columns | take it out of the rules, or use a slot of "
		  "wal2json, which sends it" },
		{ { GENERATED("last_login"), PUBLICATION, TABLE("people") }, "" },
		{ { GENERATED("name"), "publication|true|true|true|true|true|false|n|||", TABLE("people") },
		  "generated people pushed: section people uses column name of public.people, which is generated, and "
		  "publication w does not send such columns | " SET_GENERATED },
		{ { GENERATED("name"), "publication|true|true|true|true|true|false|s|||", PEOPLE_COLUMN("otp"),
		    PEOPLE_COLUMN("ssn"), PEOPLE_COLUMN("updated_at") },
		  "generated people pushed: section people uses column name of public.people, which is generated, and "
		  "publication w does not send such columns | " SET_GENERATED " " WHOLE },
	};

	(void)state;
	EACH(PEOPLE("exclude = [ \"last_login\", \"password_changed_at\", \"has_token\", \"updated_at\" ]"), cases);
}

static uint32_t digest_of(const char *const *rows)
{
	struct fail why = { 0 };
	struct publication *p = publication_of(rows, &why);
	uint32_t digest;

	assert_non_null(p);
	digest = publication_digest(p);
	publication_free(p);
	return digest;
}

static void the_digest_covers_every_value(void **state)
{
	static const char *const rows[][ROWS_MOST] = {
		{ NULL },
		{ PUBLICATION },
		{ "publication|true|true|true|true|false|false||||" },
		{ PUBLICATION, TABLE("people") },
		{ PUBLICATION, UNSENT("people") },
		{ PUBLICATION, "table|public|people|public|people|false|false|true|public|people||" },
		{ PUBLICATION, PEOPLE_COLUMN("ssn") },
		{ PUBLICATION, "table|public|people|public|people|false|true|true|public|people||ssn" },
		{ PUBLICATION, PEOPLE_COLUMN("name") },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		assert_int_equal(digest_of(rows[i]), digest_of(rows[i]));
		for (size_t k = 0; k < i; k++)
			assert_int_not_equal(digest_of(rows[i]), digest_of(rows[k]));
	}
}

/* A new partition changes nothing, a new child does. */
static void the_names_are_those_under_which_rows_come(void **state)
{
	static const char *const before[ROWS_MOST] = { PUBLICATION, TABLE("people") };
	static const char *const partition[ROWS_MOST] = {
		PUBLICATION, TABLE("people"), "table|public|people|public|p1|false|true|true|public|people||"
	};
	static const char *const child[ROWS_MOST] = { PUBLICATION, TABLE("people"),
						      "table|public|people|far|p1|false|true|true|far|p1||" };
	static const char *const unsent[ROWS_MOST] = { PUBLICATION, UNSENT("people") };
	struct fail why;
	struct conf *conf = conf_parse("test.conf", slice_of(PEOPLE("")), &why);
	struct rules *rules = rules_new(conf, &why);
	struct publication *all[] = { publication_of(before, &why), publication_of(partition, &why),
				      publication_of(child, &why), publication_of(unsent, &why) };

	(void)state;
	assert_int_equal(publication_names(all[0], rules), publication_names(all[1], rules));
	assert_int_not_equal(publication_names(all[0], rules), publication_names(all[2], rules));
	assert_int_not_equal(publication_names(all[0], rules), publication_names(all[3], rules));
	rules_free(rules);
	conf_free(conf);
	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
		publication_free(all[i]);
}

static void what_is_no_answer(void **state)
{
	static const char *const rows[][ROWS_MOST] = {
		{ "" },
		{ "something" },
		{ PUBLICATION, PUBLICATION },
		{ "publication|true|true|true||true|false||||" },
		{ "table|public|people|public||false|true|true|public|people||" },
		{ "generated|public|people|||||||||" },
	};
	struct fail why = { 0 };
	struct sqlrows *narrow = sqlrows_new(0, PUBLICATION_COLUMNS - 1);

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		why.text[0] = '\0';
		assert_null(publication_of(rows[i], &why));
		assert_non_null(strstr(why.text, "publication"));
	}
	assert_null(publication_new(narrow, &why));
	sqlrows_free(narrow);
	publication_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_missing),
		cmocka_unit_test(names_are_quoted),
		cmocka_unit_test(partitions_and_children),
		cmocka_unit_test(column_lists),
		cmocka_unit_test(columns_that_decide),
		cmocka_unit_test(row_filters),
		cmocka_unit_test(identities_that_are_not_the_roots),
		cmocka_unit_test(generated_columns),
		cmocka_unit_test(the_digest_covers_every_value),
		cmocka_unit_test(the_names_are_those_under_which_rows_come),
		cmocka_unit_test(what_is_no_answer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
