/* Lookups in threads: who shares one, how many there are, and how a question ends when the lookup does not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <arpa/inet.h>
#include <dirent.h>
#include <netdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <cmocka.h>

#include "walpush/base/resolve.h"

#define LONG ((int64_t)60000000)        /* µs */
#define STALE (RESOLVE_FRESH / 1000000) /* s */
#define MANY (RESOLVE_ADDRESSES + 4)

/* --- a C library whose name server answers when the test says so, and whose clock the test moves ------------------- */

static struct {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool is_silent;
	unsigned calls, under_way;
} server = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false, 0, 0 };

static _Atomic long shift; /* s */

int clock_gettime(clockid_t clock, struct timespec *t)
{
	long result = syscall(SYS_clock_gettime, clock, t);

	t->tv_sec += atomic_load(&shift);
	return (int)result;
}

static struct addrinfo *address_new(unsigned last, struct addrinfo *next)
{
	struct addrinfo *a = calloc(1, sizeof(*a) + sizeof(struct sockaddr_in));
	struct sockaddr_in *socket_address = (struct sockaddr_in *)(void *)(a + 1);

	*socket_address = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(0x0A000000 + last) };
	*a = (struct addrinfo){ .ai_family = AF_INET,
				.ai_addrlen = sizeof(*socket_address),
				.ai_addr = (struct sockaddr *)socket_address,
				.ai_next = next };
	return a;
}

void freeaddrinfo(struct addrinfo *a)
{
	while (a) {
		struct addrinfo *next = a->ai_next;

		free(a);
		a = next;
	}
}

static void wait_for_server(void)
{
	pthread_mutex_lock(&server.lock);
	server.calls++;
	server.under_way++;
	pthread_cond_broadcast(&server.changed);
	while (server.is_silent)
		pthread_cond_wait(&server.changed, &server.lock);
	server.under_way--;
	pthread_cond_broadcast(&server.changed);
	pthread_mutex_unlock(&server.lock);
}

/* "gone" does not resolve, "many" has more addresses than anybody wants, every other name has two. */
int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **found)
{
	struct in_addr ignored;

	(void)service;
	if (hints->ai_flags & AI_NUMERICHOST) {
		*found = inet_pton(AF_INET, name, &ignored) == 1 ? address_new(0, NULL) : NULL;
		return *found ? 0 : EAI_NONAME;
	}
	wait_for_server();
	*found = NULL;
	if (strcmp(name, "gone") == 0)
		return EAI_NONAME;
	for (unsigned i = strcmp(name, "many") == 0 ? MANY : 2; i > 0; i--)
		*found = address_new(i, *found);
	return 0;
}

static void be_silent(bool is_silent)
{
	pthread_mutex_lock(&server.lock);
	server.is_silent = is_silent;
	pthread_cond_broadcast(&server.changed);
	pthread_mutex_unlock(&server.lock);
}

/* Until so many lookups, or more, are with the server. */
static void wait_for_lookups(unsigned n)
{
	pthread_mutex_lock(&server.lock);
	while (server.under_way < n)
		pthread_cond_wait(&server.changed, &server.lock);
	pthread_mutex_unlock(&server.lock);
}

static void wait_for_no_lookup(void)
{
	pthread_mutex_lock(&server.lock);
	while (server.under_way > 0)
		pthread_cond_wait(&server.changed, &server.lock);
	pthread_mutex_unlock(&server.lock);
}

static unsigned n_calls(void)
{
	unsigned n;

	pthread_mutex_lock(&server.lock);
	n = server.calls;
	pthread_mutex_unlock(&server.lock);
	return n;
}

/* --- askers -------------------------------------------------------------------------------------------------------- */

struct world {
	struct event_base *loop;
	struct resolve *names;
	unsigned n_open; /* questions without an answer */
};

struct asker {
	struct world *world;
	struct resolve_question *question;
	unsigned answers;
	struct resolve_answer last;
	const char *again; /* asks this when it is answered */
};

static void ask(struct asker *a, struct world *w, const char *name, int64_t patience);

static void on_answer(void *ctx, const struct resolve_answer *answer)
{
	struct asker *a = ctx;
	const char *again = a->again;

	a->answers++;
	a->last = *answer;
	a->again = NULL;
	if (again)
		ask(a, a->world, again, LONG);
	if (--a->world->n_open == 0)
		event_base_loopbreak(a->world->loop);
}

