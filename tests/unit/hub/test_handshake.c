/* The request, from its first byte to its answer: who becomes a WebSocket, who is refused with what, and what is counted. */
#include "home.h"

#define MS INT64_C(1000)
#define UNITS "/ws/units/5/"

static uint64_t refusals(void)
{
	return metrics_total(home.world.metrics, METRICS_REFUSALS);
}

/* --- requests that are whole -------------------------------------------------------------------------------------- */

#define KEY "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define VERSION "Sec-WebSocket-Version: 13\r\n"
#define CONNECTION "Connection: Upgrade\r\n"
#define UPGRADE "Upgrade: websocket\r\n"
#define HOST "Host: x\r\n"

static void requests_and_their_answers(void **state)
{
	static const struct {
		const char *target, *headers;
		unsigned status;
	} cases[] = {
		{ UNITS, HOST UPGRADE CONNECTION VERSION KEY, 101 },
		{ UNITS, HOST UPGRADE "Connection: keep-alive, Upgrade\r\n" VERSION KEY, 101 },
		{ UNITS, HOST UPGRADE CONNECTION VERSION KEY "Sec-WebSocket-Protocol: walpush\r\n", 101 },
		{ UNITS, HOST UPGRADE CONNECTION VERSION KEY "Origin: https://x\r\n", 101 },
		{ UNITS, HOST UPGRADE CONNECTION VERSION KEY "X-Forwarded-For: 1.2.3.4\r\n", 101 },
		{ UNITS, HOST UPGRADE CONNECTION VERSION KEY "Sec-WebSocket-Protocol: graphql-ws\r\n", 400 },
		{ "/ws/none/", HOST UPGRADE CONNECTION VERSION KEY, 404 },
		{ "/ws/units/x/", HOST UPGRADE CONNECTION VERSION KEY, 404 },
		{ UNITS, HOST UPGRADE CONNECTION "Sec-WebSocket-Version: 8\r\n" KEY, 426 },
		{ UNITS, HOST UPGRADE CONNECTION KEY, 426 },
		{ UNITS, HOST UPGRADE CONNECTION VERSION, 400 },
		{ UNITS, HOST UPGRADE CONNECTION VERSION "Sec-WebSocket-Key: short\r\n", 400 },
		{ UNITS, HOST UPGRADE CONNECTION VERSION KEY KEY, 400 },
		{ UNITS, HOST UPGRADE "Connection: close\r\n" VERSION KEY, 400 },
		{ UNITS, UPGRADE CONNECTION VERSION KEY, 400 },
		{ UNITS, HOST "Upgrade: h2c\r\n" CONNECTION VERSION KEY, 400 },
		{ UNITS, HOST UPGRADE CONNECTION VERSION KEY "Content-Length: 3\r\n", 400 },
		{ UNITS "?a=%01", HOST UPGRADE CONNECTION VERSION KEY, 400 },
		{ UNITS "?since=0%2F5&epoch=e", HOST UPGRADE CONNECTION VERSION KEY, 101 },
		{ UNITS, HOST, 426 },
		{ "/ws/none/", HOST, 404 },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		unsigned status;
		struct client *k;

		home_open(state);
		k = client_connect(0);
		status = client_ask(k, cases[i].target, cases[i].headers);
		if (status != cases[i].status)
			fail_msg("%s\n%s: %u", cases[i].target, cases[i].headers, status);
		assert_int_equal(home.conns.all != NULL, status == 101);
		assert_int_equal(refusals(), status != 101);
		if (status == 101)
			assert_null(home.visitors.shaking); /* its hands are shaken */
		home_close(state);
	}
}

/* Its body is one line, which says what to do, and repeats nothing of the request. */
static void assert_says(const struct client *k, const char *part)
{
	const char *body = k->in.data + k->read, *length = strstr(k->in.data, "Content-Length: ");

	assert_non_null(length);
	assert_int_equal(atoi(length + 16), strlen(body));
	assert_non_null(strstr(k->in.data, "\r\nContent-Type: text/plain\r\n"));
	assert_ptr_equal(strchr(body, '\n'), body + strlen(body) - 1);
	if (!strstr(body, part) || strstr(body, "secret"))
		fail_msg("%s", body);
}

