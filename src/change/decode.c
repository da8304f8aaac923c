#include "walpush/change/decode.h"

#include <stdlib.h>

#include "walpush/text/jsontext.h"
#include "walpush/base/mem.h"

struct decoder {
	struct column columns[DECODE_COLUMNS];
	struct column identity[DECODE_COLUMNS];
};

/* The place in the record. Invariant: start <= at <= end; no byte at or after `end` is ever read. */
struct scan {
	const char *start, *at, *end;
	struct fail *why;
};

/* The keys of a record, in wal2json's order. */
enum key {
	KEY_ACTION,
	KEY_XID,
	KEY_TIMESTAMP,
	KEY_ORIGIN,
	KEY_LSN,
	KEY_NEXT_LSN,
	KEY_SCHEMA,
	KEY_TABLE,
	KEY_COLUMNS,
	KEY_IDENTITY,
	KEY_PK,
	KEY_TRANSACTIONAL,
	KEY_PREFIX,
	KEY_CONTENT,
	KEY_COUNT
};

#define KEY(name)                                                                                                      \
	{                                                                                                              \
		"\"" name "\":", sizeof("\"" name "\":") - 1                                                           \
	}
static const struct slice keys[KEY_COUNT] = {
	[KEY_ACTION] = KEY("action"),     [KEY_XID] = KEY("xid"),         [KEY_TIMESTAMP] = KEY("timestamp"),
	[KEY_ORIGIN] = KEY("origin"),     [KEY_LSN] = KEY("lsn"),         [KEY_NEXT_LSN] = KEY("nextlsn"),
	[KEY_SCHEMA] = KEY("schema"),     [KEY_TABLE] = KEY("table"),     [KEY_COLUMNS] = KEY("columns"),
	[KEY_IDENTITY] = KEY("identity"), [KEY_PK] = KEY("pk"),           [KEY_TRANSACTIONAL] = KEY("transactional"),
	[KEY_PREFIX] = KEY("prefix"),     [KEY_CONTENT] = KEY("content"),
};

#define BIT(key) (1u << (key))
#define ALWAYS_ALLOWED (BIT(KEY_ACTION) | BIT(KEY_XID) | BIT(KEY_TIMESTAMP) | BIT(KEY_ORIGIN) | BIT(KEY_LSN))
#define TRANSACTION_NEEDS (BIT(KEY_XID) | BIT(KEY_TIMESTAMP) | BIT(KEY_LSN) | BIT(KEY_NEXT_LSN))
#define TABLE_NEEDS (BIT(KEY_SCHEMA) | BIT(KEY_TABLE))

static const struct shape {
	char letter;
	unsigned needs;  /* keys that must be present */
	unsigned allows; /* keys that may be present, besides `needs` and ALWAYS_ALLOWED */
} shapes[] = {
	[CHANGE_BEGIN] = { 'B', TRANSACTION_NEEDS, 0 },
	[CHANGE_COMMIT] = { 'C', TRANSACTION_NEEDS, 0 },
	[CHANGE_INSERT] = { 'I', TABLE_NEEDS | BIT(KEY_COLUMNS), BIT(KEY_PK) },
	[CHANGE_UPDATE] = { 'U', TABLE_NEEDS | BIT(KEY_COLUMNS), BIT(KEY_IDENTITY) | BIT(KEY_PK) },
	[CHANGE_DELETE] = { 'D', TABLE_NEEDS | BIT(KEY_IDENTITY), BIT(KEY_PK) },
	[CHANGE_TRUNCATE] = { 'T', TABLE_NEEDS, 0 },
	[CHANGE_MESSAGE] = { 'M', BIT(KEY_TRANSACTIONAL) | BIT(KEY_PREFIX) | BIT(KEY_CONTENT), 0 },
};

/* The members read so far; they are checked when the action is known. */
struct members {
	struct change change;
	unsigned seen;        /* bits of the keys that were read */
	unsigned null;        /* bits of the keys whose value was null */
	size_t at[KEY_COUNT]; /* offset of each key seen */
};

