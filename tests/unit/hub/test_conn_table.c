/* conn_table: every state meets every event, and whatever the order, no act is done to a connection that lacks what the act needs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "conn_table.h"

/* What a connection has, as far as acts need it. */
struct model {
	enum conn_state state;
	bool in_hub;     /* between conn_born and conn_gone */
	bool has_ticket; /* between the question and the end */
	bool has_seats;
	bool said_goodbye;
};

#define MODELS (CONN_STATES << 4)

static unsigned number_of(const struct model *m)
{
	return (unsigned)m->state << 4 | (unsigned)m->in_hub << 3 | (unsigned)m->has_ticket << 2 |
	       (unsigned)m->has_seats << 1 | (unsigned)m->said_goodbye;
}

static struct model model_of(unsigned n)
{
	return (struct model){ (enum conn_state)(n >> 4), n >> 3 & 1, n >> 2 & 1, n >> 1 & 1, n & 1 };
}

static bool is_of_library(enum conn_event e)
{
	return e <= CONN_ON_DESTROY;
}

/* Who posts a mail about a connection that never asked, or reads a message in a state that reads none, is wrong and not met here: these
 * are the events that can come, given what walpush does by itself. */
static bool can_come(const struct model *m, enum conn_event e)
{
	bool asked = m->state >= CONN_ADMITTING, in_list = m->in_hub;

	switch (e) {
	case CONN_ON_AUTH:
	case CONN_ON_PING:
		return conn_table_act(m->state, CONN_ON_BYTES) == CONN_READ;
	case CONN_ON_ADMITTED:
		return asked && m->state != CONN_OPEN; /* once, and in flight while the connection ends */
	case CONN_ON_MOVED:
	case CONN_ON_RENEWED:
	case CONN_ON_LIMIT:
	case CONN_ON_CHANGED:
		return m->state >= CONN_OPEN;
	case CONN_ON_REFUSED:
		return asked;
	case CONN_ON_EMPTIED:
	case CONN_ON_EDITION:
	case CONN_ON_AGE:
	case CONN_ON_STALL:
	case CONN_ON_SILENCE:
	case CONN_ON_QUIET:
		return in_list;
	case CONN_ON_LATE: /* who has a deadline */
		return m->state == CONN_WAIT_AUTH || m->state == CONN_CLOSING || m->state == CONN_LEAVING;
	case CONN_ON_EXPIRY:
		return in_list && asked;
	case CONN_ON_CLOSE:
		return m->state != CONN_UNBORN;
	default:
		return is_of_library(e);
	}
}

static void retire(struct model *m, enum conn_state next)
{
	assert_true(next > m->state);
	m->state = next;
	m->has_ticket = m->has_seats = false;
}

static void needs(const struct model *m, enum conn_event e, bool condition, const char *what)
{
	if (!condition)
		fail_msg("%s while %s needs %s", conn_table_event(e), conn_table_state(m->state), what);
}

