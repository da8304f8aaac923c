#include "walpush/rules/group_name.h"

#include <stdint.h>
#include <stdlib.h>

#include "parts.h"
#include "walpush/base/mem.h"

struct group_names {
	const struct tmpl **at;
	size_t n, cap;
};

/* --- the templates ------------------------------------------------------------------------------------------------ */

static bool same_shape(const struct tmpl *a, const struct tmpl *b)
{
	if (a->n_parts != b->n_parts)
		return false;
	for (size_t i = 0; i < a->n_parts; i++) {
		if (a->parts[i].is_ref != b->parts[i].is_ref)
			return false;
		if (!a->parts[i].is_ref && strcmp(a->parts[i].text, b->parts[i].text) != 0)
			return false;
	}
	return true;
}

static void add_templates(struct group_names *names, const struct tmpl *groups, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		size_t k = 0;

		while (k < names->n && !same_shape(names->at[k], &groups[i]))
			k++;
		if (k < names->n)
			continue;
		if (names->n == names->cap) {
			names->cap = names->cap ? names->cap * 2 : 8;
			names->at = mem_resize(names->at, names->cap, sizeof(*names->at));
		}
		names->at[names->n++] = &groups[i];
	}
}

struct group_names *group_names_new(const struct rules *r)
{
	struct group_names *names = mem_new(sizeof(*names));

	for (size_t i = 0; i < rules_n_streams(r); i++)
		add_templates(names, rules_stream(r, i)->groups, rules_stream(r, i)->n_groups);
	for (size_t i = 0; i < r->conf->n_tables; i++)
		add_templates(names, r->sections[i].groups, r->sections[i].n_groups);
	return names;
}

void group_names_free(struct group_names *names)
{
	if (!names)
		return;
	free((void *)names->at);
	free(names);
}

/* --- in how many ways a template spells a text ---------------------------------------------------------------------- */

/*
 * ways[i]: in how many ways do the parts so far spell the first i bytes; more than two count as two. A placeholder stands for any text, also an
 * empty one, because a value of type text may be anything.
 */
static void pass_literal(const char *literal, struct slice text, uint8_t *ways)
{
	size_t n = strlen(literal);

	for (size_t i = text.len + 1; i-- > 0;)
		ways[i] = i >= n && memcmp(text.at + i - n, literal, n) == 0 ? ways[i - n] : 0;
}

static void pass_value(struct slice text, uint8_t *ways)
{
	for (size_t i = 1; i <= text.len; i++) {
		unsigned sum = ways[i] + ways[i - 1];

		ways[i] = (uint8_t)(sum < 2 ? sum : 2);
	}
}

static unsigned ways_of(const struct tmpl *t, struct slice text, uint8_t *ways)
{
	memset(ways, 0, text.len + 1);
	ways[0] = 1;
	for (size_t i = 0; i < t->n_parts; i++) {
		if (t->parts[i].is_ref)
			pass_value(text, ways);
		else
			pass_literal(t->parts[i].text, text, ways);
	}
	return ways[text.len];
}

static bool is_only_one(const struct group_names *names, struct slice text)
{
	uint8_t *ways = mem_new(text.len + 1);
	unsigned n = 0;

	for (size_t i = 0; i < names->n && n < 2; i++)
		n += ways_of(names->at[i], text, ways);
	free(ways);
	return n < 2;
}

/* --- there and back ------------------------------------------------------------------------------------------------- */

/* An escape, "%7B", is in values alone: a literal may have a percent sign, but a name with it is shown with its braces, which is right too. */
static bool has_escape(struct slice group)
{
	return memchr(group.at, '%', group.len) != NULL;
}

void group_name_show(const struct group_names *names, struct slice group, struct buf *out)
{
	struct buf plain = { 0 };

	if (!has_escape(group))
		tmpl_group_display(group, &plain);
	if (plain.len && is_only_one(names, buf_slice(&plain)))
		buf_add_slice(out, buf_slice(&plain));
	else
		buf_add_slice(out, group);
	buf_fini(&plain);
}

/* Tries, of the ways to cut a text. Templates with many placeholders have more ways than anybody would read. */
#define TRIES_MOST 100000

struct finding {
	const struct tmpl *t;
	size_t left; /* how often `one` may still be called */
	size_t tries;
	void (*one)(void *ctx, struct slice group);
	void *ctx;
	struct buf name;
};

static void spell(struct finding *f, size_t part, struct slice rest);

static void spell_value(struct finding *f, size_t part, struct slice rest)
{
	size_t from = f->name.len;

	/* The last part takes all that is left; any other value ends where the next literal begins. */
	for (size_t n = part + 1 == f->t->n_parts ? rest.len : 0; n <= rest.len && f->left && f->tries; n++) {
		f->tries--;
		buf_add_char(&f->name, '{');
		buf_add(&f->name, rest.at, n);
		buf_add_char(&f->name, '}');
		spell(f, part + 1, (struct slice){ rest.at + n, rest.len - n });
		f->name.len = from;
	}
}

static void spell(struct finding *f, size_t part, struct slice rest)
{
	const char *literal = part < f->t->n_parts ? f->t->parts[part].text : "";
	size_t n = strlen(literal), from = f->name.len;

	if (part == f->t->n_parts) {
		if (rest.len == 0 && f->left) {
			f->left--;
			f->one(f->ctx, buf_slice(&f->name));
		}
	} else if (f->t->parts[part].is_ref) {
		spell_value(f, part, rest);
	} else if (n <= rest.len && memcmp(rest.at, literal, n) == 0) {
		buf_add(&f->name, literal, n);
		spell(f, part + 1, (struct slice){ rest.at + n, rest.len - n });
		f->name.len = from;
	}
}

void group_name_find(const struct group_names *names, struct slice text, size_t most,
		     void (*one)(void *ctx, struct slice group), void *ctx)
{
	struct finding f = { .left = most, .tries = TRIES_MOST, .one = one, .ctx = ctx };
	bool has_braces = memchr(text.at, '{', text.len) || memchr(text.at, '}', text.len);
	uint8_t *ways = mem_new(text.len + 1);

	for (size_t i = 0; i < names->n && f.left; i++) {
		f.t = names->at[i];
		if (has_braces && tmpl_could_spell(f.t, text, NULL)) {
			f.left--;
			one(ctx, text);
		} else if (!has_braces && !has_escape(text) && ways_of(f.t, text, ways)) {
			spell(&f, 0, text);
		}
	}
	buf_fini(&f.name);
	free(ways);
}
