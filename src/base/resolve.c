#include "walpush/base/resolve.h"

#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <utlist.h>

#include "walpush/base/clock.h"
#include "walpush/base/log.h"
#include "walpush/base/mem.h"
#include "walpush/base/repeat.h"
#include "walpush/base/thread.h"

/* Threads put finished lookups here for the loop. The last one that drops its reference frees it: the loop, or a thread that hung. */
struct outbox {
	pthread_mutex_t lock; /* of the fields below */
	unsigned refs;        /* one of the loop, and one of each lookup */
	bool is_closed;       /* by the loop; `wake` is closed too */
	int wake;             /* eventfd */
	struct lookup *finished;
};

/* One call of getaddrinfo. The thread owns it until it is in the outbox, then the loop owns it. `prev` and `next` always belong to the loop. */
struct lookup {
	struct lookup *prev, *next; /* in `lookups` */
	struct lookup *next_finished;
	struct outbox *outbox;
	int64_t began; /* µs */
	struct resolve_answer answer;
	char name[];
};

struct resolve_question {
	struct resolve_question *prev, *next;
	struct resolve *r;
	struct lookup *lookup; /* NULL: it waits for a thread */
	struct event *limit;
	resolve_done *done;
	void *ctx;
	char name[];
};

struct resolve {
	struct event_base *loop;
	struct outbox *outbox;
	struct event *woken;
	struct lookup *lookups; /* under way, the newest last */
	unsigned n_lookups;
	struct resolve_question *questions;
	bool logs;
	struct repeat trouble[REPEAT_TABLE];
	uint64_t failures;
};

/* --- the outbox --------------------------------------------------------------------------------------------------- */

static struct outbox *outbox_new(void)
{
	struct outbox *box = mem_new(sizeof(*box));

	pthread_mutex_init(&box->lock, NULL);
	box->refs = 1;
	box->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	return box;
}

/* The caller holds the lock; this releases it. */
static void outbox_unref(struct outbox *box)
{
	bool last = --box->refs == 0;

	pthread_mutex_unlock(&box->lock);
	if (!last)
		return;
	pthread_mutex_destroy(&box->lock);
	free(box);
}

/* Any thread. */
static void outbox_post(struct outbox *box, struct lookup *l)
{
	uint64_t one = 1;

	pthread_mutex_lock(&box->lock);
	if (box->is_closed) {
		free(l);
	} else {
		LL_APPEND2(box->finished, l, next_finished);
		if (write(box->wake, &one, sizeof(one)) < 0 && errno != EAGAIN)
			fail_never("the resolver cannot wake the loop: %s", strerror(errno));
	}
	outbox_unref(box);
}

static struct lookup *outbox_take(struct outbox *box)
{
	struct lookup *all;

	pthread_mutex_lock(&box->lock);
	all = box->finished;
	box->finished = NULL;
	pthread_mutex_unlock(&box->lock);
	return all;
}

static void outbox_close(struct outbox *box)
{
	struct lookup *l, *next;

	pthread_mutex_lock(&box->lock);
	box->is_closed = true;
	close(box->wake);
	LL_FOREACH_SAFE2(box->finished, l, next, next_finished)
	free(l);
	outbox_unref(box);
}

/* --- the thread --------------------------------------------------------------------------------------------------- */

/* As libpq calls getaddrinfo. */
static const struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };

static void take_addresses(struct resolve_answer *a, const struct addrinfo *found)
{
	for (; found && a->n < RESOLVE_ADDRESSES; found = found->ai_next)
		if (getnameinfo(found->ai_addr, found->ai_addrlen, a->addresses[a->n], RESOLVE_ADDRESS_MAX, NULL, 0,
				NI_NUMERICHOST) == 0)
			a->n++;
}

