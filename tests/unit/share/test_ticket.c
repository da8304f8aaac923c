/* What a connection asked for: the values of its admit query and groups, and who may let go of them. */
#include <stddef.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <jansson.h>

#include "mapping.h"
#include "walpush/share/ticket.h"

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

#define EXPIRES 1000

/* Path and token are gone when it returns. `missing`: the claim for which there is no ticket. */
static struct ticket *ticket_or_not(const char *path_text, const char *claims, const char **missing)
{
	struct path_values path;
	char user[] = "7";
	struct token token = { .user = user, .expires = EXPIRES, .claims = json_loads(claims, 0, NULL) };
	struct ticket *t;

	assert_non_null(token.claims);
	assert_int_equal(rules_match_path(m.rules, slice_of(path_text), &path), 0);
	t = ticket_new(stream, &path, &token, &(struct address){ { 1 } }, missing);
	json_decref(token.claims);
	memset(&path, 'x', sizeof(path));
	memset(user, 'x', sizeof(user));
	return t;
}

static struct ticket *ticket_of(const char *path_text, const char *claims)
{
	const char *missing;
	struct ticket *t = ticket_or_not(path_text, claims, &missing);

	assert_null(missing);
	assert_non_null(t);
	return t;
}

#define CLAIMS(role, level, name, site)                                                                                \
	"{\"user_id\":7,\"role\":" role ",\"level\":" level ",\"name\":" name ",\"site\":" site ",\"other\":null}"
#define ALL CLAIMS("\"r\"", "1", "\"n\"", "\"s\"")

