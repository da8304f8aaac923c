/* What the clock does to a connection, once a second. The test says what time it is. */
#include "home.h"

#define S INT64_C(1000000)

enum mark { NOTHING, PINGED, BEHIND };

/* A connection in this state, `after` µs since the client was last heard, with this mark; what it is told then. */
static const struct {
	const char *name;
	bool is_open;
	enum mark mark;
	int64_t after;
	const char *receives; /* "-": hung up without a word */
} cases[] = {
	{ "in time", true, NOTHING, 20 * S, "" },
	{ "quiet: a ping", true, NOTHING, 31 * S, "89:ping" },
	{ "quiet for long, and never pinged: a ping", true, NOTHING, 70 * S, "89:ping" },
	{ "a ping that waits", true, PINGED, 39 * S, "" },
	{ "a ping that was not answered", true, PINGED, 41 * S, "-" },
	{ "a socket that is full", true, BEHIND, 4 * S, "" },
	{ "a token that does not come", false, NOTHING, 4 * S, "" },
	{ "a token that is late", false, NOTHING, 11 * S, "close:4401" },
	{ "too old", true, NOTHING, 200 * S, "close:1012" },
};

static void once_a_second(void **state)
{
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct client *k;
		int64_t then;

		print_message("           %s\n", cases[i].name);
		home_open(state);
		home_use("listen = {", "listen = { ping = 30 max-age = 100");
		k = cases[i].is_open ? client_in("0", 0) : client_open_with("/ws/own/", 0);
		then = k->conn->heard + cases[i].after;
		k->conn->pinged = cases[i].mark == PINGED;
		if (cases[i].mark == BEHIND)
			writer_behind(&k->conn->out, true);
		k->conn->said = 9;
		session_sweep(&home.conns, then, 0);
		assert_int_equal(k->conn->said, 0);
		if (cases[i].receives[0] == '-') {
			assert_true(k->conn->out.is_hung_up);
			assert_receives(k, "");
		} else {
			assert_receives(k, cases[i].receives);
			assert_false(k->conn->out.is_hung_up);
		}
		assert_int_equal(k->conn->pinged, cases[i].mark == PINGED || strcmp(cases[i].receives, "89:ping") == 0);
		home_close(state);
	}
}

static void a_stalled_reader_is_closed(void **state)
{
	struct client *k = client_in("0", 0);
	int64_t stall = home.facts.shared->conf->limits.stall * 1000;

	(void)state;
	writer_behind(&k->conn->out, true);
	session_sweep(&home.conns, k->conn->out.behind_since + stall, 0);
	assert_int_equal(k->conn->state, CONN_OPEN);
	session_sweep(&home.conns, k->conn->out.behind_since + stall + 1, 0);
	assert_int_equal(k->conn->state, CONN_CLOSING);
	assert_int_equal(k->conn->out.close_code, 4408);
}

static void a_token_expires(void **state)
{
	struct client *k = client_in("0", 0);

	(void)state;
	session_sweep(&home.conns, clock_us(), 3999999999);
	assert_receives(k, "");
	session_sweep(&home.conns, clock_us(), 4000000000);
	assert_receives(k, "close:4401");
}

/* A close that is not answered, ours or the client's. */
static void a_close_that_takes_too_long(void **state)
{
	struct client *ours = client_in("0", 0), *theirs = client_in("0", 0);
	static const unsigned char bye[2] = { 3, 232 };

	(void)state;
	conn_close(ours->conn, 4000);
	conn_leave(theirs->conn, bye, 2);
	session_sweep(&home.conns, ours->conn->deadline, 0);
	assert_false(ours->conn->out.is_hung_up);
	session_sweep(&home.conns, theirs->conn->deadline + 1, 0);
	assert_true(ours->conn->out.is_hung_up);
	assert_true(theirs->conn->out.is_hung_up);
	client_await_end(ours);
	client_await_end(theirs);
	assert_null(home.conns.all);
}

/* Those that came together do not go together. */
static void ages_are_spread(void **state)
{
	struct client *k[20];
	unsigned n = 0;

	(void)state;
	home_use("listen = {", "listen = { ping = 3600 max-age = 100");
	for (size_t i = 0; i < 20; i++)
		k[i] = client_in("0", 0);
	session_sweep(&home.conns, k[0]->conn->born + 90 * S, 0);
	for (size_t i = 0; i < 20; i++)
		n += k[i]->conn->state == CONN_CLOSING;
	assert_in_range(n, 0, 2);
	session_sweep(&home.conns, k[0]->conn->born + 95 * S, 0);
	for (size_t i = n = 0; i < 20; i++)
		n += k[i]->conn->state == CONN_CLOSING;
	assert_in_range(n, 4, 16);
	session_sweep(&home.conns, k[19]->conn->born + 100 * S + 1, 0);
	for (size_t i = 0; i < 20; i++)
		assert_int_equal(k[i]->conn->state, CONN_CLOSING);
}

static void a_mail_that_names_no_connection_is_a_defect(void **state)
{
	struct mail mail = { .kind = MAIL_DIRTY };

	(void)state;
	assert_defect((session_mail(&home.conns, &mail), 0), "names no connection");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(once_a_second), ON_A_HUB(a_stalled_reader_is_closed),
		ON_A_HUB(a_token_expires),       ON_A_HUB(a_close_that_takes_too_long),
		ON_A_HUB(ages_are_spread),       ON_A_HUB(a_mail_that_names_no_connection_is_a_defect),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
