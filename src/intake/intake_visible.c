#include "parts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "walpush/base/clock.h"
#include "walpush/base/fail.h"
#include "walpush/base/log.h"

/* A transaction that is not visible yet is looked for again at once this many times, then after 1 ms, doubling to 32 ms: most are
 * visible within a few milliseconds; under synchronous replication it can take without bound. */
#define AT_ONCE 8
#define WAIT_MOST_MS 32
/* A snapshot is of use for so long (µs): xids have 32 bits, and must not come round meanwhile. */
#define SNAPSHOT_AGE 10000000

static void ask_snapshot(struct intake *in);

/* The answers came from before the transaction was visible: they are asked for again. */
static void ask_again(struct intake *in)
{
	struct record *first = NULL;

	questions_forget(in->questions);
	for (struct record *r = in->head; r && r != in->ask_next; r = r->next) {
		if (!r->asked || r->transaction->visible)
			continue;
		intake_drop_answers(r);
		r->asked = false;
		r->transaction->questioned = 0;
		first = first ? first : r;
	}
	if (first)
		in->ask_next = first;
}

static void saw(struct intake *in, const struct snapshot *snapshot)
{
	struct transaction *t;
	bool progress = false, all = true;

	DL_FOREACH(in->transactions, t) {
		if (t->visible || !t->wanted)
			continue;
		if (snapshot_sees(snapshot, t->xid)) {
			t->visible = progress = true;
			in->n_unseen--;
		} else if (t->number <= in->snapshot_covers) {
			all = false;
		}
	}
	in->fruitless = progress ? 0 : in->fruitless + 1;
	if (!all)
		ask_again(in);
}

static void say_blind(struct intake *in, const struct fail *why)
{
	unsigned times;
	enum log_level level = repeat_level(&in->trouble, LOG_LEVEL_ERROR, why->text, clock_us(), &times);

	log_write(level, "cannot tell which transactions are visible; asking again",
		  LOG_FIELDS(log_s("error", why->text), log_s("sqlstate", why->sqlstate), log_n("times", times)));
}

static void on_snapshot(void *ctx, struct sqlrows *rows, const struct fail *why)
{
	struct intake *in = ctx;
	struct snapshot snapshot = { 0 };
	struct fail bad = { 0 };

	in->snapshot = NULL;
	if (!rows || rows->n_rows != 1 || !snapshot_parse(slice_of(sqlrows_get(rows, 0, 0)), &snapshot, &bad)) {
		say_blind(in, why ? why : &bad);
		in->fruitless = AT_ONCE + 10; /* the longest wait */
		ask_again(in);
	} else {
		saw(in, &snapshot);
		snapshot_fini(&in->seen);
		in->seen = snapshot;
		in->seen_at = clock_us();
	}
	sqlrows_free(rows);
	ask_snapshot(in);
	intake_run(in);
}

static void on_again(evutil_socket_t fd, short what, void *arg)
{
	struct intake *in = arg;

	(void)fd;
	(void)what;
	in->fruitless++;
	ask_snapshot(in);
	intake_run(in);
}

/*
 * One question for all that wait, and never two at a time. The rows' own questions follow on the same connection without waiting
 * for the answer: the server takes them in order, so they see at least what the snapshot sees, and are good if that turns out to
 * be enough. What was asked before the snapshot may see less, and is not shared any more.
 */
static void ask_snapshot(struct intake *in)
{
	unsigned late = in->fruitless;

	if (in->snapshot || !in->n_unseen || event_pending(in->again, EV_TIMEOUT, NULL))
		return;
	if (late >= AT_ONCE && (late - AT_ONCE) % 2 == 0) {
		int64_t ms = late - AT_ONCE >= 10 ? WAIT_MOST_MS : 1 << ((late - AT_ONCE) / 2);
		struct timeval wait = clock_timeval(ms * 1000);

		event_add(in->again, &wait);
		return;
	}
	in->snapshot_covers = in->n_transactions;
	questions_forget(in->questions);
	in->snapshot = sqlpipe_ask(in->sql, "snapshot", SNAPSHOT_SQL, 0, NULL, on_snapshot, in);
}

/* Done is done for good: a transaction of a backlog was so before it was received, and an earlier snapshot may know. What was asked since
 * that one sees it as well. */
static bool was_seen(const struct intake *in, const struct transaction *t)
{
	return in->seen_at && clock_us() - in->seen_at < SNAPSHOT_AGE && snapshot_sees(&in->seen, t->xid);
}

void intake_must_be_seen(struct intake *in, struct transaction *t)
{
	if (t->wanted || t->repeated)
		return;
	t->wanted = true;
	t->wanted_at = clock_us();
	t->visible = was_seen(in, t);
	if (t->visible)
		return;
	in->n_unseen++;
	ask_snapshot(in);
}

bool intake_may_ask(const struct intake *in, const struct transaction *t)
{
	return t->visible || (in->snapshot && t->number <= in->snapshot_covers);
}

void intake_forget_snapshot(struct intake *in)
{
	if (in->snapshot)
		sqlpipe_forget(in->sql, in->snapshot);
	in->snapshot = NULL;
	snapshot_fini(&in->seen);
	in->seen_at = 0;
}

void intake_visible_init(struct intake *in)
{
	in->again = event_new(in->loop, -1, 0, on_again, in);
	if (!in->again)
		fail_never("libevent makes no timer for snapshots");
}

void intake_visible_fini(struct intake *in)
{
	event_free(in->again);
}
