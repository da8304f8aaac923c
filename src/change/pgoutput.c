#include "walpush/change/pgoutput.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "pgbytes.h"
#include "pgzone.h"
#include "relation_impl.h"
#include "walpush/base/buf.h"
#include "walpush/base/mem.h"
#include "walpush/text/jsontext.h"

#define EPOCH_S INT64_C(946684800) /* the protocol's clock begins in 2000 */
#define COPIED_KEPT 65536          /* bytes of copied texts that stay allocated */

enum { TYPE_BOOL = 16, TYPE_BYTEA = 17, TYPE_INT8 = 20, TYPE_INT2 = 21, TYPE_INT4 = 23, TYPE_OID = 26 };
enum { TYPE_FLOAT4 = 700, TYPE_FLOAT8 = 701, TYPE_NUMERIC = 1700 };

struct text { /* the value of a column that was copied: where it begins in `copied` */
	struct column *column;
	size_t at;
};

struct pgoutput {
	struct column columns[DECODE_COLUMNS];
	struct column identity[DECODE_COLUMNS];
	struct text texts[2 * DECODE_COLUMNS];
	size_t n_texts;
	struct buf copied;
	char time[80];
	struct pgzone zone; /* of the times */
};

/* --- values ------------------------------------------------------------------------------------------------------- */

/* JSON needs an escape for it. */
static bool is_special(unsigned char c)
{
	return c < 0x20 || c == '"' || c == '\\';
}

static bool has_special(struct slice text)
{
	for (size_t i = 0; i < text.len; i++)
		if (is_special((unsigned char)text.at[i]))
			return true;
	return false;
}

static bool text_value(const struct scan *s, struct pgoutput *d, struct slice text, struct column *c)
{
	if (!utf8_is_valid(text))
		return expected(s, "UTF-8 in a value (is the database's encoding UTF8?)");
	if (text.len && memchr(text.at, '\0', text.len))
		return expected(s, "a value without zero bytes");
	c->kind = VALUE_STRING;
	c->value = text;
	if (!has_special(text))
		return true;
	d->texts[d->n_texts++] = (struct text){ c, d->copied.len };
	buf_add_json(&d->copied, text);
	c->value.len = d->copied.len - d->texts[d->n_texts - 1].at;
	return true;
}

/* `copied` grows no more. */
static void point_texts(struct pgoutput *d)
{
	for (size_t i = 0; i < d->n_texts; i++)
		d->texts[i].column->value.at = d->copied.data + d->texts[i].at;
}

static bool bool_value(const struct scan *s, struct slice text, struct column *c)
{
	bool is_true = slice_equal(text, SLICE("t"));

	if (!is_true && !slice_equal(text, SLICE("f")))
		return expected(s, "t or f");
	c->kind = VALUE_BOOL;
	c->value = is_true ? SLICE("true") : SLICE("false");
	return true;
}

static bool number_value(const struct scan *s, struct slice text, struct column *c)
{
	size_t len;

	if (slice_equal(text, SLICE("NaN")) || slice_equal(text, SLICE("Infinity")) ||
	    slice_equal(text, SLICE("-Infinity"))) {
		c->kind = VALUE_NULL;
		return true;
	}
	if (!jsontext_number(text, &len) || len != text.len)
		return expected(s, "a number");
	c->kind = VALUE_NUMBER;
	c->value = text;
	return true;
}

/* The session prints bytea in hexadecimal. */
static bool bytea_value(const struct scan *s, struct slice text, struct column *c)
{
	if (text.len < 2 || text.len % 2 || text.at[0] != '\\' || text.at[1] != 'x')
		return expected(s, "a bytea in hexadecimal");
	for (size_t i = 2; i < text.len; i++)
		if (!strchr("0123456789abcdef", text.at[i]) || !text.at[i])
			return expected(s, "a bytea in hexadecimal");
	c->kind = VALUE_STRING;
	c->value = (struct slice){ text.at + 2, text.len - 2 };
	return true;
}

