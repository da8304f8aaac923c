/* Walks a libconfig tree and the option table together. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parts.h"
#include "walpush/base/mem.h"

#define NAME_COMPARED 40 /* bytes; every option's name is shorter */

struct group {              /* one level of the tree and of the table */
	const char *prefix; /* of its rows: "tables.*." */
	const char *shown;  /* the same with the names in the file: "tables.requests." */
	void *base;         /* the struct to which `at` of its rows belongs */
	unsigned line;
	bool is_refused; /* the group itself is an error, so nothing is said of its members */
};

static bool read_group(const struct conf_reader *r, config_setting_t *s, const struct group *g);

/* Only names in the file can be too long, and these are used only in messages. */
static void name_set(char out[CONF_NAME_SHOWN], const char *format, ...) __attribute__((format(printf, 2, 3)));

static void name_set(char out[CONF_NAME_SHOWN], const char *format, ...)
{
	static const char cut[] = "….";
	va_list args;

	va_start(args, format);
	if (vsnprintf(out, CONF_NAME_SHOWN, format, args) >= CONF_NAME_SHOWN)
		memcpy(out + CONF_NAME_SHOWN - sizeof(cut), cut, sizeof(cut));
	va_end(args);
}

/* ---- what was refused ---- */

static void refuse(const struct conf_reader *r, const void *member)
{
	struct conf_refused *all = r->refused;

	all->at = mem_resize((void *)all->at, all->n + 1, sizeof(*all->at));
	all->at[all->n++] = member;
}

bool conf_is_refused(const struct conf_reader *r, const void *member)
{
	for (size_t i = 0; i < r->refused->n; i++)
		if (r->refused->at[i] == member)
			return true;
	return false;
}

/* What stands for an option among what was refused. A group has no member of its own, and exists once. */
static const void *member_of(const struct conf_option *o, const struct group *g)
{
	return o->type == CONF_GROUP ? (const void *)o : (const char *)g->base + o->at;
}

/* A text keeps a line, so that who does not know the reader sees that it is not simply missing. */
static void refuse_option(const struct conf_reader *r, const struct conf_option *o, const struct group *g)
{
	struct text *text = (void *)((char *)g->base + o->at);

	if (o->type == CONF_LINED && !text->line)
		text->line = g->line;
	refuse(r, member_of(o, g));
}

/* ---- unknown keys ---- */

/* Levenshtein distance; both shorter than NAME_COMPARED. */
static size_t distance(const char *a, const char *b)
{
	size_t row[NAME_COMPARED + 1];
	size_t n = strlen(b);

	for (size_t j = 0; j <= n; j++)
		row[j] = j;
	for (size_t i = 1; a[i - 1]; i++) {
		size_t diagonal = row[0];

		row[0] = i;
		for (size_t j = 1; j <= n; j++) {
			size_t best = diagonal + (a[i - 1] != b[j - 1]);

			diagonal = row[j];
			best = row[j] + 1 < best ? row[j] + 1 : best;
			row[j] = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
		}
	}
	return row[n];
}

/* The option whose name is nearest to `name`; NULL: no name is near enough. */
static const struct conf_option *nearest(const char *prefix, const char *name)
{
	size_t least = 2 + strlen(name) / 4;
	const struct conf_option *found = NULL;

	for (size_t i = 0; strlen(name) < NAME_COMPARED && i < conf_n_options; i++) {
		const char *leaf = conf_option_leaf(&conf_options[i], prefix);

		if (leaf && distance(name, leaf) < least) {
			least = distance(name, leaf);
			found = &conf_options[i];
		}
	}
	return found;
}

static bool unknown(const struct conf_reader *r, const config_setting_t *s, const struct group *g)
{
	const char *name = config_setting_name(s);
	const struct conf_option *meant = nearest(g->prefix, name);
	struct buf known = { 0 };

	if (meant) {
		refuse_option(r, meant, g);
		return fails_add(r->all, r->file, conf_line(s), "%s%.60s is not known; did you mean %s%s?", g->shown,
				 name, g->shown, conf_option_leaf(meant, g->prefix));
	}
	for (size_t i = 0; i < conf_n_options; i++) {
		const char *leaf = conf_option_leaf(&conf_options[i], g->prefix);

		if (leaf)
			buf_addf(&known, "%s%s", known.len ? ", " : "", leaf);
	}
	fails_add(r->all, r->file, conf_line(s), "%s%.60s is not known; known here: %s", g->shown, name, known.data);
	buf_fini(&known);
	return false;
}