/* Whether the act may be done to it, and what it is then. An act with two outcomes ends as `other` says. */
static void act(struct model *m, enum conn_event e, bool other)
{
	switch (conn_table_act(m->state, e)) {
	case CONN_BEGIN:
		needs(m, e, !m->in_hub, "a connection that is in no hub");
		m->in_hub = true;
		m->state = CONN_NEW;
		return;
	case CONN_ARRIVE:
		needs(m, e, m->in_hub, "a hub");
		m->state = CONN_WAIT_AUTH;
		if (other) { /* the token came with the request */
			m->state = CONN_ADMITTING;
			m->has_ticket = true;
		}
		return;
	case CONN_ASK:
		needs(m, e, m->in_hub && !m->has_ticket, "a hub, and no ticket");
		if (other) {
			m->state = CONN_ADMITTING;
			m->has_ticket = true;
		} else {
			retire(m, CONN_CLOSING);
		}
		return;
	case CONN_RENEW:
		needs(m, e, m->in_hub && m->has_ticket, "a ticket");
		if (other)
			retire(m, CONN_CLOSING);
		return;
	case CONN_READ:
	case CONN_HEAR:
	case CONN_REPLY:
	case CONN_WRITE:
	case CONN_PROBE:
		needs(m, e, m->in_hub && !m->said_goodbye, "a hub, and no close frame of ours");
		return;
	case CONN_GOODBYE:
		needs(m, e, m->in_hub, "a hub");
		m->said_goodbye = true;
		return;
	case CONN_LEAVE:
		needs(m, e, m->in_hub, "a hub");
		retire(m, other ? CONN_CLOSING : CONN_LEAVING);
		return;
	case CONN_PART:
		needs(m, e, m->in_hub, "a hub");
		if (!m->said_goodbye)
			retire(m, CONN_LEAVING);
		return;
	case CONN_END:
		needs(m, e, m->in_hub, "a hub");
		retire(m, CONN_GONE);
		m->in_hub = false;
		return;
	case CONN_ADMIT:
		needs(m, e, m->has_ticket && !m->has_seats, "a ticket, and no seats");
		m->has_seats = true;
		m->state = CONN_OPEN;
		return;
	case CONN_TAKE:
		needs(m, e, m->has_ticket && m->has_seats, "a ticket to replace, and seats");
		return;
	case CONN_MOVE:
	case CONN_LIMIT:
	case CONN_NOTE_CHANGE:
	case CONN_RESTART:
		needs(m, e, m->has_seats, "seats");
		return;
	case CONN_LAST_WORD:
		needs(m, e, m->has_seats, "seats");
		retire(m, CONN_CLOSING);
		return;
	case CONN_FOLLOW:
		needs(m, e, m->in_hub, "a hub");
		return;
	case CONN_CLOSE:
	case CONN_GIVE_UP:
	case CONN_EXPIRE:
		needs(m, e, m->in_hub && !m->said_goodbye, "a hub, and no close frame of ours");
		retire(m, CONN_CLOSING);
		m->said_goodbye = other;
		return;
	case CONN_GIVE_BACK:
		needs(m, e, !m->has_seats && !m->has_ticket, "a connection that has let go");
		return;
	case CONN_IGNORE:
	case CONN_HANG_UP:
		return;
	case CONN_NEVER:
	case CONN_ACTS:
		break;
	}
	fail_msg("%s while %s cannot happen, and did", conn_table_event(e), conn_table_state(m->state));
}

/* Everything that can be reached, by every event in every order. */
static void no_order_of_events_does_an_act_to_what_lacks_its_needs(void **state)
{
	bool seen[MODELS] = { false };
	unsigned queue[MODELS], n = 0, met = 0;
	bool states[CONN_STATES] = { false };

	(void)state;
	queue[n++] = number_of(&(struct model){ .state = CONN_UNBORN });
	seen[queue[0]] = true;
	for (unsigned i = 0; i < n; i++) {
		states[queue[i] >> 4] = true;
		for (int e = 0; e < CONN_EVENTS; e++) {
			for (int other = 0; other < 2; other++) {
				struct model m = model_of(queue[i]);

				if (!can_come(&m, (enum conn_event)e))
					continue;
				act(&m, (enum conn_event)e, other);
				met++;
				assert_true(number_of(&m) < MODELS);
				if (!seen[number_of(&m)]) {
					seen[number_of(&m)] = true;
					queue[n++] = number_of(&m);
				}
			}
		}
	}
	for (int s = 0; s < CONN_STATES; s++)
		if (!states[s])
			fail_msg("%s is never reached", conn_table_state((enum conn_state)s));
	assert_true(met > 2 * CONN_STATES * 9);
}