static void *look_up(void *arg)
{
	struct lookup *l = arg;
	struct addrinfo *found = NULL;
	int error = getaddrinfo(l->name, NULL, &hints, &found);

	if (error) {
		mem_copy_text(l->answer.reason, sizeof(l->answer.reason),
			      error == EAI_SYSTEM ? strerror(errno) : gai_strerror(error));
	} else {
		take_addresses(&l->answer, found);
		freeaddrinfo(found);
		if (!l->answer.n)
			mem_copy_text(l->answer.reason, sizeof(l->answer.reason), gai_strerror(EAI_NONAME));
	}
	outbox_post(l->outbox, l);
	return NULL;
}

static bool take_address(struct resolve_answer *a, const char *host)
{
	if (strlen(host) >= RESOLVE_ADDRESS_MAX || !resolve_is_address(host))
		return false;
	strcpy(a->addresses[a->n++], host);
	return true;
}

static struct lookup *lookup_new(struct resolve *r, const char *name)
{
	struct lookup *l = mem_new(sizeof(*l) + strlen(name) + 1);
	struct fail why;
	pthread_t thread;

	strcpy(l->name, name);
	l->outbox = r->outbox;
	l->began = clock_us();
	DL_APPEND(r->lookups, l);
	r->n_lookups++;
	pthread_mutex_lock(&r->outbox->lock);
	r->outbox->refs++;
	pthread_mutex_unlock(&r->outbox->lock);
	if (take_address(&l->answer, name)) {
		outbox_post(r->outbox, l);
	} else if (thread_start(&thread, look_up, l, &why)) {
		pthread_detach(thread);
	} else {
		mem_copy_text(l->answer.reason, sizeof(l->answer.reason), why.text);
		outbox_post(r->outbox, l);
	}
	return l;
}

/* --- questions ---------------------------------------------------------------------------------------------------- */

static void question_free(struct resolve_question *q)
{
	DL_DELETE(q->r->questions, q);
	event_free(q->limit);
	free(q);
}

/* Ends the question. */
static void answer(struct resolve_question *q, const struct resolve_answer *a)
{
	resolve_done *done = q->done;
	void *ctx = q->ctx;

	question_free(q);
	done(ctx, a);
}

static void note(struct resolve *r, const char *name, const struct resolve_answer *a)
{
	struct repeat *trouble = repeat_for(r->trouble, name);
	struct fail same;
	enum log_level level;
	unsigned times;

	if (a->n) {
		repeat_end(trouble);
		return;
	}
	r->failures++;
	if (!r->logs)
		return;
	resolve_fail(&same, name, a);
	level = repeat_level(trouble, LOG_LEVEL_WARN, same.text, clock_us(), &times);
	log_write(level, RESOLVE_TROUBLE,
		  LOG_FIELDS(log_s("host", name), log_s("error", a->reason),
			     log_fix("correct the host in database.url or relay.url, /etc/hosts, or the name "
				     "servers in /etc/resolv.conf"),
			     log_n("times", times)));
}

/* The lookup that answers a question about this name. NULL: the question must wait for a thread. */
static struct lookup *lookup_for(struct resolve *r, const char *name)
{
	struct lookup *l, *newest = NULL;
	unsigned n = 0;

	DL_FOREACH(r->lookups, l) {
		if (strcmp(l->name, name) != 0)
			continue;
		newest = l;
		n++;
	}
	if (newest && (clock_us() - newest->began < RESOLVE_FRESH || n == RESOLVE_OF_NAME))
		return newest;
	return r->n_lookups < RESOLVE_THREADS ? lookup_new(r, name) : newest;
}

static void on_limit(evutil_socket_t fd, short what, void *arg)
{
	struct resolve_question *q = arg;
	struct resolve_answer none = { .n = 0 };

	(void)fd;
	(void)what;
	/* The C library has the same text for its own time limit, so the log counts both as one trouble. */
	mem_copy_text(none.reason, sizeof(none.reason), gai_strerror(EAI_AGAIN));
	note(q->r, q->name, &none);
	answer(q, &none);
}

/* The callback of an answer may end other questions and ask new ones, so each search begins at the start. */
static void answer_all(struct resolve *r, struct lookup *l)
{
	struct resolve_question *q;

	do {
		DL_SEARCH_SCALAR(r->questions, q, lookup, l);
		if (q)
			answer(q, &l->answer);
	} while (q);
}

