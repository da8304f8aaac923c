/* From the Redis stream to this replica: entries in order, no hole unseen, one question at a time, and nothing of an earlier stream. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <inttypes.h>

#include "fedlink.h"
#include "relay_reader.h"

static struct event_base *loop;
static struct conf_relay conf;
static struct relay_env env;
static struct relay_reader *reader;
static struct redislink *link;
static char told[1024]; /* what the reader told, in words */
static unsigned changes, refusals, seen;
static bool is_known; /* what `entry` says */

static void tell(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void tell(const char *format, ...)
{
	size_t at = strlen(told);
	va_list args;

	if (at)
		told[at++] = ' ';
	va_start(args, format);
	vsnprintf(told + at, sizeof(told) - at, format, args);
	va_end(args);
}

static void on_begin(void *ctx, lsn_t floor, enum relay_hole hole)
{
	static const char *const holes[] = { "", "known", "unknown", "here" };

	(void)ctx;
	tell("begin%s=%" PRIu64, holes[hole], floor);
}

static bool on_entry(void *ctx, const struct relay_entry *e)
{
	(void)ctx;
	tell("%" PRIu64, e->id.lsn);
	return is_known;
}

static void on_changed(void *ctx)
{
	(void)ctx;
	changes++;
}

static void on_saw(void *ctx, const struct relay_entry *e)
{
	(void)ctx;
	(void)e;
	seen++;
}

static void on_refused(void *ctx, const char *words)
{
	(void)ctx;
	assert_string_equal(words, "READONLY");
	refusals++;
}

static const struct relay_reader_calls calls = { on_begin, on_entry, on_changed, on_saw, on_refused };

static int open_reader(void **state)
{
	(void)state;
	told[0] = '\0';
	changes = refusals = seen = 0;
	is_known = true;
	loop = event_base_new();
	env = (struct relay_env){ .loop = loop, .conf = &conf, .clock = fed_clock };
	reader = relay_reader_new(&env, &calls, NULL);
	link = fed_link("read");
	return 0;
}

static int close_reader(void **state)
{
	(void)state;
	relay_reader_free(reader);
	event_base_free(loop);
	return 0;
}

/* For the next case of a table. */
static void again(void)
{
	close_reader(NULL);
	open_reader(NULL);
}

/* --- what Redis writes ------------------------------------------------------------------------------------------------- */

static void wire_entry(struct buf *out, const char *id, const char *before, const char *end, const char *rest)
{
	char fields[6][64] = { "", "", "", "", "", "" };
	int n = 2 + (*end ? 2 : 0);

	sscanf(rest, "%63s %63s %63s %63s %63s %63s", fields[0], fields[1], fields[2], fields[3], fields[4], fields[5]);
	for (size_t i = 0; i < 6; i++)
		n += fields[i][0] != '\0';
	buf_add_text(out, "*2\r\n");
	fed_bulk(out, id);
	buf_addf(out, "*%d\r\n", n);
	if (*end) {
		fed_bulk(out, "e");
		fed_bulk(out, end);
	}
	for (size_t i = 0; i < 6; i++)
		if (fields[i][0])
			fed_bulk(out, fields[i]);
	fed_bulk(out, "p");
	fed_bulk(out, before);
}

/* "id<before/end:rest, …": end "" is inside of a transaction, rest are fields of the entry's kind. */
static void read_entries(const char *text)
{
	char copy[512], *rest = copy, *one;
	struct buf wire = { 0 }, list = { 0 };
	int n = 0;

	mem_copy_text(copy, sizeof(copy), text);
	while ((one = strsep(&rest, ","))) {
		char id[40] = "", before[40] = "", end[24] = "", fields[128] = "";

		sscanf(one, " %39[^<]<%39[^/]/%23[0-9]:%127[^,]", id, before, end, fields);
		if (!end[0])
			sscanf(one, " %*[^<]<%*[^/]/:%127[^,]", fields);
		wire_entry(&list, id, before, end, fields);
		n++;
	}
	buf_addf(&wire, "*1\r\n*2\r\n$1\r\nk\r\n*%d\r\n", n);
	buf_add_slice(&wire, buf_slice(&list));
	fed_reply(link, "XREAD", wire.data);
	buf_fini(&wire);
	buf_fini(&list);
}

#define P "-4294967295" /* index of a position */
#define B "-4294967294" /* and of a beginning */

/* --- entries --------------------------------------------------------------------------------------------------------- */

static const struct {
	const char *entries[3]; /* answers, one after the other */
	const char *told;
	lsn_t position;
	bool synced;
} cases[] = {
	/* The first end begins a history: what was before it may be trimmed in part. */
	{ { "10-1<5-1/:s t r x" }, "", 0, false },
	{ { "10-1<5-1/11:s t r x" }, "begin=11", 11, true },
	{ { "10-1<5-1/:s t r x, 10-2<10-1/11:s t r x, 20-1<10-2/21:s t r x" }, "begin=11 20", 21, true },
	{ { "9" P "<5-1/10:" }, "begin=10", 10, true },
	/* In order. */
	{ { "9" P "<5-1/10:, 20-1<9" P "/21:s t r x, 30-1<20-1/:s t r x, 30-2<30-1/31:s t r x" },
	  "begin=10 20 30 30",
	  31,
	  true },
	{ { "9" P "<5-1/10:", "20-1<9" P "/21:s t r x", "29" P "<20-1/30:" }, "begin=10 20 29", 30, true },
	/* A beginning is one, with its reason, unless the reader is there already. */
	{ { "9" B "<0-0/10:b 1" }, "begin=10", 10, true },
	{ { "9" B "<0-0/10:b 1 r skipped" }, "beginknown=10", 10, true },
	{ { "9" P "<5-1/10:, 19" B "<9" P "/20:b 1" }, "begin=10 begin=20", 20, true },
	{ { "9" P "<5-1/30:, 19" B "<9" P "/20:b 1, 29-1<19" B "/:s t r x" }, "begin=30 29", 30, true },
	/* A hole: the entry names one that was not read. What follows is read from the next end on. */
	{ { "9" P "<5-1/10:", "30-1<20-1/31:s t r x" }, "begin=10 begin=31", 31, true },
	{ { "9" P "<5-1/10:", "30-1<20-1/:s t r x" }, "begin=10", 10, false },
	{ { "9" P "<5-1/10:", "30-1<20-1/:s t r x", "30-2<30-1/31:s t r x, 40-1<30-2/41:s t r x" },
	  "begin=10 begin=31 40",
	  41,
	  true },
	{ { "9" P "<5-1/10:", "29" B "<20-1/30:b 1" }, "begin=10 begin=30", 30, true },
	{ { "9" P "<5-1/30:", "29" B "<20-1/30:b 1" }, "begin=30 begin=30", 30, true },
	/* A predecessor that is older than what was read is none: an append was repeated by the next holder behind a trim. */
	{ { "9" P "<5-1/10:, 20-1<9" P "/21:s t r x, 30-1<9" P "/31:s t r x" }, "begin=10 20 30", 31, true },
	/* Redis lost a part of what was read, and another decoding appended the rest: nothing of it counts. A whole transaction may come from any. */
	{ { "9" P "<5-1/10:, 20-1<9" P "/:s t r x d 7", "20-2<20-1/21:s t r x d 7, 30-1<20-2/31:s t r x d 8" },
	  "begin=10 20 20 30",
	  31,
	  true },
	{ { "9" P "<5-1/10:, 20-1<9" P "/:s t r x d 7", "20-2<20-1/21:s t r x d 8, 30-1<20-2/31:s t r x d 8" },
	  "begin=10 20 begin=21 30",
	  31,
	  true },
	{ { "9" P "<5-1/10:, 20-1<9" P "/21:s t r x", "20-2<20-1/22:s t r x d 8" }, "begin=10 20 begin=22", 22, true },
	{ { "9" P "<5-1/10:, 20-1<9" P "/:s t r x", "20-2<20-1/21:s t r x" }, "begin=10 20 20", 21, true },
	/* An end that lies behind what is known takes nothing back. */
	{ { "9" P "<5-1/30:, 20-1<9" P "/21:s t r x" }, "begin=30 20", 30, true },
};

static void each_order_of_entries(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct relay_numbers n = { 0 };

		again();
		relay_reader_reopen(reader, "k", "l");
		fed_up(link);
		fed_tail(link, "0-0", 0);
		for (size_t k = 0; k < 3 && cases[i].entries[k]; k++)
			read_entries(cases[i].entries[k]);
		relay_reader_numbers(reader, &n);
		if (strcmp(told, cases[i].told) != 0 || n.position != cases[i].position ||
		    relay_reader_is_current(reader) != cases[i].synced || n.read != seen)
			fail_msg("'%s' …: told '%s', position %" PRIu64, cases[i].entries[0], told, n.position);
	}
}

