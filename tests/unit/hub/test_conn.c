/* What a connection becomes by each event in each state; its id, its lists, and how it ends. The acts are the real ones, on real sockets. */
#include "admission.h"
#include "goodbye.h"
#include "home.h"
#include "walpush/text/clientmsg.h"

/* --- each state, each event --------------------------------------------------------------------------------------- */

/* The state of each letter, as enum conn_state has them. */
static const char letters[CONN_STATES + 1] = "UNWAOCLG";

/* Behind each event, for each state: the letter of the state that follows; x: the state stays, and the TCP connection is to end; !: a defect. */
static const struct {
	enum conn_event event;
	const char *next;
} table[] = {
	/*                      UNWAOCLG */
	{ CONN_ON_ESTABLISHED, "xWxxxxxx" }, { CONN_ON_BYTES, "xxWAOCLG" },      { CONN_ON_PONG, "xxWAOCLG" },
	{ CONN_ON_WRITABLE, "xNWAOCLG" },    { CONN_ON_PEER_CLOSE, "xxLLLCxG" }, { CONN_ON_TIMER, "UNWAOCLx" },
	{ CONN_ON_DROP, "UGGGGGGG" },        { CONN_ON_DESTROY, "UGGGGGGG" },    { CONN_ON_AUTH, "!!AAO!!!" },
	{ CONN_ON_PING, "!!WAO!!!" },        { CONN_ON_ADMITTED, "!!!O!CLG" },   { CONN_ON_MOVED, "!!!!OCLG" },
	{ CONN_ON_RENEWED, "!!!!OCLG" },     { CONN_ON_LIMIT, "!!!!OCLG" },      { CONN_ON_CHANGED, "!!!!OCLG" },
	{ CONN_ON_REFUSED, "!!!COCLG" },     { CONN_ON_EMPTIED, "!NWAOCL!" },    { CONN_ON_EDITION, "!NWAOCL!" },
	{ CONN_ON_CLOSE, "!xCCCCLG" },       { CONN_ON_LATE, "!!C!!xx!" },       { CONN_ON_AGE, "!xCCCCL!" },
	{ CONN_ON_STALL, "!xCCCCL!" },       { CONN_ON_EXPIRY, "!!!CCCL!" },     { CONN_ON_SILENCE, "!xxxxCL!" },
	{ CONN_ON_QUIET, "!NWAOCL!" },
};

#define N_EVENTS (sizeof(table) / sizeof(*table))

static struct client *client_in_state(enum conn_state state)
{
	static const unsigned char bye[2] = { 3, 232 };
	const char *path = "/ws/units/5/";
	struct client *k;

	home_mails_left();
	if (state == CONN_NEW || state == CONN_WAIT_AUTH) {
		home.keeps_new = state == CONN_NEW;
		k = client_open_with(path, 0);
		home.keeps_new = false;
		return k;
	}
	k = client_open(path, 0);
	if (state == CONN_OPEN) {
		client_admit(k, "01", 0);
		home_limit(k, 500); /* else a refusal is a defect */
	}
	if (state == CONN_CLOSING)
		conn_close(k->conn, 4000);
	if (state == CONN_LEAVING)
		conn_leave(k->conn, bye, sizeof(bye));
	if (state == CONN_GONE)
		conn_event(k->conn, CONN_ON_DROP, &(struct conn_cause){ 0 });
	return k;
}

/* What an event of this kind brings. */
static struct conn_cause cause_of(struct client *k, enum conn_event event, struct mail *mail, struct clientmsg *message)
{
	static const unsigned char bye[2] = { 3, 232 };
	struct conn_cause why = { .mail = mail, .message = message, .code = 4000, .bytes = bye };
	static const enum mail_kind kinds[CONN_EVENTS] = {
		[CONN_ON_MOVED] = MAIL_MOVED, [CONN_ON_RENEWED] = MAIL_RENEWED
	};

	why.len = event == CONN_ON_PEER_CLOSE ? 2 : 0;
	*mail = (struct mail){ .kind = kinds[event] };
	if (event == CONN_ON_RENEWED || event == CONN_ON_ADMITTED || event == CONN_ON_MOVED)
		mail->given = (struct mail_given){ .limit = LSN_MAX, .reason = RESYNC_MEMBERSHIP };
	else
		mail->limit = LSN_MAX;
	if (event == CONN_ON_RENEWED || event == CONN_ON_ADMITTED)
		mail->given.ticket = ticket_ref(k->conn->ticket);
	return why;
}

