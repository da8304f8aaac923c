/* Entries on their way to Redis: in order, without a gap, bounded, and none twice. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "fedlink.h"
#include "relay_queue.h"
#include "walpush/base/mem.h"

static struct event_base *loop;
static struct relay_env env;
static struct relay_queue *queue;
static unsigned filled, pauses, resumes;

static void on_filled(void *ctx)
{
	(void)ctx;
	filled++;
}

static void on_pause(void *ctx, bool paused)
{
	(void)ctx;
	if (paused)
		pauses++;
	else
		resumes++;
}

static const struct relay_queue_calls calls = { on_filled, on_pause };

static int open_queue(void **state)
{
	(void)state;
	filled = pauses = resumes = 0;
	loop = event_base_new();
	env = (struct relay_env){ .loop = loop, .clock = fed_clock };
	queue = relay_queue_new(&env, &calls, NULL);
	return 0;
}

static int close_queue(void **state)
{
	(void)state;
	relay_queue_free(queue);
	event_base_free(loop);
	return 0;
}

/* For the next case of a table. */
static void again(void)
{
	close_queue(NULL);
	open_queue(NULL);
}

static void add(lsn_t lsn, uint32_t index, lsn_t end, const char *payload)
{
	struct relay_entry e = {
		.kind = RELAY_MESSAGE,
		.id = { lsn, index },
		.end = end,
		.payload = slice_of(payload),
		.groups = { "g", 2 },
		.n_groups = 1,
	};

	relay_queue_add(queue, &e);
}

/* The ids that are not sent, "10-1 10-2"; all of them are sent by it. */
static const char *take(void)
{
	static char out[1024];
	const struct relay_queued *e;
	size_t at = 0;

	out[0] = '\0';
	while ((e = relay_queue_next(queue))) {
		char id[RELAY_ID_MAX];

		relay_id_format(id, e->id);
		at += (size_t)snprintf(out + at, sizeof(out) - at, "%s%s", at ? " " : "", id);
		relay_queue_sent(queue);
	}
	return out;
}

static void entries_leave_in_order(void **state)
{
	(void)state;
	relay_queue_start(queue, (struct event_id){ 5, 1 }, 6, 6);
	add(10, 1, 0, "a");
	add(10, 2, 11, "b");
	add(20, 1, 21, "c");
	assert_int_equal(filled, 3);
	assert_int_equal(relay_queue_end(queue), 21);
	assert_string_equal(take(), "10-1 10-2 20-1");
	assert_null(relay_queue_next(queue));
	relay_queue_drop(queue, 2);
	relay_queue_unsent(queue);
	assert_string_equal(take(), "20-1");
	add(30, 1, 31, "d");
	assert_string_equal(take(), "30-1");
	relay_queue_drop(queue, 2);
	assert_int_equal(relay_queue_bytes(queue), 0);
	add(40, 1, 41, "e");
	assert_string_equal(take(), "40-1");
}

static void an_entry_is_copied_whole(void **state)
{
	char payload[] = "{\"id\":1}";
	const struct relay_queued *e;
	struct relay_entry out;
	struct slice fields[RELAY_FIELDS_MAX];
	struct fail why;
	const char *at;
	char id[RELAY_ID_MAX];
	size_t n;

	(void)state;
	add(10, 1, 11, payload);
	memset(payload, 'x', sizeof(payload) - 1);
	e = relay_queue_next(queue);
	at = e->bytes;
	for (size_t i = 0; i < e->n_fields; i++) {
		fields[i] = (struct slice){ at, e->lengths[i] };
		at += e->lengths[i];
	}
	assert_int_equal(e->size, sizeof(*e) + (size_t)(at - e->bytes));
	n = relay_id_format(id, e->id);
	fields[e->n_fields] = SLICE("p");
	fields[e->n_fields + 1] = SLICE("0-0");
	assert_true(relay_entry_decode((struct slice){ id, n }, fields, e->n_fields + 2, &out, &why));
	assert_true(slice_equal(out.payload, SLICE("{\"id\":1}")));
	assert_int_equal(out.end, 11);
}

