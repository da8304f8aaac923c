/* check_tie: which plans tie a table's rows to the user. The conditions are PostgreSQL's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>

#include "../../src/check_tie.h"

static const struct tie_column members = { "public", "members", "user_id", NULL };
static const bool first_is_user[] = { true, false };

#define SCAN(alias, condition)                                                                                         \
	"{\"Node Type\": \"Seq Scan\", \"Schema\": \"public\", \"Relation Name\": \"members\", \"Alias\": \"" alias    \
	"\", \"Filter\": \"" condition "\"}"
#define USERS(alias, condition)                                                                                        \
	"{\"Node Type\": \"Index Scan\", \"Schema\": \"public\", \"Relation Name\": \"users\", \"Alias\": \"" alias    \
	"\", \"Index Cond\": \"" condition "\"}"
#define JOIN(condition, a, b)                                                                                          \
	"{\"Node Type\": \"Hash Join\", \"Hash Cond\": \"" condition "\", \"Plans\": [" a ", " b "]}"

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

/* The planner puts one parameter for the other. */
static void compared_with_what_must_be_equal(void **state)
{
	(void)state;
	expect("{\"Node Type\": \"Result\", \"One-Time Filter\": \"($1 = $2)\", \"Plans\": [" SCAN(
		       "m", "(m.user_id = $2)") "]}",
	       TIE_TIED);
}

#define HASHED(name, output, filter)                                                                                   \
	"{\"Node Type\": \"Index Scan\", \"Filter\": \"(u.boss OR (hashed SubPlan 1))\", \"Plans\": [{\"Node Type\": " \
	"\"Seq "                                                                                                       \
	"Scan\", \"Parent Relationship\": \"SubPlan\", \"Subplan Name\": \"" name                                      \
	"\", \"Schema\": \"public\", \"Relation Name\": "                                                              \
	"\"members\", \"Alias\": \"m\", \"Output\": [\"" output "\"], \"Filter\": \"" filter "\"}]}"

static void compared_in_a_hash(void **state)
{
	(void)state;
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
	/* Once by the user, once by somebody else. */
	expect(JOIN("(b.unit_id = m.unit_id)", SCAN("m", "(m.user_id = $1)"), SCAN("b", "b.active")), TIE_LOOSE);
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
	struct tie_column column = { "public", "members", "user_id", c };

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		char json[2000];

		assert_true((size_t)snprintf(json, sizeof(json), "[{\"Plan\": %s}]", cases[i].node) < sizeof(json));
		if (tie_of(json, &column, first_is_user, 2) != cases[i].tie)
			fail_msg("%s", cases[i].node);
	}
	catalog_free(c);
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
		cmocka_unit_test(compared_with_what_must_be_equal),
		cmocka_unit_test(compared_in_a_hash),
		cmocka_unit_test(compared_otherwise),
		cmocka_unit_test(children_count_as_their_parent),
		cmocka_unit_test(not_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
