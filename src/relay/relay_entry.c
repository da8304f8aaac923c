#include "walpush/relay/relay_entry.h"

#include <inttypes.h>
#include <stdio.h>

size_t relay_id_format(char out[RELAY_ID_MAX], struct event_id id)
{
	return (size_t)snprintf(out, RELAY_ID_MAX, "%" PRIu64 "-%" PRIu32, id.lsn, id.index);
}

/* Decimal digits without sign or leading zero, at most `max`. */
static bool number_parse(struct slice text, uint64_t max, uint64_t *out)
{
	*out = 0;
	if (text.len == 0 || (text.len > 1 && text.at[0] == '0'))
		return false;
	for (size_t i = 0; i < text.len; i++) {
		uint64_t digit = (uint64_t)(text.at[i] - '0');

		if (text.at[i] < '0' || text.at[i] > '9' || *out > (max - digit) / 10)
			return false;
		*out = *out * 10 + digit;
	}
	return true;
}

bool relay_id_parse(struct slice text, struct event_id *out)
{
	const char *hyphen = memchr(text.at, '-', text.len);
	uint64_t lsn, index;
	size_t n;

	if (!hyphen)
		return false;
	n = (size_t)(hyphen - text.at);
	if (!number_parse((struct slice){ text.at, n }, UINT64_MAX, &lsn) ||
	    !number_parse((struct slice){ hyphen + 1, text.len - n - 1 }, UINT32_MAX, &index))
		return false;
	*out = (struct event_id){ lsn, (uint32_t)index };
	return true;
}

/* --- encoding ---------------------------------------------------------------------------------------------------- */

struct encoder {
	struct slice *out;
	size_t n;
};

static void add_field(struct encoder *e, const char *name, struct slice value)
{
	e->out[e->n++] = slice_of(name);
	e->out[e->n++] = value;
}

/* The scratch space is reserved in advance, so that the bytes do not move. */
static void add_number(struct encoder *e, const char *name, uint64_t n, struct buf *scratch)
{
	size_t at = scratch->len;

	buf_add_u64(scratch, n);
	add_field(e, name, (struct slice){ scratch->data + at, scratch->len - at });
}

size_t relay_entry_encode(const struct relay_entry *entry, struct slice out[RELAY_FIELDS_MAX], struct buf *scratch)
{
	struct encoder e = { .out = out };

	buf_clear(scratch);
	buf_reserve(scratch, 4 * RELAY_ID_MAX);
	if (entry->end)
		add_number(&e, "e", entry->end, scratch);
	if (entry->when)
		add_number(&e, "w", entry->when, scratch);
	if (entry->decoding)
		add_number(&e, "d", entry->decoding, scratch);
	switch (entry->kind) {
	case RELAY_POSITION:
		break;
	case RELAY_MEMBERS:
		add_field(&e, "u", entry->users);
		break;
	case RELAY_MESSAGE:
		add_field(&e, "g", entry->groups);
		if (entry->close)
			add_number(&e, "c", entry->close, scratch);
		if (entry->bulk)
			add_field(&e, "k", SLICE("1"));
		if (entry->about.len)
			add_field(&e, "a", entry->about);
		if (entry->wordings.len)
			add_field(&e, "v", entry->wordings);
		add_field(&e, "m", entry->payload);
		break;
	case RELAY_MARK:
		add_field(&e, "s", entry->section);
		add_field(&e, "r", entry->reason);
		if (entry->lookup_only)
			add_field(&e, "l", SLICE("1"));
		break;
	case RELAY_SKIPPED:
		add_field(&e, "o", entry->sections);
		if (entry->everything)
			add_field(&e, "n", SLICE("1"));
		if (entry->closes.len)
			add_field(&e, "t", entry->closes);
		break;
	case RELAY_BEGIN:
		add_field(&e, "b", SLICE("1"));
		if (entry->reason.len)
			add_field(&e, "r", entry->reason);
		if (entry->everything)
			add_field(&e, "n", SLICE("1"));
		break;
	}
	return e.n;
}

