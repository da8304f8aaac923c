#include "walpush/watch/ledger.h"

#include <stdlib.h>
#include <string.h>

#include "walpush/base/mem.h"

#define TEXT_BYTES (2u << 20)

struct ledger {
	struct cell {
		struct event_id id;
		int64_t at;
		uint64_t receivers;
		uint64_t text; /* where its texts begin, counted from the beginning of time */
		uint32_t n_groups;
		uint16_t n_kept;
		bool has_texts;
	} cells[LEDGER_EVENTS];
	uint64_t n;    /* cells so far */
	uint64_t text; /* bytes of `texts` so far, those included that were left free at the end */
	char texts[TEXT_BYTES];
};

struct ledger *ledger_new(void)
{
	return mem_new(sizeof(struct ledger));
}

void ledger_free(struct ledger *l)
{
	free(l);
}

/* Where `len` bytes in one piece begin. */
static uint64_t room_for(struct ledger *l, size_t len)
{
	size_t left = TEXT_BYTES - (size_t)(l->text % TEXT_BYTES);

	if (left < len)
		l->text += left;
	l->text += len;
	return l->text - len;
}

static char *add(char *to, const char *text, size_t len)
{
	memcpy(to, text, len);
	to[len] = '\0';
	return to + len + 1;
}

/* The length of as many names as fit. */
static size_t kept_of(const struct audit_change *change, size_t most, uint16_t *n)
{
	size_t len = 0;

	for (*n = 0; *n < change->n_groups && *n < UINT16_MAX; ++*n) {
		size_t next = strlen(change->groups + len) + 1;

		if (len + next > most)
			break;
		len += next;
	}
	return len;
}

static void keep_texts(struct ledger *l, struct cell *c, const struct audit_change *change)
{
	size_t table = strlen(change->table), action = strlen(change->action);
	size_t len = table + action + change->key.len + 3, groups;
	char *to;

	if (len > LEDGER_TEXT)
		return;
	groups = kept_of(change, LEDGER_TEXT - len, &c->n_kept);
	c->has_texts = true;
	c->text = room_for(l, len + groups);
	to = l->texts + c->text % TEXT_BYTES;
	to = add(to, change->table, table);
	to = add(to, change->action, action);
	to = add(to, change->key.at, change->key.len);
	memcpy(to, change->groups, groups);
}

void ledger_add(struct ledger *l, int64_t at, const struct audit_change *change)
{
	struct cell *c = &l->cells[l->n++ % LEDGER_EVENTS];

	*c = (struct cell){ .id = change->id, .at = at, .receivers = change->receivers };
	c->n_groups = (uint32_t)change->n_groups;
	keep_texts(l, c, change);
}

bool ledger_at(const struct ledger *l, size_t i, struct ledger_event *out)
{
	const struct cell *c;

	if (i >= l->n || i >= LEDGER_EVENTS)
		return false;
	c = &l->cells[(l->n - 1 - i) % LEDGER_EVENTS];
	*out = (struct ledger_event){ .id = c->id, .at = c->at, .receivers = c->receivers, .n_groups = c->n_groups };
	out->has_texts = c->has_texts && l->text - c->text <= TEXT_BYTES;
	if (!out->has_texts)
		return true;
	out->table = l->texts + c->text % TEXT_BYTES;
	out->action = out->table + strlen(out->table) + 1;
	out->key = out->action + strlen(out->action) + 1;
	out->groups = out->key + strlen(out->key) + 1;
	out->n_kept = c->n_kept;
	return true;
}

bool ledger_find(const struct ledger *l, struct event_id id, struct ledger_event *out)
{
	for (size_t i = 0; ledger_at(l, i, out); i++)
		if (event_id_compare(out->id, id) == 0)
			return true;
	return false;
}