static bool refuse_at(const struct scan *s, size_t offset, const char *what)
{
	return fail_at_offset(s->why, offset, "offset %zu: %s", offset, what);
}

static bool expected(const struct scan *s, const char *what)
{
	size_t offset = (size_t)(s->at - s->start);

	return fail_at_offset(s->why, offset, "offset %zu: expected %s%s", offset, what,
			      s->at == s->end ? ", but the record ends" : "");
}

static inline bool take(struct scan *s, const char *literal, size_t n)
{
	if ((size_t)(s->end - s->at) < n || memcmp(s->at, literal, n) != 0)
		return false;
	s->at += n;
	return true;
}

#define TAKE(s, literal) take(s, literal, sizeof(literal) - 1)

static inline bool digit_next(const struct scan *s)
{
	return s->at < s->end && *s->at >= '0' && *s->at <= '9';
}

static inline struct slice rest(const struct scan *s)
{
	return (struct slice){ s->at, (size_t)(s->end - s->at) };
}

static bool string_flaw(const struct scan *s, enum jsontext_flaw flaw)
{
	switch (flaw) {
	case JSONTEXT_CONTROL:
		return expected(s, "an escape instead of a control character in a string");
	case JSONTEXT_ESCAPE:
		return expected(s, "an escape that stands for a character in a string");
	case JSONTEXT_UTF8:
		return expected(s, "UTF-8 in a string (is the database's encoding UTF8?)");
	default:
		return expected(s, "the closing '\"' of a string");
	}
}

static bool string_body(struct scan *s, struct slice *out)
{
	enum jsontext_flaw flaw;

	if (!TAKE(s, "\""))
		return expected(s, "a string");
	out->at = s->at;
	flaw = jsontext_scan(rest(s), &out->len);
	s->at += out->len;
	if (flaw != JSONTEXT_SOUND)
		return string_flaw(s, flaw);
	s->at++;
	return true;
}

/* A message's prefix and content are the bytes that a user gave to pg_logical_emit_message: not always UTF-8. */
static bool skip_bytes(struct scan *s)
{
	enum jsontext_flaw flaw;
	size_t n;

	if (!TAKE(s, "\""))
		return expected(s, "a string");
	while ((flaw = jsontext_scan(rest(s), &n)) == JSONTEXT_UTF8)
		s->at += n + 1;
	s->at += n;
	if (flaw != JSONTEXT_SOUND)
		return string_flaw(s, flaw);
	s->at++;
	return true;
}

/* PostgreSQL prints numeric in full (1e400 has 401 digits), float8 as 1e-07. */
static bool number(struct scan *s, struct slice *out)
{
	bool is_number;

	out->at = s->at;
	is_number = jsontext_number(rest(s), &out->len);
	s->at += out->len;
	return is_number || expected(s, "a digit");
}

static bool unsigned32(struct scan *s, uint32_t *out)
{
	const char *start = s->at;
	uint64_t n = 0;

	if (TAKE(s, "0")) {
		*out = 0;
		return true;
	}
	while (digit_next(s) && n <= UINT32_MAX)
		n = n * 10 + (uint64_t)(*s->at++ - '0');
	if (s->at > start && n <= UINT32_MAX) {
		*out = (uint32_t)n;
		return true;
	}
	s->at = start;
	return expected(s, "an integer of 32 bits without sign");
}

/* wal2json prints OIDs with %d: those from 2^31 on are negative. */
static bool type_oid(struct scan *s, uint32_t *out)
{
	const char *start = s->at;
	bool negative = TAKE(s, "-");

	*out = 0;
	if (!unsigned32(s, out))
		return false;
	if (!negative)
		return true;
	if (*out == 0 || *out > UINT32_C(1) << 31) {
		s->at = start;
		return expected(s, "the OID of a type");
	}
	*out = -*out;
	return true;
}

static bool lsn(struct scan *s, lsn_t *out)
{
	const char *start = s->at;
	struct slice text = { NULL, 0 };

	if (!string_body(s, &text))
		return false;
	if (lsn_parse(text, out))
		return true;
	s->at = start;
	return expected(s, "an LSN like \"0/16B3748\"");
}

