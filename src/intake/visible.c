#include "visible.h"

#include <stdlib.h>
#include <utlist.h>

#include "walpush/base/log.h"
#include "walpush/base/mem.h"
#include "walpush/base/repeat.h"
#include "walpush/pg/snapshot.h"

/* For a transaction that is not visible yet, the next snapshot is asked for at once this many times, then after 1 ms, doubling to 32 ms. Most
 * transactions are visible within a few milliseconds. Under synchronous replication there is no bound. */
#define AT_ONCE 8
#define WAIT_MOST_MS 32
#define LONGEST (AT_ONCE + 10) /* from this value of `fruitless` on the wait is WAIT_MOST_MS */
/* µs. An older snapshot is not used, because xids have 32 bits and must not wrap around meanwhile. */
#define SNAPSHOT_AGE 10000000

struct visible {
	const struct outside *outside;
	enum outside_session session;
	struct transactions *all;
	const struct visible_calls *calls;
	void *ctx;

	bool is_standby;             /* the stream's server, when the stream began */
	unsigned n_unseen;           /* transactions that are wanted and not visible */
	struct sqlpipe_query *query; /* for a snapshot; NULL: no query runs */
	uint64_t covers;             /* transactions up to this number were received before `query` */
	struct snapshot seen;        /* the last snapshot, if it was a primary's */
	int64_t seen_at;             /* µs; 0: there is no snapshot */
	unsigned fruitless;          /* snapshots in a row that saw nothing new, and the waits between them */
	bool waits;                  /* the timer runs */
	struct repeat trouble;
};

/* The outside's timer of this session. */
static enum outside_timer timer_of(const struct visible *v)
{
	return v->session == OUTSIDE_ROWS ? OUTSIDE_TIMER_ROWS : OUTSIDE_TIMER_QUESTIONS;
}

static void ask_snapshot(struct visible *v);

/* --- the answer -------------------------------------------------------------------------------------------------- */

/* A standby's snapshot does not name what runs: it sees what was received before it was asked for, and proves nothing else. */
static bool sees(const struct visible *v, const struct snapshot *snapshot, const struct transaction *t)
{
	return v->is_standby ? t->number <= v->covers : snapshot_sees(snapshot, t->xid);
}

static void saw(struct visible *v, const struct snapshot *snapshot)
{
	struct transaction *t;
	bool progress = false, all = true;

	DL_FOREACH(v->all->first, t) {
		struct sight *sight = &t->sights[v->session];

		if (sight->visible || !sight->wanted)
			continue;
		if (sees(v, snapshot, t)) {
			sight->visible = progress = true;
			v->n_unseen--;
		} else if (t->number <= v->covers) {
			sight->missed = true;
			all = false;
		}
	}
	v->fruitless = progress ? 0 : v->fruitless + 1;
	if (!all)
		v->calls->again(v->ctx);
}

static void say_blind(struct visible *v, const struct fail *why)
{
	unsigned times;
	enum log_level level =
		repeat_level(&v->trouble, LOG_LEVEL_ERROR, why->text, v->outside->now(v->outside->at), &times);

	log_write(level, "cannot tell which transactions are visible; asking again",
		  LOG_FIELDS(log_s("error", why->text), log_s("sqlstate", why->sqlstate), log_n("times", times)));
}

static void blind(struct visible *v)
{
	v->fruitless = LONGEST;
	v->calls->again(v->ctx);
}

/* Takes over the snapshot. */
static void keep(struct visible *v, struct snapshot *snapshot)
{
	snapshot_fini(&v->seen);
	v->seen_at = v->is_standby ? 0 : v->outside->now(v->outside->at);
	v->seen = *snapshot;
}

/* A snapshot of a standby, or of a primary; a standby can only become a primary. Takes over the snapshot. */
static void take(struct visible *v, struct snapshot *snapshot, bool of_standby)
{
	if (v->is_standby && !of_standby) {
		snapshot_fini(snapshot);
		blind(v);
		v->calls->promoted(v->ctx);
		return;
	}
	saw(v, snapshot);
	keep(v, snapshot);
}