/* --- goal -------------------------------------------------------------------------------------------------------------- */

static void a_reader_is_current_at_its_goal(void **state)
{
	(void)state;
	fed_up(link);
	assert_open(link, "");
	relay_reader_reopen(reader, "k", "l");
	assert_open(link, "TAIL k");
	fed_tail(link, "20-1", 21);
	assert_open(link, "XREAD COUNT 500 BLOCK 1000 STREAMS k 0-0");
	read_entries("9" P "<0-0/10:");
	assert_false(relay_reader_is_current(reader));
	assert_open(link, "XREAD COUNT 500 BLOCK 1000 STREAMS k 9" P);
	read_entries("20-1<9" P "/21:s t r x");
	assert_true(relay_reader_is_current(reader));
	assert_int_equal(changes, 2);        /* up, current */
	fed_reply(link, "XREAD", "*-1\r\n"); /* XREAD waited for nothing */
	assert_open(link, "XREAD COUNT 500 BLOCK 1000 STREAMS k 20-1");
	assert_int_equal(changes, 2);
	fed_lose(link, "gone", false);
	assert_false(relay_reader_is_current(reader));
	assert_string_equal(relay_reader_trouble(reader), "gone");
	fed_up(link); /* goes on where it was */
	assert_open(link, "XREAD COUNT 500 BLOCK 1000 STREAMS k 20-1");
	assert_true(relay_reader_is_current(reader));
}

