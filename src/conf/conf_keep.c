/* Options that a reload cannot change: they keep their value, and their names are reported. */
#include <stdlib.h>
#include <string.h>

#include "parts.h"
#include "walpush/base/fail.h"
#include "walpush/base/mem.h"

static bool same_text(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

static bool same_texts(const struct texts *a, const struct texts *b)
{
	if (a->n != b->n)
		return false;
	for (size_t i = 0; i < a->n; i++)
		if (!same_text(a->at[i].text, b->at[i].text))
			return false;
	return true;
}

static void keep_texts(struct texts *to, const struct texts *from)
{
	to->at = mem_new_array(from->n, sizeof(*to->at));
	to->n = from->n;
	for (size_t i = 0; i < from->n; i++)
		to->at[i] = (struct text){ mem_text(from->at[i].text), from->at[i].line };
}

/* Copies the value of `now` to `next`. True: the two were equal. */
static bool keep(const struct conf_option *o, char *now, char *next)
{
	char *const *old_text = (void *)(now + o->at);
	char **text = (void *)(next + o->at);

	switch (o->type) {
	case CONF_BOOL:
		if (*(bool *)(void *)(now + o->at) == *(bool *)(void *)(next + o->at))
			return true;
		*(bool *)(void *)(next + o->at) = *(bool *)(void *)(now + o->at);
		return false;
	case CONF_INT:
	case CONF_SECONDS:
	case CONF_BYTES:
		if (*(int64_t *)(void *)(now + o->at) == *(int64_t *)(void *)(next + o->at))
			return true;
		*(int64_t *)(void *)(next + o->at) = *(int64_t *)(void *)(now + o->at);
		return false;
	case CONF_TEXT:
	case CONF_PATH:
	case CONF_SECRET_FILE:
	case CONF_LINED: /* its text is its first member */
		if (same_text(*old_text, *text))
			return true;
		free(*text);
		*text = *old_text ? mem_text(*old_text) : NULL;
		return false;
	case CONF_TEXTS:
		if (same_texts((void *)(now + o->at), (void *)(next + o->at)))
			return true;
		conf_value_release(o, next);
		keep_texts((void *)(next + o->at), (void *)(now + o->at));
		return false;
	default:
		/* test_conf checks the table for this */
		fail_never("option %s needs a restart, but no option of its kind may", o->name);
	}
}

bool conf_option_restarts(const struct conf_option *o)
{
	bool is_value = o->type != CONF_GROUP && o->type != CONF_SECTIONS && o->type != CONF_LIST;

	return is_value && !(o->flags & CONF_RELOAD) && !strchr(o->name, '*');
}

void conf_keep(const struct conf *now, struct conf *next, struct buf *changed)
{
	/* Offsets in the table count from the draft; its first member is the configuration. */
	_Static_assert(offsetof(struct conf_draft, conf) == 0, "");

	for (size_t i = 0; i < conf_n_options; i++) {
		const struct conf_option *o = &conf_options[i];

		if (!conf_option_restarts(o) || keep(o, (char *)now, (char *)next))
			continue;
		buf_addf(changed, "%s%s", changed->len ? ", " : "", o->name);
	}
}
