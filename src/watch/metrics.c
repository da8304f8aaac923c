#include "walpush/watch/metrics.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "metrics_impl.h"
#include "walpush/base/fail.h"
#include "walpush/base/mem.h"

/* The cells of a histogram: a count for each bucket, then the sum in µs. */
#define CELL_SUM (METRICS_BOUNDS + 1)

_Static_assert(CELL_SUM < METRICS_WIDTH, "a histogram fits into its cells");

struct event { /* messages of one table and action */
	UT_hash_handle hh;
	uint64_t n;
	size_t action; /* where the action begins in the key */
	char key[];    /* table, zero, action, zero */
};

struct kind { /* of findings */
	char *check;
	const char *severity;
	unsigned n;
};

struct metrics {
	unsigned n_hubs;
	struct metrics_counts *blocks; /* the hubs', then the tap's */
	char *streams[METRICS_STREAMS];
	unsigned n_streams;
	struct event *events, *others;
	struct kind kinds[METRICS_EVENTS];
	unsigned n_kinds;
	struct buf key;
	double gauges[METRICS_FAMILIES][METRICS_WIDTH];
};

struct metrics *metrics_new(unsigned n_hubs)
{
	struct metrics *m = mem_new(sizeof(*m));

	m->n_hubs = n_hubs;
	m->blocks = aligned_alloc(_Alignof(struct metrics_counts), (n_hubs + 1) * sizeof(*m->blocks));
	if (!m->blocks)
		fail_never("out of memory: no counters for %u hubs", n_hubs);
	memset((void *)m->blocks, 0, (n_hubs + 1) * sizeof(*m->blocks));
	for (unsigned f = 0; f < METRICS_FAMILIES; f++)
		for (unsigned v = 0; v < METRICS_WIDTH; v++)
			m->gauges[f][v] = NAN;
	metrics_gauge(m, METRICS_BUILD, 0, 1);
	return m;
}

void metrics_free(struct metrics *m)
{
	struct event *e, *next;

	if (!m)
		return;
	HASH_ITER(hh, m->events, e, next) {
		HASH_DEL(m->events, e);
		free(e);
	}
	for (unsigned i = 0; i < m->n_streams; i++)
		free(m->streams[i]);
	for (unsigned i = 0; i < m->n_kinds; i++)
		free(m->kinds[i].check);
	buf_fini(&m->key);
	free((void *)m->blocks);
	free(m);
}

struct metrics_counts *metrics_of_tap(struct metrics *m)
{
	return &m->blocks[m->n_hubs];
}

struct metrics_counts *metrics_of_hub(struct metrics *m, unsigned hub)
{
	assert(hub < m->n_hubs);
	return &m->blocks[hub];
}

/* --- counting ------------------------------------------------------------------------------------------------------ */

/* A row that cannot name all values ends with "other". */
static unsigned value_of(const struct metrics_row *row, const char *value)
{
	unsigned v = 0;

	while (v + 1 < METRICS_WIDTH && row->values[v + 1] && strcmp(row->values[v], value) != 0)
		v++;
	assert(strcmp(row->values[v], value) == 0 || strcmp(row->values[v], "other") == 0);
	return v;
}

void metrics_count(struct metrics_counts *c, enum metrics_family family, const char *value)
{
	metrics_add_at(c, family, value_of(&metrics_rows[family], value), 1);
}

void metrics_count_number(struct metrics_counts *c, enum metrics_family family, unsigned value)
{
	char text[16];

	snprintf(text, sizeof(text), "%u", value);
	metrics_count(c, family, text);
}

void metrics_observe(struct metrics_counts *c, enum metrics_family family, int64_t us, uint64_t n)
{
	unsigned bucket = 0;

	if (us < 0)
		us = 0;
	while (bucket < METRICS_BOUNDS && us > metrics_bounds[bucket])
		bucket++;
	metrics_add_at(c, family, bucket, (int64_t)n);
	metrics_add_at(c, family, CELL_SUM, us * (int64_t)n);
}