/* Does `t` continue at *at like the pattern? A 0 in the pattern stands for any digit. Moves *at past the pattern if
 * so. */
static inline bool matches(struct slice t, size_t *at, const char *pattern, size_t n)
{
	if (t.len - *at < n)
		return false;
	for (size_t i = 0; i < n; i++) {
		char c = t.at[*at + i];

		if (pattern[i] == '0' ? (unsigned char)(c - '0') > 9 : c != pattern[i])
			return false;
	}
	*at += n;
	return true;
}

#define MATCHES(text, at, pattern) matches(text, at, pattern, sizeof(pattern) - 1)

/* "2025-11-14 12:34:56.123456+00": timestamptz_to_str() always prints ISO dates, and omits trailing zeros of the
 * fraction. The zone is the session's; it has minutes, and even seconds, if they are not zero. */
static bool is_timestamp(struct slice t)
{
	size_t at = 0;

	if (!MATCHES(t, &at, "0000-00-00 00:00:00"))
		return false;
	if (MATCHES(t, &at, ".0"))
		for (int i = 1; i < 6 && MATCHES(t, &at, "0"); i++)
			;
	if (!MATCHES(t, &at, "+00") && !MATCHES(t, &at, "-00"))
		return false;
	if (MATCHES(t, &at, ":00"))
		MATCHES(t, &at, ":00");
	return at == t.len;
}

static bool timestamp(struct scan *s, struct slice *out)
{
	const char *start = s->at;

	if (!string_body(s, out))
		return false;
	if (is_timestamp(*out))
		return true;
	s->at = start;
	return expected(s, "a time like \"2025-11-14 12:34:56.123456+00\"");
}

static bool value(struct scan *s, struct column *c)
{
	c->value = (struct slice){ s->at, 0 };
	switch (s->at < s->end ? *s->at : '\0') {
	case '"':
		c->kind = VALUE_STRING;
		return string_body(s, &c->value);
	case 't':
	case 'f':
		c->kind = VALUE_BOOL;
		if (!TAKE(s, "true") && !TAKE(s, "false"))
			return expected(s, "true or false");
		c->value.len = (size_t)(s->at - c->value.at);
		return true;
	case 'n':
		c->kind = VALUE_NULL;
		return TAKE(s, "null") || expected(s, "null");
	default:
		if (digit_next(s) || (s->at < s->end && *s->at == '-')) {
			c->kind = VALUE_NUMBER;
			return number(s, &c->value);
		}
		return expected(s, "a value: a string, a number, true, false or null");
	}
}

enum { COLUMN_NAME = 1, COLUMN_TYPE = 2, COLUMN_VALUE = 4 };

static unsigned column_key(struct scan *s)
{
	if (TAKE(s, "\"name\":"))
		return COLUMN_NAME;
	if (TAKE(s, "\"typeoid\":"))
		return COLUMN_TYPE;
	return TAKE(s, "\"value\":") ? COLUMN_VALUE : 0;
}

static bool column_member(struct scan *s, struct column *c, unsigned wanted, unsigned *seen)
{
	size_t offset = (size_t)(s->at - s->start);
	unsigned key = column_key(s);

	if (!(key & wanted)) {
		s->at = s->start + offset;
		return expected(s, wanted & COLUMN_VALUE ? "the key \"name\", \"typeoid\" or \"value\" of a column"
							 : "the key \"name\" or \"typeoid\" of a column of \"pk\"");
	}
	if (*seen & key)
		return refuse_at(s, offset, "a key of a column for the second time");
	*seen |= key;
	if (key == COLUMN_NAME)
		return string_body(s, &c->name);
	return key == COLUMN_TYPE ? type_oid(s, &c->type) : value(s, c);
}

static const char *column_lacks(unsigned seen)
{
	if (!(seen & COLUMN_NAME))
		return "\"name\" in a column";
	return seen & COLUMN_TYPE ? "\"value\" in a column" : DECODE_TOO_OLD ": install wal2json 2.5 or later";
}

