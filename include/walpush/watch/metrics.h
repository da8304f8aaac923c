/*
 * metrics: what the process counts, and how Prometheus reads it.
 *
 * Every metric has one row in one table (src/watch/metrics_table.c): name, type, labels, their values, help. /metrics
 * and docs/metrics.md are made from this table. So a new reason is a word in a row, and a new metric is a row and a
 * name in the enum below.
 *
 * Threads. Each hub has its own block of cells, and the tap has one. A block's thread is its only writer, and no two
 * blocks share a cache line. An increment is a relaxed load and store, without a locked instruction. The tap adds the
 * blocks up when somebody asks. Cells that belong together may be read a moment apart. Only the tap calls functions
 * that take `struct metrics *`.
 *
 * Labels are bounded. Their values are in the table, or are names of the configuration (streams, tables, actions). At
 * most METRICS_STREAMS streams and METRICS_EVENTS events have their own value; the rest counts as "other".
 */
#ifndef WALPUSH_METRICS_H
#define WALPUSH_METRICS_H

#include <stdatomic.h>
#include <stdint.h>

#include "walpush/base/buf.h"

#define METRICS_BOUNDS 16 /* bounds of a histogram; one more bucket has none */
#define METRICS_WIDTH 32  /* values of a label, or buckets of a histogram and their sum */
#define METRICS_STREAMS (METRICS_WIDTH - 1)
#define METRICS_EVENTS 256

enum metrics_family {
	/* counted by hubs, and where marked by the tap too */
	METRICS_CONNECTIONS, /* label: metrics_stream */
	METRICS_HANDSHAKES,
	METRICS_REFUSALS, /* the tap too */
	METRICS_CLOSES,
	METRICS_CLIENT_MESSAGES,
	METRICS_DELIVERIES,
	METRICS_SENT_BYTES,
	METRICS_RESYNCS,
	METRICS_COMMIT_TO_WRITTEN,
	METRICS_READERS_BEHIND,
	METRICS_READER_LAG_SECONDS,
	METRICS_READER_LAG_BYTES,
	/* counted by the tap */
	METRICS_ADMISSIONS,
	METRICS_ADMISSION_SECONDS,
	METRICS_ADMIT_QUERIES,
	METRICS_ADMIT_ROUNDS,
	METRICS_ADMIT_CANCELLED,
	METRICS_TRANSACTIONS,
	METRICS_MESSAGES, /* by table and action: metrics_event */
	METRICS_GROUP_RESYNCS,
	METRICS_COMMIT_TO_PUBLISHED,
	METRICS_LOOKUP_SECONDS,
	METRICS_LOOKUP_FAILURES,
	METRICS_LOOKUPS_LEFT_OUT,
	METRICS_ROWS_UNANSWERED,
	METRICS_ANSWERS_VOID,
	METRICS_CONNECTS,
	METRICS_UNRESOLVED,
	METRICS_RELOADS,
	METRICS_WATCHED_CHANGES,
	METRICS_DDL_LOOKS,
	METRICS_AUDIT_LOST,
	METRICS_ADMIN_REFUSALS,
	/* read when somebody asks: metrics_gauge */
	METRICS_ADMIT_WAITING,
	METRICS_ADMIT_QUESTIONS,
	METRICS_ADMIT_CONNECTIONS,
	METRICS_READY,
	METRICS_STREAMING,
	METRICS_BEHIND_BYTES,
	METRICS_REPLAY_HELD_BYTES,
	METRICS_REPLAY_HELD_SECONDS,
	METRICS_SLOT_RETAINED,
	METRICS_SLOT_SAFE,
	METRICS_SLOT_STATUS,
	METRICS_SLOT_PLUGIN,
	METRICS_INTAKE_BYTES,
	METRICS_QUERIES_LEFT_OUT,
	METRICS_RELAY_UP,
	METRICS_RELAY_LEADS,
	METRICS_RELAY_LEADERSHIPS,
	METRICS_RELAY_STREAM_ENTRIES,
	METRICS_RELAY_QUEUED_BYTES,
	METRICS_RELAY_APPEND_LAG,
	METRICS_RELAY_APPENDED,
	METRICS_RELAY_READ,
	METRICS_RELAY_REFUSED,
	METRICS_STALLED_SECONDS,
	METRICS_ROWS_SKIPPED,
	METRICS_TRANSACTIONS_SKIPPED,
	METRICS_QUERIES_GIVEN_UP,
	METRICS_FINDINGS, /* metrics_found */
	METRICS_LOG_BYTES,
	METRICS_GROUPS,
	METRICS_BUILD,
	METRICS_RSS,
	METRICS_FDS,
	METRICS_MAX_FDS,
	METRICS_CPU,
	METRICS_START,
	METRICS_FAMILIES
};