static void it_holds_what_the_stream_asks_for(void **state)
{
	struct ticket *t = ticket_of("/ws/005/asha/", CLAIMS("\"Store Head\"", "true", "\"Asha\"", "\"\""));

	(void)state;
	assert_ptr_equal(ticket_stream(t, m.rules), stream);
	assert_string_equal(t->user, "7");
	assert_int_equal(t->n_values, 7);
	assert_string_equal(ticket_value(t, TMPL_TOKEN, "name"), "Asha");
	assert_string_equal(ticket_value(t, TMPL_TOKEN, "site"), "");
	assert_int_equal(t->expires, EXPIRES);
	assert_string_equal(t->path, "/ws/005/asha/");
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

/* A claim that admit, groups, hello or resync name is a value, or nobody gets a ticket: as NULL it would pass an IS NULL. */
static void a_claim_that_is_no_value_is_refused(void **state)
{
	static const struct {
		const char *claims, *missing; /* NULL: it is good */
	} cases[] = {
		{ ALL, NULL },
		{ CLAIMS("\"\"", "false", "0", "-1"), NULL },
		{ "{\"role\":\"r\",\"level\":1,\"name\":\"n\",\"site\":\"s\"}", "user_id" },
		{ "{\"user_id\":7,\"level\":1,\"name\":\"n\",\"site\":\"s\"}", "role" },
		{ CLAIMS("null", "1", "\"n\"", "\"s\""), "role" },
		{ CLAIMS("[\"r\"]", "1", "\"n\"", "\"s\""), "role" },
		{ CLAIMS("[]", "1", "\"n\"", "\"s\""), "role" },
		{ CLAIMS("{}", "1", "\"n\"", "\"s\""), "role" },
		{ CLAIMS("\"r\"", "{\"a\":1}", "\"n\"", "\"s\""), "level" },
		{ CLAIMS("\"r\"", "1", "null", "\"s\""), "name" },   /* of hello alone */
		{ CLAIMS("\"r\"", "1", "\"n\"", "[null]"), "site" }, /* of resync alone */
		{ CLAIMS("[]", "null", "{}", "[]"), "role" },        /* the first in the order of the query */
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		const char *missing = "";
		struct ticket *t = ticket_or_not("/ws/0/-/", cases[i].claims, &missing);

		assert_int_equal(t != NULL, cases[i].missing == NULL);
		if (cases[i].missing)
			assert_string_equal(missing, cases[i].missing);
		else
			assert_null(missing);
		ticket_unref(t);
	}
}

static void parameters_stand_in_the_order_of_the_query(void **state)
{
	struct ticket *t = ticket_of("/ws/5/asha/", CLAIMS("\"r\"", "3", "\"n\"", "\"s\""));
	const char *out[6] = { NULL, NULL, "untouched", NULL, NULL, "untouched" };

	(void)state;
	assert_int_equal(stream->admit.source.n_refs, 5);
	ticket_params(t, stream, out);
	assert_string_equal(out[0], "7");
	assert_string_equal(out[1], "5");
	assert_string_equal(out[2], "r");
	assert_string_equal(out[3], "5");
	assert_string_equal(out[4], "3");
	assert_string_equal(out[5], "untouched");
	ticket_unref(t);
}

static void expect_groups(const char *claims, const char *admit, const char *wanted)
{
	struct ticket *t = ticket_of("/ws/05/a{b/", claims);
	struct sqlrows *rows = mapping_rows(admit);
	struct groups groups = { 0 };
	struct buf got = { 0 };
	const char *name;

	ticket_groups(t, stream, rows, &groups);
	name = groups.names.data;
	for (size_t i = 0; i < groups.n; i++, name += strlen(name) + 1)
		buf_addf(&got, "%s ", name);
	buf_add_text(&got, groups.missing ? groups.missing : "");
	assert_string_equal(got.data, wanted);
	buf_fini(&got);
	groups_fini(&groups);
	sqlrows_free(rows);
	ticket_unref(t);
}

static void groups_come_from_path_token_and_answer(void **state)
{
	(void)state;
	expect_groups(ALL, "x=8,9,8", "unit_{5} user_{a%7Bb} role_{r} of_{8}_{1} of_{9}_{1} ");
	expect_groups(CLAIMS("\"\"", "true", "1", "2"), "x=8", "unit_{5} user_{a%7Bb} role_{} of_{8}_{true} ");
	expect_groups(ALL, "y=8", "unit_{5} user_{a%7Bb} role_{r} x");
}

/* --- renewal ------------------------------------------------------------------------------------------------------- */

static struct ticket *renewed(const struct ticket *t, const char *claims, const char **missing)
{
	char user[] = "7";
	struct token token = { .user = user, .expires = 2 * EXPIRES, .claims = json_loads(claims, 0, NULL) };
	struct ticket *next = ticket_renewed(t, stream, &token, missing);

	json_decref(token.claims);
	return next;
}

static void a_renewed_one_keeps_the_path_and_takes_the_claims(void **state)
{
	struct ticket *t = ticket_of("/ws/005/asha/", ALL), *next;
	const char *missing;

	(void)state;
	next = renewed(t, CLAIMS("\"other\"", "2", "\"n\"", "\"s\""), &missing);
	assert_null(missing);
	ticket_unref(t);
	assert_string_equal(ticket_value(next, TMPL_PATH, "unit_id"), "5");
	assert_string_equal(ticket_value(next, TMPL_PATH, "user_id"), "asha");
	assert_string_equal(ticket_value(next, TMPL_TOKEN, "role"), "other");
	assert_string_equal(next->user, "7");
	assert_string_equal(next->path, "/ws/005/asha/");
	assert_int_equal(next->expires, 2 * EXPIRES);
	assert_int_equal(next->peer.bytes[0], 1);
	assert_null(renewed(next, "{\"user_id\":7}", &missing));
	assert_string_equal(missing, "role");
	ticket_unref(next);
}

/* What the stream does not name may differ, as expiry and jti always do. */
static void claims_are_the_same_where_the_stream_sees_the_same(void **state)
{
	static const struct {
		const char *claims;
		bool same;
	} cases[] = {
		{ ALL, true },
		{ "{\"site\":\"s\",\"name\":\"n\",\"level\":1,\"role\":\"r\",\"user_id\":7,\"jti\":\"x\",\"exp\":9}",
		  true },
		{ CLAIMS("\"r\"", "\"1\"", "\"n\"", "\"s\""), true }, /* as a parameter it is the same text */
		{ CLAIMS("\"R\"", "1", "\"n\"", "\"s\""), false },
		{ CLAIMS("\"\"", "1", "\"n\"", "\"s\""), false },
		{ CLAIMS("\"r\"", "2", "\"n\"", "\"s\""), false },
		{ CLAIMS("\"r\"", "1", "\"m\"", "\"s\""), false }, /* hello */
		{ CLAIMS("\"r\"", "1", "\"n\"", "\"t\""), false }, /* resync */
		{ CLAIMS("\"1\"", "\"r\"", "\"n\"", "\"s\""), false },
		{ CLAIMS("\"r\"", "1", "\"ns\"", "\"\""), false },
	};
	struct ticket *t = ticket_of("/ws/5/asha/", ALL);
	char mine[TICKET_EPOCH_MAX], theirs[TICKET_EPOCH_MAX];

	(void)state;
	ticket_epoch(t, "7-1-9f2c", mine);
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct ticket *other = ticket_of("/ws/6/sam/", cases[i].claims);

		assert_int_equal(ticket_same_claims(t, other), cases[i].same);
		assert_int_equal(ticket_same_claims(other, t), cases[i].same);
		ticket_epoch(other, "7-1-9f2c", theirs);
		assert_int_equal(strcmp(mine, theirs) == 0, cases[i].same);
		assert_int_equal(ticket_knows_epoch(t, "7-1-9f2c", theirs), cases[i].same);
		ticket_unref(other);
	}
	ticket_unref(t);
}

