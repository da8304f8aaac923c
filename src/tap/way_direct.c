/*
 * way_direct: without a relay a transaction goes into the logs as it is.
 *
 *   intake ─▶ publish_to_logs ─▶ tap_feed ─▶ logs
 */
#include <string.h>

#include "parts.h"
#include "walpush/base/clock.h"
#include "walpush/base/fail.h"
#include "walpush/base/resync.h"

/* --- a transaction ------------------------------------------------------------------------------------------------ */

struct telling {
	struct tap *tap;
	int64_t now; /* µs of clock_us, one for the whole transaction */
};

static void tell_member(void *ctx, lsn_t commit, const char *user)
{
	const struct telling *telling = ctx;

	tap_feed_membership(telling->tap, commit, user);
}

static void tell_message(void *ctx, const struct txn_message *m)
{
	const struct telling *telling = ctx;
	struct feed_message fed = { m->id, m->header, m->payload, m->groups, m->n_groups, { 0 }, m->about };

	fed.tag = tap_feed_tag((uint16_t)m->close, m->is_bulk);
	tap_feed_message(telling->tap, &fed, telling->now);
}

static void tell_mark(void *ctx, const struct txn_marked *m)
{
	const struct telling *telling = ctx;
	struct feed_mark fed = { m->id, m->label, m->reason, m->lookup_only };

	tap_feed_mark(telling->tap, &fed, telling->now);
}

static void tell_skipped(void *ctx, const struct txn_skipped *skipped)
{
	const struct telling *telling = ctx;
	struct buf names = { 0 };
	struct feed_skipped fed;

	txn_skipped_labels(skipped, &names);
	fed = (struct feed_skipped){ skipped->id, skipped->everything, buf_slice(&names), skipped->groups };
	if (!tap_feed_skipped(telling->tap, &fed, telling->now))
		fail_never("a transaction names a section that its configuration lacks");
	buf_fini(&names);
}

static const struct txn_calls telling_calls = { tell_member, tell_message, tell_mark, tell_skipped };

static void publish_to_logs(struct tap *t, const struct txn *txn, lsn_t next_lsn)
{
	struct telling telling = { t, clock_us() };

	if (txn_each(txn, &telling_calls, &telling)) {
		window_event(&t->window, tap_reach_committed_at(t, txn_lsn(txn), txn_commit_us(txn)));
		tap_reach_count(t, txn_lsn(txn), txn_commit_us(txn));
	}
	tap_reach_upto(t, next_lsn);
}

/* --- the replication stream ---------------------------------------------------------------------------------------- */

/* Another history begins, or the same one with a hole: no client can resume from what the logs hold. */
static void begin_anew(struct tap *t, lsn_t at, const char *epoch, const char *reason)
{
	tap_reach_begins(t, at);
	tap_feed_anew(t, epoch, at, reason);
}

static lsn_t reached_before(const struct tap *t)
{
	return t->window.handled;
}

/* Logs begin with this process. Whether a client has a part of a commit from the one before is found out when the client comes back (`told_before`). */
static bool is_half_told(const struct tap *t, lsn_t commit)
{
	(void)t;
	(void)commit;
	return false;
}

static lsn_t start(struct tap *t, const struct way_start *s)
{
	t->now.told_before = s->server_end;
	if (strcmp(s->epoch, t->epoch) != 0)
		begin_anew(t, s->from, s->epoch, "epoch");
	else if (s->hole)
		begin_anew(t, s->from, s->epoch, resync_name(RESYNC_SKIPPED));
	else if (t->asked.missed)
		begin_anew(t, s->handled > s->from ? s->handled : s->from, s->epoch, resync_name(RESYNC_SKIPPED));
	else if (s->confirmed > t->window.handled || t->window.handled > s->server_end)
		begin_anew(t, s->from, s->epoch, "gap");
	if (s->hole == RELAY_HOLE_UNKNOWN)
		tap_skip_watch(t);
	t->asked.missed = false;
	return t->window.handled;
}

static lsn_t open_epoch(struct tap *t, const char *epoch)
{
	(void)epoch;
	return t->window.handled;
}

/* The next stream is this process' own: it begins with the hole. */
static bool miss(struct tap *t)
{
	(void)t;
	return false;
}

static void streaming(struct tap *t)
{
	tap_reach_upto(t, t->window.handled);
}

static void lost(struct tap *t)
{
	(void)t;
}

static lsn_t safe(const struct tap *t)
{
	(void)t;
	return LSN_MAX;
}

static bool never(const struct tap *t)
{
	(void)t;
	return false;
}

static bool always(const struct tap *t)
{
	(void)t;
	return true;
}

static bool is_fed(const struct tap *t)
{
	return t->is_live && source_is_streaming(t->source);
}

/* Another process has the slot. */
static int64_t elsewhere_since(const struct tap *t)
{
	return source_is_held_by_other(t->source) ? source_down_since(t->source) : 0;
}

static void tick(struct tap *t, lsn_t confirmed)
{
	(void)t;
	(void)confirmed;
}

const struct way way_direct = {
	.is_shared = false,
	.is_half_told = is_half_told,
	.publish = publish_to_logs,
	.position = tap_reach_upto,
	.open_epoch = open_epoch,
	.start = start,
	.miss = miss,
	.streaming = streaming,
	.lost = lost,
	.end = reached_before,
	.safe = safe,
	.is_full = never,
	.is_up = always,
	.is_empty = always,
	.is_fed = is_fed,
	.elsewhere_since = elsewhere_since,
	.tick = tick,
};
