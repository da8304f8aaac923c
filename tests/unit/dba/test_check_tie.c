/* check_tie: which plans tie a table's rows to the user. The conditions are PostgreSQL's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>

#include "check_tie.h"

static const struct tie_column members = { "public", "members", "user_id", NULL, COND_ALL };
static const bool first_is_user[] = { true, false };

#define SCAN(alias, condition)                                                                                         \
	"{\"Node Type\": \"Seq Scan\", \"Schema\": \"public\", \"Relation Name\": \"members\", \"Alias\": \"" alias    \
	"\", \"Filter\": \"" condition "\"}"
#define USERS(alias, condition)                                                                                        \
	"{\"Node Type\": \"Index Scan\", \"Schema\": \"public\", \"Relation Name\": \"users\", \"Alias\": \"" alias    \
	"\", \"Index Cond\": \"" condition "\"}"
#define JOIN(condition, a, b)                                                                                          \
	"{\"Node Type\": \"Hash Join\", \"Join Type\": \"Inner\", \"Hash Cond\": \"" condition "\", \"Plans\": [" a    \
	", " b "]}"

static void expect(const char *node, enum tie wanted)
{
	char json[2000];
	enum tie tie;

	assert_true((size_t)snprintf(json, sizeof(json), "[{\"Plan\": %s}]", node) < sizeof(json));
	tie = tie_of(json, &members, first_is_user, 2);
	if (tie != wanted)
		fail_msg("%s: %d", node, (int)tie);
}

static void compared_with_the_user(void **state)
{
	(void)state;
	expect(SCAN("m", "(m.user_id = $1)"), TIE_TIED);
	expect(SCAN("m", "($1 = m.user_id)"), TIE_TIED);
	expect(SCAN("m", "((m.user_id)::text = ($1)::text)"), TIE_TIED);
	expect(SCAN("m", "(((m.user_id)::character varying)::text = $1)"), TIE_TIED);
	expect(SCAN("m", "((m.unit_id = $2) AND (m.user_id = $1))"), TIE_TIED);
	expect(SCAN("m", "(((m.unit_id = $2) AND (m.user_id = $1)) AND (m.active OR m.new))"), TIE_TIED);
	expect(SCAN("m", "((m.user_id)::bigint = (($1)::integer)::bigint)"), TIE_TIED);
	expect(SCAN("m", "(m.user_id = ($1)::uuid)"), TIE_TIED);
	expect(SCAN("m", "((m.note = ') (m.user_id = $2'::text) AND (m.user_id = $1))"), TIE_TIED);
	expect(SCAN("Members of all", "(\\\"Members of all\\\".user_id = $1)"), TIE_TIED);
}

static void compared_with_what_is_the_user(void **state)
{
	(void)state;
	expect(JOIN("(m.user_id = u.id)", SCAN("m", "m.active"), USERS("u", "(u.id = $1)")), TIE_TIED);
	expect(JOIN("(u.id = m.user_id)", USERS("u", "((u.id)::text = $1)"), SCAN("m", "m.active")), TIE_TIED);
	expect(JOIN("(v.id = u.boss)", USERS("v", "(v.id = $1)"),
		    JOIN("(m.user_id = u.boss)", SCAN("m", "m.a"), USERS("u", "u.b"))),
	       TIE_TIED);
}

#define OUTER(type, condition, a, b)                                                                                   \
	"{\"Node Type\": \"Hash Join\", \"Join Type\": \"" type "\", \"Hash Cond\": \"" condition "\", \"Plans\": [" a \
	", " b "]}"
#define MEMBERS(relationship)                                                                                          \
	"{\"Node Type\": \"Seq Scan\", \"Parent Relationship\": \"" relationship                                       \
	"\", \"Schema\": \"public\", \"Relation Name\": \"members\", \"Alias\": \"m\"}"
#define THE_USER(relationship)                                                                                         \
	"{\"Node Type\": \"Index Scan\", \"Parent Relationship\": \"" relationship                                     \
	"\", \"Relation Name\": \"users\", \"Alias\": \"u\", \"Index Cond\": \"(u.id = $1)\"}"

/* A row of the preserved side stays, whatever the condition says. */
static void outer_joins_tie_one_side(void **state)
{
	static const struct {
		const char *type;
		enum tie inner, outer; /* where members is that side */
	} cases[] = {
		{ "Inner", TIE_TIED, TIE_TIED },       { "Semi", TIE_TIED, TIE_TIED },
		{ "Right Semi", TIE_TIED, TIE_TIED },  { "Left", TIE_TIED, TIE_LOOSE },
		{ "Anti", TIE_TIED, TIE_LOOSE },       { "Right", TIE_LOOSE, TIE_TIED },
		{ "Right Anti", TIE_LOOSE, TIE_TIED }, { "Full", TIE_LOOSE, TIE_LOOSE },
		{ "Later", TIE_LOOSE, TIE_LOOSE },
	};
	char node[2000];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		snprintf(node, sizeof(node), OUTER("%s", "(m.user_id = u.id)", "%s", "%s"), cases[i].type,
			 THE_USER("Outer"), MEMBERS("Inner"));
		expect(node, cases[i].inner);
		snprintf(node, sizeof(node), OUTER("%s", "(m.user_id = u.id)", "%s", "%s"), cases[i].type,
			 MEMBERS("Outer"), THE_USER("Inner"));
		expect(node, cases[i].outer);
	}
	/* A condition of WHERE above such a join speaks of both sides. */
	expect("{\"Node Type\": \"Hash Join\", \"Join Type\": \"Full\", \"Filter\": \"(m.user_id = $1)\", \"Plans\": "
	       "[" MEMBERS("Outer") ", " THE_USER("Inner") "]}",
	       TIE_TIED);
}

