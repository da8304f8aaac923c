#include "walpush/change/relation.h"

#include <stdlib.h>

#include "pgbytes.h"
#include "relation_impl.h"
#include "walpush/base/mem.h"
#include "walpush/change/decode.h"

struct relations {
	struct relation *all;
};

void relation_unref(struct relation *r)
{
	if (!r || --r->refs)
		return;
	buf_fini(&r->names);
	free(r->columns);
	free(r);
}

size_t relation_charge(struct relation *r)
{
	if (r->is_charged)
		return 0;
	r->is_charged = true;
	return sizeof(*r) + r->names.cap + r->n_columns * sizeof(*r->columns);
}

void relation_table(const struct relation *r, struct slice *schema, struct slice *table)
{
	*schema = r->schema;
	*table = r->table;
}

/* Notes where the name begins; point_names makes pointers of that, when `names` grows no more. */
static void add_name(struct relation *r, struct slice *name, struct slice text)
{
	size_t before = r->names.len;

	buf_add_json(&r->names, text);
	*name = (struct slice){ NULL, r->names.len - before };
}

static void point_names(struct relation *r)
{
	const char *at = r->names.data;

	r->schema.at = at;
	at += r->schema.len;
	r->table.at = at;
	at += r->table.len;
	for (size_t i = 0; i < r->n_columns; i++) {
		r->columns[i].name.at = at;
		at += r->columns[i].name.len;
	}
}

static bool take_column(struct scan *s, struct relation *r, struct relation_column *c)
{
	uint64_t flags, modifier;
	struct slice name;

	if (!number(s, 1, &flags, "the flags of a column") || !string(s, &name, "the name of a column") ||
	    !oid(s, &c->type, "the type of a column") || !number(s, 4, &modifier, "the modifier of a column's type"))
		return false;
	c->in_key = flags & 1;
	add_name(r, &c->name, name);
	return true;
}

static bool take_relation(struct scan *s, struct relation *r)
{
	struct slice schema, table;
	uint64_t identity, n;
	char kind;

	if (!byte(s, &kind, "a Relation message") || !oid(s, &r->oid, "the OID of a table") ||
	    !string(s, &schema, "the name of a schema") || !string(s, &table, "the name of a table") ||
	    !number(s, 1, &identity, "the replica identity") || !number(s, 2, &n, "the number of columns"))
		return false;
	if (n > DECODE_COLUMNS)
		return expected(s, "no more columns than a table can have");
	/* The server leaves out the name of its own schema. */
	add_name(r, &r->schema, schema.len ? schema : SLICE("pg_catalog"));
	add_name(r, &r->table, table);
	r->n_columns = n;
	r->columns = mem_new_array(n + 1, sizeof(*r->columns));
	for (size_t i = 0; i < n; i++)
		if (!take_column(s, r, &r->columns[i]))
			return false;
	return ends(s);
}

bool relation_is_told(struct slice message)
{
	return message.len && *message.at == 'R';
}

bool relations_take(struct relations *rs, struct slice message, struct fail *why)
{
	struct relation *r = mem_new(sizeof(*r)), *before;
	struct scan s = scan_of(message, why);

	r->refs = 1;
	if (!take_relation(&s, r)) {
		relation_unref(r);
		return false;
	}
	point_names(r);
	HASH_REPLACE(hh, rs->all, oid, sizeof(r->oid), r, before);
	relation_unref(before);
	return true;
}

/* The message's kind, and what is before the OIDs of its tables. */
static bool begin_tables(struct scan *s, size_t *n)
{
	uint64_t count = 1, options;
	char kind;

	if (!byte(s, &kind, "a message"))
		return false;
	if (kind == 'T' &&
	    (!number(s, 4, &count, "the number of tables") || !number(s, 1, &options, "the options of a TRUNCATE")))
		return false;
	if (kind != 'T' && kind != 'I' && kind != 'U' && kind != 'D')
		count = 0;
	if (count > (uint64_t)(s->end - s->at) / 4)
		return expected(s, "the OID of a table");
	if (kind == 'T' && count * 4 != (uint64_t)(s->end - s->at))
		return expected(s, "as many OIDs as there are tables");
	*n = count;
	return true;
}

size_t relations_count(struct slice message)
{
	struct fail why;
	struct scan s = scan_of(message, &why);
	size_t n;

	return begin_tables(&s, &n) ? n : 0;
}

struct relation *relations_find(const struct relations *rs, struct slice message, size_t n, struct fail *why)
{
	struct scan s = scan_of(message, why);
	struct relation *r;
	size_t count;
	uint32_t id;

	if (!begin_tables(&s, &count))
		return NULL;
	if (n >= count) {
		expected(&s, "the OID of a table");
		return NULL;
	}
	s.at += 4 * n;
	oid(&s, &id, "the OID of a table");
	HASH_FIND(hh, rs->all, &id, sizeof(id), r);
	if (r)
		r->refs++;
	else
		fail_at_offset(why, 1, "a row of a table that no message described: OID %u", (unsigned)id);
	return r;
}

struct slice relations_truncate(struct slice message, size_t n, char out[RELATION_TRUNCATE_BYTES])
{
	static const char one[] = { 'T', 0, 0, 0, 1 };

	memcpy(out, one, sizeof(one));
	out[sizeof(one)] = message.at[sizeof(one)]; /* the options */
	memcpy(out + sizeof(one) + 1, message.at + sizeof(one) + 1 + 4 * n, 4);
	return (struct slice){ out, RELATION_TRUNCATE_BYTES };
}

void relations_forget(struct relations *rs)
{
	struct relation *r, *next;

	HASH_ITER(hh, rs->all, r, next) {
		HASH_DEL(rs->all, r);
		relation_unref(r);
	}
}

struct relations *relations_new(void)
{
	return mem_new(sizeof(struct relations));
}

void relations_free(struct relations *rs)
{
	if (!rs)
		return;
	relations_forget(rs);
	free(rs);
}