/* An empty stream has been read, but gives nothing to begin with. */
static void an_empty_stream_is_not_current(void **state)
{
	(void)state;
	relay_reader_reopen(reader, "k", "l");
	fed_up(link);
	fed_tail(link, "0-0", 0);
	assert_false(relay_reader_is_current(reader));
	read_entries("9" B "<0-0/10:b 1");
	assert_true(relay_reader_is_current(reader));
}

static void an_earlier_stream_counts_for_nothing(void **state)
{
	struct relay_numbers n = { 0 };

	(void)state;
	relay_reader_reopen(reader, "k1", "l1");
	fed_up(link);
	fed_tail(link, "0-0", 0);
	relay_reader_second(reader);
	relay_reader_reopen(reader, "k2", "l2");
	assert_open(link, "XREAD COUNT 500 BLOCK 1000 STREAMS k1 0-0; GET l1; XLEN k1; TAIL k2");
	read_entries("9" P "<0-0/10:");
	fed_answer(link, "$2\r\nme\r\n");
	fed_answer(link, ":7\r\n");
	assert_string_equal(told, "");
	assert_true(relay_reader_leaderless_since(reader) > 0);
	relay_reader_numbers(reader, &n);
	assert_int_equal(n.stream_entries, -1);
	relay_reader_reopen(reader, "k3", "l3");
	assert_open(link, "TAIL k2; TAIL k3");
	fed_tail(link, "50-1", 51);
	fed_tail(link, "9" P, 10);
	read_entries("9" P "<0-0/10:");
	assert_true(relay_reader_is_current(reader));
}

/* --- refusals ---------------------------------------------------------------------------------------------------------- */

static const struct {
	const char *tail, *entries; /* what is answered to either; NULL: as it should be */
	const char *words;
} refusals_of_reads[] = {
	{ "-NOPERM no\r\n", NULL, "NOPERM no" },
	{ ":1\r\n", NULL, "it is no stream of walpush's" },
	{ NULL, "-WRONGTYPE no\r\n", "WRONGTYPE no" },
	{ NULL, ":1\r\n", "Redis answered XREAD strangely" },
	{ NULL, "*0\r\n", "Redis answered XREAD strangely" },
	{ NULL, "*1\r\n:1\r\n", "Redis answered XREAD strangely" },
	{ NULL, "*1\r\n*1\r\n$1\r\nk\r\n", "Redis answered XREAD strangely" },
	{ NULL, "*1\r\n*2\r\n$1\r\nk\r\n:1\r\n", "Redis answered XREAD strangely" },
	{ NULL, "*1\r\n*2\r\n$1\r\nk\r\n*1\r\n:1\r\n", "Redis answered XREAD strangely" },
	{ NULL, "*1\r\n*2\r\n$1\r\nk\r\n*1\r\n*2\r\n:1\r\n*0\r\n",
	  "an entry of the Redis stream is none of walpush's" },
	{ NULL, "*1\r\n*2\r\n$1\r\nk\r\n*1\r\n*2\r\n$3\r\n1-1\r\n*1\r\n:1\r\n",
	  "an entry of the Redis stream is none of walpush's" },
	{ NULL, "*1\r\n*2\r\n$1\r\nk\r\n*1\r\n*2\r\n$1\r\nx\r\n*0\r\n", "" /* of relay_entry */ },
};

