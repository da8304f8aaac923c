#include "walpush/ticket.h"

#include <stdlib.h>

#include "walpush/mem.h"

struct draft { /* values as found; names and texts are offsets until the store stands still */
	struct ticket_value *values;
	struct place {
		size_t name, text; /* SIZE_MAX: no text */
	} * places;
	size_t n, cap;
	struct buf texts;
};

static bool draft_has(const struct draft *d, const struct tmpl_part *part)
{
	for (size_t i = 0; i < d->n; i++)
		if (d->values[i].scope == part->scope && strcmp(d->values[i].name, part->text) == 0)
			return true;
	return false;
}

static void draft_add(struct draft *d, const struct tmpl_part *part, const char *path_text, const struct token *token)
{
	if (d->n == d->cap) {
		d->cap = d->cap ? d->cap * 2 : 4;
		d->values = mem_resize(d->values, d->cap, sizeof(*d->values));
		d->places = mem_resize(d->places, d->cap, sizeof(*d->places));
	}
	d->values[d->n] = (struct ticket_value){ part->scope, part->text, NULL };
	d->places[d->n].name = d->texts.len;
	buf_add(&d->texts, part->text, strlen(part->text) + 1);
	d->places[d->n].text = d->texts.len;
	if (part->scope == TMPL_PATH && path_text)
		buf_add_text(&d->texts, path_text);
	else if (part->scope != TMPL_TOKEN || !token_claim(token, part->text, &d->texts))
		d->places[d->n].text = SIZE_MAX;
	buf_add_char(&d->texts, '\0');
	d->n++;
}

static void draft_placeholder(struct draft *d, const struct tmpl_part *part, const struct path_values *path,
			      const struct token *token)
{
	if ((part->scope != TMPL_PATH && part->scope != TMPL_TOKEN) || draft_has(d, part))
		return;
	draft_add(d, part, part->scope == TMPL_PATH ? path_value(path, part->text) : NULL, token);
}

static void draft_template(struct draft *d, const struct tmpl *t, const struct path_values *path,
			   const struct token *token)
{
	for (size_t i = 0; i < t->n_parts; i++)
		if (t->parts[i].is_ref)
			draft_placeholder(d, &t->parts[i], path, token);
}

static void draft_json(struct draft *d, const struct jsontmpl *t, const struct path_values *path,
		       const struct token *token)
{
	for (size_t i = 0; i < t->n; i++)
		if (t->pieces[i].kind != JSONTMPL_LITERAL)
			draft_placeholder(d, &t->pieces[i].part, path, token);
}

struct ticket *ticket_new(const struct rules_stream *s, const struct path_values *path, const struct token *token,
			  const struct address *peer)
{
	struct draft d = { 0 };
	struct ticket *t;

	draft_template(&d, &s->admit.source, path, token);
	for (size_t i = 0; i < s->n_groups; i++)
		draft_template(&d, &s->groups[i], path, token);
	draft_json(&d, &s->hello, path, token);
	draft_json(&d, &s->resync, path, token);
	t = mem_new(sizeof(*t) + d.texts.len + strlen(token->user) + 1);
	atomic_init(&t->refs, 1);
	t->stream = s->identity;
	t->peer = *peer;
	t->n_values = d.n;
	t->values = d.values;
	memcpy(t->store, buf_slice(&d.texts).at, d.texts.len);
	for (size_t i = 0; i < d.n; i++) {
		t->values[i].name = t->store + d.places[i].name;
		t->values[i].text = d.places[i].text == SIZE_MAX ? NULL : t->store + d.places[i].text;
	}
	t->user = strcpy(t->store + d.texts.len, token->user);
	buf_fini(&d.texts);
	free(d.places);
	return t;
}

struct ticket *ticket_ref(struct ticket *t)
{
	atomic_fetch_add_explicit(&t->refs, 1, memory_order_relaxed);
	return t;
}

void ticket_unref(struct ticket *t)
{
	if (!t || atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel) != 1)
		return;
	free(t->values);
	free(t);
}

const struct rules_stream *ticket_stream(const struct ticket *t, const struct rules *r)
{
	int i = rules_stream_index(r, t->stream);

	return i < 0 ? NULL : rules_stream(r, (size_t)i);
}

const char *ticket_value(const struct ticket *t, enum tmpl_scope scope, const char *name)
{
	for (size_t i = 0; i < t->n_values; i++)
		if (t->values[i].scope == scope && strcmp(t->values[i].name, name) == 0)
			return t->values[i].text;
	return NULL;
}

void ticket_params(const struct ticket *t, const struct rules_stream *s, const char **out)
{
	const struct tmpl *source = &s->admit.source;

	for (size_t i = 0; i < source->n_parts; i++)
		if (source->parts[i].is_ref)
			*out++ = ticket_value(t, source->parts[i].scope, source->parts[i].text);
}

static bool claim(void *ctx, const struct tmpl_part *part, struct buf *out)
{
	const char *text = ticket_value(ctx, part->scope, part->text);

	if (text)
		buf_add_text(out, text);
	return text != NULL;
}

void ticket_groups(const struct ticket *t, const struct rules_stream *s, const struct sqlrows *admit,
		   struct route_groups *out)
{
	struct path_values path;

	path.n = 0;
	for (size_t i = 0; i < t->n_values && path.n < PATH_VALUES_MAX; i++) {
		if (t->values[i].scope != TMPL_PATH || !t->values[i].text)
			continue;
		path.name[path.n] = t->values[i].name;
		path.value[path.n++] = t->values[i].text;
	}
	route_stream_groups(s, &path, claim, (void *)t, admit, out);
}
