/* Mails between threads: none is lost, each sender's stay in order, and the taker is woken when it must be. */
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#include "walpush/share/mailbox.h"

#define POSTERS 2
#define MAILS 50000 /* of each */

static struct mailbox box;
static _Thread_local uint64_t wakes; /* by this thread's mails */

/* The box is not locked: a waker may post, or take, as that of a reader on the same thread would. */
static void wake(void *ctx)
{
	assert_ptr_equal(ctx, &box);
	assert_int_equal(pthread_mutex_trylock(&box.lock), 0);
	pthread_mutex_unlock(&box.lock);
	wakes++;
}

/* With threads somebody else may hold the lock. */
static void count_wake(void *ctx)
{
	(void)ctx;
	wakes++;
}

static int open_box(void **state)
{
	(void)state;
	mailbox_init(&box, wake, &box);
	wakes = 0;
	return 0;
}

static int close_box(void **state)
{
	(void)state;
	mailbox_fini(&box);
	return 0;
}

/* True: the reader was woken. */
static bool post(unsigned hub, uint64_t number)
{
	struct mail mail = { .kind = MAIL_LEFT, .hub = hub, .connection = number };
	uint64_t before = wakes;

	mailbox_post(&box, &mail);
	return wakes > before;
}

static void mails_are_taken_in_order(void **state)
{
	struct mail *mails = NULL;
	size_t cap = 0;

	(void)state;
	for (unsigned i = 0; i < 100; i++)
		post(i, 1000 + i);
	assert_int_equal(mailbox_take(&box, &mails, &cap), 100);
	assert_true(cap >= 100);
	for (unsigned i = 0; i < 100; i++) {
		assert_int_equal(mails[i].kind, MAIL_LEFT);
		assert_int_equal(mails[i].hub, i);
		assert_int_equal(mails[i].connection, 1000 + i);
	}
	assert_int_equal(mailbox_take(&box, &mails, &cap), 0);
	free(mails);
}

/* A mail is copied whole. */
static void a_mail_is_a_copy(void **state)
{
	struct mail mail = { .kind = MAIL_ADMIT, .asked = { .epoch = "epoch", .since = { 5, 6 }, .holds = 7 } };
	struct mail *mails = NULL;
	size_t cap = 0;

	(void)state;
	mailbox_post(&box, &mail);
	memset(&mail, 0, sizeof(mail));
	assert_int_equal(mailbox_take(&box, &mails, &cap), 1);
	assert_string_equal(mails[0].asked.epoch, "epoch");
	assert_int_equal(mails[0].asked.since.lsn, 5);
	assert_int_equal(mails[0].asked.since.index, 6);
	assert_int_equal(mails[0].asked.holds, 7);
	free(mails);
}

static void the_first_mail_wakes_the_taker(void **state)
{
	struct mail *mails = NULL;
	size_t cap = 0;

	(void)state;
	for (unsigned round = 0; round < 3; round++) {
		assert_true(post(0, 1));
		assert_false(post(0, 2));
		assert_false(post(0, 3));
		assert_int_equal(mailbox_take(&box, &mails, &cap), 3);
		assert_int_equal(mailbox_take(&box, &mails, &cap), 0);
	}
	free(mails);
}

/* Two arrays change places, so that a steady flow allocates nothing; what is being read is not written to. */
static void the_arrays_are_swapped(void **state)
{
	struct mail *mails = NULL, *first;
	size_t cap = 0;

	(void)state;
	post(1, 1);
	mailbox_take(&box, &mails, &cap);
	first = mails;
	post(2, 2);
	assert_int_equal(first[0].hub, 1);
	mailbox_take(&box, &mails, &cap);
	assert_ptr_not_equal(mails, first);
	post(3, 3);
	mailbox_take(&box, &mails, &cap);
	assert_ptr_equal(mails, first);
	assert_int_equal(mails[0].hub, 3);
	free(mails);
}

struct poster {
	pthread_t thread;
	unsigned hub;
	uint64_t wakes;
};

static void *poster_thread(void *arg)
{
	struct poster *p = arg;

	for (uint64_t i = 0; i < MAILS; i++)
		p->wakes += post(p->hub, i);
	return NULL;
}

static void threads_post_at_the_same_time(void **state)
{
	struct poster posters[POSTERS] = { 0 };
	uint64_t next[POSTERS] = { 0 }, takes = 0, woken = 0, total = 0;
	struct mail *mails = NULL;
	size_t cap = 0;

	(void)state;
	box.wake = count_wake;
	for (unsigned i = 0; i < POSTERS; i++) {
		posters[i].hub = i;
		assert_int_equal(pthread_create(&posters[i].thread, NULL, poster_thread, &posters[i]), 0);
	}
	while (total < POSTERS * MAILS) {
		size_t n = mailbox_take(&box, &mails, &cap);

		for (size_t i = 0; i < n; i++)
			assert_int_equal(mails[i].connection, next[mails[i].hub]++);
		total += n;
		takes += n > 0;
		if (n == 0)
			sched_yield();
	}
	for (unsigned i = 0; i < POSTERS; i++) {
		pthread_join(posters[i].thread, NULL);
		assert_int_equal(next[i], MAILS);
		woken += posters[i].wakes;
	}
	assert_int_equal(woken, takes);
	free(mails);
}

#define ON_A_BOX(test) cmocka_unit_test_setup_teardown(test, open_box, close_box)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ON_A_BOX(mails_are_taken_in_order),       ON_A_BOX(a_mail_is_a_copy),
		ON_A_BOX(the_first_mail_wakes_the_taker), ON_A_BOX(the_arrays_are_swapped),
		ON_A_BOX(threads_post_at_the_same_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
