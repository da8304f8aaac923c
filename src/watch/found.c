#include "walpush/watch/found.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "walpush/base/mem.h"

struct found_set {
	struct found at[FOUND_MOST];
	size_t n;
};

struct found_set *found_set_new(void)
{
	return mem_new(sizeof(struct found_set));
}

static void fini(struct found *f)
{
	free(f->check);
	free(f->text);
	free(f->fix);
}

void found_clear(struct found_set *s)
{
	while (s->n)
		fini(&s->at[--s->n]);
}

void found_set_free(struct found_set *s)
{
	if (!s)
		return;
	found_clear(s);
	free(s);
}

static const char *behind_digits(const char *text)
{
	while (isdigit((unsigned char)*text))
		text++;
	return text;
}

static bool is_same_text(const char *a, const char *b)
{
	for (; *a && *b; a++, b++) {
		a = behind_digits(a);
		b = behind_digits(b);
		if (*a != *b)
			return false;
		if (!*a)
			return true;
	}
	return *behind_digits(a) == *behind_digits(b);
}

static struct found *find(struct found_set *s, const char *check, const char *text, bool is_failure)
{
	for (size_t i = 0; i < s->n; i++)
		if (!s->at[i].is_seen && s->at[i].is_failure == is_failure && strcmp(s->at[i].check, check) == 0 &&
		    is_same_text(s->at[i].text, text))
			return &s->at[i];
	return NULL;
}

static const char *text_of(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text ? text : "";
}

static void replace(char **kept, const char *text)
{
	free(*kept);
	*kept = text ? mem_text(text) : NULL;
}

static void take_finding(struct found_set *s, const json_t *finding, bool is_failure, int64_t now, found_told *told,
			 void *ctx)
{
	const char *check = text_of(finding, "check"), *text = text_of(finding, "text");
	struct found *f = find(s, check, text, is_failure);
	bool came = !f;

	if (came && s->n == FOUND_MOST)
		return;
	if (came) {
		f = &s->at[s->n++];
		*f = (struct found){ .check = mem_text(check), .is_failure = is_failure, .since = now };
	}
	f->is_seen = true;
	f->stops = json_is_true(json_object_get(finding, "stops"));
	replace(&f->text, text);
	replace(&f->fix, json_string_value(json_object_get(json_object_get(finding, "fix"), "text")));
	if (came)
		told(ctx, f, true);
}

static void keep(struct found_set *s, const char *check)
{
	for (size_t i = 0; i < s->n; i++)
		s->at[i].is_seen |= strcmp(s->at[i].check, check) == 0;
}

static void drop_unseen(struct found_set *s, found_told *told, void *ctx)
{
	size_t kept = 0;

	for (size_t i = 0; i < s->n; i++) {
		if (s->at[i].is_seen) {
			s->at[i].is_seen = false;
			s->at[kept++] = s->at[i];
			continue;
		}
		told(ctx, &s->at[i], false);
		fini(&s->at[i]);
	}
	s->n = kept;
}

void found_take(struct found_set *s, const json_t *report, int64_t now, found_told *told, void *ctx)
{
	const json_t *findings = json_object_get(report, "findings"), *finding;
	size_t i;

	json_array_foreach(findings, i, finding)
	{
		const char *state = text_of(finding, "state");

		if (strcmp(state, "failure") == 0 || strcmp(state, "warning") == 0)
			take_finding(s, finding, *state == 'f', now, told, ctx);
		else if (strcmp(state, "skipped") == 0)
			keep(s, text_of(finding, "check"));
	}
	drop_unseen(s, told, ctx);
}

size_t found_count(const struct found_set *s)
{
	return s->n;
}

const struct found *found_at(const struct found_set *s, size_t i)
{
	return &s->at[i];
}
