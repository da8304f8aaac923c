#include "later.h"

#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "walpush/base/mem.h"
#include "walpush/change/route.h"

/* Rows of handled transactions are dropped when there are twice as many as were left, but not below so many. */
#define SWEEP_LEAST 1024
#define TABLE "*" /* no key is so short: each value ends in a zero */

struct later_row { /* without a key: any row of the table; with TABLE in its place: the table */
	UT_hash_handle hh;
	uint64_t gone;    /* number of the last record that took it away */
	uint64_t changed; /* of the last that changed it, or took it away */
	uint64_t since;   /* number of that one's transaction */
	size_t key_len;
	char key[];
};

/* --- rows --------------------------------------------------------------------------------------------------------- */

static void begin_key(struct buf *key, const struct rules_table *table)
{
	const struct catalog_table *catalog = table->catalog;

	buf_clear(key);
	buf_add(key, (const char *)&catalog, sizeof(catalog));
}

static void table_key(struct buf *key, const struct rules_table *table)
{
	begin_key(key, table);
	buf_add_text(key, TABLE);
}

/* The values of the primary key, after the change or before it. False: there is no primary key, or a value is not known. */
static bool make_key(struct buf *key, const struct rules_table *table, const struct row *row, bool before)
{
	const struct catalog_table *catalog = table->catalog;
	bool is_known = catalog->n_key > 0;

	begin_key(key, table);
	for (size_t i = 0; is_known && i < catalog->n_columns; i++) {
		const struct column *c = before ? row_former(row, i) : row_value(row, i);

		if (!catalog->columns[i].in_key)
			continue;
		if (c) {
			buf_add_slice(key, c->value);
			buf_add_char(key, '\0');
		}
		is_known = c != NULL;
	}
	if (!is_known)
		begin_key(key, table);
	return is_known;
}

static struct later_row *find(struct later *l)
{
	struct later_row *row;

	HASH_FIND(hh, l->rows, l->key.data, l->key.len, row);
	return row;
}

/* The row of `key`. */
static void note(struct later *l, const struct record *r, bool is_gone)
{
	struct later_row *row = find(l);

	if (!row) {
		row = mem_new(sizeof(*row) + l->key.len);
		row->key_len = l->key.len;
		memcpy(row->key, l->key.data, l->key.len);
		HASH_ADD_KEYPTR(hh, l->rows, row->key, row->key_len, row);
	}
	row->changed = r->number;
	row->since = r->transaction->number;
	if (is_gone)
		row->gone = r->number;
}