static void a_refusal_says_what_to_do(void **state)
{
	static const struct {
		const char *target, *headers, *says;
	} cases[] = {
		{ "/ws/none/?token=secret", CLIENT_UPGRADE, "No stream has this path" },
		{ UNITS "?token=secret", HOST, "must speak HTTP/1.1 and pass on Connection and Upgrade" },
		{ UNITS, CLIENT_UPGRADE "Sec-WebSocket-Protocol: secret\r\n", "The token does not go there" },
		{ UNITS, HOST UPGRADE CONNECTION KEY, "version 13" },
		{ UNITS, HOST UPGRADE CONNECTION VERSION, "16 bytes in Base64" },
		{ UNITS, HOST UPGRADE "Connection: close\r\n" VERSION KEY, "\"Connection: Upgrade\" is missing" },
		{ UNITS, UPGRADE CONNECTION VERSION KEY, "Host" },
		{ UNITS, CLIENT_UPGRADE "Content-Length: 3\r\n", "no body" },
		{ UNITS "?a=%01secret", CLIENT_UPGRADE, "control characters" },
		{ UNITS, CLIENT_UPGRADE "Origin: https://secret\r\n", "listen.origins" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct client *k;

		home_open(state);
		home_use("\"*\"", "\"https://y\"");
		k = client_connect(0);
		client_ask(k, cases[i].target, cases[i].headers);
		assert_says(k, cases[i].says);
		home_close(state);
	}
}

/* All of them, the three of the gate among them, fit into their room. */
static void every_response_is_whole(void **state)
{
	static const struct response *const all[] = {
		&response_no_http, &response_no_websocket, &response_target, &response_forwarded,
		&response_host,    &response_connection,   &response_key,    &response_subprotocol,
		&response_content, &response_origin,       &response_path,   &response_plain_http,
		&response_version, &response_headers,      &response_full,   &response_address,
		&response_rate,
	};
	char out[RESPONSE_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) {
		size_t n = response_write(all[i], false, out), bare;

		assert_true(n < RESPONSE_MAX);
		assert_int_equal(n, strlen(out));
		assert_int_equal(atoi(out + 9), all[i]->status);
		assert_null(strstr(out, "Error\r\n"));
		assert_string_equal(out + n - 1, "\n");
		bare = response_write(all[i], true, out); /* HEAD: the same without the body */
		assert_int_equal(bare, n - strlen(all[i]->body) - 1);
		assert_string_equal(out + bare - 4, "\r\n\r\n");
	}
}

static void an_origin_that_is_not_listed(void **state)
{
	(void)state;
	home_use("\"*\"", "\"https://y\"");
	assert_int_equal(client_ask(client_connect(0), UNITS, CLIENT_UPGRADE "Origin: https://x\r\n"), 403);
	assert_int_equal(client_ask(client_connect(0), UNITS, CLIENT_UPGRADE "Origin: https://y\r\n"), 101);
}

/* The client behind a trusted proxy, as the connection and the gate know it. */
static void the_client_behind_a_proxy(void **state)
{
	struct client *k = client_connect(0);
	char text[ADDRESS_TEXT_MAX], longer[3000];

	(void)state;
	assert_int_equal(client_ask(k, UNITS, CLIENT_UPGRADE "X-Forwarded-For: 9.9.9.9, 192.0.2.7\r\n"), 101);
	assert_string_equal(address_format(&home.conns.all->peer, text), "192.0.2.7");
	/* Its end is what counts, and it cannot be read. */
	snprintf(longer, sizeof(longer), CLIENT_UPGRADE "X-Forwarded-For: %02500d\r\n", 1);
	assert_int_equal(client_ask(client_connect(0), UNITS, longer), 400);
}

static void the_gate_is_asked_last(void **state)
{
	static const struct {
		const char *from, *to;
	} cases[] = {
		{ "connections = 100", "connections = 1" },
		{ "per-address = 50", "per-address = 1" },
		{ "connections = 100", "handshakes-per-second = 1" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct client *k;

		home_open(state);
		home_use(cases[i].from, cases[i].to);
		k = client_open_with(UNITS, 0);
		assert_int_equal(client_ask(client_connect(0), "/ws/none/", CLIENT_UPGRADE), 404);
		assert_int_equal(client_ask(client_connect(0), UNITS, CLIENT_UPGRADE), 503);
		client_close(k); /* its place is free again */
		home_run();
		if (i < 2)
			client_open_with(UNITS, 0);
		home_close(state);
	}
}

/* --- requests that come in pieces, or not ------------------------------------------------------------------------- */

static void a_head_in_pieces_waits_for_its_end(void **state)
{
	static const char head[] = "GET " UNITS " HTTP/1.1\r\n" CLIENT_UPGRADE "\r\n";
	struct client *k = client_connect(0);

	(void)state;
	for (size_t i = 0; i < sizeof(head) - 1; i++) {
		assert_null(home.conns.all);
		client_say_bytes(k, head + i, 1);
		home_run();
	}
	assert_non_null(home.conns.all);
	assert_null(home.visitors.shaking);
}

static void heads_that_will_never_be_one(void **state)
{
	static char huge[6000];
	const struct {
		const char *head, *answer;
	} cases[] = {
		{ "\x16\x03\x01 hello of TLS\r\n\r\n", "HTTP/1.1 400 " },
		{ "GET / HTTP/1.1\r\nno colon\r\n\r\n", "HTTP/1.1 400 " },
		{ huge, "HTTP/1.1 431 " },
	};

	memset(huge, 'a', sizeof(huge) - 1);
	memcpy(huge, "GET / HTTP/1.1\r\nX: ", 19);
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct client *k;

		home_open(state);
		k = client_connect(0);
		client_say_bytes(k, cases[i].head, strlen(cases[i].head));
		home_run();
		client_pull(k);
		assert_memory_equal(k->in.data, cases[i].answer, strlen(cases[i].answer));
		assert_true(k->ended); /* the hub says nothing more */
		assert_int_equal(refusals(), 1);
		assert_non_null(home.visitors.shaking); /* and listens, until the client ends */
		client_say_bytes(k, "and more", 8);
		home_run();
		assert_non_null(home.visitors.shaking);
		client_close(k);
		home_run();
		assert_null(home.visitors.shaking);
		assert_int_equal(refusals(), 1);
		home_close(state);
	}
}

/* What a refused client may go on to send has an end. */
static void a_refused_client_that_goes_on(void **state)
{
	static char more[65536];
	struct client *k = client_connect(0);
	unsigned n = 0;

	(void)state;
	client_say_bytes(k, "nonsense\r\n\r\n", 12);
	home_run();
	while (n < 100 && send(k->fd, more, sizeof(more), MSG_NOSIGNAL) == sizeof(more)) {
		home_run();
		n++;
	}
	assert_in_range(n, 16, 18);
	assert_null(home.visitors.shaking);
}

static void a_client_that_ends_early(void **state)
{
	static const struct {
		const char *said;
		unsigned refusals;
	} cases[] = {
		{ "", 0 }, /* it only looked whether the port is open */
		{ "GET / HT", 1 },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct client *k;

		home_open(state);
		k = client_connect(0);
		client_say_bytes(k, cases[i].said, strlen(cases[i].said));
		home_run();
		assert_non_null(home.visitors.shaking);
		client_close(k);
		home_run();
		assert_null(home.visitors.shaking);
		assert_int_equal(refusals(), cases[i].refusals);
		home_close(state);
	}
}

/* The library takes CONNECT for the begin of another protocol. Where nobody peeks, that is ended without a word. */
static void a_request_of_another_protocol(void **state)
{
	static const char request[] = "CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n";
	struct client *k;

	(void)state;
	home.visitors.tls = true;
	k = client_connect(0);
	client_say_bytes(k, request, sizeof(request) - 1);
	home_run();
	assert_null(home.visitors.shaking);
	assert_null(home.conns.all);
	assert_int_equal(refusals(), 1);
}

/* --- deadlines ---------------------------------------------------------------------------------------------------- */

static void a_handshake_has_its_time(void **state)
{
	struct client *silent = client_connect(0), *slow = client_connect(0), *refused = client_connect(0);
	int64_t limit = home.facts.shared->conf->limits.handshake * MS;

	(void)state;
	client_say_bytes(slow, "GET / HT", 8);
	client_say_bytes(refused, "nonsense\r\n\r\n", 12);
	home_run();
	assert_int_equal(refusals(), 1);
	visitors_sweep(&home.visitors, clock_us() + limit / 2);
	client_pull(slow);
	assert_false(slow->ended);
	visitors_sweep(&home.visitors, clock_us() + limit + MS);
	home_run();
	assert_null(home.visitors.shaking);
	client_pull(slow);
	client_pull(silent);
	assert_true(slow->ended);
	assert_true(silent->ended);
	assert_int_equal(refusals(), 3); /* the one that was refused is counted once */
}

static void the_process_stops(void **state)
{
	struct client *slow = client_connect(0), *open = client_open_with("/ws/own/", 0);

	(void)state;
	visitors_hang_up(&home.visitors);
	client_pull(slow);
	assert_true(slow->ended);
	client_pull(open);
	assert_false(open->ended);
	assert_int_equal(refusals(), 0);
	client_connect(0); /* the end of the hub finds this one */
}

/* With TLS the first bytes say nothing: the library has it at once, and its end is the library's. */
static void over_tls_nobody_peeks(void **state)
{
	struct client *k;

	(void)state;
	home.visitors.tls = true;
	k = client_connect(0);
	assert_non_null(home.visitors.shaking);
	visitors_sweep(&home.visitors, clock_us() + INT64_C(3600000000));
	assert_null(home.visitors.shaking);
	assert_int_equal(refusals(), 1);
	client_close(k);
	home_run();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests_and_their_answers),
		cmocka_unit_test(a_refusal_says_what_to_do),
		cmocka_unit_test(every_response_is_whole),
		ON_A_HUB(an_origin_that_is_not_listed),
		ON_A_HUB(the_client_behind_a_proxy),
		cmocka_unit_test(the_gate_is_asked_last),
		ON_A_HUB(a_head_in_pieces_waits_for_its_end),
		cmocka_unit_test(heads_that_will_never_be_one),
		ON_A_HUB(a_refused_client_that_goes_on),
		cmocka_unit_test(a_client_that_ends_early),
		ON_A_HUB(a_request_of_another_protocol),
		ON_A_HUB(a_handshake_has_its_time),
		ON_A_HUB(the_process_stops),
		ON_A_HUB(over_tls_nobody_peeks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
