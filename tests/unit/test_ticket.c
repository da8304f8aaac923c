/* What a connection asked for: the values of its admit query and groups, and who may let go of them. */
#include <stddef.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <jansson.h>

#include "mapping.h"
#include "walpush/ticket.h"

#define ROUNDS 20000

static const char conf[] = MAPPING_BASE
	"streams = { s = { path = \"/ws/<int:unit_id>/<str:user_id>/\"\n"
	"  admit = \"SELECT {token.user_id}, {path.unit_id}, {token.role}, {path.unit_id} > {token.level}\"\n"
	"  groups = [ \"unit_{path.unit_id}\", \"user_{path.user_id}\", \"role_{token.role}\", "
	"\"of_{admit.x}_{token.level}\" ]\n"
	"  hello = \"{ \\\"name\\\": \\\"{token.name} {token.role}\\\" }\" resync = \"{ \\\"at\\\": "
	"\\\"{token.site}\\\" }\" } }\n"
	"tables = { roles = { type = \"r\" key = \"k\" groups = [ \"g\" ] } }\n";

static struct mapping m;
static const struct rules_stream *stream;

static int open_mapping(void **state)
{
	(void)state;
	mapping_open(&m, conf);
	stream = rules_stream(m.rules, 0);
	return 0;
}

static int close_mapping(void **state)
{
	(void)state;
	mapping_close(&m);
	return 0;
}

/* Path and token are gone when it returns. */
static struct ticket *ticket_of(const char *path_text, const char *claims)
{
	struct path_values path;
	char user[] = "7";
	struct token token = { .user = user, .claims = json_loads(claims, 0, NULL) };
	struct ticket *t;

	assert_non_null(token.claims);
	assert_int_equal(rules_match_path(m.rules, slice_of(path_text), &path), 0);
	t = ticket_new(stream, &path, &token, &(struct address){ { 1 } });
	json_decref(token.claims);
	memset(&path, 'x', sizeof(path));
	memset(user, 'x', sizeof(user));
	return t;
}

static void it_holds_what_the_stream_asks_for(void **state)
{
	struct ticket *t = ticket_of("/ws/005/asha/", "{\"user_id\":7,\"role\":\"Store Head\",\"level\":true,"
						      "\"name\":\"Asha\",\"other\":1}");

	(void)state;
	assert_ptr_equal(ticket_stream(t, m.rules), stream);
	assert_string_equal(t->user, "7");
	assert_int_equal(t->n_values, 7);
	assert_string_equal(ticket_value(t, TMPL_TOKEN, "name"), "Asha");
	assert_null(ticket_value(t, TMPL_TOKEN, "site"));
	assert_string_equal(ticket_value(t, TMPL_PATH, "unit_id"), "5");
	assert_string_equal(ticket_value(t, TMPL_PATH, "user_id"), "asha");
	assert_string_equal(ticket_value(t, TMPL_TOKEN, "user_id"), "7");
	assert_string_equal(ticket_value(t, TMPL_TOKEN, "role"), "Store Head");
	assert_string_equal(ticket_value(t, TMPL_TOKEN, "level"), "true");
	assert_null(ticket_value(t, TMPL_TOKEN, "unit_id"));
	assert_null(ticket_value(t, TMPL_PATH, "role"));
	assert_null(ticket_value(t, TMPL_ADMIT, "x"));
	ticket_unref(t);
}

static void claims_that_are_not_there_are_null(void **state)
{
	struct ticket *t = ticket_of("/ws/0/-/", "{\"role\":[\"a\"],\"level\":\"\"}");

	(void)state;
	assert_null(ticket_value(t, TMPL_TOKEN, "user_id"));
	assert_null(ticket_value(t, TMPL_TOKEN, "role"));
	assert_string_equal(ticket_value(t, TMPL_TOKEN, "level"), "");
	assert_string_equal(ticket_value(t, TMPL_PATH, "unit_id"), "0");
	ticket_unref(t);
}

static void parameters_stand_in_the_order_of_the_query(void **state)
{
	struct ticket *t = ticket_of("/ws/5/asha/", "{\"user_id\":7,\"level\":3}");
	const char *out[6] = { NULL, NULL, "untouched", NULL, NULL, "untouched" };

	(void)state;
	assert_int_equal(stream->admit.source.n_refs, 5);
	ticket_params(t, stream, out);
	assert_string_equal(out[0], "7");
	assert_string_equal(out[1], "5");
	assert_null(out[2]);
	assert_string_equal(out[3], "5");
	assert_string_equal(out[4], "3");
	assert_string_equal(out[5], "untouched");
	ticket_unref(t);
}

static void expect_groups(const char *claims, const char *admit, const char *wanted)
{
	struct ticket *t = ticket_of("/ws/05/a{b/", claims);
	struct sqlrows *rows = mapping_rows(admit);
	struct route_groups groups = { 0 };
	struct buf got = { 0 };
	const char *name;

	ticket_groups(t, stream, rows, &groups);
	name = groups.names.data;
	for (size_t i = 0; i < groups.n; i++, name += strlen(name) + 1)
		buf_addf(&got, "%s ", name);
	buf_add_text(&got, groups.missing ? groups.missing : "");
	assert_string_equal(got.data, wanted);
	buf_fini(&got);
	route_groups_fini(&groups);
	sqlrows_free(rows);
	ticket_unref(t);
}

static void groups_come_from_path_token_and_answer(void **state)
{
	(void)state;
	expect_groups("{\"role\":\"r\",\"level\":1}", "x=8,9,8",
		      "unit_{5} user_{a%7Bb} role_{r} of_{8}_{1} of_{9}_{1} ");
	expect_groups("{\"role\":null}", "x=8", "unit_{5} user_{a%7Bb} ");
	expect_groups("{\"level\":1}", "y=8", "unit_{5} user_{a%7Bb} x");
}

static void *ref_and_unref(void *arg)
{
	for (unsigned i = 0; i < ROUNDS; i++)
		ticket_unref(ticket_ref(arg));
	ticket_unref(arg);
	return NULL;
}

/* Whoever is last frees it: the sanitizers see a ticket freed too early, twice, or never. */
static void the_last_of_two_threads_frees_it(void **state)
{
	struct ticket *t = ticket_of("/ws/5/asha/", "{}");
	pthread_t other;

	(void)state;
	assert_int_equal(pthread_create(&other, NULL, ref_and_unref, ticket_ref(t)), 0);
	for (unsigned i = 0; i < ROUNDS; i++)
		ticket_unref(ticket_ref(t));
	assert_in_range(atomic_load(&t->refs), 1, 3);
	assert_string_equal(ticket_value(t, TMPL_PATH, "user_id"), "asha");
	ticket_unref(t);
	pthread_join(other, NULL);
	ticket_unref(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_holds_what_the_stream_asks_for),
		cmocka_unit_test(claims_that_are_not_there_are_null),
		cmocka_unit_test(parameters_stand_in_the_order_of_the_query),
		cmocka_unit_test(groups_come_from_path_token_and_answer),
		cmocka_unit_test(the_last_of_two_threads_frees_it),
	};

	return cmocka_run_group_tests(tests, open_mapping, close_mapping);
}
