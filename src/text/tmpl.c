#include "walpush/text/tmpl.h"

#include <stdlib.h>

#include "walpush/base/mem.h"

static const struct {
	const char *name;
	enum tmpl_scope scope;
} scope_names[] = {
	{ "old", TMPL_OLD },     { "path", TMPL_PATH },     { "token", TMPL_TOKEN },
	{ "admit", TMPL_ADMIT }, { "lookup", TMPL_LOOKUP }, { "actor", TMPL_ACTOR },
};

#define N_SCOPE_NAMES (sizeof(scope_names) / sizeof(scope_names[0]))

/* In the order of the enums. */
static const struct {
	enum tmpl_scope scope;
	const char *const names[7];
} words[] = {
	{ TMPL_EVENT, { "op", "action", "table", "commit_time", "event_id" } },
	{ TMPL_STREAM, { "stream", "epoch", "event_id", "reason", "resumed", "timestamp" } },
	{ TMPL_TABLE, { "schema" } },
};

#define N_WORD_SCOPES (sizeof(words) / sizeof(words[0]))

struct parser {
	const char *source;
	const char *at;
	unsigned scopes;
	struct fail *why;
};

static size_t offset_of(const struct parser *p)
{
	return (size_t)(p->at - p->source);
}

static struct tmpl_part *add_part(struct tmpl *t, bool is_ref)
{
	struct tmpl_part *part;

	t->parts = mem_resize(t->parts, t->n_parts + 1, sizeof(*t->parts));
	part = &t->parts[t->n_parts++];
	*part = (struct tmpl_part){ .is_ref = is_ref, .slot = -1 };
	t->n_refs += is_ref;
	return part;
}

/* Parses up to the next placeholder or the end. "{{" and "}}" become one brace. */
static bool parse_literal(struct parser *p, struct tmpl *t)
{
	struct buf text = { 0 };

	for (; *p->at; p->at++) {
		if (*p->at == '{' || *p->at == '}') {
			if (p->at[1] != *p->at) {
				if (*p->at == '{')
					break;
				buf_fini(&text);
				return fail_at_offset(p->why, offset_of(p),
						      "a lone '}': a literal brace is written twice");
			}
			p->at++;
		}
		buf_add_char(&text, *p->at);
	}
	if (text.len)
		add_part(t, false)->text = buf_steal(&text);
	buf_fini(&text);
	return true;
}

/* The characters of PostgreSQL's unquoted identifiers. Ranges instead of isalnum(), because the locale must not matter. */
static bool is_name_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '$' ||
	       (unsigned char)c >= 0x80;
}

/* A name, plain or in double quotes; inside quotes "" is one quote. NULL: there is no name, and `why` is filled. */
static char *parse_name(struct parser *p, bool *quoted)
{
	struct buf name = { 0 };

	*quoted = *p->at == '"';
	if (*quoted) {
		for (p->at++; *p->at && (*p->at != '"' || p->at[1] == '"'); p->at++) {
			if (*p->at == '"')
				p->at++;
			buf_add_char(&name, *p->at);
		}
		if (*p->at == '"')
			p->at++;
		else
			buf_clear(&name);
	} else {
		for (; is_name_char(*p->at); p->at++)
			buf_add_char(&name, *p->at);
	}
	if (name.len)
		return buf_steal(&name);
	buf_fini(&name);
	fail_at_offset(p->why, offset_of(p), "a name is missing in a placeholder; a literal brace is written twice");
	return NULL;
}

static const char *scope_name(enum tmpl_scope scope)
{
	for (size_t i = 0; i < N_SCOPE_NAMES; i++)
		if (scope_names[i].scope == scope)
			return scope_names[i].name;
	return NULL;
}

/* Appends the placeholders that are allowed: "{x}, {old.x}". */
static void describe_scopes(unsigned scopes, struct buf *out)
{
	for (size_t i = 0; i < N_WORD_SCOPES; i++)
		for (const char *const *name = words[i].names; *name && scopes & 1u << words[i].scope; name++)
			buf_addf(out, "%s{%s}", out->len ? ", " : "", *name);
	if (scopes & 1u << TMPL_ROW)
		buf_add_text(out, out->len ? ", {x}" : "{x}");
	for (size_t i = 0; i < N_SCOPE_NAMES; i++)
		if (scopes & 1u << scope_names[i].scope)
			buf_addf(out, "%s{%s.x}", out->len ? ", " : "", scope_names[i].name);
	if (out->len == 0)
		buf_add_text(out, "no placeholder");
}

