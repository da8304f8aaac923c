/* Who may enter, by number, address and rate. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "walpush/base/files.h"
#include "walpush/share/gate.h"

#define SECOND INT64_C(1000000)

static struct address address(const char *text)
{
	struct address a;

	assert_true(address_parse(slice_of(text), &a));
	return a;
}

static void the_limit_of_open_files_bounds_all(void **state)
{
	struct conf_limits limits = { .connections = 0 };
	struct gate *g = gate_new(1024, 2);
	uint64_t most = gate_connections(g, &limits);

	(void)state;
	assert_in_range(most, 800, 900);
	limits.connections = 100;
	assert_int_equal(gate_connections(g, &limits), 100);
	limits.connections = 100000;
	assert_int_equal(gate_connections(g, &limits), most);
	gate_free(g);
	/* Too few files for anything: some are let in all the same, and the kernel decides. */
	limits.connections = 0;
	g = gate_new(20, 64);
	assert_in_range(gate_connections(g, &limits), 1, 16);
	gate_free(g);
}

static void sockets_are_refused_when_files_run_out(void **state)
{
	struct conf_limits limits = { .connections = 5 };
	struct gate *g = gate_new(0, 1);
	struct address a = address("10.0.0.1");

	(void)state;
	for (int i = 0; i < 16; i++)
		assert_true(gate_accept(g, &limits, &a, false));
	assert_false(gate_accept(g, &limits, &a, true));
	gate_close(g, &a);
	assert_true(gate_accept(g, &limits, &a, true));
	gate_free(g);
}

static void connections_in_all(void **state)
{
	struct conf_limits limits = { .connections = 2 };
	struct gate *g = gate_new(1024, 1);
	struct address a = address("10.0.0.1"), b = address("10.0.0.2");

	(void)state;
	assert_int_equal(gate_enter(g, &limits, &a, 0), GATE_OPEN);
	assert_int_equal(gate_enter(g, &limits, &b, 0), GATE_OPEN);
	assert_int_equal(gate_enter(g, &limits, &a, 0), GATE_FULL);
	gate_leave(g, &b);
	assert_int_equal(gate_enter(g, &limits, &a, 0), GATE_OPEN);
	gate_leave(g, &a);
	gate_leave(g, &a);
	gate_free(g);
}

static void connections_of_one_address(void **state)
{
	struct conf_limits limits = { .per_address = 2 };
	struct gate *g = gate_new(1024, 1);
	struct address a = address("2001:db8::1"), neighbour = address("2001:db8::2"), b = address("2001:db8:0:1::1");

	(void)state;
	assert_int_equal(gate_enter(g, &limits, &a, 0), GATE_OPEN);
	assert_int_equal(gate_enter(g, &limits, &neighbour, 0), GATE_OPEN);
	assert_int_equal(gate_enter(g, &limits, &a, 0), GATE_ADDRESS);
	assert_int_equal(gate_enter(g, &limits, &b, 0), GATE_OPEN);
	gate_leave(g, &neighbour);
	assert_int_equal(gate_enter(g, &limits, &a, 0), GATE_OPEN);
	/* A limit that changes counts those that are there. */
	limits.per_address = 1;
	gate_leave(g, &a);
	assert_int_equal(gate_enter(g, &limits, &a, 0), GATE_ADDRESS);
	limits.per_address = 0;
	assert_int_equal(gate_enter(g, &limits, &a, 0), GATE_OPEN);
	gate_free(g);
}

static void sockets_of_one_address(void **state)
{
	struct conf_limits limits = { .per_address = 2 };
	struct gate *g = gate_new(1024, 1);
	struct address a = address("10.0.0.1"), b = address("10.0.0.2");

	(void)state;
	for (int i = 0; i < 4; i++)
		assert_true(gate_accept(g, &limits, &a, false));
	assert_false(gate_accept(g, &limits, &a, false));
	assert_true(gate_accept(g, &limits, &a, true));
	assert_true(gate_accept(g, &limits, &b, false));
	gate_close(g, &a);
	gate_close(g, &a);
	assert_true(gate_accept(g, &limits, &a, false));
	gate_free(g);
}