/* Connections that are no more than a state, in a state that lacks this event. */
static void check_defect(enum conn_state state, enum conn_event event)
{
	struct conn c = { .state = state };

	assert_defect(conn_event(&c, event, &(struct conn_cause){ 0 }), conn_table_event(event));
	assert_non_null(strstr(home_defect_text, conn_table_state(state)));
}

static void check_pair(enum conn_state state, enum conn_event event, char next)
{
	char *token = home_token("7", "clerk", "");
	struct clientmsg message = { .token = token };
	struct conn unborn = { 0 };
	struct client *k = state == CONN_UNBORN ? NULL : client_in_state(state);
	struct conn *c = k ? k->conn : &unborn;
	struct mail mail;
	struct conn_cause why = { 0 };
	int result;

	if (k)
		why = cause_of(k, event, &mail, &message);
	result = conn_event(c, event, &why);
	free(token);
	if (next == 'x') {
		assert_int_equal(c->state, state);
		assert_true(c->out.is_hung_up);
		assert_int_equal(result, -1);
		return;
	}
	if (c->state != (enum conn_state)(strchr(letters, next) - letters))
		fail_msg("%s while %s: %s", conn_table_event(event), conn_table_state(state),
			 conn_table_state(c->state));
	assert_int_equal(result, event == CONN_ON_PEER_CLOSE && next != 'G' ? -1 : 0);
}

/* A mail for a connection that lets nobody take its seats comes to session_mail, and is given back there. */
static bool is_given_back(enum conn_state state, enum conn_event event)
{
	return conn_table_act(state, event) == CONN_GIVE_BACK;
}

static void each_state_meets_each_event(void **state)
{
	for (size_t i = 0; i < N_EVENTS; i++) {
		home_open(state);
		for (int s = 0; s < CONN_STATES; s++) {
			if (table[i].next[s] == '!')
				check_defect((enum conn_state)s, table[i].event);
			else if (!is_given_back((enum conn_state)s, table[i].event))
				check_pair((enum conn_state)s, table[i].event, table[i].next[s]);
		}
		home_close(state);
	}
}

/* --- ids ---------------------------------------------------------------------------------------------------------- */

static void an_id_names_one_connection_for_good(void **state)
{
	struct client *a = client_open("/ws/own/", 0), *b;
	uint64_t id = a->conn->id;

	(void)state;
	assert_ptr_equal(conn_find(&home.conns, id), a->conn);
	assert_null(conn_find(&home.conns, id + 1));
	assert_null(conn_find(&home.conns, id + (UINT64_C(1) << 32)));
	assert_null(conn_find(&home.conns, 1000));
	client_close(a);
	home_run();
	assert_null(conn_find(&home.conns, id));
	b = client_open("/ws/own/", 0);
	assert_int_equal((uint32_t)b->conn->id, (uint32_t)id); /* the same slot */
	assert_null(conn_find(&home.conns, id));
	assert_ptr_equal(conn_find(&home.conns, b->conn->id), b->conn);
}

/* Slots grow, and the lowest free one is taken first. Connections without a socket: nothing here needs one. */
static void slots_are_used_again(void **state)
{
	static struct conn c[200];
	struct lws *wsi = client_open("/ws/own/", 0)->conn->out.wsi;

	(void)state;
	memset(c, 0, sizeof(c));
	for (unsigned i = 0; i < 200; i++)
		conn_born(&c[i], &home.conns, wsi);
	for (unsigned i = 0; i < 200; i++) {
		assert_int_equal((uint32_t)c[i].id, i + 1);
		assert_ptr_equal(conn_find(&home.conns, c[i].id), &c[i]);
	}
	conn_gone(&c[150]);
	conn_gone(&c[20]);
	for (unsigned i = 20; i < 200; i += 130) {
		memset(&c[i], 0, sizeof(c[i]));
		conn_born(&c[i], &home.conns, wsi);
		assert_int_equal((uint32_t)c[i].id, i + 1);
		assert_int_equal(c[i].id >> 32, 2);
	}
	for (unsigned i = 0; i < 200; i++)
		conn_gone(&c[i]);
}

static void a_state_never_goes_back(void **state)
{
	struct client *k = client_in("0", 0);

	(void)state;
	assert_defect((conn_to(k->conn, CONN_ADMITTING), 0), "from open to admitting");
	assert_defect((conn_to(k->conn, CONN_OPEN), 0), "from open to open");
}

static void whoever_may_receive_is_not_refused(void **state)
{
	struct client *k = client_in("0", 0);
	struct mail no = home_about(k, MAIL_REFUSED);

	(void)state;
	assert_defect((session_mail(&home.conns, &no), 0), "refused while it may receive");
}