static void every_pair_has_its_answer(void **state)
{
	(void)state;
	for (int e = 0; e < CONN_EVENTS; e++) {
		assert_non_null(conn_table_event((enum conn_event)e));
		for (int s = 0; s < CONN_STATES; s++)
			assert_true(conn_table_act((enum conn_state)s, (enum conn_event)e) < CONN_ACTS);
	}
	for (int s = 0; s < CONN_STATES; s++)
		assert_non_null(conn_table_state((enum conn_state)s));
}

/* A peer's bytes make the library call back in orders that nobody planned. */
static void nothing_from_the_library_is_impossible(void **state)
{
	(void)state;
	for (int e = 0; is_of_library((enum conn_event)e); e++)
		for (int s = 0; s < CONN_STATES; s++)
			if (conn_table_act((enum conn_state)s, (enum conn_event)e) == CONN_NEVER)
				fail_msg("%s while %s", conn_table_event((enum conn_event)e),
					 conn_table_state((enum conn_state)s));
}

/* RFC 6455 5.5.1 and 7.1.7: what follows a close frame, or a failure of the connection, is ignored. */
static void what_follows_a_close_frame_is_ignored(void **state)
{
	static const enum conn_event said[] = { CONN_ON_BYTES, CONN_ON_PONG, CONN_ON_WRITABLE };

	(void)state;
	for (size_t i = 0; i < sizeof(said) / sizeof(*said); i++) {
		assert_int_equal(conn_table_act(CONN_LEAVING, said[i]), CONN_IGNORE);
		assert_int_equal(conn_table_act(CONN_GONE, said[i]), CONN_IGNORE);
	}
	assert_int_equal(conn_table_act(CONN_CLOSING, CONN_ON_BYTES), CONN_IGNORE);
	assert_int_equal(conn_table_act(CONN_CLOSING, CONN_ON_PONG), CONN_IGNORE);
}

/* The hub lets go of each connection once: by the first of the library's last words. */
static void the_hub_lets_go_once(void **state)
{
	(void)state;
	for (int s = 0; s < CONN_STATES; s++) {
		bool in_hub = s != CONN_UNBORN && s != CONN_GONE;

		assert_int_equal(conn_table_act((enum conn_state)s, CONN_ON_DROP), in_hub ? CONN_END : CONN_IGNORE);
		assert_int_equal(conn_table_act((enum conn_state)s, CONN_ON_DESTROY), in_hub ? CONN_END : CONN_IGNORE);
	}
}

/* The tap counts a seat as heard until the hub says that nobody is in it. */
static void seats_are_given_back(void **state)
{
	static const enum conn_event with_seats[] = { CONN_ON_ADMITTED, CONN_ON_MOVED, CONN_ON_RENEWED };

	(void)state;
	for (size_t i = 0; i < sizeof(with_seats) / sizeof(*with_seats); i++)
		for (int s = CONN_CLOSING; s <= CONN_GONE; s++)
			assert_int_equal(conn_table_act((enum conn_state)s, with_seats[i]), CONN_GIVE_BACK);
}

/* Whoever is to go, goes, whatever the other side does. */
static void every_end_has_a_deadline(void **state)
{
	(void)state;
	assert_int_equal(conn_table_act(CONN_WAIT_AUTH, CONN_ON_LATE), CONN_GIVE_UP);
	assert_int_equal(conn_table_act(CONN_CLOSING, CONN_ON_LATE), CONN_HANG_UP);
	assert_int_equal(conn_table_act(CONN_LEAVING, CONN_ON_LATE), CONN_HANG_UP);
	assert_int_equal(conn_table_act(CONN_GONE, CONN_ON_TIMER), CONN_HANG_UP);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_pair_has_its_answer),
		cmocka_unit_test(nothing_from_the_library_is_impossible),
		cmocka_unit_test(no_order_of_events_does_an_act_to_what_lacks_its_needs),
		cmocka_unit_test(what_follows_a_close_frame_is_ignored),
		cmocka_unit_test(the_hub_lets_go_once),
		cmocka_unit_test(seats_are_given_back),
		cmocka_unit_test(every_end_has_a_deadline),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
