#include "walpush/text/path.h"

#include <stdlib.h>

#include "walpush/base/mem.h"
#include "walpush/base/utf8.h"

/*
 * A pattern is a list of parts: literals, and values between them. Django compiles the same source to a regular expression, which
 * backtracks. Here reach[part][at] says whether the parts from `part` on match the path from `at` to its end. The table is filled from the
 * right, each cell from its neighbours, so matching costs parts × bytes for every pattern. Then the values are cut greedily from the left,
 * with the same result as the regular expression.
 */
enum part_kind { PART_LITERAL, PART_STR, PART_INT, PART_SLUG, PART_UUID, PART_PATH };

struct part {
	enum part_kind kind;
	char *text; /* the literal, or the value's name */
	size_t len;
};

#define PARTS_MAX (2 * PATH_VALUES_MAX + 1)
#define UUID_LENGTH 36
#define INT_DIGITS_MAX 19

struct path_pattern {
	struct part parts[PARTS_MAX];
	size_t n_parts;
	size_t n_values;
};

struct decoded {
	char at[PATH_LENGTH_MAX];
	size_t len;
};

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static int hex_value(char c)
{
	if (is_digit(c))
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* The byte of "%XX" at the start of `text`; -1: malformed. */
static int percent_value(struct slice text)
{
	int high = text.len > 2 ? hex_value(text.at[1]) : -1;
	int low = text.len > 2 ? hex_value(text.at[2]) : -1;

	return high < 0 || low < 0 ? -1 : high << 4 | low;
}

/* Valid UTF-8 without control characters: C0, DEL, and C1, which UTF-8 writes as C2 80 to C2 9F. */
static bool is_clean(struct slice text)
{
	const unsigned char *s = (const unsigned char *)text.at;

	for (size_t i = 0; i < text.len; i++) {
		if (s[i] < 0x20 || s[i] == 0x7F)
			return false;
		if (s[i] == 0xC2 && i + 1 < text.len && s[i + 1] < 0xA0)
			return false;
	}
	return utf8_is_valid(text);
}

static enum part_kind converter_named(struct slice name)
{
	static const struct {
		const char *name;
		enum part_kind kind;
	} converters[] = {
		{ "str", PART_STR },   { "int", PART_INT },   { "slug", PART_SLUG },
		{ "uuid", PART_UUID }, { "path", PART_PATH },
	};

	for (size_t i = 0; i < sizeof(converters) / sizeof(*converters); i++)
		if (slice_equal(name, slice_of(converters[i].name)))
			return converters[i].kind;
	return PART_LITERAL;
}

static bool is_identifier(struct slice name)
{
	if (name.len == 0 || is_digit(name.at[0]))
		return false;
	for (size_t i = 0; i < name.len; i++)
		if (!is_letter(name.at[i]) && !is_digit(name.at[i]) && name.at[i] != '_')
			return false;
	return true;
}

static void add_part(struct path_pattern *p, enum part_kind kind, struct slice text)
{
	p->parts[p->n_parts++] = (struct part){ kind, mem_text_of(text), text.len };
	if (kind != PART_LITERAL)
		p->n_values++;
}

/* `inside` is the text between the angle brackets; `at` is the offset of '<' in the source. */
static bool add_value(struct path_pattern *p, struct slice inside, size_t at, struct fail *why)
{
	const char *colon = memchr(inside.at, ':', inside.len);
	size_t skip = colon ? (size_t)(colon - inside.at) + 1 : 0;
	struct slice name = { inside.at + skip, inside.len - skip };
	enum part_kind kind = colon ? converter_named((struct slice){ inside.at, skip - 1 }) : PART_STR;

	if (kind == PART_LITERAL)
		return fail_at_offset(why, at, "path: unknown converter \"%.*s\"; there are str, int, slug, uuid, path",
				      (int)skip - 1, inside.at);
	if (!is_identifier(name))
		return fail_at_offset(why, at, "path: \"%.*s\" is no name; a name is letters, digits and '_'",
				      (int)name.len, name.at);
	for (size_t i = 0; i < p->n_parts; i++)
		if (p->parts[i].kind != PART_LITERAL && slice_equal(name, slice_of(p->parts[i].text)))
			return fail_at_offset(why, at, "path: <%.*s> stands in it twice", (int)name.len, name.at);
	if (p->n_values == PATH_VALUES_MAX)
		return fail_at_offset(why, at, "path: more than %d values", PATH_VALUES_MAX);
	add_part(p, kind, name);
	return true;
}

static bool add_literal(struct path_pattern *p, struct slice text, size_t at, struct fail *why)
{
	for (size_t i = 0; i < text.len; i++)
		if (strchr(" <>?#", text.at[i]))
			return fail_at_offset(why, at + i, "path: '%c' cannot stand in a path", text.at[i]);
	if (text.len)
		add_part(p, PART_LITERAL, text);
	return true;
}

static bool compile(struct path_pattern *p, struct slice source, struct fail *why)
{
	size_t at = 0;

	if (source.len == 0 || source.at[0] != '/')
		return fail_at_offset(why, 0, "path: must begin with '/'");
	if (source.len > PATH_LENGTH_MAX)
		return fail_at_offset(why, PATH_LENGTH_MAX, "path: longer than %d bytes", PATH_LENGTH_MAX);
	if (!is_clean(source))
		return fail_at_offset(why, 0, "path: holds control characters, or is not UTF-8");
	while (at < source.len) {
		const char *from = source.at + at;
		const char *open = memchr(from, '<', source.len - at);
		size_t literal = open ? (size_t)(open - from) : source.len - at;
		const char *close;

		if (!add_literal(p, (struct slice){ from, literal }, at, why))
			return false;
		at += literal;
		if (!open)
			break;
		close = memchr(open, '>', source.len - at);
		if (!close)
			return fail_at_offset(why, at, "path: '<' without its '>'");
		if (!add_value(p, (struct slice){ open + 1, (size_t)(close - open) - 1 }, at, why))
			return false;
		at += (size_t)(close - open) + 1;
	}
	return true;
}

struct path_pattern *path_compile(const char *source, struct fail *why)
{
	struct path_pattern *p = mem_new(sizeof(*p));

	if (compile(p, slice_of(source), why))
		return p;
	path_free(p);
	return NULL;
}

void path_free(struct path_pattern *p)
{
	if (!p)
		return;
	for (size_t i = 0; i < p->n_parts; i++)
		free(p->parts[i].text);
	free(p);
}

bool path_has(const struct path_pattern *p, const char *name)
{
	for (size_t i = 0; i < p->n_parts; i++)
		if (p->parts[i].kind != PART_LITERAL && strcmp(p->parts[i].text, name) == 0)
			return true;
	return false;
}

const char *path_name(const struct path_pattern *p, size_t i)
{
	for (size_t k = 0; k < p->n_parts; k++)
		if (p->parts[k].kind != PART_LITERAL && i-- == 0)
			return p->parts[k].text;
	return NULL;
}

bool path_is_number(const struct path_pattern *p, const char *name)
{
	for (size_t i = 0; i < p->n_parts; i++)
		if (p->parts[i].kind == PART_INT && strcmp(p->parts[i].text, name) == 0)
			return true;
	return false;
}

/* May a value of this kind contain `c`? Not called for a uuid, whose length is fixed. */
static bool part_takes(enum part_kind kind, char c)
{
	switch (kind) {
	case PART_STR:
		return c != '/';
	case PART_INT:
		return is_digit(c);
	case PART_SLUG:
		return is_letter(c) || is_digit(c) || c == '-' || c == '_';
	case PART_PATH:
		return true;
	case PART_LITERAL:
	case PART_UUID:
		break;
	}
	return false;
}

static bool is_uuid(struct slice text)
{
	if (text.len < UUID_LENGTH)
		return false;
	for (size_t i = 0; i < UUID_LENGTH; i++) {
		bool dash = i == 8 || i == 13 || i == 18 || i == 23;

		if (dash ? text.at[i] != '-' : !is_digit(text.at[i]) && (text.at[i] < 'a' || text.at[i] > 'f'))
			return false;
	}
	return true;
}

/* The length of a part of fixed length at the start of `rest`; 0: the part does not match there. */
static size_t fixed_length(const struct part *part, struct slice rest)
{
	if (part->kind == PART_UUID)
		return is_uuid(rest) ? UUID_LENGTH : 0;
	return rest.len >= part->len && memcmp(rest.at, part->text, part->len) == 0 ? part->len : 0;
}

static bool is_fixed(const struct part *part)
{
	return part->kind == PART_LITERAL || part->kind == PART_UUID;
}

/* A value ends between characters, never inside one: Django matches characters, and each value must be UTF-8 by itself. */
static bool is_boundary(struct slice path, size_t at)
{
	return at == path.len || ((unsigned char)path.at[at] & 0xC0) != 0x80;
}

struct reach {
	bool at[PARTS_MAX + 1][PATH_LENGTH_MAX + 1];
};

static void fill_reach(const struct path_pattern *p, struct slice path, struct reach *reach)
{
	memset(reach->at[p->n_parts], 0, path.len);
	reach->at[p->n_parts][path.len] = true;
	for (size_t i = p->n_parts; i-- > 0;) {
		const struct part *part = &p->parts[i];
		const bool *next = reach->at[i + 1];
		bool *here = reach->at[i];

		here[path.len] = false; /* no part matches an empty text */
		for (size_t at = path.len; at-- > 0;) {
			if (is_fixed(part)) {
				size_t n = fixed_length(part, (struct slice){ path.at + at, path.len - at });

				here[at] = n && next[at + n];
			} else {
				here[at] = part_takes(part->kind, path.at[at]) &&
					   ((next[at + 1] && is_boundary(path, at + 1)) || here[at + 1]);
			}
		}
	}
}

/* The length of the longest value of part `i` at `at` after which the rest still matches. `reach` has shown that there is one. */
static size_t longest(const struct path_pattern *p, size_t i, struct slice path, size_t at, const struct reach *reach)
{
	size_t end = at, best = at;

	if (is_fixed(&p->parts[i]))
		return fixed_length(&p->parts[i], (struct slice){ path.at + at, path.len - at });
	while (end < path.len && part_takes(p->parts[i].kind, path.at[end])) {
		end++;
		if (reach->at[i + 1][end] && is_boundary(path, end))
			best = end;
	}
	return best - at;
}

/* Django's int() drops leading zeros. */
static bool convert(enum part_kind kind, struct slice *value)
{
	if (kind != PART_INT)
		return true;
	while (value->len > 1 && value->at[0] == '0') {
		value->at++;
		value->len--;
	}
	return value->len <= INT_DIGITS_MAX;
}

bool path_match_decoded(const struct path_pattern *p, struct slice path, struct path_values *out)
{
	struct reach reach;
	size_t at = 0, stored = 0;

	out->n = 0;
	/* Most patterns fail at their first literal. Checking it first saves the table. */
	if (path.len > PATH_LENGTH_MAX || !fixed_length(&p->parts[0], path) || !is_clean(path))
		return false;
	fill_reach(p, path, &reach);
	if (!reach.at[0][0])
		return false;
	for (size_t i = 0; i < p->n_parts; i++) {
		size_t n = longest(p, i, path, at, &reach);
		struct slice value = { path.at + at, n };

		at += n;
		if (p->parts[i].kind == PART_LITERAL)
			continue;
		if (!convert(p->parts[i].kind, &value)) {
			out->n = 0;
			return false;
		}
		out->name[out->n] = p->parts[i].text;
		out->value[out->n++] = memcpy(out->store + stored, value.at, value.len);
		out->store[stored + value.len] = '\0';
		stored += value.len + 1;
	}
	shown(path, out->shown);
	return true;
}

static bool decode(struct slice path, struct decoded *out)
{
	out->len = 0;
	if (path.len > PATH_LENGTH_MAX)
		return false;
	for (size_t i = 0; i < path.len; i++) {
		int c = (unsigned char)path.at[i];

		if (c == '%') {
			c = percent_value((struct slice){ path.at + i, path.len - i });
			if (c < 0)
				return false;
			i += 2;
		}
		out->at[out->len++] = (char)c;
	}
	return true;
}

bool path_match(const struct path_pattern *p, struct slice path, struct path_values *out)
{
	struct decoded decoded;

	out->n = 0;
	return decode(path, &decoded) && path_match_decoded(p, (struct slice){ decoded.at, decoded.len }, out);
}

const char *path_value(const struct path_values *v, const char *name)
{
	for (size_t i = 0; i < v->n; i++)
		if (strcmp(v->name[i], name) == 0)
			return v->value[i];
	return NULL;
}

/* Takes the next byte of a query string's name or value, and decodes it. -1: a malformed escape, or a zero byte, which no C string can contain. */
static int next_query_byte(struct slice *rest)
{
	int c = (unsigned char)rest->at[0];
	size_t n = 1;

	if (c == '+')
		c = ' ';
	if (c == '%') {
		c = percent_value(*rest);
		n = 3;
	}
	if (c <= 0)
		return -1;
	rest->at += n;
	rest->len -= n;
	return c;
}

static bool query_name_is(struct slice raw, const char *name)
{
	for (; raw.len; name++) {
		int c = next_query_byte(&raw);

		if (c < 0 || c != (unsigned char)*name)
			return false;
	}
	return *name == '\0';
}

static bool copy_query_value(struct slice raw, char *out, size_t cap)
{
	size_t n = 0;

	while (raw.len) {
		int c = next_query_byte(&raw);

		if (c < 0 || n + 1 >= cap) {
			out[0] = '\0';
			return false;
		}
		out[n++] = (char)c;
	}
	out[n] = '\0';
	return true;
}

bool path_query_value(struct slice query, const char *name, char *out, size_t cap)
{
	if (cap == 0)
		return false;
	out[0] = '\0';
	while (query.len) {
		const char *end = memchr(query.at, '&', query.len);
		size_t n = end ? (size_t)(end - query.at) : query.len;
		const char *sign = memchr(query.at, '=', n);
		size_t name_len = sign ? (size_t)(sign - query.at) : n;
		size_t value_at = sign ? name_len + 1 : n;

		if (query_name_is((struct slice){ query.at, name_len }, name))
			return copy_query_value((struct slice){ query.at + value_at, n - value_at }, out, cap);
		n += end ? 1 : 0;
		query.at += n;
		query.len -= n;
	}
	return false;
}