static bool value(const struct scan *s, struct pgoutput *d, struct slice text, struct column *c)
{
	switch (c->type) {
	case TYPE_BOOL:
		return bool_value(s, text, c);
	case TYPE_INT2:
	case TYPE_INT4:
	case TYPE_INT8:
	case TYPE_OID:
	case TYPE_FLOAT4:
	case TYPE_FLOAT8:
	case TYPE_NUMERIC:
		return number_value(s, text, c);
	case TYPE_BYTEA:
		return bytea_value(s, text, c);
	default:
		return text_value(s, d, text, c);
	}
}

/* --- rows --------------------------------------------------------------------------------------------------------- */

/* The value of a column, unless it is unchanged. */
static bool datum(struct scan *s, struct pgoutput *d, struct column *c, bool *is_there)
{
	struct scan before;
	struct slice text;
	uint64_t len;
	char kind;

	if (!byte(s, &kind, "the kind of a value"))
		return false;
	*is_there = kind != 'u';
	c->kind = VALUE_NULL;
	c->value = (struct slice){ "", 0 };
	if (kind == 'n' || kind == 'u')
		return true;
	if (kind != 't') {
		s->at--;
		return expected(s, "a value as text, null, or an unchanged value");
	}
	if (!number(s, 4, &len, "the length of a value"))
		return false;
	if (len > (uint64_t)(s->end - s->at))
		return expected(s, "a value of this length");
	before = *s;
	text = (struct slice){ s->at, len };
	s->at += len;
	return value(&before, d, text, c);
}

/* `key_only`: the other columns are left out, and *others says whether one of them has a value. */
static bool tuple(struct scan *s, struct pgoutput *d, const struct relation *r, bool key_only, struct column *list,
		  size_t *n, bool *others)
{
	uint64_t count;

	if (!number(s, 2, &count, "the number of values"))
		return false;
	if (count != r->n_columns) {
		s->at -= 2;
		return expected(s, "as many values as the table has columns");
	}
	*n = 0;
	for (size_t i = 0; i < count; i++) {
		struct column *c = &list[*n];
		bool is_there;

		c->name = r->columns[i].name;
		c->type = r->columns[i].type;
		if (!datum(s, d, c, &is_there))
			return false;
		*others |= c->kind != VALUE_NULL && !r->columns[i].in_key;
		if (is_there && (!key_only || r->columns[i].in_key))
			++*n;
		else if (d->n_texts && d->texts[d->n_texts - 1].column == c)
			d->n_texts--; /* its place is another column's */
	}
	return true;
}

/* The new row's columns of the identity. */
static void keep_identity(struct pgoutput *d, const struct relation *r, struct change *c)
{
	size_t k = 0;

	c->identity = d->identity;
	for (size_t i = 0; i < c->n_columns; i++) {
		while (r->columns[k].name.at != c->columns[i].name.at)
			k++;
		if (r->columns[k].in_key)
			d->identity[c->n_identity++] = c->columns[i];
	}
}

static bool new_row(struct scan *s, struct pgoutput *d, const struct relation *r, struct change *c)
{
	bool others = false;

	c->columns = d->columns;
	return tuple(s, d, r, false, d->columns, &c->n_columns, &others);
}

/* The old key has nulls in the other columns, whatever the row had. A partition is described as its root is: with REPLICA IDENTITY FULL of its own it
 * sends the whole old row, and it is called a key all the same. */
static bool old_row(struct scan *s, struct pgoutput *d, const struct relation *r, char kind, struct change *c)
{
	struct scan before = *s;
	size_t n_texts = d->n_texts, copied = d->copied.len;
	bool others = false;

	c->identity = d->identity;
	if (!tuple(s, d, r, kind == 'K', d->identity, &c->n_identity, &others))
		return false;
	if (kind != 'K' || !others)
		return true;
	*s = before;
	d->n_texts = n_texts;
	d->copied.len = copied;
	return tuple(s, d, r, false, d->identity, &c->n_identity, &others);
}

static bool part(struct scan *s, char *kind)
{
	return byte(s, kind, "a part of a row");
}

static bool wrong_part(struct scan *s)
{
	s->at--;
	return expected(s, "a part of a row: K, O or N");
}

static bool insert(struct scan *s, struct pgoutput *d, const struct relation *r, struct change *c)
{
	char kind;

	c->kind = CHANGE_INSERT;
	c->leaves_out_stored = true;
	return part(s, &kind) && (kind == 'N' || wrong_part(s)) && new_row(s, d, r, c);
}