#define LOOP(type, outer, inner)                                                                                       \
	"{\"Node Type\": \"Nested Loop\", \"Join Type\": \"" type "\", \"Plans\": [" outer ", " inner "]}"
#define LOOKED_UP                                                                                                      \
	"\"Relation Name\": \"users\", \"Alias\": \"u\", \"Index Cond\": \"(u.id = m.user_id)\", \"Filter\": "         \
	"\"((u.id)::text = $1)\"}"
#define LOOK_UP "{\"Node Type\": \"Index Scan\", \"Parent Relationship\": \"Inner\", " LOOKED_UP

/* The rows for which the inner side is looked up are gone with it; not where the join preserves them, or the loop is a subquery's. */
static void a_loop_ties_the_side_that_it_runs_over(void **state)
{
	(void)state;
	expect(LOOP("Inner", MEMBERS("Outer"), LOOK_UP), TIE_TIED);
	expect(LOOP("Semi", MEMBERS("Outer"),
		    "{\"Node Type\": \"Memoize\", \"Parent Relationship\": \"Inner\", \"Plans\": [" LOOK_UP "]}"),
	       TIE_TIED);
	expect(LOOP("Left", MEMBERS("Outer"), LOOK_UP), TIE_LOOSE);
	expect(LOOP("Anti", MEMBERS("Outer"), LOOK_UP), TIE_LOOSE);
	expect(LOOP("Inner", MEMBERS("Outer"),
		    "{\"Node Type\": \"Aggregate\", \"Parent Relationship\": \"Inner\", \"Plans\": [" LOOK_UP "]}"),
	       TIE_LOOSE);
	expect("{\"Node Type\": \"Seq Scan\", \"Schema\": \"public\", \"Relation Name\": \"members\", \"Alias\": "
	       "\"m\", \"Filter\": "
	       "\"(m.ok OR (SubPlan 1))\", \"Plans\": [{\"Node Type\": \"Index Scan\", \"Parent Relationship\": "
	       "\"SubPlan\", " LOOKED_UP "]}",
	       TIE_LOOSE);
}

