/* Connections that are asked to go: who first, at which pace, and what the tap is told. The test sets when it began. */
#include "home.h"

#define MS INT64_C(1000)

static size_t place_of(const struct client *k)
{
	for (size_t i = 0; i < home.departing.n; i++)
		if (home.departing.ids[i] == k->conn->id)
			return i;
	return SIZE_MAX;
}

/* The timer's turn, so long after the beginning. */
static int64_t step_at(int64_t us)
{
	return depart_step(&home.departing, home.departing.began + us);
}

static unsigned n_closing(void)
{
	const struct conn *c;
	unsigned n = 0;

	for (c = home.conns.all; c; c = c->next)
		n += c->state >= CONN_CLOSING;
	return n;
}

static void those_that_are_owed_something_go_last(void **state)
{
	struct client *held = client_in("0", 0), *due = client_in("0", 0), *at_ease = client_in("0", 0),
		      *behind = client_in("0", 0), *waits = client_open_with("/ws/own/", 0), *asks, *closing;

	(void)state;
	closing = client_in("0", 0);
	asks = client_open("/ws/own/", 0);
	conn_close(closing->conn, 4000);
	home_limit(held, 100);
	conn_due(due->conn, true);
	writer_behind(&behind->conn->out, true);
	depart_all(&home.departing, 0);
	assert_int_equal(home.departing.n, 6);
	assert_true(place_of(waits) < 2);
	assert_true(place_of(asks) < 2);
	assert_int_equal(place_of(at_ease), 2);
	assert_in_range(place_of(held), 3, 5);
	assert_in_range(place_of(due), 3, 5);
	assert_in_range(place_of(behind), 3, 5);
	assert_int_equal(place_of(closing), SIZE_MAX);
}

static void nobody_rests_to_the_end(void **state)
{
	struct client *k = client_in("0", 0), *stays = client_in("0", 0);

	(void)state;
	conn_rest(k->conn, true);
	conn_rest(stays->conn, true);
	k->conn->departs = true;
	depart_begin(&home.departing, 0);
	assert_false(k->conn->is_resting);
	assert_true(k->conn->is_due);
	assert_true(stays->conn->is_resting);
}

/* Ten of one hub take a tenth of a second. */
static void they_go_at_a_pace(void **state)
{
	struct client *k[10];

	(void)state;
	for (size_t i = 0; i < 10; i++)
		k[i] = client_in("0", 0);
	assert_false(depart_is_under_way(&home.departing));
	depart_all(&home.departing, 10000 * MS);
	assert_true(depart_is_under_way(&home.departing));
	assert_int_equal(home.departing.span, 100 * MS);
	assert_int_equal(n_closing(), 0); /* not within the turn */
	assert_int_equal(step_at(0), 10 * MS);
	assert_int_equal(n_closing(), 1);
	assert_int_equal(step_at(9 * MS), 1 * MS);
	assert_int_equal(n_closing(), 1);
	assert_int_equal(step_at(45 * MS), 5 * MS); /* those of 10, 20, 30 and 40 ms, where a loop was busy */
	assert_int_equal(n_closing(), 5);
	assert_int_equal(step_at(50 * MS - 300), 1 * MS); /* the shortest wait */
	assert_int_equal(n_closing(), 5);
	/* A new beginning: those that are left take their time again. */
	depart_begin(&home.departing, 10000 * MS);
	assert_int_equal(home.departing.n, 5);
	assert_int_equal(home.departing.span, 50 * MS);
	assert_int_equal(step_at(1000 * MS), 0);
	assert_false(depart_is_under_way(&home.departing));
	for (size_t i = 0; i < 10; i++)
		assert_receives(k[i], "close:1012");
	assert_false(home.departing.told_gone);
}

static void only_those_that_are_marked_go(void **state)
{
	struct client *goes = client_in("0", 0), *stays = client_in("0", 0);

	(void)state;
	goes->conn->departs = true;
	depart_begin(&home.departing, 0);
	assert_int_equal(step_at(1), home.facts.draining ? 10 * MS : 0);
	assert_receives(goes, "close:1012");
	assert_receives(stays, "");
}

/* One that ends meanwhile, or whose upgrade is not answered yet, is passed over. */
static void whoever_is_gone_is_passed_over(void **state)
{
	struct client *gone = client_in("0", 0), *new;

	(void)state;
	home.keeps_new = true;
	new = client_open_with("/ws/own/", 0);
	depart_all(&home.departing, 0);
	assert_int_equal(home.departing.n, 1);
	assert_false(new->conn->departs);
	conn_event(gone->conn, CONN_ON_DROP, &(struct conn_cause){ 0 });
	assert_int_equal(step_at(1), home.facts.draining ? 10 * MS : 0);
	assert_int_equal(new->conn->state, CONN_NEW);
	home.keeps_new = false;
}

/* The process stops: everybody, those that come late too, and the tap is told once when the last is gone. */
static void the_tap_is_told_when_the_last_is_gone(void **state)
{
	struct client *k = client_in("0", 0), *closing = client_in("0", 0), *late;
	struct mail gone;

	(void)state;
	conn_close(closing->conn, 4000);
	home.facts.draining = true;
	depart_for_good(&home.departing, 0);
	lws_sul_cancel(
		&home.departing
			 .timer); /* each turn is the test's: the loop's own would tell the tap on a slow machine */
	assert_true(closing->conn->deadline <= clock_us() + 1000 * MS);
	depart_stragglers(&home.departing); /* while some are on their way it does nothing */
	assert_int_equal(k->conn->state, CONN_OPEN);
	assert_int_equal(step_at(1), home.facts.draining ? 10 * MS : 0);
	late = client_open_with("/ws/own/", 0);
	assert_int_equal(late->conn->state, CONN_WAIT_AUTH);
	depart_stragglers(&home.departing);
	assert_receives(k, "close:1012");
	assert_receives(closing, "close:4000");
	assert_receives(late, "close:1012");
	home_mails_left();
	assert_int_equal(step_at(1), 10 * MS);
	assert_int_equal(home_mails_left(), 0);
	client_close(k);
	client_close(closing);
	client_close(late);
	home_run();
	assert_null(home.conns.all);
	assert_int_equal(step_at(1), 10 * MS);
	gone = home_mail(MAIL_GONE);
	assert_int_equal(gone.hub, 0);
	assert_int_equal(step_at(1), 0);
	assert_int_equal(home_mails_left(), 0);
}

static void nobody_straggles_unless_the_process_stops(void **state)
{
	struct client *k = client_in("0", 0);

	(void)state;
	depart_stragglers(&home.departing);
	assert_int_equal(k->conn->state, CONN_OPEN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ON_A_HUB(those_that_are_owed_something_go_last),
		ON_A_HUB(nobody_rests_to_the_end),
		ON_A_HUB(they_go_at_a_pace),
		ON_A_HUB(only_those_that_are_marked_go),
		ON_A_HUB(whoever_is_gone_is_passed_over),
		ON_A_HUB(the_tap_is_told_when_the_last_is_gone),
		ON_A_HUB(nobody_straggles_unless_the_process_stops),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
