/* Who may log in after a refusal, and when. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "walpush/pg/login.h"

#define SECOND INT64_C(1000000)

static struct login login;
static struct login_ear ears[3];
static unsigned told[3];

static void passed(void *ctx)
{
	(*(unsigned *)ctx)++;
}

static int open_login(void **state)
{
	(void)state;
	login = (struct login){ 0 };
	memset(told, 0, sizeof(told));
	for (int i = 0; i < 3; i++) {
		ears[i] = (struct login_ear){ .passed = passed, .ctx = &told[i] };
		login_listen(&login, &ears[i]);
	}
	return 0;
}

static int64_t wait(int who, int64_t now)
{
	return login_wait(&login, &ears[who], now);
}

static int64_t fails(int who, const char *sqlstate, bool is_replication, int64_t now)
{
	struct fail why = { 0 };

	strcpy(why.sqlstate, sqlstate);
	return login_failed(&login, &ears[who], &why, is_replication, now);
}

static void the_first_login_is_one_alone(void **state)
{
	(void)state;
	assert_int_equal(wait(0, 0), 0);
	assert_int_equal(wait(1, 0), LOGIN_AGAIN);
	assert_int_equal(wait(0, 0), 0); /* it asks again, and is still the one */
	login_passed(&login, &ears[0]);
	assert_int_equal(told[1], 1);
	assert_int_equal(wait(1, 0), 0);
	assert_int_equal(wait(2, 0), 0);
	login_passed(&login, &ears[1]);
	assert_int_equal(told[2], 1); /* it knows already */
}

static void a_refusal_holds_up_all_and_grows(void **state)
{
	int64_t now = 0, most = LOGIN_FIRST;

	(void)state;
	for (int i = 0; i < 8; i++) {
		int64_t pause;

		assert_int_equal(wait(i % 3, now), 0);
		pause = fails(i % 3, "28P01", false, now);
		assert_in_range(pause, most / 2 + 1, most);
		assert_true(login_is_refused(&login));
		for (int k = 0; k < 3; k++)
			assert_int_equal(wait(k, now), pause);
		now += pause;
		most = 2 * most < LOGIN_MOST ? 2 * most : LOGIN_MOST;
	}
	assert_int_equal(wait(1, now), 0);
	login_passed(&login, &ears[1]);
	assert_false(login_is_refused(&login));
	assert_int_equal(told[0] + told[1] + told[2], 3);
	assert_in_range(fails(2, "28000", false, now), LOGIN_FIRST / 2 + 1, LOGIN_FIRST);
}

static void what_is_no_refusal_is_the_callers(void **state)
{
	(void)state;
	assert_int_equal(wait(0, 0), 0);
	assert_int_equal(fails(0, "", false, 0), 0);
	assert_int_equal(wait(1, 0), 0); /* now this one tries for all */
	assert_int_equal(wait(0, 0), LOGIN_AGAIN);
	login_passed(&login, &ears[1]);
	assert_int_equal(fails(0, "57P03", false, 0), 0);
	assert_int_equal(fails(0, "53300", false, 0), 0);
	assert_int_equal(wait(0, 0), 0);
}

static void what_only_replication_may_not_holds_up_nobody(void **state)
{
	(void)state;
	login_passed(&login, &ears[0]);
	assert_int_equal(fails(0, "42501", true, 0), 0);
	assert_int_equal(fails(0, "28000", true, 0), 0);
	assert_int_equal(wait(1, 0), 0);
	assert_true(fails(0, "28P01", true, 0) > 0);
	assert_true(wait(1, 0) > 0);
}

static void who_leaves_tries_no_more(void **state)
{
	(void)state;
	assert_int_equal(wait(0, 0), 0);
	login_leave(&login, &ears[0]);
	assert_int_equal(wait(1, 0), 0);
}

static void a_reload_tries_at_once(void **state)
{
	(void)state;
	assert_int_equal(wait(0, 0), 0);
	assert_true(fails(0, "28P01", false, 0) > 0);
	login_hurry(&login);
	assert_int_equal(told[1], 1);
	assert_int_equal(wait(1, 0), 0);
	assert_int_equal(wait(2, 0), LOGIN_AGAIN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(the_first_login_is_one_alone, open_login),
		cmocka_unit_test_setup(a_refusal_holds_up_all_and_grows, open_login),
		cmocka_unit_test_setup(what_is_no_refusal_is_the_callers, open_login),
		cmocka_unit_test_setup(what_only_replication_may_not_holds_up_nobody, open_login),
		cmocka_unit_test_setup(who_leaves_tries_no_more, open_login),
		cmocka_unit_test_setup(a_reload_tries_at_once, open_login),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