static void an_epoch_is_that_of_the_stream_and_of_the_claims(void **state)
{
	static const char longest[] = "18446744073709551615-4294967295-0123456789abcde";
	struct ticket *t = ticket_of("/ws/5/asha/", ALL);
	char mine[TICKET_EPOCH_MAX];

	(void)state;
	ticket_epoch(t, "7-1-9f2c", mine);
	assert_memory_equal(mine, "7-1-9f2c-", 9);
	assert_int_equal(strlen(mine), 9 + 16);
	assert_false(ticket_knows_epoch(t, "7-1-9f2d", mine));
	assert_false(ticket_knows_epoch(t, "7-1-9f2c", "7-1-9f2c"));
	assert_false(ticket_knows_epoch(t, "7-1-9f2c", ""));
	assert_int_equal(strlen(longest), 47);
	ticket_epoch(t, longest, mine);
	assert_int_equal(strlen(mine), TICKET_EPOCH_MAX - 1);
	assert_true(ticket_knows_epoch(t, longest, mine));
	ticket_unref(t);
}

/* Clients of a running installation hold it: with another one they get `resync` when walpush is upgraded. */
static void an_epoch_stays_from_release_to_release(void **state)
{
	struct ticket *t = ticket_of("/ws/5/asha/", ALL);
	char epoch[TICKET_EPOCH_MAX];

	(void)state;
	ticket_epoch(t, "7-1-9f2c", epoch);
	assert_string_equal(epoch, "7-1-9f2c-6b61492ee5f349c5");
	ticket_unref(t);
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
	struct ticket *t = ticket_of("/ws/5/asha/", ALL);
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
		cmocka_unit_test(a_claim_that_is_no_value_is_refused),
		cmocka_unit_test(parameters_stand_in_the_order_of_the_query),
		cmocka_unit_test(groups_come_from_path_token_and_answer),
		cmocka_unit_test(a_renewed_one_keeps_the_path_and_takes_the_claims),
		cmocka_unit_test(claims_are_the_same_where_the_stream_sees_the_same),
		cmocka_unit_test(an_epoch_is_that_of_the_stream_and_of_the_claims),
		cmocka_unit_test(an_epoch_stays_from_release_to_release),
		cmocka_unit_test(the_last_of_two_threads_frees_it),
	};

	return cmocka_run_group_tests(tests, open_mapping, close_mapping);
}