/* What the stream or the queue has is recognised by its id. That it ends a transaction may be news all the same. */
static void known_entries_are_left_out(void **state)
{
	(void)state;
	relay_queue_start(queue, (struct event_id){ 10, 2 }, 5, 5);
	add(10, 1, 0, "a");
	assert_int_equal(filled, 0);
	add(10, 2, 11, "b");
	assert_int_equal(filled, 0);
	assert_int_equal(relay_queue_end(queue), 11);
	fed_timers_fire(loop);
	assert_string_equal(take(), "10-4294967295");
	add(10, 2, 11, "b");
	fed_timers_fire(loop);
	assert_string_equal(take(), "");
	add(20, 1, 21, "c");
	add(20, 1, 21, "c");
	assert_string_equal(take(), "20-1");
}

static void positions_are_gathered(void **state)
{
	(void)state;
	relay_queue_position(queue, 10, false);
	relay_queue_position(queue, 30, false);
	relay_queue_position(queue, 20, false);
	assert_int_equal(relay_queue_end(queue), 30);
	assert_int_equal(filled, 0);
	fed_timers_fire(loop);
	assert_string_equal(take(), "29-4294967295");
	relay_queue_position(queue, 30, true); /* it is said */
	assert_string_equal(take(), "");
	relay_queue_position(queue, 40, false);
	relay_queue_position(queue, 35, true);
	assert_string_equal(take(), "39-4294967295");
	fed_timers_fire(loop);
	assert_int_equal(filled, 2);
}

/* A transaction's end is further than the position that waited. */
static void a_transaction_takes_the_position_with_it(void **state)
{
	(void)state;
	relay_queue_position(queue, 10, false);
	add(20, 1, 21, "a");
	fed_timers_fire(loop);
	assert_string_equal(take(), "20-1");
	assert_int_equal(filled, 1);
}

static const struct {
	lsn_t from;
	enum relay_hole hole;
	struct event_id tail;
	lsn_t tail_end;
	const char *ids;
	lsn_t end;
	const char *reason;
	bool everything;
} beginnings[] = {
	{ 100, RELAY_HOLE_NONE, { 0, 0 }, 0, "99-4294967294", 100, "", false },
	{ 100, RELAY_HOLE_NONE, { 50, 3 }, 51, "99-4294967294", 100, "", false },
	{ 100, RELAY_HOLE_KNOWN, { 50, 3 }, 51, "99-4294967294", 100, "skipped", false },
	{ 100, RELAY_HOLE_UNKNOWN, { 50, 3 }, 51, "99-4294967294", 100, "skipped", true },
	{ 100, RELAY_HOLE_HERE, { 50, 3 }, 51, "99-4294967294", 100, "skipped", true },
	/* A transaction that nobody finished: the beginning comes behind its entries. */
	{ 100, RELAY_HOLE_NONE, { 120, 3 }, 51, "120-4294967294", 121, "", false },
	{ 100, RELAY_HOLE_NONE, { 100, 1 }, 51, "100-4294967294", 101, "", false },
};

static bool has_field(const struct relay_queued *e, const char *name, const char *value)
{
	const char *at = e->bytes;

	for (size_t i = 0; i + 1 < e->n_fields; i += 2) {
		struct slice key = { at, e->lengths[i] }, text = { at + e->lengths[i], e->lengths[i + 1] };

		if (slice_equal(key, slice_of(name)) && slice_equal(text, slice_of(value)))
			return true;
		at += e->lengths[i] + e->lengths[i + 1];
	}
	return false;
}