/* Those of records that are handled, which is before the number `first`. */
static void sweep(struct later *l, uint64_t first)
{
	struct later_row *row, *next;

	HASH_ITER(hh, l->rows, row, next) {
		if (row->changed >= first)
			continue;
		HASH_DEL(l->rows, row);
		free(row);
	}
	l->swept = HASH_COUNT(l->rows);
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

static void read_members(struct later *l, const struct rules_table *table, const struct change *change,
			 const struct transaction *t)
{
	for (size_t i = 0; i < table->n_memberships; i++) {
		struct route_members members = { .everybody = true };

		if (change->kind != CHANGE_TRUNCATE)
			route_membership(table->memberships[i], &l->bind.row, &members);
		if (members.everybody || members.n)
			l->member = t->number;
	}
}

static bool takes_away(const struct rules_table *table, const struct row *row)
{
	for (size_t i = 0; i < table->n_sections; i++)
		if (route_takes_away(table->sections[i], row) || route_gives_away(table->sections[i], row))
			return true;
	return false;
}

/* Does a lookup of the table name receivers? */
static bool names_receivers(const struct rules_table *table)
{
	for (size_t i = 0; i < table->n_sections; i++)
		for (size_t g = 0; g < table->sections[i]->n_groups; g++)
			if (table->sections[i]->group_uses_lookup[g])
				return true;
	return false;
}

/* A row has a key that another one had before: what asks by the key finds this one. */
static void note_heir(struct later *l, const struct rules_table *table, const struct record *r)
{
	if (make_key(&l->key, table, &l->bind.row, false) && find(l))
		note(l, r, true);
}

/* A row that is new was not changed: no earlier message is about it. */
static void read_bound(struct later *l, const struct rules_table *table, const struct change *change,
		       const struct record *r)
{
	bool is_gone = change->kind == CHANGE_TRUNCATE || takes_away(table, &l->bind.row);

	read_members(l, table, change, r->transaction);
	table_key(&l->key, table);
	note(l, r, false);
	if (change->kind == CHANGE_INSERT || (change->kind == CHANGE_UPDATE && is_gone))
		note_heir(l, table, r);
	if (change->kind == CHANGE_TRUNCATE)
		begin_key(&l->key, table);
	else if (is_gone || (change->kind != CHANGE_INSERT && names_receivers(table)))
		make_key(&l->key, table, &l->bind.row, true);
	else
		return;
	note(l, r, is_gone);
}

/* INHERITS may name several parents, and each of them may decide. */
static bool has_parents(const struct later *l, const struct change *change)
{
	return rules_find_parent(l->bind.rules, change->schema, change->table, 1) != NULL;
}

static void read_row(struct later *l, const struct record *r)
{
	const struct rules_table *table = NULL;
	struct change change;
	struct fail why;
	enum bound bound = r->is_skipped ? BOUND_CORRUPT : bind_row(&l->bind, r, &change, &table, &why);

	if (bound == BOUND_NOT_LISTED)
		return;
	if (bound != BOUND || has_parents(l, &change))
		l->everything = r->number;
	else
		read_bound(l, table, &change, r);
}

static void read_record(struct later *l, const struct record *r)
{
	if (r->transaction->repeated)
		return;
	if (r->kind == 'C' && r->transaction->is_ddl)
		l->member = r->transaction->number;
	else if (!record_is_frame(r))
		read_row(l, r);
}

void later_read(struct later *l, struct queue *q, lsn_t upto)
{
	if (!q->head)
		return;
	if (HASH_COUNT(l->rows) >= SWEEP_LEAST && HASH_COUNT(l->rows) >= 2 * l->swept)
		sweep(l, q->head->number);
	for (struct record *r = q->read_next; r && r->transaction->lsn < upto; r = q->read_next) {
		read_record(l, r);
		q->read_next = r->next;
	}
}

/* --- the question ------------------------------------------------------------------------------------------------- */

/* The row of `key`. */
static void add_row(struct later *l, const struct record *r, struct later_says *says)
{
	const struct later_row *row = find(l);

	says->content |= row && row->gone > r->number;
	says->receivers |= row && row->changed > r->number;
	says->since |= row && row->since > r->transaction->number;
}

struct later_says later_changed(struct later *l, const struct record *r, const struct rules_table *table,
				const struct row *row)
{
	bool anything = l->everything > r->number;
	struct later_says says = { anything || l->member > r->transaction->number, anything, anything };

	if (make_key(&l->key, table, row, row->change->kind == CHANGE_DELETE))
		add_row(l, r, &says);
	begin_key(&l->key, table);
	add_row(l, r, &says);
	return says;
}

bool later_any(const struct later *l)
{
	return HASH_COUNT(l->rows) > 0;
}

bool later_table(struct later *l, const struct transaction *t, const struct rules_table *table)
{
	const struct later_row *row;

	table_key(&l->key, table);
	row = find(l);
	return row && row->since > t->number;
}

/* --- life --------------------------------------------------------------------------------------------------------- */

void later_rules(struct later *l, struct queue *q, const struct rules *rules)
{
	sweep(l, UINT64_MAX);
	l->member = l->everything = 0;
	l->bind.rules = rules;
	q->read_next = q->head;
}

void later_init(struct later *l)
{
	*l = (struct later){ 0 };
	bind_init(&l->bind);
}

void later_fini(struct later *l)
{
	sweep(l, UINT64_MAX);
	bind_fini(&l->bind);
	buf_fini(&l->key);
}