/* --- decoding ---------------------------------------------------------------------------------------------------- */

enum { HAS_BEFORE = 1, HAS_END = 2, HAS_GROUPS = 4, HAS_REASON = 8 };

struct field {        /* how a field is read */
	size_t at;    /* of the member; NOWHERE: the entry's kind is all that it says */
	unsigned has; /* what the entry then has */
	enum { FIELD_TEXT, FIELD_FLAG, FIELD_ID, FIELD_LSN, FIELD_TIME, FIELD_CODE, FIELD_NUMBER } form;
	enum relay_kind kind; /* of the entry that has it, if is_kind */
	bool is_kind;
	char name;
};

#define AT(member) offsetof(struct relay_entry, member)
#define NOWHERE SIZE_MAX

static const struct field fields_known[] = {
	{ .name = 'p', .form = FIELD_ID, .at = AT(before), .has = HAS_BEFORE },
	{ .name = 'e', .form = FIELD_LSN, .at = AT(end), .has = HAS_END },
	{ .name = 'w', .form = FIELD_TIME, .at = AT(when) },
	{ .name = 'd', .form = FIELD_NUMBER, .at = AT(decoding) },
	{ .name = 'u', .form = FIELD_TEXT, .at = AT(users), .is_kind = true, .kind = RELAY_MEMBERS },
	{ .name = 'm', .form = FIELD_TEXT, .at = AT(payload), .is_kind = true, .kind = RELAY_MESSAGE },
	{ .name = 'a', .form = FIELD_TEXT, .at = AT(about) },
	{ .name = 'g', .form = FIELD_TEXT, .at = AT(groups), .has = HAS_GROUPS },
	{ .name = 'c', .form = FIELD_CODE, .at = AT(close) },
	{ .name = 'k', .form = FIELD_FLAG, .at = AT(bulk) },
	{ .name = 'v', .form = FIELD_TEXT, .at = AT(wordings) },
	{ .name = 's', .form = FIELD_TEXT, .at = AT(section), .is_kind = true, .kind = RELAY_MARK },
	{ .name = 'r', .form = FIELD_TEXT, .at = AT(reason), .has = HAS_REASON },
	{ .name = 'l', .form = FIELD_FLAG, .at = AT(lookup_only) },
	{ .name = 'o', .form = FIELD_TEXT, .at = AT(sections), .is_kind = true, .kind = RELAY_SKIPPED },
	{ .name = 'n', .form = FIELD_FLAG, .at = AT(everything) },
	{ .name = 't', .form = FIELD_TEXT, .at = AT(closes) },
	{ .name = 'b', .form = FIELD_FLAG, .at = NOWHERE, .is_kind = true, .kind = RELAY_BEGIN },
};

static bool read_code(struct slice value, uint16_t *out)
{
	uint64_t number = 0;

	if (!number_parse(value, UINT16_MAX, &number))
		return false;
	*out = (uint16_t)number;
	return true;
}

static bool read_number(struct slice value, uint32_t *out)
{
	uint64_t number = 0;

	if (!number_parse(value, UINT32_MAX, &number))
		return false;
	*out = (uint32_t)number;
	return true;
}

static bool read_value(const struct field *f, struct slice value, void *member)
{
	switch (f->form) {
	case FIELD_TEXT:
		*(struct slice *)member = value;
		return true;
	case FIELD_FLAG:
		*(bool *)member = true;
		return true;
	case FIELD_ID:
		return relay_id_parse(value, member);
	case FIELD_LSN:
		return number_parse(value, UINT64_MAX, member);
	case FIELD_TIME:
		return number_parse(value, INT64_MAX, member);
	case FIELD_CODE:
		return read_code(value, member);
	case FIELD_NUMBER:
		return read_number(value, member);
	}
	return false;
}

/* A field with another name comes from a later version, and is ignored. */
static bool take_field(struct relay_entry *e, char name, struct slice value, unsigned *has)
{
	for (size_t i = 0; i < sizeof(fields_known) / sizeof(*fields_known); i++) {
		const struct field *f = &fields_known[i];

		if (f->name != name)
			continue;
		*has |= f->has;
		if (f->is_kind)
			e->kind = f->kind;
		return f->at == NOWHERE || read_value(f, value, (char *)e + f->at);
	}
	return true;
}