struct metrics;

struct metrics_counts { /* of one thread */
	_Alignas(64) _Atomic uint64_t cells[METRICS_FAMILIES][METRICS_WIDTH];
};

struct metrics *metrics_new(unsigned n_hubs);
void metrics_free(struct metrics *m);
struct metrics_counts *metrics_of_tap(struct metrics *m);
struct metrics_counts *metrics_of_hub(struct metrics *m, unsigned hub);

/* --- counting: only the block's own thread ----------------------------------------------------------------------- */

static inline void metrics_add_at(struct metrics_counts *c, enum metrics_family family, unsigned value, int64_t n)
{
	_Atomic uint64_t *cell = &c->cells[family][value];

	atomic_store_explicit(cell, atomic_load_explicit(cell, memory_order_relaxed) + (uint64_t)n,
			      memory_order_relaxed);
}

static inline void metrics_add(struct metrics_counts *c, enum metrics_family family, int64_t n)
{
	metrics_add_at(c, family, 0, n);
}

static inline void metrics_set(struct metrics_counts *c, enum metrics_family family, int64_t n)
{
	atomic_store_explicit(&c->cells[family][0], (uint64_t)n, memory_order_relaxed);
}

/* Counts one event with this value of the family's label, as its row spells the value. A value that the row lacks
 * counts as "other". For rare events, because it compares texts. */
void metrics_count(struct metrics_counts *c, enum metrics_family family, const char *value);
/* The same for a number, such as a close code. */
void metrics_count_number(struct metrics_counts *c, enum metrics_family family, unsigned value);
/* `n` events that each took `us`, in µs; a negative `us` counts as 0. */
void metrics_observe(struct metrics_counts *c, enum metrics_family family, int64_t us, uint64_t n);

/* --- the tap ------------------------------------------------------------------------------------------------------ */

/* The value of METRICS_CONNECTIONS' label for this stream. A name keeps its value for ever. */
unsigned metrics_stream(struct metrics *m, const char *name);
/* Counts one message of that section of `tables`. Both texts are copied. */
void metrics_event(struct metrics *m, const char *table, const char *action);
/* The gauge keeps this number until the next call; NAN: unknown, and not printed. `value`: the index in the label's
 * row. */
void metrics_gauge(struct metrics *m, enum metrics_family family, unsigned value, double now);
/* One finding more of this check, whose name is copied; `severity` is a literal. Those of more than METRICS_EVENTS kinds are not counted. */
void metrics_found(struct metrics *m, const char *check, const char *severity);
/* No findings: the kinds that were there are printed as 0. */
void metrics_found_clear(struct metrics *m);
/* Sum over all threads of one value of the label. */
uint64_t metrics_value(const struct metrics *m, enum metrics_family family, unsigned value);
/* The same for a value as the family's row spells it. */
uint64_t metrics_named(const struct metrics *m, enum metrics_family family, const char *value);
/* Sum over all threads and values of the label; for a histogram the number of observations. */
uint64_t metrics_total(const struct metrics *m, enum metrics_family family);
struct metrics_histogram { /* the sum of all threads */
	uint64_t buckets[METRICS_BOUNDS + 1];
	uint64_t count;
	int64_t sum_us;
};
void metrics_histogram(const struct metrics *m, enum metrics_family family, struct metrics_histogram *out);
struct metrics_histogram metrics_histogram_since(const struct metrics_histogram *now,
						 const struct metrics_histogram *before);
/* The upper bound, in µs, of the bucket where this part of all observations is reached; above the last bound, the last
 * bound. */
double metrics_histogram_quantile(const struct metrics_histogram *h, double part);
/* The text format 0.0.4. */
void metrics_render(const struct metrics *m, struct buf *out);
/* docs/metrics.md. */
void metrics_document(struct buf *out);

#endif
