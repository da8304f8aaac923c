/* What concerns both connections of the relay: one server behind them, readiness, and what one part tells the other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "fedlink.h"
#include "relay_stall.h"
#include "relay_trouble.h"
#include "walpush/relay/relay.h"

#define S INT64_C(1000000)

static char url[] = "redis://r", stream[] = "walpush";
static struct event_base *loop;
static struct conf_relay conf;
static struct relay_calls calls;
static struct relay *relay;
static struct redislink *append, *reading;
static unsigned begins, entries, refills, pauses, changes;

static void on_begin(void *ctx, lsn_t floor, enum relay_hole hole)
{
	(void)ctx;
	(void)floor;
	(void)hole;
	begins++;
}

static bool on_entry(void *ctx, const struct relay_entry *e)
{
	(void)ctx;
	(void)e;
	entries++;
	return true;
}

static void on_refill(void *ctx, const char *why)
{
	(void)ctx;
	(void)why;
	refills++;
}

static void on_pause(void *ctx, bool paused)
{
	(void)ctx;
	(void)paused;
	pauses++;
}

static void on_changed(void *ctx)
{
	(void)ctx;
	changes++;
}

static int open_relay(void **state)
{
	struct relay_env env;

	(void)state;
	begins = entries = refills = pauses = changes = 0;
	loop = event_base_new();
	conf = (struct conf_relay){ .url = url, .stream = stream };
	env = (struct relay_env){ .loop = loop, .conf = &conf, .clock = fed_clock };
	calls = (struct relay_calls){ on_begin, on_entry, on_refill, on_pause, on_changed };
	relay = relay_make(&env, "slot", &calls, NULL);
	append = fed_link("append");
	reading = fed_link("read");
	return 0;
}

static int close_relay(void **state)
{
	(void)state;
	relay_free(relay);
	event_base_free(loop);
	return 0;
}

static void second(int64_t us)
{
	fed_now += us;
	fed_timers_fire(loop);
}

static void up(void)
{
	fed_up(append);
	fed_up(reading);
}

static void add(lsn_t lsn)
{
	struct relay_entry e = {
		.kind = RELAY_MARK, .id = { lsn, 1 }, .end = lsn + 1, .section = SLICE("s"), .reason = SLICE("r")
	};

	relay_add(relay, &e);
	fed_run(loop);
}

static void leads_behind(const char *id, lsn_t end)
{
	relay_open(relay, "1");
	up();
	fed_tail(append, id, end);
	fed_tail(reading, id, end);
	relay_start(relay, end, RELAY_HOLE_NONE);
	relay_lead(relay, true);
	fed_run(loop);
}

static void a_stream_is_named_by_slot_and_epoch(void **state)
{
	(void)state;
	second(S); /* there is none yet */
	up();
	assert_int_equal(changes, 2);
	assert_true(relay_is_up(relay));
	relay_open(relay, "1");
	assert_open(append, "TAIL walpush:slot:1");
	assert_open(reading, "TAIL walpush:slot:1");
	relay_open(relay, "1"); /* it is being read already */
	assert_open(reading, "TAIL walpush:slot:1");
	relay_open(relay, "2");
	assert_open(reading, "TAIL walpush:slot:1; TAIL walpush:slot:2");
	second(S);
	assert_open(reading,
		    "TAIL walpush:slot:1; TAIL walpush:slot:2; GET walpush:slot:2:leader; XLEN walpush:slot:2");
}

