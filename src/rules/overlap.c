#include "walpush/rules/overlap.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "parts.h"
#include "walpush/base/mem.h"

#define TABLES_NAMED 8 /* in overlap_add_tables */
#define BITS 64

struct table {
	char *name;
	uint64_t *readers; /* a bit for each query */
};

struct knowledge {     /* of one query */
	size_t text;   /* the first query of the same text */
	char *unknown; /* owned; why its tables are unknown. NULL: they are known */
	bool may_pass;
};

struct overlap {
	size_t n; /* queries */
	struct knowledge *queries;
	struct table *tables; /* as the server sorts them: partitions last */
	size_t n_tables;
};

static size_t first_of_text(const struct rules *rules, size_t query)
{
	const char *sql = rules_query_at(rules, query)->sql;
	size_t i = 0;

	while (strcmp(rules_query_at(rules, i)->sql, sql) != 0)
		i++;
	return i;
}

struct overlap *overlap_new(const struct rules *rules)
{
	struct overlap *o = mem_new(sizeof(*o));

	o->n = rules_n_queries(rules);
	o->queries = mem_new_array(o->n, sizeof(*o->queries));
	for (size_t i = 0; i < o->n; i++)
		o->queries[i].text = first_of_text(rules, i);
	return o;
}

void overlap_free(struct overlap *o)
{
	if (!o)
		return;
	for (size_t i = 0; i < o->n; i++)
		free(o->queries[i].unknown);
	for (size_t i = 0; i < o->n_tables; i++) {
		free(o->tables[i].name);
		free(o->tables[i].readers);
	}
	free(o->queries);
	free(o->tables);
	free(o);
}

static bool add_readers(const struct overlap *o, struct table *t, const char *list)
{
	while (*list) {
		char *end;
		unsigned long query = strtoul(list, &end, 10);

		if (end == list || (*end && *end != ' ') || query >= o->n)
			return false;
		t->readers[query / BITS] |= UINT64_C(1) << query % BITS;
		list = *end ? end + 1 : end;
	}
	return true;
}

bool overlap_add(struct overlap *o, const char *const row[OVERLAP_COLUMNS], struct fail *why)
{
	struct table *t;

	if (!row[0] || !row[1])
		return fail_set(why, "the server answers something unexpected about the tables of queries");
	o->tables = mem_resize(o->tables, o->n_tables + 1, sizeof(*o->tables));
	t = &o->tables[o->n_tables++];
	*t = (struct table){ mem_text(row[0]), mem_new_array((o->n + BITS - 1) / BITS, sizeof(*t->readers)) };
	return add_readers(o, t, row[1]) ||
	       fail_set(why, "the server answers something unexpected about the tables of queries");
}

void overlap_fail(struct overlap *o, size_t query, const struct fail *why)
{
	struct knowledge *k = &o->queries[query];

	if (k->unknown)
		return;
	k->unknown = mem_text(why->text);
	k->may_pass = reads_error_may_pass(why->sqlstate);
}

static bool reads_table(const struct table *t, size_t query)
{
	return (t->readers[query / BITS] >> query % BITS) & 1;
}

static bool is_named(const struct table *t, const char *schema, const char *name)
{
	size_t len = strlen(schema);

	return strncmp(t->name, schema, len) == 0 && t->name[len] == '.' && strcmp(t->name + len + 1, name) == 0;
}

bool overlap_reads(const struct overlap *o, size_t query, const char *schema, const char *table)
{
	for (size_t i = 0; o && !o->queries[query].unknown && i < o->n_tables; i++)
		if (reads_table(&o->tables[i], query) && is_named(&o->tables[i], schema, table))
			return true;
	return false;
}

const char *overlap_table(const struct overlap *o, size_t a, size_t b)
{
	if (!o)
		return NULL;
	assert(a < o->n && b < o->n);
	if (o->queries[a].unknown || o->queries[b].unknown)
		return NULL;
	for (size_t i = 0; i < o->n_tables; i++)
		if (reads_table(&o->tables[i], a) && reads_table(&o->tables[i], b))
			return o->tables[i].name;
	return NULL;
}

bool overlap_shares(const struct overlap *o, size_t a, size_t b)
{
	return a == b || overlap_table(o, a, b) || (o && o->queries[a].text == o->queries[b].text);
}

void overlap_add_tables(const struct overlap *o, size_t query, struct buf *out)
{
	size_t n = 0;

	for (size_t i = 0; i < o->n_tables; i++) {
		if (!reads_table(&o->tables[i], query))
			continue;
		if (n < TABLES_NAMED)
			buf_addf(out, "%s%s", n ? ", " : "", o->tables[i].name);
		n++;
	}
	if (n > TABLES_NAMED)
		buf_addf(out, ", and %zu more", n - TABLES_NAMED);
}

const char *overlap_unknown(const struct overlap *o, size_t query)
{
	return o->queries[query].unknown;
}

bool overlap_may_pass(const struct overlap *o)
{
	for (size_t i = 0; i < o->n; i++)
		if (o->queries[i].may_pass)
			return true;
	return false;
}

static size_t n_known(const struct overlap *o)
{
	size_t n = 0;

	for (size_t i = 0; i < o->n; i++)
		n += !o->queries[i].unknown;
	return n;
}

struct overlap *overlap_update(struct overlap *before, struct overlap *now)
{
	bool stays = before && overlap_may_pass(now) && n_known(now) < n_known(before);

	overlap_free(stays ? now : before);
	return stays ? before : now;
}
