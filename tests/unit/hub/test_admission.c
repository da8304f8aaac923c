/* How a connection comes to its seats, and what becomes of them: tokens, their numbers, the tap's answers in any order. */
#include "home.h"

#define UNITS "/ws/units/5/"
#define OWN "/ws/own/"
#define CLOSING "/ws/closing/"

/* --- the question ------------------------------------------------------------------------------------------------- */

static void the_tap_is_asked_with_what_the_request_says(void **state)
{
	static const struct {
		const char *query;
		bool has_since;
		struct event_id id;
		const char *epoch;
	} cases[] = {
		{ "", false, { 0, 0 }, "" },
		{ "&since=0/64-2&epoch=e1-x", true, { 0x64, 2 }, "e1-x" },
		{ "&since=0/64-2", true, { 0x64, 2 }, "" },
		{ "&since=nonsense&epoch=e1", true, { 0, 0 }, "" },
		{ "&since=&epoch=e1", true, { 0, 0 }, "" },
		{ "&epoch=e1", false, { 0, 0 }, "" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		char *token = home_token("7", "clerk", "");
		struct buf target = { 0 };
		struct client *k;
		struct mail mail;

		home_open(state);
		buf_addf(&target, UNITS "?token=%s%s", token, cases[i].query);
		k = client_open_with(target.data, 0);
		mail = home_mail(MAIL_ADMIT);
		assert_int_equal(k->conn->state, CONN_ADMITTING);
		assert_int_equal(mail.connection, k->conn->id);
		assert_int_equal(mail.number, 0);
		assert_int_equal(mail.asked.has_since, cases[i].has_since);
		assert_int_equal(event_id_compare(mail.asked.since, cases[i].id), 0);
		assert_string_equal(mail.asked.epoch, cases[i].epoch);
		assert_string_equal(mail.asked.ticket->user, "7");
		assert_string_equal(ticket_value(mail.asked.ticket, TMPL_PATH, "unit_id"), "5");
		assert_string_equal(ticket_value(mail.asked.ticket, TMPL_TOKEN, "role"), "clerk");
		/* Nothing of the request is left. */
		assert_null(k->conn->request.token);
		assert_null(k->conn->request.path);
		assert_null(k->conn->request.epoch);
		assert_int_equal(k->conn->deadline, 0);
		ticket_unref(mail.asked.ticket);
		buf_fini(&target);
		free(token);
		home_close(state);
	}
}

static void a_token_may_come_in_three_places(void **state)
{
	char *token = home_token("7", "clerk", ""), headers[2000];
	struct client *k;

	(void)state;
	snprintf(headers, sizeof(headers), CLIENT_UPGRADE "Authorization: Bearer %s\r\n", token);
	k = client_connect(0);
	assert_int_equal(client_ask(k, UNITS, headers), 101);
	ticket_unref(home_mail(MAIL_ADMIT).asked.ticket);
	ticket_unref((client_open(UNITS, 0), home_mail(MAIL_ADMIT).asked.ticket));
	k = client_open_with(UNITS, 0);
	assert_int_equal(k->conn->state, CONN_WAIT_AUTH);
	assert_true(k->conn->deadline > k->conn->heard);
	assert_int_equal(home_mails_left(), 0);
	client_say_token(k, "7", "clerk", "");
	assert_int_equal(k->conn->state, CONN_ADMITTING);
	assert_int_equal(k->conn->deadline, 0);
	ticket_unref(home_mail(MAIL_ADMIT).asked.ticket);
	free(token);
}

static void a_token_that_is_none_is_refused(void **state)
{
	static const struct {
		const char *query, *answer;
	} cases[] = {
		{ "?token=nonsense", "close:4401" },
		{ "?token=a.b.c", "close:4401" },
	};
	char huge[1300];
	struct client *k;

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		char target[100];

		home_open(state);
		snprintf(target, sizeof(target), UNITS "%s", cases[i].query);
		k = client_open_with(target, 0);
		assert_receives(k, cases[i].answer);
		assert_int_equal(home_mails_left(), 0);
		assert_int_equal(metrics_total(home.world.metrics, METRICS_REFUSALS), 1);
		home_close(state);
	}
	/* Longer than limits.token-bytes: unread, in the query as in a message. */
	memset(huge, 'x', sizeof(huge));
	memcpy(huge, UNITS "?token=", strlen(UNITS "?token="));
	huge[sizeof(huge) - 1] = '\0';
	home_open(state);
	k = client_open_with(huge, 0);
	assert_receives(k, "close:4401");
	k = client_open_with(UNITS, 0);
	memcpy(huge, "{\"type\":\"auth\",\"token\":\"", 24);
	strcpy(huge + sizeof(huge) - 3, "\"}");
	client_say_text(k, huge);
	assert_receives(k, "close:4401");
	assert_int_equal(home_mails_left(), 0);
	home_close(state);
}