static bool update(struct scan *s, struct pgoutput *d, const struct relation *r, struct change *c)
{
	bool has_old;
	char kind;

	c->kind = CHANGE_UPDATE;
	c->leaves_out_stored = true;
	if (!part(s, &kind))
		return false;
	has_old = kind == 'K' || kind == 'O';
	if (has_old && (!old_row(s, d, r, kind, c) || !part(s, &kind)))
		return false;
	if (kind != 'N')
		return wrong_part(s);
	if (!new_row(s, d, r, c))
		return false;
	point_texts(d);
	if (!has_old)
		keep_identity(d, r, c);
	return true;
}

static bool delete_row(struct scan *s, struct pgoutput *d, const struct relation *r, struct change *c)
{
	char kind;

	c->kind = CHANGE_DELETE;
	return part(s, &kind) && (kind == 'K' || kind == 'O' || wrong_part(s)) && old_row(s, d, r, kind, c);
}

static bool row(struct scan *s, struct pgoutput *d, const struct relation *r, char kind, struct change *c)
{
	uint32_t id;

	if (!oid(s, &id, "the OID of a table"))
		return false;
	if (!r || id != r->oid)
		return expected(s, "a row of the relation");
	c->schema = r->schema;
	c->table = r->table;
	switch (kind) {
	case 'I':
		return insert(s, d, r, c);
	case 'U':
		return update(s, d, r, c);
	default:
		return delete_row(s, d, r, c);
	}
}

static bool truncate_tables(struct scan *s, const struct relation *r, struct change *c)
{
	uint64_t n, options;
	bool is_its = false;
	uint32_t id;

	if (!number(s, 4, &n, "the number of tables") || !number(s, 1, &options, "the options of a TRUNCATE"))
		return false;
	for (uint64_t i = 0; i < n; i++) {
		if (!oid(s, &id, "the OID of a table"))
			return false;
		is_its |= r && id == r->oid;
	}
	if (!is_its)
		return expected(s, "the relation among the tables");
	c->kind = CHANGE_TRUNCATE;
	c->schema = r->schema;
	c->table = r->table;
	return true;
}

/* --- transactions ------------------------------------------------------------------------------------------------- */

/* "+05:30", without the parts behind the hours that are zero. */
static size_t add_offset(char *out, size_t size, int32_t offset)
{
	unsigned s = (unsigned)(offset < 0 ? -offset : offset);
	int n = snprintf(out, size, "%c%02u", offset < 0 ? '-' : '+', s / 3600);

	if (s % 3600)
		n += snprintf(out + n, size - (size_t)n, ":%02u", s / 60 % 60);
	if (s % 60)
		n += snprintf(out + n, size - (size_t)n, ":%02u", s % 60);
	return (size_t)n;
}

