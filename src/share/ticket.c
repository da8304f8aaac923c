#include "walpush/share/ticket.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "walpush/base/mem.h"
#include "walpush/base/hash.h"

struct draft { /* values as found; names and texts are offsets as long as `texts` may move */
	struct ticket_value *values;
	struct place {
		size_t name, text; /* SIZE_MAX: no text */
	} * places;
	size_t n, cap;
	struct buf texts;
	const struct path_values *path;
	const struct token *token;
	const char *missing; /* the first claim that is no value; NULL: all claims are values */
};

static bool draft_has(const struct draft *d, const struct tmpl_part *part)
{
	for (size_t i = 0; i < d->n; i++)
		if (d->values[i].scope == part->scope && strcmp(d->values[i].name, part->text) == 0)
			return true;
	return false;
}

static bool draft_text(struct draft *d, const struct tmpl_part *part)
{
	const char *text = part->scope == TMPL_PATH ? path_value(d->path, part->text) : NULL;

	if (text)
		buf_add_text(&d->texts, text);
	return text || (part->scope == TMPL_TOKEN && token_claim(d->token, part->text, &d->texts));
}

static void draft_add(struct draft *d, const struct tmpl_part *part)
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
	if (!draft_text(d, part)) {
		d->places[d->n].text = SIZE_MAX;
		if (part->scope == TMPL_TOKEN && !d->missing)
			d->missing = part->text;
	}
	buf_add_char(&d->texts, '\0');
	d->n++;
}

static void draft_placeholder(struct draft *d, const struct tmpl_part *part)
{
	if ((part->scope == TMPL_PATH || part->scope == TMPL_TOKEN) && !draft_has(d, part))
		draft_add(d, part);
}

static void draft_template(struct draft *d, const struct tmpl *t)
{
	for (size_t i = 0; i < t->n_parts; i++)
		if (t->parts[i].is_ref)
			draft_placeholder(d, &t->parts[i]);
}

static void draft_json(struct draft *d, const struct jsontmpl *t)
{
	for (size_t i = 0; i < t->n; i++)
		if (t->pieces[i].kind != JSONTMPL_LITERAL)
			draft_placeholder(d, &t->pieces[i].part);
}

static void draft_stream(struct draft *d, const struct rules_stream *s)
{
	draft_template(d, &s->admit.source);
	for (size_t i = 0; i < s->n_groups; i++)
		draft_template(d, &s->groups[i]);
	draft_json(d, &s->hello);
	draft_json(d, &s->resync);
}

/* Each text ends with its zero byte, so that no two lists of claims give the same bytes. */
static uint64_t digest_of(const struct ticket *t)
{
	uint64_t digest = HASH_START_64;

	for (size_t i = 0; i < t->n_values; i++) {
		if (t->values[i].scope != TMPL_TOKEN)
			continue;
		digest = hash_text_64(digest, t->values[i].name);
		digest = hash_text_64(digest, t->values[i].text);
	}
	return digest;
}

/* Takes over the draft's values. */
static struct ticket *ticket_from(struct draft *d, uint64_t stream, const struct address *peer)
{
	size_t user = strlen(d->token->user) + 1, path = strlen(d->path->shown) + 1;
	struct ticket *t = mem_new(sizeof(*t) + d->texts.len + user + path);

	atomic_init(&t->refs, 1);
	t->stream = stream;
	t->peer = *peer;
	t->expires = d->token->expires;
	t->n_values = d->n;
	t->values = d->values;
	d->values = NULL;
	memcpy(t->store, buf_slice(&d->texts).at, d->texts.len);
	for (size_t i = 0; i < d->n; i++) {
		t->values[i].name = t->store + d->places[i].name;
		t->values[i].text = d->places[i].text == SIZE_MAX ? NULL : t->store + d->places[i].text;
	}
	t->user = memcpy(t->store + d->texts.len, d->token->user, user);
	t->path = memcpy(t->user + user, d->path->shown, path);
	t->claims = digest_of(t);
	return t;
}

struct ticket *ticket_new(const struct rules_stream *s, const struct path_values *path, const struct token *token,
			  const struct address *peer, const char **missing)
{
	struct draft d = { .path = path, .token = token };
	struct ticket *t = NULL;

	draft_stream(&d, s);
	*missing = d.missing;
	if (!d.missing)
		t = ticket_from(&d, s->identity, peer);
	buf_fini(&d.texts);
	free(d.places);
	free(d.values);
	return t;
}

static void path_of(const struct ticket *t, struct path_values *out)
{
	out->n = 0;
	mem_copy_text(out->shown, sizeof(out->shown), t->path);
	for (size_t i = 0; i < t->n_values && out->n < PATH_VALUES_MAX; i++) {
		if (t->values[i].scope != TMPL_PATH || !t->values[i].text)
			continue;
		out->name[out->n] = t->values[i].name;
		out->value[out->n++] = t->values[i].text;
	}
}

struct ticket *ticket_renewed(const struct ticket *t, const struct rules_stream *s, const struct token *token,
			      const char **missing)
{
	struct path_values path;

	path_of(t, &path);
	return ticket_new(s, &path, token, &t->peer, missing);
}

/* Tickets of one stream name the same claims; tickets of two streams never have the same claims. */
bool ticket_same_claims(const struct ticket *a, const struct ticket *b)
{
	if (a->stream != b->stream || a->n_values != b->n_values)
		return false;
	for (size_t i = 0; i < a->n_values; i++)
		if (a->values[i].scope == TMPL_TOKEN && strcmp(a->values[i].text, b->values[i].text) != 0)
			return false;
	return true;
}

void ticket_epoch(const struct ticket *t, const char *epoch, char out[TICKET_EPOCH_MAX])
{
	snprintf(out, TICKET_EPOCH_MAX, "%.47s-%016" PRIx64, epoch, t->claims);
}

bool ticket_knows_epoch(const struct ticket *t, const char *epoch, const char *said)
{
	char mine[TICKET_EPOCH_MAX];

	ticket_epoch(t, epoch, mine);
	return strcmp(mine, said) == 0;
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
		   struct groups *out)
{
	struct path_values path;

	path_of(t, &path);
	groups_of_stream(s, &path, claim, (void *)t, admit, out);
}
