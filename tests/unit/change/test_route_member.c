/* Whose permission a row changes: too many is a question more to the database, one too few is a leak. */
#include <stddef.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "routed.h"

#define MEMBERSHIPS                                                                                                    \
	"membership = { user_units = { user = \"user_id\" }  roles = { }\n"                                            \
	"  requests = { user = \"approved_by_id\" columns = [ \"status\", \"purpose\" ] } }\n"

static struct routed m;

static int open_mapping(void **state)
{
	(void)state;
	routed_open(&m, MAPPING_BASE MAPPING_STREAMS
		    "tables = { crates = { type = \"crate\" key = \"crate_id\" groups = [ \"g\" ] } }\n" MEMBERSHIPS);
	return 0;
}

static int close_mapping(void **state)
{
	(void)state;
	routed_close(&m);
	return 0;
}

/* "7 8", "*", "7 *", or "" for nobody. */
static void expect(char action, const char *table, const char *now, const char *old, const char *wanted)
{
	const struct rules_table *t = rules_find(m.rules, SLICE("public"), slice_of(table));
	struct route_members members;
	struct buf got = { 0 };

	routed_change(&m, action, table, now, old);
	route_membership(t->memberships[0], &m.row, &members);
	for (size_t i = 0; i < members.n; i++) {
		if (i)
			buf_add_char(&got, ' ');
		row_text(members.users[i], &got);
	}
	if (members.everybody)
		buf_add_text(&got, members.n ? " *" : "*");
	assert_string_equal(buf_slice(&got).len ? got.data : "", wanted);
	buf_fini(&got);
}

static void a_row_that_comes_or_goes_concerns_its_user(void **state)
{
	(void)state;
	expect('I', "user_units", "id=1|user_id=7|unit_id=3", NULL, "7");
	expect('D', "user_units", NULL, "id=1|user_id=7|unit_id=3", "7");
}

static void any_update_counts_without_columns(void **state)
{
	(void)state;
	expect('U', "user_units", "id=1|user_id=7|unit_id=4", "id=1|user_id=7|unit_id=3", "7");
	expect('U', "user_units", "id=1|user_id=7|unit_id=3", "id=1|user_id=7|unit_id=3", "7");
}

static void a_changed_user_concerns_both(void **state)
{
	(void)state;
	expect('U', "user_units", "id=1|user_id=8|unit_id=3", "id=1|user_id=7|unit_id=3", "8 7");
}

static void a_user_that_is_not_known_is_everybody(void **state)
{
	(void)state;
	expect('D', "user_units", NULL, "id=1", "*");
	expect('U', "user_units", "id=1|user_id=7|unit_id=3", "id=1", "7 *");
	expect('U', "user_units", "id=1|user_id=7|unit_id=3", NULL, "7 *");
	expect('U', "user_units", "id=1|unit_id=3", "id=1|user_id=7|unit_id=3", "7 *");
	expect('I', "user_units", "id=1|user_id=null|unit_id=3", NULL, "*");
	/* The catalog does not fit the row. */
	expect('I', "user_units", "id=1|member=7", NULL, "*");
}

static void without_a_user_it_is_everybody(void **state)
{
	(void)state;
	expect('I', "roles", "id=1|role_name=\"x\"", NULL, "*");
	expect('U', "roles", "id=1|role_name=\"x\"", "id=1|role_name=\"y\"", "*");
	expect('D', "roles", NULL, "id=1", "*");
}

#define REQUEST(status, purpose, approver)                                                                             \
	"id=1|request_type=\"w\"|unit_id=5|allocation_date=null|approved_by_id=" approver                              \
	"|allocated_by_id=null|status=" status "|purpose=" purpose "|updated_at=null"

static void an_update_counts_when_a_listed_column_changed(void **state)
{
	const char *old = REQUEST("\"a\"", "\"p\"", "7");

	(void)state;
	expect('U', "requests", REQUEST("\"a\"", "\"p\"", "7"), old, "");
	expect('U', "requests", REQUEST("\"b\"", "\"p\"", "7"), old, "7");
	expect('U', "requests", REQUEST("null", "\"p\"", "7"), old, "7");
	expect('U', "requests", REQUEST("\"a\"", "\"q\"", "7"), old, "7");
	/* The user is one of them whether it is listed or not. */
	expect('U', "requests", REQUEST("\"a\"", "\"p\"", "8"), old, "8 7");
	expect('I', "requests", REQUEST("\"a\"", "\"p\"", "7"), NULL, "7");
	expect('D', "requests", NULL, old, "7");
}

static void what_cannot_be_compared_counts_as_changed(void **state)
{
	(void)state;
	expect('U', "requests", "id=1|approved_by_id=7|status=\"a\"", REQUEST("\"a\"", "\"p\"", "7"), "7");
	expect('U', "requests", REQUEST("\"a\"", "\"p\"", "7"), "id=1|approved_by_id=7", "7");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_row_that_comes_or_goes_concerns_its_user),
		cmocka_unit_test(any_update_counts_without_columns),
		cmocka_unit_test(a_changed_user_concerns_both),
		cmocka_unit_test(a_user_that_is_not_known_is_everybody),
		cmocka_unit_test(without_a_user_it_is_everybody),
		cmocka_unit_test(an_update_counts_when_a_listed_column_changed),
		cmocka_unit_test(what_cannot_be_compared_counts_as_changed),
	};

	return cmocka_run_group_tests(tests, open_mapping, close_mapping);
}