/* Above a limit or a window a row shows, or does not, for the sake of others. */
static void what_mixes_rows_ties_nothing_below(void **state)
{
	static const char *const mixing[] = { "Limit", "WindowAgg", "SetOp", "Unique" };
	char node[2000];

	(void)state;
	for (size_t i = 0; i < sizeof(mixing) / sizeof(*mixing); i++) {
		snprintf(node, sizeof(node),
			 JOIN("(m.user_id = u.id)",
			      "{\"Node Type\": \"%s\", \"Output\": [\"a\", \"b\"], \"Plans\": [%s]}", "%s"),
			 mixing[i], MEMBERS("Outer"), THE_USER("Inner"));
		expect(node, TIE_LOOSE);
	}
	expect(JOIN("(m.user_id = u.id)",
		    "{\"Node Type\": \"Unique\", \"Output\": [\"m.user_id\"], \"Plans\": [" MEMBERS("Outer") "]}",
		    THE_USER("Inner")),
	       TIE_TIED);
	expect("{\"Node Type\": \"WindowAgg\", \"Filter\": \"(m.user_id = $1)\", \"Plans\": [" MEMBERS("Outer") "]}",
	       TIE_LOOSE);
}

/* In a bitmap each index has a condition of its own; the heap's scan has all. */
static void indexes_of_a_bitmap_tie_nothing(void **state)
{
	(void)state;
	expect("{\"Node Type\": \"Bitmap Heap Scan\", \"Schema\": \"public\", \"Relation Name\": \"members\", "
	       "\"Alias\": \"m\", "
	       "\"Recheck Cond\": \"((m.user_id = $1) OR (m.user_id = 0))\", \"Plans\": [{\"Node Type\": \"BitmapOr\", "
	       "\"Plans\": "
	       "[{\"Node Type\": \"Bitmap Index Scan\", \"Index Cond\": \"(m.user_id = $1)\"}]}]}",
	       TIE_LOOSE);
}

/* Not the whole plan's result, but that of a subquery, hangs on it. */
static void a_subquery_makes_no_parameters_equal(void **state)
{
	(void)state;
	expect("{\"Node Type\": \"Seq Scan\", \"Schema\": \"public\", \"Relation Name\": \"members\", \"Alias\": "
	       "\"m\", \"Filter\": "
	       "\"(m.user_id = $2)\", \"Plans\": [{\"Node Type\": \"Result\", \"Parent Relationship\": \"SubPlan\", "
	       "\"One-Time "
	       "Filter\": \"($1 = $2)\"}]}",
	       TIE_LOOSE);
}

/* The planner puts one parameter for the other. */
static void compared_with_what_must_be_equal(void **state)
{
	(void)state;
	expect("{\"Node Type\": \"Result\", \"One-Time Filter\": \"($1 = $2)\", \"Plans\": [" SCAN(
		       "m", "(m.user_id = $2)") "]}",
	       TIE_TIED);
}

#define HASHED_BY(cond, name, output, filter)                                                                          \
	"{\"Node Type\": \"Index Scan\", \"Alias\": \"u\", \"Index Cond\": \"" cond                                    \
	"\", \"Filter\": \"(u.boss OR (hashed SubPlan 1))\", \"Plans\": [{\"Node Type\": "                             \
	"\"Seq "                                                                                                       \
	"Scan\", \"Parent Relationship\": \"SubPlan\", \"Subplan Name\": \"" name                                      \
	"\", \"Schema\": \"public\", \"Relation Name\": "                                                              \
	"\"members\", \"Alias\": \"m\", \"Output\": [\"" output "\"], \"Filter\": \"" filter "\"}]}"

#define HASHED(name, output, filter) HASHED_BY("(u.id = $1)", name, output, filter)

static void compared_in_a_hash(void **state)
{
	(void)state;
	/* Somebody else's rows compare. */
	expect(HASHED_BY("(u.id = $2)", "SubPlan 1", "m.user_id", "(m.unit_id = $2)"), TIE_LOOSE);
	expect(HASHED("SubPlan 1", "m.user_id", "(m.unit_id = $2)"), TIE_TIED);
	expect(HASHED("SubPlan 1", "m.unit_id", "m.active"), TIE_LOOSE);
	expect(HASHED("SubPlan 2", "m.user_id", "(m.unit_id = $2)"), TIE_LOOSE);
}