static void each_refusal_is_tried_again(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(refusals_of_reads) / sizeof(*refusals_of_reads); i++) {
		again();
		relay_reader_reopen(reader, "k", "l");
		fed_up(link);
		if (refusals_of_reads[i].tail)
			fed_reply(link, "TAIL", refusals_of_reads[i].tail);
		else
			fed_tail(link, "0-0", 0);
		if (refusals_of_reads[i].entries)
			fed_reply(link, "XREAD", refusals_of_reads[i].entries);
		assert_open(link, ""); /* not before the next second */
		if (refusals_of_reads[i].words[0])
			assert_string_equal(relay_reader_words(reader), refusals_of_reads[i].words);
		else
			assert_true(relay_reader_words(reader)[0]);
		assert_int_equal(relay_reader_lag(reader, fed_now + 7), 7);
		fed_now += 1000000;
		relay_reader_second(reader);
		if (refusals_of_reads[i].tail) {
			fed_reply(link, "TAIL", refusals_of_reads[i].tail);
			assert_int_equal(relay_reader_lag(reader, fed_now), 1000000); /* since the first */
			relay_reader_second(reader);
			fed_answer(link, "$-1\r\n");
			fed_answer(link, ":0\r\n");
			fed_tail(link, "0-0", 0);
		} else {
			fed_reply(link, "XREAD", "*-1\r\n");
		}
		assert_int_equal(relay_reader_lag(reader, fed_now + 7), 0);
	}
}

/* Another configuration wrote it: read again, and refused again, but not passed over. */
static void an_entry_that_makes_no_sense_is_not_passed_over(void **state)
{
	(void)state;
	relay_reader_reopen(reader, "k", "l");
	fed_up(link);
	fed_tail(link, "0-0", 0);
	read_entries("9" P "<0-0/10:");
	is_known = false;
	read_entries("20-1<9" P "/21:s t r x");
	assert_string_equal(relay_reader_words(reader), "an entry speaks of what this configuration has not");
	assert_open(link, "");
}

static void the_other_connection_is_told(void **state)
{
	(void)state;
	fed_up(link);
	fed_lose(link, "READONLY", true);
	assert_int_equal(refusals, 1);
	fed_up(link);
	relay_reader_drop(reader, "drop");
	assert_int_equal(refusals, 1);
	assert_int_equal(link->drops, 1);
	assert_false(relay_reader_is_up(reader));
}

/* --- who leads -------------------------------------------------------------------------------------------------------- */

static void who_leads_is_asked_each_second(void **state)
{
	struct relay_numbers n = { 0 };
	int64_t since;

	(void)state;
	relay_reader_reopen(reader, "k", "l");
	relay_reader_second(reader); /* nothing without a connection */
	assert_int_equal(relay_reader_leaderless_since(reader), 0);
	fed_up(link);
	since = fed_now;
	fed_tail(link, "0-0", 0);
	fed_reply(link, "XREAD", "*-1\r\n");
	fed_lose(link, "gone", false); /* so that XREAD does not stand in front */
	fed_now += 1000;
	fed_up(link);
	assert_int_equal(relay_reader_leaderless_since(reader), since + 1000);
	fed_reply(link, "XREAD", "-NOPERM no\r\n");
	relay_reader_second(reader);
	fed_reply(link, "XREAD", "-NOPERM no\r\n");
	fed_answer(link, "$1\r\na\r\n");
	fed_answer(link, ":12\r\n");
	assert_int_equal(relay_reader_leaderless_since(reader), 0);
	relay_reader_numbers(reader, &n);
	assert_int_equal(n.stream_entries, 12);
	fed_now += 1000;
	relay_reader_second(reader);
	fed_reply(link, "XREAD", "-NOPERM no\r\n");
	fed_answer(link, "-NOPERM no\r\n"); /* tells nothing */
	fed_answer(link, "-NOPERM no\r\n");
	assert_int_equal(relay_reader_leaderless_since(reader), 0);
	relay_reader_numbers(reader, &n);
	assert_int_equal(n.stream_entries, -1);
	relay_reader_second(reader);
	fed_reply(link, "XREAD", "-NOPERM no\r\n");
	fed_answer(link, "$1\r\nb\r\n"); /* another name: seen now */
	fed_answer(link, ":12\r\n");
	since = fed_now;
	fed_now += 1000;
	relay_reader_second(reader);
	fed_reply(link, "XREAD", "-NOPERM no\r\n");
	changes = 0;
	fed_answer(link, "$-1\r\n"); /* its key has run out */
	assert_int_equal(changes, 1);
	assert_int_equal(relay_reader_leaderless_since(reader), since);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_reader, close_reader)
		TEST(each_order_of_entries),          TEST(a_reader_is_current_at_its_goal),
		TEST(an_empty_stream_is_not_current), TEST(an_earlier_stream_counts_for_nothing),
		TEST(each_refusal_is_tried_again),    TEST(an_entry_that_makes_no_sense_is_not_passed_over),
		TEST(the_other_connection_is_told),   TEST(who_leads_is_asked_each_second),
#undef TEST
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
