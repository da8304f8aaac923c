/* metrics_impl: what metrics.c and the table share. */
#ifndef WALPUSH_METRICS_IMPL_H
#define WALPUSH_METRICS_IMPL_H

#include "walpush/watch/metrics.h"

enum metrics_type { METRICS_COUNTER, METRICS_GAUGE, METRICS_HISTOGRAM };

enum metrics_origin {
	METRICS_SUMMED, /* the sum of the cells of all blocks */
	METRICS_BY_HUB, /* cells of each hub, with the label `hub` */
	METRICS_LOOKED, /* metrics_gauge */
	METRICS_MAPPED, /* metrics_event */
	METRICS_FOUND   /* metrics_found */
};

struct metrics_row {
	const char *name;
	enum metrics_type type;
	enum metrics_origin origin;
	const char *label;                 /* NULL: none */
	const char *values[METRICS_WIDTH]; /* of the label; a label without values: the streams */
	const char *help;                  /* one sentence, and what the reader should know besides */
};

extern const struct metrics_row metrics_rows[METRICS_FAMILIES];

/* Upper bounds of the buckets, in µs; the last bucket has none. */
extern const int64_t metrics_bounds[METRICS_BOUNDS];

#endif