static void ask(struct asker *a, struct world *w, const char *name, int64_t patience)
{
	a->world = w;
	w->n_open++;
	a->question = resolve_ask(w->names, name, patience, on_answer, a);
}

/* Until all have their answers. */
static void run(struct world *w)
{
	if (w->n_open)
		event_base_dispatch(w->loop);
	assert_int_equal(w->n_open, 0);
}

static unsigned threads_at_first; /* a sanitizer may have one of its own, which begins with the first of others */

static int set_up(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	server.calls = 0;
	w->loop = event_base_new();
	w->names = resolve_new(w->loop, false);
	*state = w;
	return 0;
}

/* Of this process. */
static unsigned n_threads(void)
{
	DIR *tasks = opendir("/proc/self/task");
	unsigned n = 0;

	while (readdir(tasks))
		n++;
	closedir(tasks);
	return n;
}

/* A thread that was started for a lookup, and has not come to it yet, would count in the next test. Nobody announces its end. */
static void wait_for_no_thread(void)
{
	while (n_threads() > threads_at_first)
		usleep(1000);
}

static int tear_down(void **state)
{
	struct world *w = *state;

	be_silent(false);
	resolve_free(w->names);
	wait_for_no_lookup();
	wait_for_no_thread();
	event_base_free(w->loop);
	free(w);
	return 0;
}

/* --- answers ------------------------------------------------------------------------------------------------------- */

static void addresses_come_in_their_order(void **state)
{
	struct asker a = { 0 };

	ask(&a, *state, "db", LONG);
	assert_int_equal(a.answers, 0);
	run(*state);
	assert_int_equal(a.answers, 1);
	assert_int_equal(a.last.n, 2);
	assert_string_equal(a.last.addresses[0], "10.0.0.1");
	assert_string_equal(a.last.addresses[1], "10.0.0.2");
}

static void too_many_addresses_are_cut(void **state)
{
	struct asker a = { 0 };

	ask(&a, *state, "many", LONG);
	run(*state);
	assert_int_equal(a.last.n, RESOLVE_ADDRESSES);
}

static void an_address_is_not_looked_up(void **state)
{
	struct asker a = { 0 };

	be_silent(true);
	ask(&a, *state, "192.0.2.1", LONG);
	assert_int_equal(a.answers, 0);
	run(*state);
	assert_int_equal(a.last.n, 1);
	assert_string_equal(a.last.addresses[0], "192.0.2.1");
	assert_int_equal(n_calls(), 0);
}

static void what_does_not_resolve_has_a_reason(void **state)
{
	struct world *w = *state;
	struct asker a = { 0 };
	struct fail why = { 0 };

	ask(&a, w, "gone", LONG);
	run(w);
	assert_int_equal(a.last.n, 0);
	resolve_fail(&why, "gone", &a.last);
	assert_string_equal(why.text, "names do not resolve: gone: Name or service not known");
	assert_int_equal(resolve_failures(w->names), 1);
}

static void nothing_is_kept(void **state)
{
	struct asker a = { .again = "db" };

	ask(&a, *state, "db", LONG);
	run(*state);
	assert_int_equal(a.answers, 2);
	ask(&a, *state, "db", LONG);
	run(*state);
	assert_int_equal(n_calls(), 3);
}

static void commands_wait(void **state)
{
	struct resolve_answer found;
	struct fail why = { 0 };

	(void)state;
	assert_true(resolve_now("db", LONG, &found, &why));
	assert_int_equal(found.n, 2);
	assert_false(resolve_now("gone", LONG, &found, &why));
	assert_non_null(strstr(why.text, "gone"));
	be_silent(true);
	assert_false(resolve_now("db", 1000, &found, &why));
	assert_non_null(strstr(why.text, "db"));
}

/* --- a silent server ----------------------------------------------------------------------------------------------- */

static void patience_ends_the_question(void **state)
{
	struct world *w = *state;
	struct asker a = { 0 }, b = { 0 };

	be_silent(true);
	ask(&a, w, "db", 1000);
	run(w);
	assert_int_equal(a.answers, 1);
	assert_int_equal(a.last.n, 0);
	assert_non_null(strstr(a.last.reason, "Temporary failure"));
	be_silent(false);
	ask(&b, w, "other", LONG);
	run(w);
	assert_int_equal(a.answers, 1);
}