/* One way through all: added, appended, read back. */
static void an_entry_goes_round(void **state)
{
	struct relay_numbers n;

	(void)state;
	leads_behind("9-4294967295", 10);
	assert_int_equal(relay_tail_end(relay), 10);
	add(20);
	assert_int_equal(relay_end(relay), 21);
	relay_numbers(relay, &n);
	assert_true(n.leads && n.queued_bytes > 0 && n.failovers == 1);
	fed_reply(append, "APPEND", ":1\r\n");
	assert_int_equal(relay_safe(relay), 21);
	fed_reply(reading, "XREAD",
		  "*1\r\n*2\r\n$1\r\nk\r\n*2\r\n"
		  "*2\r\n$12\r\n9-4294967295\r\n*4\r\n$1\r\ne\r\n$2\r\n10\r\n$1\r\np\r\n$3\r\n0-0\r\n"
		  "*2\r\n$4\r\n20-1\r\n*8\r\n$1\r\ne\r\n$2\r\n21\r\n$1\r\ns\r\n$1\r\ns\r\n$1\r\nr\r\n$1\r\nr\r\n$"
		  "1\r\np\r\n"
		  "$12\r\n9-4294967295\r\n");
	assert_int_equal(begins, 1);
	assert_int_equal(entries, 1);
	assert_true(relay_is_current(relay));
	relay_numbers(relay, &n);
	assert_int_equal(n.appended, 1);
	assert_int_equal(n.read, 2);
	assert_int_equal(n.position, 21);
	assert_int_equal(n.queued_bytes, 0);
	relay_position(relay, 40, true);
	fed_run(loop);
	assert_open(append, "APPEND walpush:slot:1 20-1: 39-4294967295");
	relay_trim(relay, 15);
	assert_open(append, "APPEND walpush:slot:1 20-1: 39-4294967295; XTRIM walpush:slot:1 MINID ~ 15-0");
	assert_false(relay_is_full(relay));
	assert_int_equal(relay_leaderless_since(relay), 0); /* it leads itself */
}

/* The reader sees what another appends: where the stream ends is known without a question. */
static void what_is_read_moves_the_tail(void **state)
{
	(void)state;
	relay_open(relay, "1");
	up();
	fed_tail(append, "5-1", 6);
	fed_tail(reading, "5-1", 6);
	fed_reply(reading, "XREAD",
		  "*1\r\n*2\r\n$1\r\nk\r\n*1\r\n*2\r\n$12\r\n9-4294967295\r\n*4\r\n$1\r\ne\r\n$2\r\n10\r\n$1\r\np\r\n$"
		  "3\r\n5-1\r\n");
	assert_int_equal(relay_tail_end(relay), 10);
	assert_true(relay_leaderless_since(relay) > 0);
}

static void one_is_refused_and_both_dial(void **state)
{
	(void)state;
	up();
	fed_lose(append, "READONLY", true);
	assert_int_equal(reading->drops, 1);
	assert_string_equal(reading->trouble, "READONLY");
	up();
	fed_lose(reading, "LOADING", true);
	assert_int_equal(append->drops, 1);
	assert_string_equal(append->trouble, "LOADING");
	up();
	fed_lose(reading, "gone", false); /* what the network did to one concerns the other not */
	assert_int_equal(append->drops, 1);
	fed_lose(append, "READONLY", true); /* the other is down already */
	assert_int_equal(reading->drops, 1);
}

/* While Redis acknowledges nothing, both dial every 10 s; not sooner after they came up. */
static void silence_is_dialled_again(void **state)
{
	(void)state;
	leads_behind("9-1", 10);
	add(20);
	second(10 * S);
	assert_int_equal(append->drops, 0);
	second(1);
	assert_int_equal(append->drops, 1);
	assert_int_equal(reading->drops, 1);
	assert_string_equal(append->trouble, "nothing was acknowledged for 10 s; dialling anew");
	up();
	second(10 * S);
	assert_int_equal(append->drops, 1);
	fed_tail(append, "9-1", 10);
	fed_run(loop);
	fed_reply(append, "APPEND", "-OOM full\r\n");
	second(1);
	assert_int_equal(append->drops, 2);
	assert_string_equal(append->trouble, "OOM full; nothing was acknowledged for 10 s; dialling anew");
}

static void readiness_is_said(void **state)
{
	(void)state;
	assert_string_equal(relay_unready(relay, fed_now), "no connection to Redis");
	assert_null(relay_fix(relay, fed_now));
	fed_up(append);
	mem_copy_text(reading->trouble, sizeof(reading->trouble), "Connection refused");
	assert_string_equal(relay_unready(relay, fed_now), "no connection to Redis: Connection refused");
	mem_copy_text(reading->trouble, sizeof(reading->trouble), RESOLVE_TROUBLE ": r");
	assert_string_equal(relay_unready(relay, fed_now), RESOLVE_TROUBLE ": r");
	up();
	assert_null(relay_unready(relay, fed_now));
	leads_behind("9-1", 10);
	add(20);
	assert_null(relay_unready(relay, fed_now + 10 * S));
	assert_string_equal(relay_unready(relay, fed_now + 11 * S),
			    "Redis has not acknowledged what is appended to the stream");
	assert_null(relay_fix(relay, fed_now + 11 * S));
	fed_reply(append, "APPEND", "-OOM command not allowed when used memory > 'maxmemory'.\r\n");
	assert_string_equal(relay_unready(relay, fed_now + 11 * S),
			    "Redis refuses what is appended to the stream: OOM "
			    "command not allowed when used memory > 'maxmemory'.");
	assert_non_null(relay_fix(relay, fed_now + 11 * S));
	assert_null(relay_fix(relay, fed_now + 9 * S));
}