/* --- lists -------------------------------------------------------------------------------------------------------- */

static void a_connection_is_in_a_list_once(void **state)
{
	struct client *a = client_in("0", 0), *b = client_in("0", 0);

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		conn_limit(a->conn, 100 + i);
		conn_due(a->conn, true);
		writer_behind(&a->conn->out, true);
	}
	assert_null(a->conn->next_limited);
	assert_null(a->conn->next_due);
	assert_null(a->conn->out.next);
	assert_ptr_equal(home.conns.limited, a->conn);
	assert_ptr_equal(home.conns.due, a->conn);
	assert_ptr_equal(home.conns.writers.behind, &a->conn->out);
	assert_ptr_equal(conn_of_writer(home.conns.writers.behind), a->conn);
	conn_limit(b->conn, 100);
	conn_due(b->conn, true);
	writer_behind(&b->conn->out, true);
	conn_limit(a->conn, 99);
	conn_due(a->conn, true);
	writer_behind(&a->conn->out, true);
	assert_ptr_equal(a->conn->next_limited, b->conn);
	assert_ptr_equal(a->conn->next_due, b->conn);
	assert_ptr_equal(a->conn->out.next, &b->conn->out);
	conn_retire(a->conn);
	writer_fini(&a->conn->out);
	assert_ptr_equal(home.conns.limited, b->conn);
	assert_ptr_equal(home.conns.due, b->conn);
	assert_ptr_equal(home.conns.writers.behind, &b->conn->out);
	assert_null(b->conn->next_limited);
	assert_null(b->conn->next_due);
	assert_null(b->conn->out.next);
}

static void open_connections_are_counted(void **state)
{
	unsigned label = home.edition->stream_labels[0];
	struct client *k = client_in("0", 0);

	(void)state;
	assert_int_equal(metrics_value(home.world.metrics, METRICS_CONNECTIONS, label), 1);
	assert_int_equal(metrics_value(home.world.metrics, METRICS_HANDSHAKES, 0), 1);
	conn_close(k->conn, 4000);
	assert_int_equal(metrics_value(home.world.metrics, METRICS_CONNECTIONS, label), 0);
	conn_close(k->conn, 4001); /* it is closing */
	assert_int_equal(metrics_total(home.world.metrics, METRICS_CLOSES), 1);
	assert_receives(k, "close:4000");
}

/* No frame may be sent before the upgrade is answered. */
static void a_close_before_the_upgrade_is_answered_hangs_up(void **state)
{
	struct client *k = client_in_state(CONN_NEW);
	struct conn unborn = { 0 };

	(void)state;
	conn_close(k->conn, 4000);
	assert_int_equal(k->conn->state, CONN_NEW);
	assert_true(k->conn->out.is_hung_up);
	client_await_end(k);
	assert_receives(k, "");
	assert_defect((conn_close(&unborn, 4000), 0), "unborn");
}

/* --- ends --------------------------------------------------------------------------------------------------------- */

static void the_tap_is_told_before_the_seats_are_left(void **state)
{
	struct client *k = client_in("02", 0);
	uint64_t id = k->conn->id;

	(void)state;
	assert_int_equal(topic_listeners(home.topics[0]), 2);
	conn_close(k->conn, 4000);
	assert_int_equal(home_mail(MAIL_ENDED).connection, id);
	assert_ptr_equal(home_mail(MAIL_LEFT).topic, home.topics[0]);
	assert_ptr_equal(home_mail(MAIL_LEFT).topic, home.topics[2]);
	assert_int_equal(home_mails_left(), 0);
	assert_null(k->conn->ticket);
	assert_int_equal(k->conn->n_subs, 0);
	client_close(k);
	home_run();
	assert_int_equal(home_mails_left(), 0); /* once */
}

/* The answer of the client ends it. */
static void the_client_answers_our_close(void **state)
{
	struct client *k = client_in("0", 0);

	(void)state;
	conn_close(k->conn, 4000);
	client_say(k, 0x88, "\x0F\xA0", 2);
	assert_receives(k, "close:4000");
	assert_true(k->ended);
	assert_null(home.conns.all);
}