static void compared_otherwise(void **state)
{
	(void)state;
	expect(SCAN("m", "(m.user_id = $2)"), TIE_LOOSE);
	expect(SCAN("m", "(m.user_id = $10)"), TIE_LOOSE);
	expect(SCAN("m", "(m.user_id <> $1)"), TIE_LOOSE);
	expect(SCAN("m", "(m.user_id >= $1)"), TIE_LOOSE);
	expect(SCAN("m", "(lower(m.user_id) = lower($1))"), TIE_LOOSE);
	expect(SCAN("m", "(m.user_id = ($1 + 1))"), TIE_LOOSE);
	expect(SCAN("m", "((m.user_id + 1) = $1)"), TIE_LOOSE);
	expect(SCAN("m", "(((m.user_id)::text || 'x'::text) = $1)"), TIE_LOOSE);
	expect(SCAN("m", "(m.note = ' (m.user_id = $1)'::text)"), TIE_LOOSE);
	expect(SCAN("m", "(m.user_id = ANY ($1))"), TIE_LOOSE);
	expect(SCAN("m", "m.active"), TIE_LOOSE);
	expect(JOIN("(m.user_id = u.id)", SCAN("m", "m.active"), USERS("u", "(lower((u.email)::text) = lower($1))")),
	       TIE_LOOSE);
	/* Not for each row that passes. */
	expect(SCAN("m", "((m.user_id = $1) OR m.active)"), TIE_LOOSE);
	expect(SCAN("m", "((m.unit_id = $2) AND ((m.user_id = $1) OR (m.user_id = 0)))"), TIE_LOOSE);
	expect(SCAN("m", "(NOT (m.user_id = $1))"), TIE_LOOSE);
	expect(SCAN("m", "((m.user_id = $1) IS NOT TRUE)"), TIE_LOOSE);
	expect(SCAN("m", "((m.user_id = $1) = m.active)"), TIE_LOOSE);
	expect(SCAN("m", "CASE WHEN m.active THEN (m.user_id = $1) ELSE true END"), TIE_LOOSE);
	expect(SCAN("m", "(CASE WHEN m.active THEN (m.user_id = $1) ELSE true END AND m.active)"), TIE_LOOSE);
	expect(SCAN("m", "public.f((m.user_id = $1))"), TIE_LOOSE);
	expect(SCAN("m", "(COALESCE((m.user_id = $1), true) AND (m.unit_id = $2))"), TIE_LOOSE);
	expect(SCAN("m", "(m.user_id OPERATOR(public.=) $1)"), TIE_LOOSE);
	/* Other things are equal under these. */
	expect(SCAN("m", "((m.user_id)::citext = $1)"), TIE_LOOSE);
	expect(SCAN("m", "((m.user_id)::bpchar = ($1)::bpchar)"), TIE_LOOSE);
	expect(SCAN("m", "((m.user_id)::text = (($1)::character varying(3))::text)"), TIE_LOOSE);
	expect(SCAN("m", "((m.user_id)::double precision = $1)"), TIE_LOOSE);
	expect(SCAN("m", "((m.user_id)::numeric = $1)"), TIE_LOOSE);
	expect(SCAN("m", "((m.user_id)::text = (public.f($1))::text)"), TIE_LOOSE);
	/* Once by the user, once by somebody else. */
	expect(JOIN("(b.unit_id = m.unit_id)", SCAN("m", "(m.user_id = $1)"), SCAN("b", "b.active")), TIE_LOOSE);
}