static void on_snapshot(void *ctx, struct sqlrows *rows, const struct fail *why)
{
	struct visible *v = ctx;
	struct snapshot snapshot = { 0 };
	struct fail bad = { 0 };
	const char *text = rows && rows->n_rows == 1 && rows->n_columns == 2 ? sqlrows_get(rows, 0, 0) : NULL;

	v->query = NULL;
	if (text && snapshot_parse(slice_of(text), &snapshot, &bad)) {
		take(v, &snapshot, *sqlrows_get(rows, 0, 1) == 't');
	} else {
		say_blind(v, why ? why : &bad);
		blind(v);
	}
	sqlrows_free(rows);
	ask_snapshot(v);
	v->calls->told(v->ctx);
}

/* --- asking for a snapshot ---------------------------------------------------------------------------------------- */

static void on_due(void *ctx)
{
	struct visible *v = ctx;

	if (!v->waits)
		return; /* the session was replaced meanwhile */
	v->waits = false;
	v->fruitless++;
	ask_snapshot(v);
	v->calls->told(v->ctx);
}

static void wait_before(struct visible *v)
{
	unsigned late = v->fruitless - AT_ONCE;
	int64_t ms = v->fruitless >= LONGEST ? WAIT_MOST_MS : 1 << (late / 2);

	v->waits = true;
	v->outside->wake(v->outside->at, timer_of(v), ms * 1000, on_due, v);
}

static void ask_snapshot(struct visible *v)
{
	if (v->query || !v->n_unseen || v->waits)
		return;
	if (v->fruitless >= AT_ONCE && (v->fruitless - AT_ONCE) % 2 == 0) {
		wait_before(v);
		return;
	}
	v->covers = v->all->n;
	v->calls->asked(v->ctx);
	v->query = v->outside->ask(v->outside->at, v->session, "snapshot", SNAPSHOT_SQL, 0, NULL, on_snapshot, v);
}

/* A finished transaction stays finished, so an older snapshot can prove that a backlog transaction is visible. Queries that were sent after this
 * snapshot see the transaction too. */
static bool was_seen(const struct visible *v, const struct transaction *t, int64_t now)
{
	return v->seen_at && now - v->seen_at < SNAPSHOT_AGE && snapshot_sees(&v->seen, t->xid);
}

void visible_want(struct visible *v, struct transaction *t)
{
	struct sight *sight = &t->sights[v->session];

	if (sight->wanted || t->repeated)
		return;
	sight->wanted = true;
	sight->since = v->outside->now(v->outside->at);
	sight->visible = was_seen(v, t, sight->since);
	if (sight->visible)
		return;
	v->n_unseen++;
	ask_snapshot(v);
}

/* Most transactions are seen by the first snapshot. For one that was not, more questions would be void again and again, and the server runs them. */
bool visible_may_ask(const struct visible *v, const struct transaction *t)
{
	const struct sight *sight = &t->sights[v->session];

	return sight->visible || (v->query && t->number <= v->covers && !sight->missed);
}

void visible_leave(struct visible *v, const struct transaction *t)
{
	if (t->sights[v->session].wanted && !t->sights[v->session].visible)
		v->n_unseen--;
}

/* --- life --------------------------------------------------------------------------------------------------------- */

void visible_forget(struct visible *v)
{
	if (v->query)
		v->outside->forget(v->outside->at, v->session, v->query);
	v->query = NULL;
	snapshot_fini(&v->seen);
	v->seen_at = 0;
	v->fruitless = 0;
}

void visible_of(struct visible *v, bool is_standby)
{
	v->is_standby = is_standby;
}

void visible_withdraw(struct visible *v)
{
	struct transaction *t;

	visible_forget(v);
	DL_FOREACH(v->all->first, t) {
		struct sight *sight = &t->sights[v->session];

		v->n_unseen += sight->visible;
		sight->visible = sight->missed = false;
	}
}

void visible_replaced(struct visible *v)
{
	v->waits = false;
	ask_snapshot(v);
}

struct visible *visible_new(const struct outside *outside, enum outside_session session, struct transactions *all,
			    const struct visible_calls *calls, void *ctx)
{
	struct visible *v = mem_new(sizeof(*v));

	*v = (struct visible){ .outside = outside, .session = session, .all = all, .calls = calls, .ctx = ctx };
	return v;
}

void visible_free(struct visible *v)
{
	if (!v)
		return;
	visible_forget(v);
	free(v);
}