unsigned metrics_stream(struct metrics *m, const char *name)
{
	for (unsigned i = 0; i < m->n_streams; i++)
		if (strcmp(m->streams[i], name) == 0)
			return i;
	if (m->n_streams == METRICS_STREAMS)
		return METRICS_STREAMS;
	m->streams[m->n_streams] = mem_text(name);
	return m->n_streams++;
}

static struct event *event_for(struct metrics *m, const char *table, const char *action)
{
	size_t table_len = strlen(table) + 1, action_len = strlen(action) + 1;
	struct event *e;

	buf_clear(&m->key);
	buf_add(&m->key, table, table_len);
	buf_add(&m->key, action, action_len);
	HASH_FIND(hh, m->events, m->key.data, m->key.len, e);
	if (e)
		return e;
	/* The last event counts everything without an event of its own. */
	if (m->others)
		return m->others;
	if (HASH_COUNT(m->events) == METRICS_EVENTS - 1 && strcmp(table, "other") != 0)
		return m->others = event_for(m, "other", "other");
	e = mem_new(sizeof(*e) + table_len + action_len);
	memcpy(e->key, m->key.data, table_len + action_len);
	e->action = table_len;
	HASH_ADD_KEYPTR(hh, m->events, e->key, table_len + action_len, e);
	return e;
}

void metrics_event(struct metrics *m, const char *table, const char *action)
{
	event_for(m, table, action)->n++;
}

void metrics_gauge(struct metrics *m, enum metrics_family family, unsigned value, double now)
{
	assert(metrics_rows[family].origin == METRICS_LOOKED);
	m->gauges[family][value] = now;
}

static struct kind *kind_for(struct metrics *m, const char *check, const char *severity)
{
	for (unsigned i = 0; i < m->n_kinds; i++)
		if (strcmp(m->kinds[i].check, check) == 0 && strcmp(m->kinds[i].severity, severity) == 0)
			return &m->kinds[i];
	if (m->n_kinds == METRICS_EVENTS)
		return NULL;
	m->kinds[m->n_kinds] = (struct kind){ mem_text(check), severity, 0 };
	return &m->kinds[m->n_kinds++];
}

void metrics_found(struct metrics *m, const char *check, const char *severity)
{
	struct kind *kind = kind_for(m, check, severity);

	if (kind)
		kind->n++;
}

void metrics_found_clear(struct metrics *m)
{
	for (unsigned i = 0; i < m->n_kinds; i++)
		m->kinds[i].n = 0;
}

/* --- reading ------------------------------------------------------------------------------------------------------- */

static uint64_t cell_of(const struct metrics_counts *block, unsigned family, unsigned value)
{
	return atomic_load_explicit(&block->cells[family][value], memory_order_relaxed);
}

static uint64_t cell_sum(const struct metrics *m, unsigned family, unsigned value)
{
	uint64_t sum = 0;

	for (unsigned b = 0; b <= m->n_hubs; b++)
		sum += cell_of(&m->blocks[b], family, value);
	return sum;
}

uint64_t metrics_value(const struct metrics *m, enum metrics_family family, unsigned value)
{
	return cell_sum(m, family, value);
}

uint64_t metrics_named(const struct metrics *m, enum metrics_family family, const char *value)
{
	return cell_sum(m, family, value_of(&metrics_rows[family], value));
}

uint64_t metrics_total(const struct metrics *m, enum metrics_family family)
{
	unsigned n = metrics_rows[family].type == METRICS_HISTOGRAM ? METRICS_BOUNDS + 1 : METRICS_WIDTH;
	uint64_t sum = 0;

	if (metrics_rows[family].origin == METRICS_MAPPED)
		for (const struct event *e = m->events; e; e = e->hh.next)
			sum += e->n;
	for (unsigned v = 0; v < n; v++)
		sum += cell_sum(m, family, v);
	return sum;
}

void metrics_histogram(const struct metrics *m, enum metrics_family family, struct metrics_histogram *out)
{
	*out = (struct metrics_histogram){ .sum_us = (int64_t)cell_sum(m, family, CELL_SUM) };
	for (unsigned v = 0; v <= METRICS_BOUNDS; v++)
		out->count += out->buckets[v] = cell_sum(m, family, v);
}