static bool column(struct scan *s, struct column *c, unsigned wanted)
{
	unsigned seen = 0;

	if (!TAKE(s, "{"))
		return expected(s, "'{' of a column");
	do {
		if (!column_member(s, c, wanted, &seen))
			return false;
	} while (TAKE(s, ","));
	if (seen != wanted)
		return expected(s, column_lacks(seen));
	return TAKE(s, "}") || expected(s, "',' or '}' after a member of a column");
}

/* `pk` has only names and types. It is checked but not kept: then `list` is NULL. */
static bool columns(struct scan *s, struct column *list, size_t *n)
{
	unsigned wanted = COLUMN_NAME | COLUMN_TYPE | (list ? COLUMN_VALUE : 0);
	struct column passed_over;

	*n = 0;
	if (!TAKE(s, "["))
		return expected(s, "'[' of a list of columns");
	if (TAKE(s, "]"))
		return true;
	do {
		if (*n == DECODE_COLUMNS)
			return refuse_at(s, (size_t)(s->at - s->start), "more columns than a table can have");
		if (!column(s, list ? &list[*n] : &passed_over, wanted))
			return false;
		++*n;
	} while (TAKE(s, ","));
	return TAKE(s, "]") || expected(s, "',' or ']' after a column");
}

static bool action(struct scan *s, enum change_kind *out)
{
	struct slice left = rest(s);

	if (left.len >= 3 && left.at[0] == '"' && left.at[2] == '"')
		for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++)
			if (shapes[i].letter == left.at[1]) {
				*out = (enum change_kind)i;
				s->at += 3;
				return true;
			}
	return expected(s, "an action: \"B\", \"C\", \"I\", \"U\", \"D\", \"T\" or \"M\"");
}

static bool member_value(struct scan *s, struct decoder *d, enum key key, struct change *c)
{
	uint32_t origin;
	size_t n_pk;

	switch (key) {
	case KEY_ACTION:
		return action(s, &c->kind);
	case KEY_XID:
		return unsigned32(s, &c->xid);
	case KEY_TIMESTAMP:
		return timestamp(s, &c->timestamp);
	case KEY_ORIGIN:
		return unsigned32(s, &origin);
	case KEY_LSN:
		return lsn(s, &c->lsn);
	case KEY_NEXT_LSN:
		return lsn(s, &c->next_lsn);
	case KEY_SCHEMA:
		return string_body(s, &c->schema);
	case KEY_TABLE:
		return string_body(s, &c->table);
	case KEY_COLUMNS:
		c->columns = d->columns;
		return columns(s, d->columns, &c->n_columns);
	case KEY_IDENTITY:
		c->identity = d->identity;
		return columns(s, d->identity, &c->n_identity);
	case KEY_PK:
		return columns(s, NULL, &n_pk);
	case KEY_TRANSACTIONAL:
		return TAKE(s, "true") || TAKE(s, "false") || expected(s, "true or false");
	default: /* KEY_PREFIX, KEY_CONTENT */
		return skip_bytes(s);
	}
}

/* The next key; KEY_COUNT: it is not one of ours. Tries `hint` first, because the order hardly ever differs. */
static enum key take_key(struct scan *s, unsigned hint)
{
	for (unsigned i = 0; i < KEY_COUNT; i++) {
		unsigned key = (hint + i) % KEY_COUNT;

		if (take(s, keys[key].at, keys[key].len))
			return (enum key)key;
	}
	return KEY_COUNT;
}

/* Messages outside a transaction have no xid, no time and no origin. */
static bool take_null(struct scan *s, enum key key)
{
	return (key == KEY_XID || key == KEY_TIMESTAMP || key == KEY_ORIGIN) && TAKE(s, "null");
}

static bool members(struct scan *s, struct decoder *d, struct members *m)
{
	unsigned hint = 0;

	if (!TAKE(s, "{"))
		return expected(s, "'{' of a record");
	do {
		size_t offset = (size_t)(s->at - s->start);
		enum key key = take_key(s, hint);

		if (key == KEY_COUNT)
			return expected(s, "a key of wal2json's format version 2");
		if (m->seen & BIT(key))
			return refuse_at(s, offset, "a key of the record for the second time");
		m->seen |= BIT(key);
		m->at[key] = offset;
		if (take_null(s, key))
			m->null |= BIT(key);
		else if (!member_value(s, d, key, &m->change))
			return false;
		hint = key + 1;
	} while (TAKE(s, ","));
	return TAKE(s, "}") || expected(s, "',' or '}' after a member of the record");
}