static void a_beginning_stands_in_front(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(beginnings) / sizeof(*beginnings); i++) {
		struct relay_queue_beginning b = { beginnings[i].from, beginnings[i].hole, beginnings[i].tail,
						   beginnings[i].tail_end };
		char ids[64];

		again();
		relay_queue_start(queue, b.tail, b.tail_end, b.from);
		add(200, 1, 201, "a");
		relay_queue_begin(queue, &b);
		assert_true(has_field(relay_queue_next(queue), "r", "skipped") == (beginnings[i].reason[0] != '\0'));
		assert_true(has_field(relay_queue_next(queue), "n", "1") == beginnings[i].everything);
		assert_int_equal(relay_queue_next(queue)->end, beginnings[i].end);
		snprintf(ids, sizeof(ids), "%s 200-1", beginnings[i].ids);
		assert_string_equal(take(), ids);
		again(); /* and alone, with others behind it */
		relay_queue_start(queue, b.tail, b.tail_end, b.from);
		relay_queue_begin(queue, &b);
		assert_int_equal(relay_queue_end(queue), beginnings[i].end);
		add(200, 1, 201, "a");
		assert_string_equal(take(), ids);
	}
}

static void a_full_queue_pauses_until_half(void **state)
{
	size_t size = RELAY_BYTES / 8;
	char *payload = mem_new(size + 1);
	lsn_t lsn = 10;
	const size_t full = 9, half = 6;

	(void)state;
	memset(payload, 'x', size);
	for (size_t i = 0; i < full; i++) {
		assert_int_equal(pauses, relay_queue_bytes(queue) > RELAY_BYTES);
		add(lsn, 1, lsn + 1, payload);
		lsn += 10;
	}
	assert_true(relay_queue_is_full(queue));
	assert_int_equal(pauses, 1);
	take();
	for (size_t i = 0; i < half; i++) {
		relay_queue_drop(queue, 1);
		relay_queue_flow(queue);
		assert_int_equal(resumes, relay_queue_bytes(queue) <= RELAY_BYTES / 2);
	}
	assert_int_equal(resumes, 1);
	assert_false(relay_queue_is_full(queue));
	add(lsn, 1, lsn + 1, payload);
	assert_int_equal(pauses, 1);
	relay_queue_clear(queue);
	assert_int_equal(relay_queue_bytes(queue), 0);
	free(payload);
}

/* Whoever appended them. */
static void what_the_stream_has_leaves(void **state)
{
	(void)state;
	add(10, 1, 11, "a");
	add(20, 1, 21, "b");
	add(30, 1, 31, "c");
	take();
	relay_queue_drop_known(queue, (struct event_id){ 20, 1 }, 21);
	assert_string_equal(take(), "30-1");
	relay_queue_drop_known(queue, (struct event_id){ 40, 1 }, 41);
	assert_int_equal(relay_queue_bytes(queue), 0);
	add(40, 1, 41, "known");
	relay_queue_position(queue, 41, true);
	assert_string_equal(take(), "");
	add(50, 1, 51, "d");
	assert_string_equal(take(), "50-1");
}

static void the_oldest_entry_has_an_age(void **state)
{
	(void)state;
	assert_int_equal(relay_queue_lag(queue, fed_now), 0);
	add(10, 1, 11, "a");
	fed_now += 5;
	add(20, 1, 21, "b");
	assert_int_equal(relay_queue_lag(queue, fed_now + 2), 7);
	take();
	relay_queue_drop(queue, 1);
	assert_int_equal(relay_queue_lag(queue, fed_now + 2), 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_queue, close_queue)
		TEST(entries_leave_in_order),
		TEST(an_entry_is_copied_whole),
		TEST(known_entries_are_left_out),
		TEST(positions_are_gathered),
		TEST(a_transaction_takes_the_position_with_it),
		TEST(a_beginning_stands_in_front),
		TEST(a_full_queue_pauses_until_half),
		TEST(what_the_stream_has_leaves),
		TEST(the_oldest_entry_has_an_age),
#undef TEST
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