/* ---- sections and lists ---- */

/* In every struct of conf.h the count of an array follows the pointer. */
struct array {
	void *at;
	size_t n;
};
_Static_assert(offsetof(struct conf, n_streams) == offsetof(struct conf, streams) + offsetof(struct array, n), "");
_Static_assert(offsetof(struct conf, n_tables) == offsetof(struct conf, tables) + offsetof(struct array, n), "");
_Static_assert(offsetof(struct conf, n_memberships) == offsetof(struct conf, memberships) + offsetof(struct array, n),
	       "");
_Static_assert(offsetof(struct conf_jwt, n_keys) == offsetof(struct conf_jwt, keys) + offsetof(struct array, n), "");
_Static_assert(offsetof(struct conf_table, n_when) == offsetof(struct conf_table, when) + offsetof(struct array, n),
	       "");
_Static_assert(offsetof(struct conf_table, n_actions) ==
		       offsetof(struct conf_table, actions) + offsetof(struct array, n),
	       "");

static bool read_element(const struct conf_reader *r, const struct conf_option *o, config_setting_t *s,
			 const struct group *g)
{
	char **name = g->base; /* the first member of every section's struct */
	struct group inner = *g;
	bool ok;

	inner.is_refused = !config_setting_is_group(s);
	if (inner.is_refused)
		fails_add(r->all, r->file, conf_line(s), "%.*s should be a group: { … }", (int)strlen(g->shown) - 1,
			  g->shown);
	memcpy((char *)g->base + o->line_at, &g->line, sizeof(g->line));
	ok = read_group(r, inner.is_refused ? NULL : s, &inner) && !inner.is_refused;
	if (o->type == CONF_SECTIONS && !*name)
		*name = mem_text(config_setting_name(s));
	if (!ok)
		refuse(r, g->base);
	return ok;
}

static bool read_array(const struct conf_reader *r, const struct conf_option *o, config_setting_t *s, const char *shown,
		       void *base)
{
	bool one = o->type == CONF_LIST && config_setting_is_group(s);
	size_t n = one ? 1 : (size_t)config_setting_length(s);
	struct array *array = (void *)((char *)base + o->at);
	char prefix[CONF_NAME_SHOWN], name[CONF_NAME_SHOWN];
	bool ok = true;

	if (n == 0 && (o->flags & CONF_REQUIRED))
		return fails_add(r->all, r->file, conf_line(s), "%s must not be empty", shown);
	array->at = mem_new_array(n, o->size);
	array->n = n;
	name_set(prefix, "%s.*.", o->name);
	for (size_t i = 0; i < n; i++) {
		config_setting_t *e = one ? s : config_setting_get_elem(s, (unsigned)i);
		struct group g = { prefix, name, (char *)array->at + i * o->size, conf_line(e), false };

		if (one)
			name_set(name, "%s.", shown);
		else if (config_setting_name(e))
			name_set(name, "%s.%.40s.", shown, config_setting_name(e));
		else
			name_set(name, "%s[%zu].", shown, i + 1);
		ok = read_element(r, o, e, &g) && ok;
	}
	if (!ok)
		refuse(r, array);
	return ok;
}

/* ---- groups ---- */

/* After an error the option has its default, and so has everything in a group that is none. */
static bool read_value(const struct conf_reader *r, const struct conf_option *o, config_setting_t *s, const char *shown,
		       const struct group *g)
{
	char prefix[CONF_NAME_SHOWN];
	struct group inner = { prefix, shown, g->base, g->line, true };

	if (conf_value_read(r, o, s, shown, g->base))
		return true;
	conf_value_release(o, g->base);
	conf_value_default(o, g->base);
	name_set(prefix, "%s.", o->name);
	if (o->type == CONF_GROUP)
		read_group(r, NULL, &inner);
	refuse_option(r, o, g);
	return false;
}