struct metrics_histogram metrics_histogram_since(const struct metrics_histogram *now,
						 const struct metrics_histogram *before)
{
	struct metrics_histogram gained = { .count = now->count - before->count,
					    .sum_us = now->sum_us - before->sum_us };

	for (unsigned v = 0; v <= METRICS_BOUNDS; v++)
		gained.buckets[v] = now->buckets[v] - before->buckets[v];
	return gained;
}

double metrics_histogram_quantile(const struct metrics_histogram *h, double part)
{
	uint64_t n = 0;

	for (unsigned v = 0; v < METRICS_BOUNDS; v++) {
		n += h->buckets[v];
		if ((double)n >= part * (double)h->count)
			return (double)metrics_bounds[v];
	}
	return (double)metrics_bounds[METRICS_BOUNDS - 1];
}

/* --- printing ------------------------------------------------------------------------------------------------------ */

static void add_label(struct buf *out, const char *name, const char *value)
{
	buf_addf(out, "%s=\"", name);
	for (; *value; value++) {
		if (*value == '\\' || *value == '"')
			buf_add_char(out, '\\');
		if (*value == '\n')
			buf_add_text(out, "\\n");
		else
			buf_add_char(out, *value);
	}
	buf_add_char(out, '"');
}

static const char *value_name(const struct metrics *m, const struct metrics_row *row, unsigned value)
{
	if (row->values[0])
		return row->values[value];
	return value < m->n_streams ? m->streams[value] : "other";
}

static unsigned n_values(const struct metrics *m, const struct metrics_row *row)
{
	unsigned n = 0;

	if (!row->label)
		return 1;
	if (!row->values[0])
		return m->n_streams == METRICS_STREAMS ? METRICS_WIDTH : m->n_streams;
	while (n < METRICS_WIDTH && row->values[n])
		n++;
	return n;
}

/* name{label="value",hub="0"} */
static void add_sample(struct buf *out, const struct metrics *m, const struct metrics_row *row, unsigned value, int hub)
{
	char number[16];

	buf_add_text(out, row->name);
	if (row->label || hub >= 0)
		buf_add_char(out, '{');
	if (row->label)
		add_label(out, row->label, value_name(m, row, value));
	if (hub >= 0) {
		snprintf(number, sizeof(number), "%d", hub);
		buf_add_text(out, row->label ? "," : "");
		add_label(out, "hub", number);
	}
	buf_add_text(out, row->label || hub >= 0 ? "} " : " ");
}

/* Hubs keep times in µs. */
static void add_cell(struct buf *out, const struct metrics_row *row, uint64_t cell)
{
	size_t len = strlen(row->name);

	if (row->type == METRICS_GAUGE && len > 8 && strcmp(row->name + len - 8, "_seconds") == 0)
		buf_addf(out, "%.6f\n", (double)cell / 1e6);
	else
		buf_addf(out, "%" PRIu64 "\n", cell);
}

static void add_cells(struct buf *out, const struct metrics *m, unsigned family)
{
	const struct metrics_row *row = &metrics_rows[family];

	for (unsigned v = 0; v < n_values(m, row); v++) {
		if (row->origin == METRICS_SUMMED) {
			add_sample(out, m, row, v, -1);
			add_cell(out, row, cell_sum(m, family, v));
			continue;
		}
		for (unsigned h = 0; h < m->n_hubs; h++) {
			add_sample(out, m, row, v, (int)h);
			add_cell(out, row, cell_of(&m->blocks[h], family, v));
		}
	}
}

static void add_histogram(struct buf *out, const struct metrics *m, unsigned family)
{
	const char *name = metrics_rows[family].name;
	uint64_t n = 0;

	for (unsigned v = 0; v <= METRICS_BOUNDS; v++) {
		n += cell_sum(m, family, v);
		if (v < METRICS_BOUNDS)
			buf_addf(out, "%s_bucket{le=\"%g\"} %" PRIu64 "\n", name, (double)metrics_bounds[v] / 1e6, n);
		else
			buf_addf(out, "%s_bucket{le=\"+Inf\"} %" PRIu64 "\n", name, n);
	}
	buf_addf(out, "%s_sum %.6f\n", name, (double)cell_sum(m, family, CELL_SUM) / 1e6);
	buf_addf(out, "%s_count %" PRIu64 "\n", name, n);
}

