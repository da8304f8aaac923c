/* What the client says: messages in pieces, pings, pongs, and too much of each. limits.messages-per-second is 10, message-bytes 4096. */
#include "home.h"

static void a_ping_is_answered(void **state)
{
	struct client *k = client_in("0", 0), *early = client_open_with("/ws/own/", 0);

	(void)state;
	client_say_text(k, "{\"type\":\"ping\",\"timestamp\":12.5}");
	assert_receives(k, "{\"type\":\"pong\",\"timestamp\":12.5}");
	client_say_text(k, "{\"type\":\"ping\"}");
	assert_receives(k, "{\"type\":\"pong\"}");
	client_say_text(k, "{\"type\":\"subscribe\"}");
	client_say_text(k, "no JSON");
	assert_receives(k, "");
	client_say_text(early, "{\"type\":\"ping\"}"); /* also before its token */
	assert_receives(early, "{\"type\":\"pong\"}");
	assert_int_equal(metrics_value(home.world.metrics, METRICS_CLIENT_MESSAGES, 0), 5);
}

static void a_message_comes_in_pieces(void **state)
{
	struct client *k = client_in("0", 0);
	static const char text[] = "{\"type\":\"ping\"}";
	unsigned char header[6] = { 0x81, 0x80 | (sizeof(text) - 1) };

	(void)state;
	client_say(k, 0x01, text, 3);
	client_say(k, 0x00, text + 3, 4);
	assert_receives(k, "");
	client_say(k, 0x80, text + 7, strlen(text + 7));
	assert_receives(k, "{\"type\":\"pong\"}");
	assert_int_equal(k->conn->rx.len, 0);
	/* One frame, a byte a time. */
	for (size_t i = 0; i < sizeof(header); i++) {
		client_say_bytes(k, header + i, 1);
		home_run();
	}
	for (size_t i = 0; i < sizeof(text) - 1; i++) {
		assert_receives(k, "");
		client_say_bytes(k, text + i, 1);
		home_run();
	}
	assert_receives(k, "{\"type\":\"pong\"}");
	assert_int_equal(metrics_value(home.world.metrics, METRICS_CLIENT_MESSAGES, 0), 2);
}

static void a_message_that_is_too_long_closes(void **state)
{
	static const struct {
		size_t pieces[3];
		const char *receives;
	} cases[] = {
		{ { 4096 }, "" },           { { 4097 }, "close:1009" },           { { 4000, 97 }, "close:1009" },
		{ { 2000, 2000, 96 }, "" }, { { 2000, 2000, 97 }, "close:1009" },
	};
	static char text[5000];

	memset(text, 'a', sizeof(text));
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct client *k;

		home_open(state);
		k = client_in("0", 0);
		for (size_t n = 0; n < 3 && cases[i].pieces[n]; n++) {
			bool last = n == 2 || !cases[i].pieces[n + 1];

			client_say(k, (last ? 0x80 : 0) | (n ? 0 : 1), text, cases[i].pieces[n]);
		}
		assert_receives(k, cases[i].receives);
		home_close(state);
	}
}

/* A frame says how long it is before it is there. */
static void a_length_that_is_announced_counts(void **state)
{
	struct client *k = client_in("0", 0);

	(void)state;
	client_say_bytes(k, "\x81\xFF\0\0\0\0\x40\0\0\0\0\0\0\0a", 15);
	home_run();
	assert_receives(k, "close:1009");
}

static void too_many_messages_close(void **state)
{
	static const struct {
		unsigned char first;
		const char *payload;
		bool counts; /* all of them; false: only those beyond the first are too many */
	} cases[] = {
		{ 0x81, "x", true },
		{ 0x8A, "pong", true }, /* that nobody asked for */
		{ 0x00, "", true },     /* pieces without a length */
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct client *k;

		home_open(state);
		k = client_in("0", 0);
		if (cases[i].first == 0)
			client_say(k, 0x01, "x", 1);
		for (unsigned n = 0; n < 10; n++)
			client_say(k, cases[i].first, cases[i].payload, strlen(cases[i].payload));
		assert_receives(k, "");
		session_sweep(&home.conns, clock_us(), 0); /* another second */
		for (unsigned n = 0; n < 10; n++)
			client_say(k, cases[i].first, cases[i].payload, strlen(cases[i].payload));
		assert_receives(k, "");
		client_say(k, cases[i].first, cases[i].payload, strlen(cases[i].payload));
		assert_receives(k, "close:1008");
		home_close(state);
	}
}

static void a_pong_that_was_asked_for_does_not_count(void **state)
{
	struct client *k = client_in("0", 0);

	(void)state;
	for (unsigned n = 0; n < 30; n++) {
		k->conn->pinged = true;
		client_say(k, 0x8A, "ping", 4);
		assert_false(k->conn->pinged);
	}
	assert_receives(k, "");
}

/* A client that asks and does not read. */
static void replies_that_nobody_reads_close(void **state)
{
	struct client *k = client_in("0", 4096);
	static char text[60001];
	unsigned n;

	(void)state;
	memset(text, 'a', 60000);
	home_append(0, 100, 1, text);
	home_publish(200);
	channel_mark(&home.conns.channels, home.topics[0]);
	home_turn();
	assert_true(k->conn->out.is_behind);
	for (n = 0; k->conn->state == CONN_OPEN && n < 1000; n++) {
		client_say_text(k,
				"{\"type\":\"ping\",\"timestamp\":\"sixty-four bytes or so, that the hub repeats\"}");
		k->conn->said = 0;
	}
	assert_in_range(n, 40, 60); /* REPLY_BYTES of them */
	assert_int_equal(k->conn->out.close_code, 1008);
}

/* Of a token in a message that breaks off nothing is left, nor of one that was read. */
static void what_was_read_is_forgotten(void **state)
{
	struct client *k = client_open_with("/ws/own/", 0);

	(void)state;
	client_say(k, 0x01, "{\"type\":\"auth\",\"token\":\"secret", 30);
	assert_true(k->conn->rx.len > 0);
	client_close(k);
	home_run();
	assert_null(home.conns.all);
}

static void what_comes_after_the_close_is_ignored(void **state)
{
	struct client *k = client_in("0", 0);

	(void)state;
	conn_close(k->conn, 4000);
	client_say_text(k, "{\"type\":\"ping\"}");
	assert_receives(k, "close:4000");
	assert_int_equal(metrics_value(home.world.metrics, METRICS_CLIENT_MESSAGES, 0), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ON_A_HUB(a_ping_is_answered),
		ON_A_HUB(a_message_comes_in_pieces),
		cmocka_unit_test(a_message_that_is_too_long_closes),
		ON_A_HUB(a_length_that_is_announced_counts),
		cmocka_unit_test(too_many_messages_close),
		ON_A_HUB(a_pong_that_was_asked_for_does_not_count),
		ON_A_HUB(replies_that_nobody_reads_close),
		ON_A_HUB(what_was_read_is_forgotten),
		ON_A_HUB(what_comes_after_the_close_is_ignored),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