static void give_waiting_a_lookup(struct resolve *r)
{
	struct resolve_question *q;

	DL_FOREACH(r->questions, q)
		if (!q->lookup)
			q->lookup = lookup_for(r, q->name);
}

static void on_woken(evutil_socket_t fd, short what, void *arg)
{
	struct resolve *r = arg;
	struct lookup *l, *next;
	uint64_t count;

	(void)what;
	if (read(fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
		fail_never("the resolver's eventfd cannot be read: %s", strerror(errno));
	LL_FOREACH_SAFE2(outbox_take(r->outbox), l, next, next_finished)
	{
		DL_DELETE(r->lookups, l);
		r->n_lookups--;
		note(r, l->name, &l->answer);
		answer_all(r, l);
		free(l);
	}
	give_waiting_a_lookup(r);
}

struct resolve_question *resolve_ask(struct resolve *r, const char *name, int64_t patience, resolve_done *done,
				     void *ctx)
{
	struct resolve_question *q = mem_new(sizeof(*q) + strlen(name) + 1);
	struct timeval limit = clock_timeval(patience);

	strcpy(q->name, name);
	q->r = r;
	q->done = done;
	q->ctx = ctx;
	q->limit = event_new(r->loop, -1, 0, on_limit, q);
	if (!q->limit)
		fail_never("libevent gives no event");
	event_add(q->limit, &limit);
	q->lookup = lookup_for(r, name);
	DL_APPEND(r->questions, q);
	return q;
}

void resolve_forget(struct resolve_question *q)
{
	if (q)
		question_free(q);
}

/* --- without a thread --------------------------------------------------------------------------------------------- */

bool resolve_is_address(const char *host)
{
	struct addrinfo numeric = hints, *found;

	numeric.ai_flags = AI_NUMERICHOST;
	if (getaddrinfo(host, NULL, &numeric, &found) != 0)
		return false;
	freeaddrinfo(found);
	return true;
}

void resolve_fail(struct fail *why, const char *host, const struct resolve_answer *a)
{
	fail_set(why, RESOLVE_TROUBLE ": %s: %s", host, a->reason);
}

uint64_t resolve_failures(const struct resolve *r)
{
	return r->failures;
}

/* --- life --------------------------------------------------------------------------------------------------------- */

struct resolve *resolve_new(struct event_base *loop, bool logs)
{
	struct resolve *r = mem_new(sizeof(*r));

	r->loop = loop;
	r->logs = logs;
	r->outbox = outbox_new();
	r->woken = r->outbox->wake < 0 ? NULL : event_new(loop, r->outbox->wake, EV_READ | EV_PERSIST, on_woken, r);
	if (!r->woken || event_add(r->woken, NULL) != 0)
		fail_never("the resolver cannot be woken");
	return r;
}

/* Running lookups stay with their threads. */
void resolve_free(struct resolve *r)
{
	if (!r)
		return;
	event_free(r->woken);
	outbox_close(r->outbox);
	free(r);
}

/* --- for commands ------------------------------------------------------------------------------------------------- */

struct waiting {
	struct event_base *loop;
	struct resolve_answer *out;
};

static void on_answer(void *ctx, const struct resolve_answer *a)
{
	struct waiting *w = ctx;

	*w->out = *a;
	event_base_loopbreak(w->loop);
}

bool resolve_now(const char *host, int64_t patience, struct resolve_answer *out, struct fail *why)
{
	struct waiting w = { .loop = NULL, .out = out };
	struct resolve *r;

	w.loop = event_base_new();
	if (!w.loop)
		fail_never("libevent gives no loop");
	r = resolve_new(w.loop, false);
	resolve_ask(r, host, patience, on_answer, &w);
	event_base_dispatch(w.loop);
	resolve_free(r);
	event_base_free(w.loop);
	if (!out->n)
		resolve_fail(why, host, out);
	return out->n > 0;
}