#define ANY(comparison)                                                                                                \
	"{\"Node Type\": \"Index Scan\", \"Alias\": \"u\", \"Index Cond\": \"(u.id = $1)\", \"Filter\": \"(u.ok OR "   \
	"(ANY " comparison "))\", \"Plans\": [{\"Node Type\": \"Seq Scan\", \"Parent Relationship\": \"SubPlan\", "    \
	"\"Subplan Name\": \"SubPlan 1\", "                                                                            \
	"\"Schema\": \"public\", \"Relation Name\": \"members\", \"Alias\": \"m\", \"Output\": [\"m.unit_id\", "       \
	"\"m.user_id\"]}]}"

/* PostgreSQL 17 says what is compared. */
static void compared_in_a_hash_that_is_printed(void **state)
{
	(void)state;
	expect(ANY("(u.id = (hashed SubPlan 1).col2)"), TIE_TIED);
	expect(ANY("((u.unit = (hashed SubPlan 1).col1) AND (u.id = (hashed SubPlan 1).col2))"), TIE_TIED);
	expect(ANY("((u.id)::text = ((hashed SubPlan 1).col2)::text)"), TIE_TIED);
	expect(ANY("(u.id = (hashed SubPlan 1).col1)"), TIE_LOOSE);
	expect(ANY("(u.boss = (hashed SubPlan 1).col2)"), TIE_LOOSE);
	expect(ANY("(u.id = (hashed SubPlan 11).col2)"), TIE_LOOSE);
	expect(ANY("((u.id)::citext = ((hashed SubPlan 1).col2)::citext)"), TIE_LOOSE);
}

#define CHILD(name, alias, condition)                                                                                  \
	"{\"Node Type\": \"Seq Scan\", \"Schema\": \"far\", \"Relation Name\": \"" name "\", \"Alias\": \"" alias      \
	"\", \"Filter\": \"" condition "\"}"
#define APPEND(a, b) "{\"Node Type\": \"Append\", \"Plans\": [" a ", " b "]}"

static struct catalog *members_with_children(void)
{
	static const char *const rows[][CATALOG_QUERY_COLUMNS] = {
		{ "public", "members", "user_id", "23", "0", "t", "f" },
		{ "far", "members_a", NULL, "public", "members" },
		{ "far", "members b", NULL, "public", "members" },
		{ "far", "others", NULL, NULL, NULL },
	};
	struct catalog *c = catalog_new();
	struct fail why = { 0 };

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		assert_true(catalog_add(c, rows[i], &why));
	return c;
}

static void children_count_as_their_parent(void **state)
{
	static const struct {
		const char *node;
		enum tie tie;
	} cases[] = {
		{ APPEND(CHILD("members_a", "m_1", "(m_1.user_id = $1)"),
			 CHILD("members b", "m_2", "(m_2.user_id = $1)")),
		  TIE_TIED },
		{ APPEND(CHILD("members_a", "m_1", "(m_1.unit_id = $2)"),
			 CHILD("members b", "m_2", "(m_2.unit_id = $2)")),
		  TIE_LOOSE },
		{ JOIN("(m.user_id = u.id)",
		       APPEND(CHILD("members_a", "m_1", "m_1.a"), CHILD("members b", "m_2", "m_2.a")),
		       USERS("u", "(u.id = $1)")),
		  TIE_TIED },
		{ JOIN("(m.unit_id = u.id)",
		       APPEND(CHILD("members_a", "m_1", "m_1.a"), CHILD("members b", "m_2", "m_2.a")),
		       USERS("u", "(u.id = $1)")),
		  TIE_LOOSE },
		/* With one partition alone there is no Append, and the scan has the parent's name. */
		{ CHILD("members_a", "m", "(m.user_id = $1)"), TIE_TIED },
		{ CHILD("members_a", "m", "(m.user_id = $2)"), TIE_LOOSE },
		/* An INHERITS parent is scanned beside its children. */
		{ JOIN("(m.user_id = u.id)", APPEND(SCAN("m_1", "m_1.a"), CHILD("members_a", "m_2", "m_2.a")),
		       USERS("u", "(u.id = $1)")),
		  TIE_TIED },
		{ APPEND(CHILD("members_a", "x_1", "(x_1.user_id = $1)"),
			 CHILD("members_a", "y_1", "(y_1.user_id <> $1)")),
		  TIE_LOOSE },
		{ CHILD("others", "m_1", "(m_1.user_id = $2)"), TIE_UNREAD },
	};
	struct catalog *c = members_with_children();
	struct tie_column column = { "public", "members", "user_id", c, COND_ALL };

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		char json[2000];

		assert_true((size_t)snprintf(json, sizeof(json), "[{\"Plan\": %s}]", cases[i].node) < sizeof(json));
		if (tie_of(json, &column, first_is_user, 2) != cases[i].tie)
			fail_msg("%s", cases[i].node);
	}
	catalog_free(c);
}

