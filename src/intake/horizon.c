#include "horizon.h"

#include <stdlib.h>
#include <utlist.h>

#include "walpush/base/log.h"
#include "walpush/base/mem.h"
#include "walpush/base/repeat.h"
#include "walpush/pg/position.h"

struct horizon {
	struct horizon *prev, *next; /* in `all` */
	struct horizons *of;
	unsigned refs; /* of questions */
	unsigned n;    /* questions that took it */
	bool is_sealed, is_known;
	struct sqlpipe_query *query; /* for the position; NULL: none runs */
	lsn_t upto;
	int64_t settled_at; /* µs: when the position is read again; 0: never */
};

struct horizons {
	const struct outside *outside;
	void (*known)(void *ctx);
	void *ctx;
	struct horizon *all;    /* in the order in which they were taken */
	struct horizon *taking; /* of this turn; NULL: none yet */
	struct repeat trouble;
	bool is_async;
};

static int64_t now(const struct horizons *hs)
{
	return hs->outside->now(hs->outside->at);
}

/* --- the position ------------------------------------------------------------------------------------------------- */

static void settle_later(struct horizons *hs);

static void say_unknown(struct horizons *hs, const struct fail *why)
{
	unsigned times;
	enum log_level level = repeat_level(&hs->trouble, LOG_LEVEL_ERROR, why->text, now(hs), &times);

	log_write(level, "cannot tell which commits an answer knows; it is not used",
		  LOG_FIELDS(log_s("error", why->text), log_s("sqlstate", why->sqlstate), log_n("times", times),
			     log_fix("grant EXECUTE on pg_current_wal_flush_lsn and pg_current_wal_insert_lsn")));
}

/* The first look, or a later one. After a second look at a primary there is no third one: its flush position is low enough. */
static void take(struct horizon *h, const struct position *p)
{
	lsn_t certain = position_certain(p, !h->is_known && (p->is_async || h->of->is_async));

	if (!h->is_known || certain < h->upto)
		h->upto = certain;
	h->is_known = true;
	if (position_may_fall(p, certain))
		h->settled_at = now(h->of) + p->delay;
}

static void on_position(void *ctx, struct sqlrows *rows, const struct fail *error)
{
	struct horizon *h = ctx;
	struct horizons *hs = h->of;
	struct position p;
	struct fail why = { 0 };

	h->query = NULL;
	if (position_read(rows, error, &p, &why)) {
		take(h, &p);
	} else {
		say_unknown(hs, &why);
		h->is_known = true;
		h->upto = LSN_MAX;
	}
	sqlrows_free(rows);
	settle_later(hs);
	hs->known(hs->ctx);
}

static void ask(struct horizon *h)
{
	const struct outside *o = h->of->outside;

	h->query = o->ask(o->at, OUTSIDE_QUESTIONS, "position", position_async_sql, 0, NULL, on_position, h);
}

static void on_settled(void *ctx)
{
	struct horizons *hs = ctx;
	struct horizon *h;

	DL_FOREACH(hs->all, h) {
		if (!h->settled_at || h->query || h->settled_at > now(hs))
			continue;
		h->settled_at = 0;
		ask(h);
	}
	settle_later(hs);
}

/* For the first one that has to be read again. */
static void settle_later(struct horizons *hs)
{
	const struct outside *o = hs->outside;
	struct horizon *h;
	int64_t next = 0;

	DL_FOREACH(hs->all, h)
		if (h->settled_at && !h->query && (!next || h->settled_at < next))
			next = h->settled_at;
	if (next)
		o->wake(o->at, OUTSIDE_TIMER_SETTLED, next > now(hs) ? next - now(hs) : 0, on_settled, hs);
}

/* --- horizons ----------------------------------------------------------------------------------------------------- */

struct horizon *horizons_take(struct horizons *hs)
{
	struct horizon *h = hs->taking;

	if (h && h->n == HORIZON_QUESTIONS) {
		horizons_seal(hs);
		h = NULL;
	}
	if (!h) {
		h = hs->taking = mem_new(sizeof(*h));
		h->of = hs;
		DL_APPEND(hs->all, h);
	}
	h->n++;
	h->refs++;
	return h;
}

void horizons_seal(struct horizons *hs)
{
	struct horizon *h = hs->taking;

	hs->taking = NULL;
	if (!h)
		return;
	h->is_sealed = true;
	ask(h);
}

void horizon_unref(struct horizon *h)
{
	const struct outside *o;

	if (!h || --h->refs)
		return;
	o = h->of->outside;
	if (h->query)
		o->forget(o->at, OUTSIDE_QUESTIONS, h->query);
	if (h->of->taking == h)
		h->of->taking = NULL;
	DL_DELETE(h->of->all, h);
	free(h);
}

bool horizon_is_known(const struct horizon *h)
{
	return h->is_known;
}

lsn_t horizon_upto(const struct horizon *h)
{
	return h->upto;
}

void horizons_async(struct horizons *hs, bool is_async)
{
	hs->is_async = is_async;
}

/* --- sessions ----------------------------------------------------------------------------------------------------- */

void horizons_withdraw(struct horizons *hs)
{
	struct horizon *h;

	DL_FOREACH(hs->all, h) {
		if (!h->query)
			continue;
		hs->outside->forget(hs->outside->at, OUTSIDE_QUESTIONS, h->query);
		h->query = NULL;
		if (h->is_known) /* it was a second look */
			h->settled_at = now(hs);
	}
}

/* A later position counts for earlier answers too. */
void horizons_replaced(struct horizons *hs)
{
	struct horizon *h;

	DL_FOREACH(hs->all, h)
		if (h->is_sealed && !h->is_known)
			ask(h);
	settle_later(hs);
}

struct horizons *horizons_new(const struct outside *outside, void (*known)(void *ctx), void *ctx)
{
	struct horizons *hs = mem_new(sizeof(*hs));

	*hs = (struct horizons){ .outside = outside, .known = known, .ctx = ctx };
	return hs;
}

void horizons_free(struct horizons *hs)
{
	free(hs);
}
