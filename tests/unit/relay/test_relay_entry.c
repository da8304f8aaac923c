/* Entries of the Redis stream: what is written is read again, and nothing else is taken for one. */
#include <stddef.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdlib.h>

#include "walpush/relay/relay_entry.h"

static struct slice text(const char *s)
{
	return slice_of(s);
}

static bool same(struct slice a, struct slice b)
{
	return slice_equal(a, b);
}

/* Through the fields, with `p` added as the writer does. */
static void round_trip(const struct relay_entry *e)
{
	struct slice fields[RELAY_FIELDS_MAX + 2];
	char id[RELAY_ID_MAX], before[RELAY_ID_MAX];
	struct buf scratch = { 0 };
	struct relay_entry again;
	struct fail why;
	size_t n = relay_entry_encode(e, fields, &scratch);

	assert_true(n <= RELAY_FIELDS_MAX);
	fields[n++] = text("p");
	fields[n++] = (struct slice){ before, relay_id_format(before, e->before) };
	assert_true(relay_entry_decode((struct slice){ id, relay_id_format(id, e->id) }, fields, n, &again, &why));
	assert_int_equal(again.kind, e->kind);
	assert_int_equal(event_id_compare(again.id, e->id), 0);
	assert_int_equal(event_id_compare(again.before, e->before), 0);
	assert_true(again.end == e->end && again.when == e->when && again.decoding == e->decoding &&
		    again.close == e->close && again.bulk == e->bulk);
	assert_true(again.lookup_only == e->lookup_only);
	assert_true(same(again.users, e->users) && same(again.payload, e->payload) && same(again.groups, e->groups));
	assert_true(same(again.section, e->section) && same(again.reason, e->reason));
	assert_true(e->kind != RELAY_MESSAGE || same(again.about, e->about));
	assert_int_equal(again.n_groups, e->n_groups);
	assert_true(same(again.wordings, e->wordings));
	assert_true(same(again.sections, e->sections) && same(again.closes, e->closes));
	assert_true(again.everything == e->everything && again.n_closes == e->n_closes);
	buf_fini(&scratch);
}

static void test_every_kind_survives(void **state)
{
	struct relay_entry entries[] = {
		{ .kind = RELAY_POSITION, .id = { 99, RELAY_INDEX_POSITION }, .end = 100 },
		{ .kind = RELAY_BEGIN, .id = { 99, RELAY_INDEX_BEGIN }, .end = 100 },
		{ .kind = RELAY_BEGIN, .id = { 99, RELAY_INDEX_BEGIN }, .end = 100, .reason = { "skipped", 7 } },
		{ .kind = RELAY_BEGIN,
		  .id = { 99, RELAY_INDEX_BEGIN },
		  .end = 100,
		  .reason = { "skipped", 7 },
		  .everything = true },
		{ .kind = RELAY_SKIPPED, .id = { 100, INT32_MAX }, .end = 120, .everything = true },
		{ .kind = RELAY_SKIPPED,
		  .id = { 100, INT32_MAX },
		  .end = 120,
		  .when = 5,
		  .decoding = UINT32_MAX,
		  .sections = { "requests\0crates", 16 },
		  .closes = { "0\0a_{1}\0"
			      "4403\0\0"
			      "65535\0b",
			      22 },
		  .n_closes = 3 },
		{ .kind = RELAY_MEMBERS, .id = { 100, 0 }, .users = { "7\0008", 4 } },
		{ .kind = RELAY_MEMBERS, .id = { 100, 0 }, .end = 120 },
		{ .kind = RELAY_MESSAGE,
		  .id = { UINT64_MAX - 1, 1 },
		  .end = UINT64_MAX,
		  .when = INT64_MAX,
		  .payload = { "{\"a\":\"\0\"}", 9 },
		  .groups = { "a_{1}\0b", 8 },
		  .n_groups = 2,
		  .close = UINT16_MAX,
		  .about = { "requests\0approved\000123", 22 },
		  .bulk = true },
		{ .kind = RELAY_MESSAGE,
		  .id = { 100, 2 },
		  .before = { 100, 1 },
		  .payload = { "", 0 },
		  .groups = { "a", 2 },
		  .about = { "s\0bulk\0", 8 },
		  .n_groups = 1 },
		{ .kind = RELAY_MESSAGE,
		  .id = { 100, 2 },
		  .payload = { "{}[1]", 5 },
		  .groups = { "a\0b\0c", 6 },
		  .n_groups = 3,
		  .about = { "s\0bulk\0", 8 },
		  .wordings = { "2,2;1,3;", 8 } },
		{ .kind = RELAY_MARK, .id = { 100, 3 }, .section = { "requests", 8 }, .reason = { "truncate", 8 } },
		{ .kind = RELAY_MARK,
		  .id = { 100, 4 },
		  .section = { "r", 1 },
		  .reason = { "lookup", 6 },
		  .lookup_only = true },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(entries) / sizeof(*entries); i++)
		round_trip(&entries[i]);
}