static void a_read_that_is_refused_is_said(void **state)
{
	(void)state;
	relay_open(relay, "1");
	up();
	fed_reply(reading, "TAIL", "-NOPERM no\r\n");
	assert_null(relay_unready(relay, fed_now + 10 * S));
	assert_string_equal(relay_unready(relay, fed_now + 11 * S),
			    "Redis refuses to let the stream be read: NOPERM no");
}

static void the_owner_hears_of_all(void **state)
{
	size_t size = RELAY_BYTES;
	char *payload = mem_new(size);
	struct relay_entry e = {
		.kind = RELAY_MESSAGE, .id = { 20, 1 }, .end = 21, .groups = { "g", 2 }, .n_groups = 1
	};

	(void)state;
	memset(payload, 'x', size);
	e.payload = (struct slice){ payload, size };
	leads_behind("9-1", 10);
	relay_add(relay, &e);
	fed_run(loop);
	assert_int_equal(pauses, 1);
	assert_true(relay_is_full(relay));
	fed_reply(append, "APPEND", ":1\r\n");
	assert_int_equal(pauses, 2);
	fed_lose(append, "gone", false);
	fed_up(append);
	fed_tail(append, "9-1", 10);
	assert_int_equal(refills, 1);
	free(payload);
}

/* The program's own way in: with the clock of the machine. */
static void a_relay_is_made_and_freed(void **state)
{
	struct event_base *own = event_base_new();
	struct relay *r = relay_new(own, NULL, &conf, "slot", &calls, NULL);

	(void)state;
	assert_false(relay_is_up(r));
	relay_free(r);
	relay_free(NULL);
	event_base_free(own);
}

/* --- trouble ------------------------------------------------------------------------------------------------------------ */

static const struct relay_trouble *said_twice(int64_t apart)
{
	static struct relay_trouble t;

	t = (struct relay_trouble){ 0 };
	relay_trouble_stops(&t, RELAY_ASKS_APPEND, "OOM no", fed_now);
	relay_trouble_stops(&t, RELAY_ASKS_APPEND, "OOM no", fed_now + apart);
	return &t;
}

/* Each second the same: once. After a minute of quiet it is news. */
static void a_refusal_is_logged_rarely(void **state)
{
	struct relay_trouble t = { 0 };
	char noperm[] = "NOPERM no";

	(void)state;
	assert_int_equal(said_twice(S)->said[RELAY_ASKS_APPEND].repeat.said, fed_now);
	assert_int_equal(said_twice(60 * S)->said[RELAY_ASKS_APPEND].repeat.said, fed_now);
	assert_int_equal(said_twice(60 * S + 1)->said[RELAY_ASKS_APPEND].repeat.said, fed_now + 60 * S + 1);
	assert_string_equal(said_twice(S)->words, "OOM no");
	assert_int_equal(said_twice(S)->said[RELAY_ASKS_TRIM].repeat.said, 0); /* each question by itself */
	relay_trouble_look(&t, RELAY_ASKS_TRIM, &(redisReply){ .type = REDIS_REPLY_ERROR, .str = noperm }, fed_now);
	assert_int_equal(t.said[RELAY_ASKS_TRIM].last, fed_now);
	assert_string_equal(t.words, "");
	relay_trouble_look(&t, RELAY_ASKS_WAIT, &(redisReply){ .type = REDIS_REPLY_INTEGER }, fed_now);
	relay_trouble_look(&t, RELAY_ASKS_WAIT, NULL, fed_now);
	assert_int_equal(t.said[RELAY_ASKS_WAIT].last, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_relay, close_relay)
		TEST(a_stream_is_named_by_slot_and_epoch),
		TEST(an_entry_goes_round),
		TEST(what_is_read_moves_the_tail),
		TEST(one_is_refused_and_both_dial),
		TEST(silence_is_dialled_again),
		TEST(readiness_is_said),
		TEST(a_read_that_is_refused_is_said),
		TEST(the_owner_hears_of_all),
		TEST(a_relay_is_made_and_freed),
		cmocka_unit_test(a_refusal_is_logged_rarely),
#undef TEST
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