static unsigned enters(struct gate *g, const struct conf_limits *limits, unsigned n, int64_t now)
{
	struct address a = address("10.0.0.1");
	unsigned entered = 0;

	for (unsigned i = 0; i < n; i++)
		entered += gate_enter(g, limits, &a, now) == GATE_OPEN;
	return entered;
}

static void handshakes_in_a_second(void **state)
{
	struct conf_limits limits = { .handshakes_per_second = 10 };
	struct gate *g = gate_new(1024, 1);
	int64_t now = 1000 * SECOND;

	(void)state;
	assert_int_equal(enters(g, &limits, 20, now), 10);
	assert_int_equal(enters(g, &limits, 20, now + SECOND / 10), 1);
	assert_int_equal(enters(g, &limits, 20, now + SECOND / 2), 4);
	/* What is not used is not saved beyond a second. */
	assert_int_equal(enters(g, &limits, 50, now + 100 * SECOND), 10);
	limits.handshakes_per_second = 0;
	assert_int_equal(enters(g, &limits, 50, now + 100 * SECOND), 50);
	limits.handshakes_per_second = 1;
	assert_int_equal(enters(g, &limits, 5, now + 200 * SECOND), 1);
	assert_int_equal(enters(g, &limits, 5, now + 201 * SECOND - 1), 0);
	assert_int_equal(enters(g, &limits, 5, now + 201 * SECOND), 1);
	limits.handshakes_per_second = 1000000;
	assert_int_equal(enters(g, &limits, 5, now + 300 * SECOND), 5);
	gate_free(g);
}

static void who_is_refused_for_another_reason_takes_nothing_from_the_rate(void **state)
{
	struct conf_limits limits = { .per_address = 1, .handshakes_per_second = 2 };
	struct gate *g = gate_new(1024, 1);
	struct address a = address("10.0.0.1"), b = address("10.0.0.2"), c = address("10.0.0.3");

	(void)state;
	assert_int_equal(gate_enter(g, &limits, &a, SECOND), GATE_OPEN);
	for (int i = 0; i < 10; i++)
		assert_int_equal(gate_enter(g, &limits, &a, SECOND), GATE_ADDRESS);
	assert_int_equal(gate_enter(g, &limits, &b, SECOND), GATE_OPEN);
	assert_int_equal(gate_enter(g, &limits, &c, SECOND), GATE_RATE);
	gate_free(g);
}

/* Whatever limit is enough, sockets and the process's own files together stay within it. */
static void test_the_gate_never_gives_away_what_is_kept(void **state)
{
	static const struct conf_limits limits = { 0 };

	(void)state;
	for (unsigned hubs = 1; hubs <= 64; hubs++)
		for (uint64_t files = 0; files < 2000; files++) {
			struct fail why;
			struct address a = { 0 };
			struct gate *g;
			uint64_t sockets = 0;

			if (!files_suffice(files, hubs, &why))
				continue;
			g = gate_new(files, hubs);
			while (sockets < 2000 && gate_accept(g, &limits, &a, true))
				sockets++;
			assert_in_range(sockets, FILES_CLIENTS_LEAST, files - files_kept(hubs));
			while (sockets--)
				gate_close(g, &a);
			gate_free(g);
			files += files > 700 ? 97 : 0;
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_limit_of_open_files_bounds_all),
		cmocka_unit_test(sockets_are_refused_when_files_run_out),
		cmocka_unit_test(connections_in_all),
		cmocka_unit_test(connections_of_one_address),
		cmocka_unit_test(sockets_of_one_address),
		cmocka_unit_test(handshakes_in_a_second),
		cmocka_unit_test(who_is_refused_for_another_reason_takes_nothing_from_the_rate),
		cmocka_unit_test(test_the_gate_never_gives_away_what_is_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