static bool read_option(const struct conf_reader *r, const struct conf_option *o, config_setting_t *s,
			const struct group *g, const char *leaf)
{
	char shown[CONF_NAME_SHOWN], prefix[CONF_NAME_SHOWN];
	struct group inner = { prefix, shown, g->base, conf_line(s), false };

	name_set(shown, "%s%s", g->shown, leaf);
	if ((o->type == CONF_SECTIONS && config_setting_is_group(s)) ||
	    (o->type == CONF_LIST && (config_setting_is_group(s) || config_setting_is_list(s))))
		return read_array(r, o, s, shown, g->base);
	if (o->type != CONF_GROUP || !config_setting_is_group(s))
		return read_value(r, o, s, shown, g);
	name_set(prefix, "%s.", o->name);
	name_set(shown, "%s%s.", g->shown, leaf);
	return read_group(r, s, &inner);
}

static bool missing(const struct conf_reader *r, const struct conf_option *o, const struct group *g, const char *leaf)
{
	struct buf expected = { 0 };

	conf_value_expected(o, &expected);
	fails_add(r->all, r->file, g->line, "%s%s is missing; set it to %s", g->shown, leaf, expected.data);
	buf_fini(&expected);
	return false;
}

static bool absent(const struct conf_reader *r, const struct conf_option *o, const struct group *g, const char *leaf)
{
	char prefix[CONF_NAME_SHOWN];
	struct group inner = { prefix, prefix, g->base, g->line, false };
	bool refused = g->is_refused || conf_is_refused(r, member_of(o, g));
	bool ok = refused || !(o->flags & CONF_REQUIRED) || missing(r, o, g, leaf);

	inner.is_refused = refused || !ok;
	if (inner.is_refused)
		refuse_option(r, o, g);
	conf_value_default(o, g->base);
	name_set(prefix, "%s.", o->name);
	return o->type == CONF_GROUP ? read_group(r, NULL, &inner) && ok : ok;
}

static const struct conf_option *find(const char *prefix, const char *name)
{
	for (size_t i = 0; i < conf_n_options; i++) {
		const char *leaf = conf_option_leaf(&conf_options[i], prefix);

		if (leaf && strcmp(leaf, name) == 0)
			return &conf_options[i];
	}
	return NULL;
}

/* Reads the options that the file has, then sets those that it does not have. */
static bool read_group(const struct conf_reader *r, config_setting_t *s, const struct group *g)
{
	bool ok = true;

	for (int i = 0; s && i < config_setting_length(s); i++) {
		config_setting_t *child = config_setting_get_elem(s, (unsigned)i);
		const char *name = config_setting_name(child);
		const struct conf_option *o = find(g->prefix, name);

		ok = (o ? read_option(r, o, child, g, name) : unknown(r, child, g)) && ok;
	}
	for (size_t i = 0; i < conf_n_options; i++) {
		const char *leaf = conf_option_leaf(&conf_options[i], g->prefix);

		if (leaf && !(s && config_setting_get_member(s, leaf)))
			ok = absent(r, &conf_options[i], g, leaf) && ok;
	}
	return ok;
}

void conf_read(const struct conf_reader *r, struct conf_draft *d)
{
	struct group root = { "", "", d, 1, false };

	read_group(r, config_root_setting(r->source), &root);
}

static void release(const char *prefix, void *base)
{
	for (size_t i = 0; i < conf_n_options; i++) {
		const struct conf_option *o = &conf_options[i];
		struct array *array = (void *)((char *)base + o->at);
		char inner[CONF_NAME_SHOWN];

		if (!conf_option_leaf(o, prefix))
			continue;
		name_set(inner, "%s%s", o->name, o->type == CONF_GROUP ? "." : ".*.");
		if (o->type == CONF_GROUP)
			release(inner, base);
		else if (o->type != CONF_SECTIONS && o->type != CONF_LIST)
			conf_value_release(o, base);
		else {
			for (size_t k = 0; k < array->n; k++) {
				release(inner, (char *)array->at + k * o->size);
				free(*(char **)((char *)array->at + k * o->size)); /* the section's name */
			}
			free(array->at);
		}
	}
}

void conf_release(struct conf_draft *d)
{
	release("", d);
	free(d->conf.file);
	free(d->conf.text);
	*d = (struct conf_draft){ 0 };
}