static void what_is_forgotten_is_not_answered(void **state)
{
	struct world *w = *state;
	struct asker a = { 0 }, b = { 0 };

	be_silent(true);
	ask(&a, w, "db", 1000);
	ask(&b, w, "db", LONG);
	resolve_forget(a.question);
	resolve_forget(NULL);
	w->n_open--;
	be_silent(false);
	run(w);
	assert_int_equal(a.answers, 0);
	assert_int_equal(b.answers, 1);
}

static void an_end_waits_for_no_lookup(void **state)
{
	struct world *w = *state;
	struct asker a = { 0 };

	be_silent(true);
	ask(&a, w, "db", LONG);
	wait_for_lookups(1);
	resolve_forget(a.question);
	resolve_free(w->names);
	w->names = NULL;
	be_silent(false);
	wait_for_no_lookup();
	assert_int_equal(a.answers, 0);
}

static void who_asks_soon_shares(void **state)
{
	struct asker askers[5] = { 0 };

	be_silent(true);
	for (size_t i = 0; i < 5; i++)
		ask(&askers[i], *state, "db", LONG);
	wait_for_lookups(1);
	be_silent(false);
	run(*state);
	assert_int_equal(n_calls(), 1);
	for (size_t i = 0; i < 5; i++)
		assert_int_equal(askers[i].last.n, 2);
}

/* The second may find another server, or another hosts file. Both are answered, but the first by its own lookup. */
static void who_asks_late_does_not(void **state)
{
	struct asker first = { 0 }, second = { 0 };

	be_silent(true);
	ask(&first, *state, "db", 10 * LONG);
	wait_for_lookups(1);
	atomic_fetch_add(&shift, STALE);
	ask(&second, *state, "db", LONG);
	wait_for_lookups(2);
	be_silent(false);
	run(*state);
	assert_int_equal(n_calls(), 2);
}

static void lookups_of_a_name_are_bounded(void **state)
{
	enum { N = RESOLVE_OF_NAME + 3 };
	struct asker askers[N] = { 0 };

	be_silent(true);
	for (size_t i = 0; i < N; i++) {
		ask(&askers[i], *state, "db", 10 * LONG);
		atomic_fetch_add(&shift, STALE);
	}
	wait_for_lookups(RESOLVE_OF_NAME);
	assert_int_equal(n_calls(), RESOLVE_OF_NAME);
	be_silent(false);
	run(*state);
	for (size_t i = 0; i < N; i++)
		assert_int_equal(askers[i].answers, 1);
}

static void lookups_are_bounded(void **state)
{
	enum { N = RESOLVE_THREADS + 3 };
	struct asker askers[N] = { 0 };
	char name[16];

	be_silent(true);
	for (size_t i = 0; i < N; i++) {
		snprintf(name, sizeof(name), "db%zu", i);
		ask(&askers[i], *state, name, LONG);
	}
	wait_for_lookups(RESOLVE_THREADS);
	assert_int_equal(n_calls(), RESOLVE_THREADS);
	be_silent(false);
	run(*state);
	assert_int_equal(n_calls(), N);
	for (size_t i = 0; i < N; i++)
		assert_int_equal(askers[i].last.n, 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

static void *nothing(void *arg)
{
	return arg;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(addresses_come_in_their_order),
		TEST(too_many_addresses_are_cut),
		TEST(an_address_is_not_looked_up),
		TEST(what_does_not_resolve_has_a_reason),
		TEST(nothing_is_kept),
		TEST(commands_wait),
		TEST(patience_ends_the_question),
		TEST(what_is_forgotten_is_not_answered),
		TEST(an_end_waits_for_no_lookup),
		TEST(who_asks_soon_shares),
		TEST(who_asks_late_does_not),
		TEST(lookups_of_a_name_are_bounded),
		TEST(lookups_are_bounded),
	};

	pthread_t any;

	pthread_create(&any, NULL, nothing, NULL);
	pthread_join(any, NULL);
	threads_at_first = n_threads();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