/* Texts, each ended by a zero. */
static bool count_texts(struct slice s, size_t *n)
{
	*n = 0;
	for (size_t i = 0; i < s.len; i++)
		*n += s.at[i] == '\0';
	return s.len == 0 || s.at[s.len - 1] == '\0';
}

static bool take_number(struct slice *from, char end, size_t *out)
{
	const char *at = from->len ? memchr(from->at, end, from->len) : NULL;
	size_t n = at ? (size_t)(at - from->at) : 0;
	uint64_t number = 0;

	if (!at || !number_parse((struct slice){ from->at, n }, UINT32_MAX, &number))
		return false;
	*out = (size_t)number;
	from->at += n + 1;
	from->len -= n + 1;
	return true;
}

bool relay_wording(struct slice *wordings, size_t *n_groups, size_t *len)
{
	return take_number(wordings, ',', n_groups) && take_number(wordings, ';', len);
}

/* Together the wordings take all groups and all bytes. */
static bool check_wordings(const struct relay_entry *e)
{
	struct slice left = e->wordings;
	size_t n_groups = 0, len = 0, groups, bytes;

	if (left.len == 0)
		return true;
	while (left.len) {
		if (!relay_wording(&left, &groups, &bytes))
			return false;
		n_groups += groups;
		len += bytes;
	}
	return n_groups == e->n_groups && len == e->payload.len;
}

/* Each code is a close code, or 0. */
static bool check_closes(struct relay_entry *e)
{
	struct slice left = e->closes;
	uint64_t code;
	size_t n;

	if (!count_texts(left, &n) || n % 2)
		return false;
	for (e->n_closes = 0; left.len; e->n_closes++) {
		size_t len = strlen(left.at), both = len + 1 + strlen(left.at + len + 1) + 1;

		if (!number_parse((struct slice){ left.at, len }, UINT16_MAX, &code))
			return false;
		left = (struct slice){ left.at + both, left.len - both };
	}
	return true;
}

static bool is_complete(struct relay_entry *e, unsigned has)
{
	size_t n;

	if (!(has & HAS_BEFORE) || event_id_compare(e->before, e->id) >= 0 || (has & HAS_END && e->end <= e->id.lsn))
		return false;
	switch (e->kind) {
	case RELAY_POSITION:
	case RELAY_BEGIN:
		return has & HAS_END;
	case RELAY_MEMBERS:
		return count_texts(e->users, &n);
	case RELAY_MESSAGE:
		if (e->about.len == 0)
			e->about = SLICE("\0\0\0");
		return has & HAS_GROUPS && count_texts(e->groups, &e->n_groups) && e->n_groups > 0 &&
		       count_texts(e->about, &n) && n == 3 && check_wordings(e);
	case RELAY_MARK:
		return has & HAS_REASON;
	case RELAY_SKIPPED:
		return count_texts(e->sections, &n) && check_closes(e);
	default:
		return false;
	}
}

bool relay_entry_decode(struct slice id, const struct slice *fields, size_t n, struct relay_entry *out,
			struct fail *why)
{
	unsigned has = 0;

	*out = (struct relay_entry){ .kind = RELAY_POSITION };
	if (!relay_id_parse(id, &out->id))
		return fail_set(why, "an entry of the Redis stream has an id that is no event's");
	for (size_t i = 0; i + 1 < n; i += 2)
		if (fields[i].len == 1 && !take_field(out, fields[i].at[0], fields[i + 1], &has))
			return fail_set(why, "entry %.*s of the Redis stream has a bad field \"%c\"", (int)id.len,
					id.at, fields[i].at[0]);
	if (n % 2 || !is_complete(out, has))
		return fail_set(why, "entry %.*s of the Redis stream is none of walpush's", (int)id.len, id.at);
	return true;
}