static bool fail_scope(const struct parser *p, const char *start)
{
	struct buf allowed = { 0 };
	size_t len = strcspn(start, "}");

	describe_scopes(p->scopes, &allowed);
	fail_at_offset(p->why, (size_t)(start - p->source), "%.*s} cannot stand here; what can: %s",
		       (int)(len < 100 ? len : 100), start, allowed.data);
	buf_fini(&allowed);
	return false;
}

/* Sets scope and slot if the bare name is a word of an allowed scope. */
static void find_word(unsigned scopes, struct tmpl_part *part)
{
	for (size_t i = 0; i < N_WORD_SCOPES; i++)
		for (int k = 0; words[i].names[k] && scopes & 1u << words[i].scope; k++)
			if (strcmp(words[i].names[k], part->text) == 0) {
				part->scope = words[i].scope;
				part->slot = k;
			}
}

static bool scope_of(const char *name, enum tmpl_scope *out)
{
	for (size_t i = 0; i < N_SCOPE_NAMES; i++)
		if (strcmp(scope_names[i].name, name) == 0) {
			*out = scope_names[i].scope;
			return true;
		}
	return false;
}

/* "{name}", "{scope.name}", "{name:text}"; p->at points to the brace. */
static bool parse_ref(struct parser *p, struct tmpl *t)
{
	const char *start = p->at++;
	struct tmpl_part *part = add_part(t, true);
	bool quoted, known = true;

	part->scope = TMPL_ROW;
	part->text = parse_name(p, &quoted);
	if (part->text && !quoted && *p->at == '.') {
		p->at++;
		known = scope_of(part->text, &part->scope);
		free(part->text);
		part->text = parse_name(p, &quoted);
	} else if (part->text && !quoted) {
		find_word(p->scopes, part);
	}
	if (!part->text)
		return false;
	if (strncmp(p->at, ":text", 5) == 0) {
		part->as_text = true;
		p->at += 5;
	}
	if (*p->at != '}')
		return fail_at_offset(p->why, offset_of(p), "the placeholder of \"%.100s\" is not closed by '}'",
				      part->text);
	p->at++;
	if (!known || !(p->scopes & 1u << part->scope))
		return fail_scope(p, start);
	return true;
}

bool tmpl_parse(struct tmpl *t, const char *source, unsigned scopes, struct fail *why)
{
	struct parser p = { .source = source, .at = source, .scopes = scopes, .why = why };

	*t = (struct tmpl){ 0 };
	while (*p.at) {
		bool literal = *p.at != '{' || p.at[1] == '{';

		if (!(literal ? parse_literal(&p, t) : parse_ref(&p, t))) {
			tmpl_fini(t);
			return false;
		}
	}
	return true;
}

void tmpl_fini(struct tmpl *t)
{
	for (size_t i = 0; i < t->n_parts; i++)
		free(t->parts[i].text);
	free(t->parts);
	*t = (struct tmpl){ 0 };
}

void tmpl_name(const struct tmpl_part *part, struct buf *out)
{
	const char *scope = scope_name(part->scope);

	buf_addf(out, scope ? "{%s.%s}" : "{%s%s}", scope ? scope : "", part->text);
}

bool tmpl_names(const struct tmpl *t, enum tmpl_scope scope, const char *name)
{
	for (size_t i = 0; i < t->n_parts; i++)
		if (t->parts[i].is_ref && t->parts[i].scope == scope && strcmp(t->parts[i].text, name) == 0)
			return true;
	return false;
}

bool tmpl_uses(const struct tmpl *t, enum tmpl_scope scope)
{
	for (size_t i = 0; i < t->n_parts; i++)
		if (t->parts[i].is_ref && t->parts[i].scope == scope)
			return true;
	return false;
}

void tmpl_sql(const struct tmpl *t, struct buf *out)
{
	uint64_t parameter = 0;

	for (size_t i = 0; i < t->n_parts; i++) {
		if (t->parts[i].is_ref) {
			buf_add_char(out, '$');
			buf_add_u64(out, ++parameter);
		} else {
			buf_add_text(out, t->parts[i].text);
		}
	}
}