/* A claim that the stream names is absent. */
static void a_token_without_a_claim_is_refused(void **state)
{
	struct client *k = client_open_with(UNITS, 0);
	struct buf token = { 0 }, text = { 0 };

	(void)state;
	forge_token(SLICE("{\"alg\":\"HS256\",\"typ\":\"JWT\"}"),
		    SLICE("{\"user_id\":\"7\",\"token_type\":\"access\",\"exp\":4000000000}"), HOME_SECRET, &token);
	buf_addf(&text, "{\"type\":\"auth\",\"token\":\"%.*s\"}", (int)token.len, token.data);
	client_say(k, 0x81, text.data, text.len);
	assert_receives(k, "close:4401");
	assert_int_equal(home_mails_left(), 0);
	buf_fini(&token);
	buf_fini(&text);
}

/* --- the answer --------------------------------------------------------------------------------------------------- */

static void admitted(void **state)
{
	static const struct {
		const char *path;
		bool resumed, resync;
		uint32_t number;
		const char *receives; /* behind the hello */
	} cases[] = {
		{ UNITS, false, false, 0, "a" },
		{ OWN, true, false, 0, "a" },
		{ OWN, false, true, 0, "{\"again\":\"history\"} a" },
		{ CLOSING, false, true, 0, "a" }, /* whoever is to refetch by connecting again has just done so */
		{ OWN, false, false, 2, "{\"type\":\"auth_ok\",\"expires_at\":\"2096-10-02T07:06:40Z\"} a" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct client *k;
		struct mail mail;
		const char *texts, *after;

		home_open(state);
		home_append(0, 50, 1, "a");
		home_publish(60);
		k = client_open(cases[i].path, 0);
		mail = home_admission(k, "0", 10);
		mail.given.resumed = cases[i].resumed;
		mail.given.resync = cases[i].resync;
		mail.number = k->conn->asked = cases[i].number;
		mail.given.admitted = 40;
		session_mail(&home.conns, &mail);
		assert_int_equal(k->conn->state, CONN_OPEN);
		assert_int_equal(k->conn->admitted, 40);
		assert_int_equal(k->conn->answered, cases[i].number);
		assert_receives(k, ""); /* nothing before all mails are taken */
		home_turn();
		texts = client_texts(k);
		assert_int_equal(strstr(texts, "\"resumed\":true") != NULL, cases[i].resumed);
		after = strstr(texts, "} ");
		assert_string_equal(after + 2, cases[i].receives);
		home_close(state);
	}
}

/* With a limit from the start: hello, and nothing of what may not be delivered yet. */
static void admitted_on_hold(void **state)
{
	struct client *k;
	struct mail mail;

	(void)state;
	home_append(0, 50, 1, "a");
	home_append(0, 70, 1, "b");
	home_publish(80);
	k = client_open(UNITS, 0);
	mail = home_admission(k, "0", 10);
	mail.given.limit = 60;
	session_mail(&home.conns, &mail);
	home_turn();
	assert_receives(k, "{\"hello\":\"clerk\"} a");
	home_limit(k, LSN_MAX);
	home_turn();
	assert_receives(k, "b");
}

/* Close entries from before its question do not concern the connection: they were for those who received then. */
static void a_close_from_before_the_question_is_only_read(void **state)
{
	struct client *k;
	struct mail mail;

	(void)state;
	home_append_tagged(0, 50, 1, (struct entry_tag){ 0, 0, 4001 }, "bye");
	home_publish(60);
	k = client_open(UNITS, 0);
	mail = home_admission(k, "0", 10);
	mail.given.admitted = 55;
	session_mail(&home.conns, &mail);
	home_turn();
	assert_receives(k, "{\"hello\":\"clerk\"} bye");
	assert_int_equal(k->conn->state, CONN_OPEN);
}

/* The tap counts each seat that it gave; so whoever is gone, going, or admitted no more gives back each, and the ticket. */
static void seats_for_whoever_is_gone_are_given_back(void **state)
{
	static const enum conn_state ends[] = { CONN_CLOSING, CONN_LEAVING, CONN_GONE };

	for (size_t i = 0; i < sizeof(ends) / sizeof(*ends); i++) {
		struct client *k;
		struct mail mail;
		struct ticket *ticket;

		home_open(state);
		k = client_open(UNITS, 0);
		mail = home_admission(k, "012", 0);
		ticket = ticket_ref(mail.given.ticket);
		if (ends[i] == CONN_CLOSING)
			conn_close(k->conn, 4000);
		else if (ends[i] == CONN_LEAVING)
			client_say(k, 0x88, "\x03\xE8", 2);
		else
			client_close(k), home_run();
		home_mail(MAIL_ENDED);
		session_mail(&home.conns, &mail);
		for (unsigned t = 0; t < 3; t++)
			assert_ptr_equal(home_mail(MAIL_LEFT).topic, home.topics[t]);
		assert_int_equal(home_mails_left(), 0);
		assert_int_equal(atomic_load(&ticket->refs), 1);
		ticket_unref(ticket);
		home_close(state);
	}
}

static void moved(void **state)
{
	struct client *k = client_admit(client_open(OWN, 0), "01", 0);
	struct mail mail = home_about(k, MAIL_MOVED);

	(void)state;
	home_append(0, 50, 1, "a");
	home_append(2, 70, 1, "b");
	home_append(1, 80, 1, "of a group that was left");
	home_publish(90);
	mail.given.id.lsn = 60;
	mail.given.limit = 75;
	home_seats(&mail, "02", mail.given.id);
	session_mail(&home.conns, &mail);
	assert_ptr_equal(home_mail(MAIL_LEFT).topic, home.topics[0]);
	assert_ptr_equal(home_mail(MAIL_LEFT).topic, home.topics[1]);
	home_turn();
	assert_receives(k, "{\"again\":\"membership\"} b");
	assert_int_equal(home_mails_left(), 0);
}

/* --- renewals ----------------------------------------------------------------------------------------------------- */

#define AUTH_OK "{\"type\":\"auth_ok\",\"expires_at\":\"2096-10-02T07:06:40Z\"}"

static void the_same_claims_are_in_force_at_once(void **state)
{
	struct client *k = client_in("0", 0);

	(void)state;
	k->conn->expires = 1;
	client_say_token(k, "7", "clerk", "");
	assert_receives(k, AUTH_OK);
	assert_int_equal(k->conn->expires, 4000000000);
	assert_int_equal(home_mails_left(), 0);
	assert_int_equal(k->conn->asked, 0);
}

/* While its first question is open: the answer to that is as good for the newer token, whose expiry counts. */
static void a_newer_token_may_come_before_the_answer(void **state)
{
	struct client *k = client_open(UNITS, 0);
	struct mail mail = home_admission(k, "0", 0);

	(void)state;
	mail.given.ticket->expires = k->conn->expires = 1000;
	client_say_token(k, "7", "clerk", "");
	assert_int_equal(k->conn->expires, 4000000000);
	session_mail(&home.conns, &mail);
	assert_int_equal(k->conn->expires, 4000000000);
	home_turn();
	assert_receives(k, AUTH_OK " {\"hello\":\"clerk\"}");
}

static void other_claims_are_asked_about(void **state)
{
	struct client *k = client_in("0", 0);
	struct mail mail;

	(void)state;
	client_say_token(k, "7", "chief", "");
	mail = home_mail(MAIL_RENEW);
	assert_int_equal(mail.number, 1);
	assert_int_equal(mail.asked.holds, 0);
	assert_string_equal(ticket_value(mail.asked.ticket, TMPL_TOKEN, "role"), "chief");
	assert_string_equal(ticket_value(k->conn->ticket, TMPL_TOKEN, "role"), "clerk"); /* in force meanwhile */
	ticket_unref(mail.asked.ticket);
	/* Its own claims again are asked about too: the answer under way is of others. */
	client_say_token(k, "7", "clerk", "");
	mail = home_mail(MAIL_RENEW);
	assert_int_equal(mail.number, 2);
	ticket_unref(mail.asked.ticket);
	assert_receives(k, "");
}

static void a_renewal_that_cannot_be(void **state)
{
	static const struct {
		const char *user, *role, *more;
	} cases[] = {
		{ "8", "clerk", "" },                      /* of another user */
		{ "7", "x\",\"role\":null,\"y\":\"", "" }, /* without the claim */
		{ "7", "clerk", ",\"exp\":1" },            /* expired, or a member twice */
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct client *k;

		home_open(state);
		k = client_in("0", 0);
		client_say_token(k, cases[i].user, cases[i].role, cases[i].more);
		assert_receives(k, "close:4401");
		home_mail(MAIL_ENDED);
		home_close(state);
	}
}

/* As docs/protocol.md has it: the epoch changes with the claims, and where the groups change too a resync says so at its place. */
static void renewed(void **state)
{
	static const struct {
		const char *role;
		bool moved, tells_epoch;
	} cases[] = {
		{ "chief", false, true },
		{ "chief", true, false },
		{ "clerk", true, false },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		char epoch[TICKET_EPOCH_MAX];
		const char *texts;
		struct client *k;
		struct mail mail;

		home_open(state);
		k = client_in("0", 0);
		k->conn->asked = 5; /* so that any token is asked about */
		client_say_token(k, "7", cases[i].role, "");
		mail = home_mail(MAIL_RENEW);
		ticket_epoch(mail.asked.ticket, "epoch", epoch);
		home_say_yes(&mail);
		mail.kind = MAIL_RENEWED;
		mail.given.resync = cases[i].moved;
		mail.given.reason = RESYNC_MEMBERSHIP;
		if (cases[i].moved)
			home_seats(&mail, "1", mail.given.id);
		session_mail(&home.conns, &mail);
		assert_ptr_equal(k->conn->ticket, mail.given.ticket);
		assert_int_equal(k->conn->answered, 6);
		home_append(cases[i].moved ? 1 : 0, 50, 1, "a");
		home_publish(60);
		channel_mark(&home.conns.channels, home.topics[cases[i].moved ? 1 : 0]);
		home_turn();
		texts = client_texts(k);
		assert_non_null(strstr(texts, "auth_ok"));
		assert_int_equal(strstr(texts, "membership") != NULL, cases[i].moved);
		assert_int_equal(strstr(strstr(texts, "auth_ok"), epoch) != NULL,
				 cases[i].tells_epoch || cases[i].moved); /* the resync tells it otherwise */
		assert_string_equal(texts + strlen(texts) - 2, " a");
		home_close(state);
	}
}

/* --- mails about tokens that are not in force any more ------------------------------------------------------------ */

/*
 * What the tap says bears the number of the token that it says it about. `asked` and `answered` are the hub's; t: it is taken, -: it is void,
 * and what it brought is given back.
 */
static void words_about_another_token_are_void(void **state)
{
	static const struct {
		enum mail_kind kind;
		uint32_t asked, answered, number;
		char taken;
	} cases[] = {
		{ MAIL_RENEWED, 1, 0, 1, 't' }, /* the newest */
		{ MAIL_RENEWED, 2, 0, 1, '-' }, /* a newer one is on its way to the tap */
		{ MAIL_RENEWED, 2, 1, 2, 't' }, { MAIL_MOVED, 0, 0, 0, 't' },
		{ MAIL_MOVED, 1, 0, 0, 't' }, /* of the one in force */
		{ MAIL_MOVED, 2, 0, 1, '-' }, /* of one that never was in force here */
		{ MAIL_MOVED, 2, 1, 0, '-' },   { MAIL_REFUSED, 1, 0, 1, 't' },
		{ MAIL_REFUSED, 2, 0, 1, '-' }, { MAIL_REFUSED, 1, 0, 0, '-' },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct client *k;
		struct mail mail;
		struct ticket *before;

		home_open(state);
		k = client_in("0", 0);
		before = k->conn->ticket;
		k->conn->asked = cases[i].asked;
		k->conn->answered = cases[i].answered;
		mail = home_about(k, cases[i].kind);
		mail.number = cases[i].number;
		if (mail.kind == MAIL_REFUSED)
			mail.code = 4403;
		if (mail.kind == MAIL_RENEWED)
			mail.given.ticket = ticket_ref(before);
		if (mail.kind == MAIL_MOVED)
			home_seats(&mail, "12", mail.given.id);
		session_mail(&home.conns, &mail);
		switch (mail.kind) {
		case MAIL_RENEWED:
			assert_int_equal(k->conn->answered == mail.number, cases[i].taken == 't');
			break;
		case MAIL_MOVED:
			assert_int_equal(k->conn->n_subs, cases[i].taken == 't' ? 2 : 1);
			for (unsigned n = cases[i].taken == 't' ? 1 : 2; n; n--)
				home_mail(MAIL_LEFT);
			break;
		default:
			assert_int_equal(k->conn->last_code, cases[i].taken == 't' ? 4403 : 0);
		}
		assert_int_equal(home_mails_left(), 0);
		home_close(state);
	}
}

/* A limit of a token that is void takes away all the same, and gives nothing. */
static void limits_of_another_token(void **state)
{
	static const struct {
		uint32_t answered, number;
		lsn_t held, told, then;
	} cases[] = {
		{ 0, 0, LSN_MAX, 100, 100 }, { 0, 0, 100, 200, 200 }, { 0, 0, 100, LSN_MAX, LSN_MAX },
		{ 1, 0, LSN_MAX, 100, 100 }, { 1, 0, 100, 200, 100 }, { 1, 0, 200, 100, 100 },
		{ 1, 0, 100, LSN_MAX, 100 },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct client *k;
		struct mail mail;

		home_open(state);
		k = client_in("0", 0);
		if (cases[i].held != LSN_MAX)
			home_limit(k, cases[i].held);
		k->conn->asked = k->conn->answered = cases[i].answered;
		mail = home_about(k, MAIL_LIMIT);
		mail.number = cases[i].number;
		mail.limit = cases[i].told;
		session_mail(&home.conns, &mail);
		assert_int_equal(k->conn->limit, cases[i].then);
		assert_int_equal(k->conn->is_limited, cases[i].then != LSN_MAX);
		home_close(state);
	}
}

/* Too many connections of a user: no token helps. */
static void too_many_of_a_user_whatever_the_token(void **state)
{
	struct client *k = client_in("0", 0);
	struct mail no = home_about(k, MAIL_REFUSED);

	(void)state;
	k->conn->asked = 3;
	no.number = 1;
	no.code = 4429;
	session_mail(&home.conns, &no);
	home_turn();
	assert_receives(k, "close:4429");
}

/* --- editions ----------------------------------------------------------------------------------------------------- */

static void a_connection_follows_to_an_edition_with_its_stream(void **state)
{
	struct client *k = client_in("0", 0), *early = client_open_with(UNITS, 0);
	struct edition *first = home.facts.edition;

	(void)state;
	home_use("per-address = 50", "per-address = 40");
	assert_false(session_edition(&home.conns));
	assert_ptr_equal(k->conn->edition, home.facts.edition);
	/* Until its token is verified, the values of its path are of the edition under which they were found. */
	assert_ptr_equal(early->conn->edition, first);
	client_say_token(early, "7", "clerk", "");
	assert_ptr_equal(early->conn->edition, home.facts.edition);
	assert_int_equal(early->conn->state, CONN_ADMITTING);
}

static void a_connection_whose_stream_changed_departs(void **state)
{
	struct client *k = client_in("0", 0), *stays = client_admit(client_open(OWN, 0), "1", 0),
		      *early = client_open_with(UNITS, 0);

	(void)state;
	home_use("unit_{path.unit_id}", "unit_of_{path.unit_id}");
	assert_true(session_edition(&home.conns));
	assert_true(k->conn->departs);
	assert_false(stays->conn->departs);
	assert_false(early->conn->departs);
	client_say_token(early, "7", "clerk", "");
	assert_receives(early, "close:1012");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_tap_is_asked_with_what_the_request_says),
		ON_A_HUB(a_token_may_come_in_three_places),
		cmocka_unit_test(a_token_that_is_none_is_refused),
		ON_A_HUB(a_token_without_a_claim_is_refused),
		cmocka_unit_test(admitted),
		ON_A_HUB(admitted_on_hold),
		ON_A_HUB(a_close_from_before_the_question_is_only_read),
		cmocka_unit_test(seats_for_whoever_is_gone_are_given_back),
		ON_A_HUB(moved),
		ON_A_HUB(the_same_claims_are_in_force_at_once),
		ON_A_HUB(a_newer_token_may_come_before_the_answer),
		ON_A_HUB(other_claims_are_asked_about),
		cmocka_unit_test(a_renewal_that_cannot_be),
		cmocka_unit_test(renewed),
		cmocka_unit_test(words_about_another_token_are_void),
		cmocka_unit_test(limits_of_another_token),
		ON_A_HUB(too_many_of_a_user_whatever_the_token),
		ON_A_HUB(a_connection_follows_to_an_edition_with_its_stream),
		ON_A_HUB(a_connection_whose_stream_changed_departs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