static void test_what_is_no_id(void **state)
{
	static const char *const bad[] = {
		"",      "-",    "1",    "1-",   "-1",           "1-2-3",
		"01-2",  "1-02", "+1-2", "1 -2", "1-4294967296", "18446744073709551616-1",
		"0x1-2",
	};
	struct event_id id;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_false(relay_id_parse(text(bad[i]), &id));
	assert_true(relay_id_parse(text("18446744073709551615-4294967295"), &id));
	assert_true(id.lsn == UINT64_MAX && id.index == UINT32_MAX);
}

struct refused {
	const char *id;
	const char *fields[8];
};

static void test_what_is_no_entry(void **state)
{
	static const struct refused cases[] = {
		{ "x", { "p", "0-0", "e", "9" } },
		{ "5-1", { "e", "9" } },             /* no predecessor */
		{ "5-1", { "p", "5-1", "e", "9" } }, /* behind itself */
		{ "5-1", { "p", "4-0" } },           /* no position */
		{ "5-1", { "p", "4-0", "e", "5" } }, /* an end that is not behind it */
		{ "5-1", { "p", "4-0", "e", "-9" } },
		{ "5-1", { "p", "4-0", "e", "9", "m" } }, /* a name without a value */
		{ "5-1", { "p", "4-0", "m", "{}" } },     /* a message for nobody */
		{ "5-1", { "p", "4-0", "m", "{}", "g", "" } },
		{ "5-1", { "p", "4-0", "m", "{}", "g", "a" } }, /* a name without its end */
		{ "5-1", { "p", "4-0", "u", "7" } },
		{ "5-1", { "p", "4-0", "m", "{}", "a", "requests" } }, /* what it is about, cut off */
		{ "5-1", { "p", "4-0", "s", "requests" } },            /* a mark without a reason */
		{ "5-1", { "p", "4-0", "c", "65536", "e", "9" } },
		{ "5-1", { "p", "4-0", "d", "4294967296", "e", "9" } },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct slice fields[8];
		struct relay_entry e;
		struct fail why = { 0 };
		size_t n = 0;

		for (; n < 8 && cases[i].fields[n]; n++)
			fields[n] = text(cases[i].fields[n]);
		if (relay_entry_decode(text(cases[i].id), fields, n, &e, &why))
			fail_msg("case %zu was taken for an entry", i);
		assert_string_not_equal(why.text, "");
	}
}

/* They must take all groups and all bytes. */
static void test_wordings_that_do_not_fit(void **state)
{
	static const char *const cases[] = { "1,2;", "1,2;1,1;", "2,5", "2,5;x", "1,4;2,1;", "2,2;;", ",5;", "2,-5;" };

	(void)state;
	for (size_t i = 0; i <= sizeof(cases) / sizeof(*cases); i++) {
		bool fits = i == sizeof(cases) / sizeof(*cases);
		struct slice fields[] = { SLICE("p"), SLICE("4-0"),
					  SLICE("m"), SLICE("{}[1]"),
					  SLICE("g"), SLICE("a\0b\0"),
					  SLICE("v"), fits ? SLICE("1,2;1,3;") : text(cases[i]) };
		struct relay_entry e;
		struct fail why;

		assert_int_equal(relay_entry_decode(text("5-1"), fields, 8, &e, &why), fits);
	}
}

/* Pairs of a close code and a name. */
static void test_what_is_closed_and_is_no_pair(void **state)
{
	const struct slice cases[] = { SLICE("0\0a"),
				       SLICE("0\0"),
				       SLICE("x\0a\0"),
				       SLICE("\0a\0"),
				       SLICE("65536\0a\0"),
				       SLICE("-1\0a\0"),
				       SLICE("0\0a\0"
					     "1\0"),
				       SLICE("04\0a\0") };

	(void)state;
	for (size_t i = 0; i <= sizeof(cases) / sizeof(*cases); i++) {
		bool fits = i == sizeof(cases) / sizeof(*cases);
		struct slice fields[] = { SLICE("p"),          SLICE("4-0"), SLICE("o"),
					  SLICE("requests\0"), SLICE("t"),   fits ? SLICE("4403\0a\0") : cases[i] };
		struct relay_entry e;
		struct fail why;

		if (relay_entry_decode(text("5-1"), fields, 6, &e, &why) != fits)
			fail_msg("case %zu", i);
	}
}

static void test_fields_of_a_later_version(void **state)
{
	struct slice fields[] = { SLICE("p"), SLICE("4-0"), SLICE("zz"), SLICE("?"),
				  SLICE("e"), SLICE("9"),   SLICE("Q"),  SLICE("1") };
	struct relay_entry e;
	struct fail why;

	(void)state;
	assert_true(relay_entry_decode(text("5-1"), fields, 8, &e, &why));
	assert_int_equal(e.kind, RELAY_POSITION);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_kind_survives),       cmocka_unit_test(test_what_is_no_id),
		cmocka_unit_test(test_what_is_no_entry),          cmocka_unit_test(test_wordings_that_do_not_fit),
		cmocka_unit_test(test_fields_of_a_later_version), cmocka_unit_test(test_what_is_closed_and_is_no_pair),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