/* Escapes in place, from `from` on, the bytes that `value` has appended: braces, percent signs, and zero bytes, which would end a name. */
static void escape_value(struct buf *out, size_t from)
{
	static const char digits[] = "0123456789ABCDEF";
	size_t special = 0, to;

	for (size_t i = from; i < out->len; i++)
		special += out->data[i] == '{' || out->data[i] == '}' || out->data[i] == '%' || out->data[i] == '\0';
	if (special == 0)
		return;
	buf_reserve(out, 2 * special);
	to = out->len + 2 * special;
	out->data[to] = '\0';
	for (size_t i = out->len; i-- > from;) {
		unsigned char c = (unsigned char)out->data[i];

		if (c == '{' || c == '}' || c == '%' || c == '\0') {
			out->data[--to] = digits[c & 15];
			out->data[--to] = digits[c >> 4];
			out->data[--to] = '%';
		} else {
			out->data[--to] = (char)c;
		}
	}
	out->len += 2 * special;
}

bool tmpl_group(const struct tmpl *t, tmpl_value_fn *value, void *ctx, struct buf *out)
{
	size_t start = out->len;

	for (size_t i = 0; i < t->n_parts; i++) {
		size_t from;

		if (!t->parts[i].is_ref) {
			buf_add_text(out, t->parts[i].text);
			continue;
		}
		buf_add_char(out, '{');
		from = out->len;
		if (!value(ctx, &t->parts[i], out)) {
			out->len = start;
			out->data[start] = '\0';
			return false;
		}
		escape_value(out, from);
		buf_add_char(out, '}');
	}
	return true;
}

static int hex_digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

bool tmpl_may_equal(const struct tmpl *a, const struct tmpl *b)
{
	if (a->n_parts != b->n_parts)
		return false;
	for (size_t i = 0; i < a->n_parts; i++)
		if (a->parts[i].is_ref != b->parts[i].is_ref ||
		    (!a->parts[i].is_ref && strcmp(a->parts[i].text, b->parts[i].text) != 0))
			return false;
	return true;
}

void tmpl_group_display(struct slice group, struct buf *out)
{
	bool in_value = false;

	for (size_t i = 0; i < group.len; i++) {
		char c = group.at[i];

		if (c == '{' || c == '}') {
			in_value = c == '{';
			continue;
		}
		if (in_value && c == '%' && i + 2 < group.len && hex_digit(group.at[i + 1]) >= 0 &&
		    hex_digit(group.at[i + 2]) >= 0) {
			c = (char)(hex_digit(group.at[i + 1]) << 4 | hex_digit(group.at[i + 2]));
			i += 2;
		}
		buf_add_char(out, c);
	}
}

/* The value in braces, as a group's name has it. */
static bool is_spelled(struct slice braced, const char *value)
{
	struct buf text = { 0 };
	bool same;

	buf_add_text(&text, value);
	escape_value(&text, 0);
	same = slice_equal((struct slice){ braced.at + 1, braced.len - 2 }, buf_slice(&text));
	buf_fini(&text);
	return same;
}

/* The length of the placeholder's value at the beginning of `group`, with its braces; 0: there is none. */
static size_t value_length(const struct tmpl_part *part, struct slice group, const char *schema)
{
	const char *end = group.len && *group.at == '{' ? memchr(group.at, '}', group.len) : NULL;
	size_t len = end ? (size_t)(end - group.at) + 1 : 0;

	if (end && schema && part->scope == TMPL_TABLE && !is_spelled((struct slice){ group.at, len }, schema))
		return 0;
	return len;
}

bool tmpl_could_spell(const struct tmpl *t, struct slice group, const char *schema)
{
	for (size_t i = 0; i < t->n_parts; i++) {
		size_t len;

		if (t->parts[i].is_ref) {
			len = value_length(&t->parts[i], group, schema);
			if (!len)
				return false;
		} else {
			len = strlen(t->parts[i].text);
			if (len > group.len || memcmp(group.at, t->parts[i].text, len) != 0)
				return false;
		}
		group.at += len;
		group.len -= len;
	}
	return group.len == 0;
}
