/*
 * breaker: which query texts are not asked at present, because they failed or took too long. Private to the intake; pure.
 *
 *            failed, or slow for too long              the wait is over
 *   CLOSED ─────────────────────────────▶ OPEN ───────────────────────────▶ PROBED
 *      ▲                                   ▲                                  │
 *      │                                   └──────── the probe failed ────────┤
 *      └─────────────────────────────────────────── the probe was answered ───┘
 *
 * There is one breaker for each query text. A text that fails opens the breakers of all texts that read a table which it reads: a lock on a
 * table concerns all of them. While a breaker is open, rows do not ask. One question, the probe, is asked again with the values that failed;
 * no row waits for it. The values of a text that was only opened with another one are those of the first row that did not ask; without such a row
 * it closes together with the other one. If the session was the reason and no text, a text without such a row closes when its wait is over.
 *
 * The wait before a probe is 1 s, and twice as long after each further failure, up to 30 s. It is 1 s again after 60 s without a failure.
 * An answer that takes over a tenth of limits.answer is slow (100 ms by default). Slow answers of three times limits.answer (3 s) together, within
 * 30 s, are a failure.
 */
#ifndef WALPUSH_BREAKER_H
#define WALPUSH_BREAKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A text of no breaker: it is always asked. */
#define BREAKER_NONE UINT32_MAX

enum breaker_reason {
	BREAKER_LOCK,    /* it waited for a lock */
	BREAKER_TIMEOUT, /* statement_timeout */
	BREAKER_LOST,    /* its server process ended */
	BREAKER_LATE,    /* no answer within limits.answer */
	BREAKER_SLOW,    /* slow answers */
	BREAKER_REASONS
};

/* Do these two texts read a common table? */
typedef bool breaker_share(void *ctx, uint32_t a, uint32_t b);

struct breakers;

struct breaker_kept { /* a question for the probe; owned by the breakers */
	char *name, *sql;
	size_t n_values;
	char **values;
	unsigned failed; /* probes with it that were not answered */
};

/* So many probes are made with the values that failed; then those of the next row that would ask take their place. */
#define KEPT_TRIES 2

struct breakers *breakers_new(void);
void breakers_free(struct breakers *bs);
/* So many texts, all closed. `share` NULL: no text shares a table with another one. */
void breakers_reset(struct breakers *bs, uint32_t n, breaker_share *share, void *ctx);

/* µs: limits.answer. */
void breakers_limit(struct breakers *bs, int64_t limit);

/* Times in µs of a clock that does not go back. */
bool breakers_may_ask(const struct breakers *bs, uint32_t text);
/* True: breakers were opened. */
bool breakers_failed(struct breakers *bs, uint32_t text, enum breaker_reason reason, int64_t now);
/* The session for questions does not answer, and no text is the reason: opens all breakers. */
bool breakers_failed_all(struct breakers *bs, enum breaker_reason reason, int64_t now);
/* An answer took `us`. True: it was one too many, and breakers were opened. */
bool breakers_answered(struct breakers *bs, uint32_t text, int64_t us, int64_t now);
/* The question that failed or was not asked. All texts are copied. False: nothing was done, because the text is not open, or has a question
 * already that was probed less than KEPT_TRIES times. */
bool breakers_keep(struct breakers *bs, uint32_t text, const char *name, const char *sql, size_t n_values,
		   const char *const *values);
/* Closes what only had to wait. Returns the text that should be probed now; it counts as PROBED. BREAKER_NONE: none, or one is probed already. `next`: when to look again, INT64_MAX:
 * not before something changes. */
uint32_t breakers_due(struct breakers *bs, int64_t now, int64_t *next);
/* The question of the text that is probed. */
const struct breaker_kept *breakers_kept(const struct breakers *bs, uint32_t text);
void breakers_probed(struct breakers *bs, uint32_t text, bool is_answered, int64_t now);

/* Does this error of a query open its breaker? It does if asking again at once would take as long again, or worse. */
bool breaker_concerns(const char *sqlstate, enum breaker_reason *reason);

/* --- for people --- */
struct breaker_state {
	enum breaker_reason reason;
	uint32_t cause; /* the text that failed */
	int64_t since;  /* µs */
	int64_t wait;   /* µs */
};

/* False: the text's breaker is closed. */
bool breakers_state(const struct breakers *bs, uint32_t text, struct breaker_state *out);
unsigned breakers_open(const struct breakers *bs);
const char *breaker_reason_text(enum breaker_reason reason);

#endif
