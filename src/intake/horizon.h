/*
 * horizon: which commits the answers to questions may know. Private to the intake. Tap thread.
 *
 * An answer sees whatever is committed when its query runs, and the log may not have brought that yet. So behind the questions of one turn of the
 * loop a position of the WAL is read in the same session: every commit that they saw ends at or below it (position.h). They share a horizon.
 *
 *   take ─▶ taking ──seal──▶ asked ──answer──▶ known
 *                              ▲  │
 *                              └──┘ the session was replaced: asked again in the next one, which cannot be behind
 *
 * Where commits may be visible before they are flushed, the horizon is the insert position. If nobody flushes that far, it comes down to the
 * flush position after three times wal_writer_delay. On a standby a commit is visible before it counts as replayed: see position.h.
 */
#ifndef WALPUSH_HORIZON_H
#define WALPUSH_HORIZON_H

#include "walpush/base/event_id.h"
#include "outside.h"

/* Questions that share a horizon at most: the first one of a long turn is not to wait for the last one. */
#define HORIZON_QUESTIONS 64

struct horizons;
struct horizon;

/* `known` is called when a horizon is known, or comes down. `outside` must outlive the horizons. */
struct horizons *horizons_new(const struct outside *outside, void (*known)(void *ctx), void *ctx);
/* Called after all references were given back. */
void horizons_free(struct horizons *hs);

/* Commits may be visible before they are flushed, whatever the server says: database.async-commits. */
void horizons_async(struct horizons *hs, bool is_async);

/* A reference for a question that is sent now in OUTSIDE_QUESTIONS. */
struct horizon *horizons_take(struct horizons *hs);
/* The turn is over: the position behind its questions is asked for. */
void horizons_seal(struct horizons *hs);
/* NULL does nothing. */
void horizon_unref(struct horizon *h);

bool horizon_is_known(const struct horizon *h);
/* Everything that the answers saw commits below. LSN_MAX: the position could not be read, so nobody can tell. */
lsn_t horizon_upto(const struct horizon *h);

/* The session is about to be replaced. */
void horizons_withdraw(struct horizons *hs);
/* Another session has taken its place. */
void horizons_replaced(struct horizons *hs);

#endif
