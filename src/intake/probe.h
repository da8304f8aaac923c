/*
 * probe: asks one question of a text that is not asked at present, in the spare session, so that its breaker closes when the server answers it
 * again. No row waits for it. Private to the intake. Tap thread.
 *
 * Bounds: one probe at a time; it must be answered within limits.answer.
 */
#ifndef WALPUSH_PROBE_H
#define WALPUSH_PROBE_H

#include "breaker.h"
#include "outside.h"

struct probe;

/* All arguments must outlive the probe. `closed` is called when breakers were closed. */
struct probe *probe_new(const struct outside *outside, struct breakers *breakers, void (*closed)(void *ctx), void *ctx);
void probe_free(struct probe *p);
/* µs: limits.answer. */
void probe_limit(struct probe *p, int64_t limit);
/* Sends what is due, or sets the timer for it. Call it when breakers were opened. */
void probe_look(struct probe *p);
/* The same from the loop: a breaker has a question now. No breaker closes from within, because the caller is in the middle of asking. */
void probe_soon(struct probe *p);
/* The spare session is about to be replaced: a probe that runs has failed. */
void probe_withdraw(struct probe *p);
/* The breakers are about to be reset. */
void probe_forget(struct probe *p);

#endif