static void the_clients_close_is_answered(void **state)
{
	static const struct {
		const char *payload;
		size_t len;
		const char *answer;
	} cases[] = {
		{ "\x03\xE8", 2, "close:1000" },
		{ "\x0F\xA1 because", 10, "close:4001" },
		{ "", 0, "88:" },
		{ "\x03", 1, "close:1002" },
		{ "\xFF\xFF", 2, "close:1002" },
		{ "\x13\x88", 2, "close:1002" }, /* 5000 */
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct client *k;
		unsigned char first = 0;
		const char *text;

		home_open(state);
		k = client_in("0", 0);
		client_say(k, 0x88, cases[i].payload, cases[i].len);
		if (cases[i].len == 0) {
			text = client_frame(k, &first);
			assert_non_null(text);
			assert_int_equal(first, 0x88);
			assert_string_equal(text, "");
		} else {
			assert_receives(k, cases[i].answer);
		}
		assert_null(home.conns.all);
		home_close(state);
	}
}

static void close_with(struct client *k)
{
	conn_close(k->conn, 1013);
}

static void close_as_configured(struct client *k)
{
	conn_close(k->conn, 4000);
}

static void say_a_token_of_later(struct client *k)
{
	client_say_token(k, "7", "clerk", ",\"nbf\":3000000000");
}

static void say_a_token_of_another(struct client *k)
{
	client_say_token(k, "8", "clerk", "");
}

static void say_a_long_token(struct client *k)
{
	char token[1100] = "";

	memset(token, 'a', sizeof(token) - 1);
	admission_renew(k->conn, token);
}

static void expire(struct client *k)
{
	(void)k;
	session_sweep(&home.conns, clock_us(), 4000000000);
}

static void grow_old(struct client *k)
{
	home_use("listen = {", "listen = { max-age = 100");
	session_sweep(&home.conns, k->conn->born + 200000000, 0);
}

static void refuse_with(struct client *k, unsigned code, const char *words)
{
	struct mail no = home_about(k, MAIL_REFUSED);

	no.code = code;
	no.words = words;
	home_limit(k, 100);
	session_mail(&home.conns, &no);
	home_turn();
}

static void lose_permission(struct client *k)
{
	refuse_with(k, 4403, NULL);
}

static void lose_the_stream(struct client *k)
{
	refuse_with(k, 1013, "not streaming now");
}

static void receive_a_close(struct client *k)
{
	(void)k;
	home_append_tagged(0, 100, 1, (struct entry_tag){ .close = 1008 }, "bye");
	home_publish(200);
	channel_mark(&home.conns.channels, home.topics[0]);
	home_turn();
}

/* For which the library has no words. */
static void break_a_frame(struct client *k)
{
	client_say_bytes(k, "\x81\xFF\xFF\0\0\0\0\0\0\0\0\0\0\0", 14);
	home_run();
}

static void stop_the_process(struct client *k)
{
	(void)k;
	home.facts.draining = true;
	depart_for_good(&home.departing, 0);
	depart_step(&home.departing, clock_us() + 1);
}

/* What the developer of a page reads in CloseEvent.reason. */
static void a_close_says_why(void **state)
{
	static const struct {
		void (*end)(struct client *k);
		const char *words;
	} ends[] = {
		{ close_with, "try again later" },
		{ close_as_configured, "" },
		{ say_a_token_of_later, "token not valid yet" },
		{ say_a_token_of_another, "token of another user" },
		{ say_a_long_token, "token too long" },
		{ expire, "token expired" },
		{ grow_old, "listen.max-age is reached" },
		{ lose_permission, "not admitted" },
		{ lose_the_stream, "not streaming now" },
		{ receive_a_close, CONN_BY_A_CHANGE }, /* not "too many messages" */
		{ break_a_frame, "not the WebSocket protocol" },
		{ stop_the_process, "shutting down" },
	};

	for (size_t i = 0; i < sizeof(ends) / sizeof(*ends); i++) {
		struct client *k;

		home_open(state);
		k = client_in("0", 0);
		ends[i].end(k);
		client_texts(k);
		assert_string_equal(k->words, ends[i].words);
		home_close(state);
	}
}

/* The payload of a control frame has 125 bytes at most. */
static void words_that_are_too_long_are_cut(void **state)
{
	static char words[200];
	unsigned char frame[GOODBYE_MAX];

	(void)state;
	memset(words, 'a', sizeof(words) - 1);
	assert_int_equal(goodbye_frame(4401, words, frame), 127);
	assert_int_equal(frame[1], 125);
	words[123] = '\0';
	assert_int_equal(goodbye_frame(4401, words, frame), 127);
	words[122] = '\0';
	assert_int_equal(goodbye_frame(4401, words, frame), 126);
	assert_int_equal(goodbye_frame(4401, "", frame), 4);
	assert_memory_equal(frame, "\x88\x02\x11\x31", 4);
}