/* A text is the user as it is spelled. */
static void a_text_has_one_spelling(void **state)
{
	static const struct {
		const char *node;
		enum tie tie;
	} cases[] = {
		{ SCAN("m", "((m.user_id)::text = ($1)::text)"), TIE_TIED },
		{ SCAN("m", "(m.user_id = (($1)::uuid)::text)"), TIE_LOOSE },
		{ SCAN("m", "((m.user_id)::integer = $1)"), TIE_LOOSE },
	};
	struct tie_column column = { "public", "members", "user_id", NULL, COND_TEXT };

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		char json[2000];

		assert_true((size_t)snprintf(json, sizeof(json), "[{\"Plan\": %s}]", cases[i].node) < sizeof(json));
		if (tie_of(json, &column, first_is_user, 2) != cases[i].tie)
			fail_msg("%s", cases[i].node);
	}
}

/* Of those left out nothing is known. */
static void more_scans_than_are_looked_at(void **state)
{
	static char json[(TIE_SCANS_MOST + 1) * 200];
	size_t len = 0;

	(void)state;
	for (unsigned n = TIE_SCANS_MOST; n <= TIE_SCANS_MOST + 1; n++) {
		len = (size_t)snprintf(json, sizeof(json), "[{\"Plan\": {\"Node Type\": \"Append\", \"Plans\": [");
		for (unsigned i = 0; i < n; i++)
			len += (size_t)snprintf(json + len, sizeof(json) - len, "%s%s", i ? ", " : "",
						SCAN("m", "(m.user_id = $1)"));
		snprintf(json + len, sizeof(json) - len, "]}}]");
		assert_int_equal(tie_of(json, &members, first_is_user, 2), n > TIE_SCANS_MOST ? TIE_LOOSE : TIE_TIED);
	}
}

static void not_read(void **state)
{
	(void)state;
	expect(USERS("u", "(u.id = $1)"), TIE_UNREAD);
	expect("{}", TIE_UNREAD);
	assert_int_equal(tie_of("no plan", &members, first_is_user, 2), TIE_UNREAD);
	/* The deparser prints no such thing; whatever it is, it is not followed. */
	expect(SCAN("m", "((m.user_id = $1"), TIE_LOOSE);
	expect(SCAN("m", "(m.user_id = '"), TIE_LOOSE);
	expect(SCAN("m", ")) = ("), TIE_LOOSE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(compared_with_the_user),
		cmocka_unit_test(compared_with_what_is_the_user),
		cmocka_unit_test(outer_joins_tie_one_side),
		cmocka_unit_test(a_loop_ties_the_side_that_it_runs_over),
		cmocka_unit_test(what_mixes_rows_ties_nothing_below),
		cmocka_unit_test(indexes_of_a_bitmap_tie_nothing),
		cmocka_unit_test(a_subquery_makes_no_parameters_equal),
		cmocka_unit_test(compared_with_what_must_be_equal),
		cmocka_unit_test(compared_in_a_hash),
		cmocka_unit_test(compared_in_a_hash_that_is_printed),
		cmocka_unit_test(compared_otherwise),
		cmocka_unit_test(children_count_as_their_parent),
		cmocka_unit_test(a_text_has_one_spelling),
		cmocka_unit_test(more_scans_than_are_looked_at),
		cmocka_unit_test(not_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