static void add_gauges(struct buf *out, const struct metrics *m, unsigned family)
{
	const struct metrics_row *row = &metrics_rows[family];

	for (unsigned v = 0; v < n_values(m, row); v++) {
		if (isnan(m->gauges[family][v]))
			continue;
		add_sample(out, m, row, v, -1);
		buf_addf(out, "%.17g\n", m->gauges[family][v]);
	}
}

static void add_events(struct buf *out, const struct metrics *m, unsigned family)
{
	for (const struct event *e = m->events; e; e = e->hh.next) {
		buf_addf(out, "%s{", metrics_rows[family].name);
		add_label(out, "table", e->key);
		buf_add_char(out, ',');
		add_label(out, "action", e->key + e->action);
		buf_addf(out, "} %" PRIu64 "\n", e->n);
	}
}

static void add_kinds(struct buf *out, const struct metrics *m, unsigned family)
{
	for (unsigned i = 0; i < m->n_kinds; i++) {
		buf_addf(out, "%s{", metrics_rows[family].name);
		add_label(out, "check", m->kinds[i].check);
		buf_add_char(out, ',');
		add_label(out, "severity", m->kinds[i].severity);
		buf_addf(out, "} %u\n", m->kinds[i].n);
	}
}

static void add_head(struct buf *out, const struct metrics_row *row)
{
	static const char *const types[] = { "counter", "gauge", "histogram" };
	const char *help = row->help;

	buf_addf(out, "# HELP %s ", row->name);
	for (; *help; help++)
		if (*help != '`')
			buf_add_char(out, *help);
	buf_addf(out, "\n# TYPE %s %s\n", row->name, types[row->type]);
}

void metrics_render(const struct metrics *m, struct buf *out)
{
	for (unsigned f = 0; f < METRICS_FAMILIES; f++) {
		const struct metrics_row *row = &metrics_rows[f];

		add_head(out, row);
		if (row->type == METRICS_HISTOGRAM)
			add_histogram(out, m, f);
		else if (row->origin == METRICS_LOOKED)
			add_gauges(out, m, f);
		else if (row->origin == METRICS_MAPPED)
			add_events(out, m, f);
		else if (row->origin == METRICS_FOUND)
			add_kinds(out, m, f);
		else
			add_cells(out, m, f);
	}
}

static void add_labels_of(struct buf *out, const struct metrics_row *row)
{
	const char *before = "";

	if (row->label) {
		buf_addf(out, "`%s`", row->label);
		before = ", ";
	}
	for (unsigned v = 0; row->label && strcmp(row->label, "version") != 0 && v < METRICS_WIDTH && row->values[v];
	     v++)
		buf_addf(out, "%s`%s`", v ? ", " : ": ", row->values[v]);
	if (row->origin == METRICS_MAPPED)
		buf_add_text(out, ", `action`");
	if (row->origin == METRICS_FOUND)
		buf_add_text(out, ", `severity`: `failure`, `warning`");
	if (row->origin == METRICS_BY_HUB)
		buf_addf(out, "%s`hub`", before);
}

void metrics_document(struct buf *out)
{
	static const char *const types[] = { "counter", "gauge", "histogram" };

	buf_add_text(out,
		     "# Metrics\n\n"
		     "Made from the table in `src/watch/metrics_table.c`; do not edit. `GET /metrics` on the admin "
		     "port gives "
		     "them in Prometheus' text format.\n"
		     "Durations are in seconds, sizes in bytes. Values of labels are those listed, or names of the "
		     "configuration:\nnever anything that a client or a row says.\n\n"
		     "| metric | type | labels | meaning |\n|---|---|---|---|\n");
	for (unsigned f = 0; f < METRICS_FAMILIES; f++) {
		const struct metrics_row *row = &metrics_rows[f];

		buf_addf(out, "| `%s` | %s | ", row->name, types[row->type]);
		add_labels_of(out, row);
		buf_addf(out, " | %s |\n", row->help);
	}
}