/* Are the members those of the action? */
static bool fits_shape(const struct scan *s, const struct members *m)
{
	const struct shape *shape = &shapes[m->change.kind];
	unsigned missing = shape->needs & ~m->seen;
	unsigned odd = m->seen & ~(shape->needs | shape->allows | ALWAYS_ALLOWED);

	if (!(m->seen & BIT(KEY_ACTION)))
		return refuse_at(s, 0, "a record without \"action\"");
	if (missing) {
		struct slice key = keys[__builtin_ctz(missing)];
		size_t offset = (size_t)(s->end - s->start) - 1;

		return fail_at_offset(s->why, offset, "offset %zu: a record of action \"%c\" without %.*s", offset,
				      shape->letter, (int)key.len - 1, key.at);
	}
	if (m->change.kind != CHANGE_MESSAGE && m->null)
		return refuse_at(s, m->at[__builtin_ctz(m->null)], "null where only a message may have it");
	if (odd)
		return refuse_at(s, m->at[__builtin_ctz(odd)], "a key that does not belong to the record's action");
	return true;
}

struct decoder *decoder_new(void)
{
	return mem_new(sizeof(struct decoder));
}

void decoder_free(struct decoder *d)
{
	free(d);
}

bool decode_record(struct decoder *d, struct slice record, struct change *out, struct fail *why)
{
	const char *start = record.at ? record.at : "";
	struct scan s = { start, start, start + record.len, why };
	struct members m;

	m.change = (struct change){ 0 };
	m.seen = m.null = 0;
	if (!members(&s, d, &m))
		return false;
	if (s.at != s.end)
		return expected(&s, "the end of the record");
	if (!fits_shape(&s, &m))
		return false;
	*out = m.change.kind == CHANGE_MESSAGE ? (struct change){ .kind = CHANGE_MESSAGE } : m.change;
	return true;
}

/* A scan of the first DECODE_HEAD_BYTES, or of the whole record if it is shorter. */
static struct scan scan_head(struct slice record, struct fail *why)
{
	size_t len = record.len < DECODE_HEAD_BYTES ? record.len : DECODE_HEAD_BYTES;

	return (struct scan){ record.at, record.at, record.at + len, why };
}

/* Reads up to "columns" or "identity", whose values may be of any size. */
bool decode_table(struct slice record, struct slice *schema, struct slice *table)
{
	struct fail why = { 0 };
	struct scan s = scan_head(record, &why);
	struct change c = { 0 };
	enum key key = KEY_COUNT;

	if (!TAKE(&s, "{"))
		return false;
	do {
		key = take_key(&s, (unsigned)(key + 1));
		if (key >= KEY_COLUMNS || !member_value(&s, NULL, key, &c))
			return false;
	} while (TAKE(&s, ",") && !c.table.at);
	*schema = c.schema;
	*table = c.table;
	return c.schema.at && c.table.at;
}

/* wal2json prints whether the message is transactional before it prints the prefix. */
bool decode_is_ddl(struct slice record)
{
	struct fail why = { 0 };
	struct scan s = scan_head(record, &why);
	struct change c = { .kind = CHANGE_BEGIN };
	bool transactional = false;
	enum key key = KEY_COUNT;

	if (!TAKE(&s, "{"))
		return false;
	do {
		key = take_key(&s, (unsigned)(key + 1));
		if (key == KEY_PREFIX)
			return c.kind == CHANGE_MESSAGE && transactional && TAKE(&s, "\"" DECODE_DDL_PREFIX "\"");
		if (key == KEY_TRANSACTIONAL)
			transactional = TAKE(&s, "true");
		else if (key >= KEY_COLUMNS || !member_value(&s, NULL, key, &c))
			return false;
	} while (TAKE(&s, ","));
	return false;
}