/* A full socket has no room for the close frame: it comes when the rest is out, and once. */
static void a_close_waits_for_the_socket(void **state)
{
	struct client *k = client_in("0", 4096);
	static char text[60001];
	const char *received;

	(void)state;
	memset(text, 'a', 60000);
	home_append(0, 100, 1, text);
	home_publish(200);
	channel_mark(&home.conns.channels, home.topics[0]);
	home_turn();
	assert_true(k->conn->out.is_behind);
	conn_close(k->conn, 4000);
	assert_int_equal(k->conn->state, CONN_CLOSING);
	assert_false(k->conn->out.said_goodbye);
	for (int i = 0; i < 100 && !k->conn->out.said_goodbye; i++) {
		client_pull(k);
		home_run();
	}
	received = client_texts(k);
	assert_int_equal(strlen(received), 60000 + strlen(" close:4000"));
	assert_string_equal(received + 60000, " close:4000");
}

/* The same, and the client closes first: its answer ends the connection at once. */
static void the_client_closes_while_ours_waits(void **state)
{
	struct client *k = client_in("0", 4096);
	static char text[60001];

	(void)state;
	memset(text, 'a', 60000);
	home_append(0, 100, 1, text);
	home_publish(200);
	channel_mark(&home.conns.channels, home.topics[0]);
	home_turn();
	conn_close(k->conn, 4000);
	client_say(k, 0x88, "\x03\xE8", 2);
	assert_null(home.conns.all);
}

/* The library drops a connection after a protocol error, and would say nothing of some. */
static void a_broken_frame_ends_with_1002(void **state)
{
	static const char *const frames[] = {
		"\xF1\x80\0\0\0",                     /* reserved bits */
		"\x83\x80\0\0\0\0",                   /* an opcode that is none */
		"\x81\xFF\xFF\0\0\0\0\0\0\0\0\0\0\0", /* a length of 2^63 and more */
	};
	static const size_t lengths[] = { 6, 6, 14 };

	for (size_t i = 0; i < sizeof(frames) / sizeof(*frames); i++) {
		struct client *k;

		home_open(state);
		k = client_in("0", 0);
		client_say_bytes(k, frames[i], lengths[i]);
		home_run();
		assert_null(home.conns.all);
		assert_receives(k, "close:1002");
		home_close(state);
	}
}

/* A client that ends without a word, in each state. */
static void a_socket_that_ends_leaves_the_hub(void **state)
{
	static const enum conn_state all[] = { CONN_NEW,  CONN_WAIT_AUTH, CONN_ADMITTING,
					       CONN_OPEN, CONN_CLOSING,   CONN_LEAVING };

	(void)state;
	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) {
		client_close(client_in_state(all[i]));
		home_run();
		assert_null(home.conns.all);
		home_mails_left();
	}
}

/* While the process stops, nobody is waited for as long as otherwise. */
static void a_close_is_waited_for(void **state)
{
	struct client *k = client_in("0", 0);
	int64_t before = clock_us();

	(void)state;
	conn_close(k->conn, 4000);
	assert_in_range(k->conn->deadline, before + 5000000, clock_us() + 5000000);
	conn_hurry(k->conn, clock_us());
	assert_in_range(k->conn->deadline, before + 5000000, clock_us() + 5000000);
	home.facts.draining = true;
	conn_hurry(k->conn, clock_us());
	assert_in_range(k->conn->deadline, before + 1000000, clock_us() + 1000000);
	conn_hurry(k->conn, before + 60000000); /* it only comes nearer */
	assert_true(k->conn->deadline <= clock_us() + 1000000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_state_meets_each_event),
		ON_A_HUB(an_id_names_one_connection_for_good),
		ON_A_HUB(slots_are_used_again),
		ON_A_HUB(a_state_never_goes_back),
		ON_A_HUB(whoever_may_receive_is_not_refused),
		ON_A_HUB(a_connection_is_in_a_list_once),
		ON_A_HUB(open_connections_are_counted),
		ON_A_HUB(a_close_before_the_upgrade_is_answered_hangs_up),
		ON_A_HUB(the_tap_is_told_before_the_seats_are_left),
		ON_A_HUB(the_client_answers_our_close),
		cmocka_unit_test(the_clients_close_is_answered),
		cmocka_unit_test(a_close_says_why),
		cmocka_unit_test(words_that_are_too_long_are_cut),
		ON_A_HUB(a_close_waits_for_the_socket),
		ON_A_HUB(the_client_closes_while_ours_waits),
		cmocka_unit_test(a_broken_frame_ends_with_1002),
		ON_A_HUB(a_socket_that_ends_leaves_the_hub),
		ON_A_HUB(a_close_is_waited_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