/* As PostgreSQL prints a time: trailing zeros of the fraction are left out. */
static bool timestamp(struct scan *s, struct pgoutput *d, struct slice *out)
{
	uint64_t us;
	struct tm tm;
	time_t seconds;
	int32_t offset;
	size_t n;

	if (!number(s, 8, &us, "a time"))
		return false;
	seconds = (time_t)((int64_t)us / 1000000 - ((int64_t)us % 1000000 < 0) + EPOCH_S);
	offset = pgzone_offset(&d->zone, seconds);
	seconds += offset;
	us = (uint64_t)(((int64_t)us % 1000000 + 1000000) % 1000000);
	if (!gmtime_r(&seconds, &tm) || tm.tm_year < -1899 || tm.tm_year > 8099) {
		s->at -= 8;
		return expected(s, "a time in the years 1 to 9999");
	}
	n = (size_t)snprintf(d->time, sizeof(d->time), "%04d-%02d-%02d %02d:%02d:%02d", tm.tm_year + 1900,
			     tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
	if (us)
		n += (size_t)snprintf(d->time + n, sizeof(d->time) - n, ".%06u", (unsigned)us);
	while (us && d->time[n - 1] == '0')
		n--;
	n += add_offset(d->time + n, sizeof(d->time) - n, offset);
	*out = (struct slice){ d->time, n };
	return true;
}

static bool begin(struct scan *s, struct pgoutput *d, struct change *c)
{
	c->kind = CHANGE_BEGIN;
	return number(s, 8, &c->lsn, "the LSN of the commit") && timestamp(s, d, &c->timestamp) &&
	       oid(s, &c->xid, "an xid");
}

static bool commit(struct scan *s, struct pgoutput *d, struct change *c)
{
	uint64_t flags;

	c->kind = CHANGE_COMMIT;
	return number(s, 1, &flags, "the flags of a commit") && number(s, 8, &c->lsn, "the LSN of the commit") &&
	       number(s, 8, &c->next_lsn, "the end of the commit") && timestamp(s, d, &c->timestamp);
}

/* The bytes that a user gave to pg_logical_emit_message: the prefix is a string, the content is anything. */
static bool message_of(struct scan *s, bool *transactional, struct slice *prefix)
{
	uint64_t flags, lsn, len;
	const char *zero;

	if (!number(s, 1, &flags, "the flags of a message") || !number(s, 8, &lsn, "the LSN of a message"))
		return false;
	zero = memchr(s->at, '\0', (size_t)(s->end - s->at));
	if (!zero)
		return expected(s, "the prefix of a message");
	*prefix = (struct slice){ s->at, (size_t)(zero - s->at) };
	s->at = zero + 1;
	if (!number(s, 4, &len, "the length of a message"))
		return false;
	if (len > (uint64_t)(s->end - s->at))
		return expected(s, "a message of this length");
	s->at += len;
	*transactional = flags & 1;
	return true;
}

bool pgoutput_is_ddl(struct slice message)
{
	struct fail why;
	struct scan s = scan_of(message, &why);
	bool transactional;
	struct slice prefix;
	char kind;

	return byte(&s, &kind, "a message") && kind == 'M' && message_of(&s, &transactional, &prefix) && ends(&s) &&
	       transactional && slice_equal(prefix, SLICE(DECODE_DDL_PREFIX));
}

/* --- messages ----------------------------------------------------------------------------------------------------- */

static bool body(struct scan *s, struct pgoutput *d, const struct relation *r, char kind, struct change *c)
{
	struct slice prefix;
	bool transactional;

	switch (kind) {
	case 'B':
		return begin(s, d, c);
	case 'C':
		return commit(s, d, c);
	case 'I':
	case 'U':
	case 'D':
		return row(s, d, r, kind, c);
	case 'T':
		return truncate_tables(s, r, c);
	case 'M':
		c->kind = CHANGE_MESSAGE;
		return message_of(s, &transactional, &prefix);
	default:
		s->at--;
		return expected(s, "a message of the protocol's version 1");
	}
}

/* Values with a character that JSON escapes are copied, and a buffer that grows takes twice as much. */
size_t pgoutput_copy(struct slice message)
{
	size_t bytes = message.len;

	for (size_t i = 0; i < message.len; i++) {
		unsigned char c = (unsigned char)message.at[i];

		bytes += c < 0x20 ? 5 : is_special(c);
	}
	return 2 * bytes;
}

void pgoutput_rest(struct pgoutput *d)
{
	if (d->copied.cap > COPIED_KEPT)
		buf_fini(&d->copied);
}

bool pgoutput_decode(struct pgoutput *d, const struct relation *r, struct slice message, struct change *out,
		     struct fail *why)
{
	struct scan s = scan_of(message, why);
	struct change c = { 0 };
	char kind;

	pgoutput_rest(d);
	buf_clear(&d->copied);
	d->n_texts = 0;
	if (!byte(&s, &kind, "a message") || !body(&s, d, r, kind, &c) || !ends(&s))
		return false;
	point_texts(d);
	*out = c;
	return true;
}

bool pgoutput_zone(struct pgoutput *d, const char *zone)
{
	return pgzone_read(&d->zone, zone);
}

struct pgoutput *pgoutput_new(void)
{
	return mem_new(sizeof(struct pgoutput));
}

void pgoutput_free(struct pgoutput *d)
{
	if (!d)
		return;
	buf_fini(&d->copied);
	pgzone_fini(&d->zone);
	free(d);
}
