/*
 * tap_skip: passes over what the server cannot decode, or what cannot be received or read.
 *
 *   the replication stream breaks at one place TRIES_MOST times, and for SKIP_PATIENCE
 *     ─▶ the transaction's BEGIN has come: its commit position is known; ask for snapshots until one sees the transaction
 *     ─▶ its BEGIN has not come: take the server's flush position of this moment, and all transactions that run at this moment
 *   ─▶ streaming begins after this position, with a hole: the logs are emptied, every connection is asked again and must refetch (`skipped`)
 *   ─▶ if the transaction is not known: the same once more when all transactions that ran have ended, because it may be one of them
 *
 * The position is confirmed at once, so that neither a restart nor the replay window meets the place again. With a relay the hole goes
 * through the Redis stream (RELAY_BEGIN), so that every replica learns of the hole.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parts.h"
#include "walpush/base/clock.h"
#include "walpush/base/fail.h"
#include "walpush/base/log.h"
#include "walpush/base/resync.h"
#include "walpush/change/decode.h"
#include "walpush/pg/snapshot.h"

#define SKIP_PATIENCE 30000000 /* µs */
/* The wait before the next query, if something is not visible yet or the query failed. */
#define ASK_AGAIN 200000 /* µs */

#define FLUSHED_SQL "SELECT pg_catalog.pg_current_snapshot(), " TAP_FLUSHED_SQL

/* --- what is logged ----------------------------------------------------------------------------------------------- */

/* With database.skip = false a person decides. */
static void say_refused(struct tap *t, const struct intake_place *place, const struct fail *why)
{
	char to[LSN_TEXT_MAX];
	struct repeat *said = &t->skip.said;
	unsigned times;

	lsn_format(to, place->commit + 1);
	snprintf(t->skip.statement, sizeof(t->skip.statement),
		 "to pass over it, while walpush is stopped: SELECT pg_replication_slot_advance('%s', %s%s%s)",
		 t->now.conf->database.slot, place->commit ? "'" : "",
		 place->commit ? to : "pg_current_wal_flush_lsn()", place->commit ? "'" : "");
	log_write(repeat_level(said, LOG_LEVEL_ERROR, why->text, clock_us(), &times),
		  "the stream cannot go on, and database.skip is false",
		  LOG_FIELDS(log_s("error", why->text), log_lsn("commit", place->commit), log_n("xid", place->xid),
			     log_fix(t->skip.statement)));
}

static void say_passed(struct tap *t)
{
	struct skip *s = &t->skip;

	repeat_end(&s->said);
	s->transactions++;
	s->last_at = clock_wall_us();
	s->last_to = s->to;
	log_error("a transaction is passed over; everybody is asked about and told to refetch",
		  log_s("error", s->why.text), log_s("sqlstate", s->why.sqlstate), log_lsn("commit", s->place.commit),
		  log_n("xid", s->place.xid), log_lsn("from", s->to),
		  log_fix("see \"A row is too large\" in docs/operations.md"));
}

/* --- asking ------------------------------------------------------------------------------------------------------- */

static void ask_again(struct tap *t)
{
	struct timeval wait = clock_timeval(ASK_AGAIN);

	event_add(t->skip.again, &wait);
}

static void pass(struct tap *t, lsn_t to)
{
	t->skip.to = to;
	say_passed(t);
	tap_flow_go(t);
}

/* Resets every client once more: one of the transactions that ran may be the one that was passed over. */
static void take_running(struct tap *t, const struct snapshot *seen)
{
	struct skip *s = &t->skip;

	if (!s->running)
		s->running = seen->xmax;
	if (seen->xmin < s->running) {
		ask_again(t);
		return;
	}
	s->step = SKIP_NOTHING;
	tap_feed_anew(t, t->epoch, topiclog_published(t->now.log), resync_name(RESYNC_SKIPPED));
}

static void take(struct tap *t, const struct sqlrows *rows, const struct snapshot *seen)
{
	struct skip *s = &t->skip;
	lsn_t flushed;

	if (s->step == SKIP_WATCHES) {
		take_running(t, seen);
	} else if (s->place.commit ? !snapshot_sees(seen, s->place.xid)
				   : !lsn_parse(slice_of(sqlrows_get(rows, 0, 1)), &flushed)) {
		ask_again(t);
	} else {
		s->step = SKIP_NOTHING;
		pass(t, s->place.commit ? s->place.commit + 1 : flushed);
	}
}

static void on_answer(void *ctx, struct sqlrows *rows, const struct fail *why)
{
	struct tap *t = ctx;
	struct snapshot seen = { 0 };
	struct fail bad;

	t->skip.query = NULL;
	if (rows && rows->n_rows == 1 && snapshot_parse(slice_of(sqlrows_get(rows, 0, 0)), &seen, &bad)) {
		take(t, rows, &seen);
	} else {
		log_debug("cannot ask what is visible", log_s("error", why ? why->text : "no snapshot"));
		ask_again(t);
	}
	snapshot_fini(&seen);
	sqlrows_free(rows);
}

static void ask(struct tap *t)
{
	bool flushed = t->skip.step == SKIP_ASKS && !t->skip.place.commit;

	if (!t->skip.query && !t->stopping)
		t->skip.query = sqlpipe_ask(t->sql, flushed ? "flushed" : "snapshot",
					    flushed ? FLUSHED_SQL : SNAPSHOT_SQL, 0, NULL, on_answer, t);
}

static void on_again(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	ask(arg);
}

/* --- the replication stream broke --------------------------------------------------------------------------------- */

/* True: everything before the place is handed over. Otherwise wait for a later try. */
static bool is_clear(const struct tap *t, const struct intake_place *place)
{
	return place->is_first && t->way->is_empty(t);
}

void tap_skip_at(struct tap *t, const struct intake_place *place)
{
	t->skip.refused = *place;
	t->skip.has_refused = true;
}

void tap_skip_lost(struct tap *t, const struct fail *why)
{
	struct skip *s = &t->skip;
	struct intake_place place = s->has_refused ? s->refused : intake_place(t->intake);
	lsn_t handled = t->way->end(t), at = place.commit ? place.commit : handled + 1;

	s->has_refused = false;
	if (strstr(why->text, DECODE_TOO_OLD)) /* no other row can be read: they wait in the slot for a newer plugin */
		return;
	if (at != s->tries.place)
		repeat_end(&s->said); /* the logged statement is for another place */
	if (!tries_failed(&s->tries, at, clock_us(), SKIP_PATIENCE))
		return;
	if (!is_clear(t, &place))
		return;
	if (!t->now.conf->database.skip) {
		say_refused(t, &place, why);
		return;
	}
	s->place = place;
	s->why = *why;
	s->tries = (struct tries){ 0 };
	s->step = SKIP_ASKS;
	source_stop(t->source);
	ask(t);
}

void tap_skip_watch(struct tap *t)
{
	t->skip.step = SKIP_WATCHES;
	t->skip.running = 0;
	ask(t);
}

lsn_t tap_skip_start(const struct tap *t, lsn_t handled)
{
	return t->skip.to > handled ? t->skip.to : 0;
}

bool tap_skip_is_known(const struct tap *t)
{
	return t->skip.place.commit != 0;
}

void tap_skip_init(struct tap *t)
{
	t->skip.again = event_new(t->loop, -1, 0, on_again, t);
	if (!t->skip.again)
		fail_never("libevent makes no timer for what is passed over");
}

void tap_skip_fini(struct tap *t)
{
	event_free(t->skip.again);
}
