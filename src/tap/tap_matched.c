/*
 * tap_matched: schemas that a pattern matches, and the publication of a slot of pgoutput.
 *
 * A schema that was made later is in no publication yet, unless it is FOR ALL TABLES or FOR TABLES IN SCHEMA, or the script of `walpush sql` has run again. This is no
 * reason to close anybody: it is said once. When the publication sends the table, its groups are told to refetch, because rows of before did not come.
 */
#include <stdlib.h>
#include <string.h>

#include <uthash.h>

#include "parts.h"
#include "walpush/base/log.h"
#include "walpush/base/mem.h"

#define NAMED 5 /* tables in a line of the log */

struct table { /* an entry of publication_says.matched */
	UT_hash_handle hh;
	bool is_sent;
	const char *schema, *name;
	size_t len; /* of both names, with their zeros */
};

static struct table table_at(const char *at)
{
	struct table t = { .is_sent = *at == '+', .schema = at + 1 };

	t.name = t.schema + strlen(t.schema) + 1;
	t.len = (size_t)(t.name + strlen(t.name) + 1 - t.schema);
	return t;
}

static struct table *index_of(const struct buf *matched)
{
	struct table *all = NULL;

	for (size_t at = 0; at < matched->len;) {
		struct table *t = mem_new(sizeof(*t));

		*t = table_at(matched->data + at);
		HASH_ADD_KEYPTR(hh, all, t->schema, t->len, t);
		at += 1 + t->len;
	}
	return all;
}

static void free_index(struct table *all)
{
	struct table *t, *next;

	HASH_ITER(hh, all, t, next) {
		HASH_DEL(all, t);
		free(t);
	}
}

struct news {
	struct buf later; /* the first names of those that are not sent yet */
	size_t n_later;
	bool is_lost; /* one was sent before */
};

static void note_later(struct news *news, const struct table *t)
{
	if (news->n_later++ < NAMED)
		buf_addf(&news->later, "%s%s.%s", news->later.len ? ", " : "", t->schema, t->name);
}

/* `before`: NULL: the table was not known. With a relay the replica that has the slot tells the others. */
static void compare(struct tap *t, const struct publication_says *says, const struct table *now,
		    const struct table *before, bool is_known, struct news *news)
{
	bool is_mine = !t->way->is_shared || source_is_streaming(t->source);

	if (!now->is_sent && (!before || before->is_sent))
		note_later(news, now);
	news->is_lost |= !now->is_sent && before && before->is_sent;
	if (is_known && is_mine && now->is_sent && (before ? !before->is_sent : !says->has_all))
		intake_refetch(t->intake, now->schema, now->name);
}

static void say_later(struct tap *t, struct news *news)
{
	if (news->n_later > NAMED)
		buf_addf(&news->later, ", and %zu more", news->n_later - NAMED);
	log_warn("the publication does not send these tables of schemas that match; they are left out until it does",
		 log_s("publication", t->now.conf->database.publication), log_s("tables", news->later.data),
		 log_fix("run what walpush sql --plugin pgoutput prints"));
}

struct moved {
	struct tap *tap;
	bool is_any;
};

static void note_moved(void *ctx, const struct rules_table *t)
{
	struct moved *m = ctx;

	m->is_any = true;
	intake_refetch(m->tap->intake, t->schema, t->name);
}

bool tap_matched_moved(struct tap *t, const struct rules *rules)
{
	struct moved m = { t, false };

	if (t->now.rules && t->published.is_pgoutput && source_is_streaming(t->source))
		rules_each_moved(t->now.rules, rules, note_moved, &m);
	return m.is_any;
}

bool tap_matched_take(struct tap *t, const struct publication_says *says, bool is_known)
{
	struct buf *known = &t->published.matched;
	struct table *before = index_of(known), *was;
	struct news news = { 0 };

	for (size_t at = 0; at < says->matched->len;) {
		struct table now = table_at(says->matched->data + at);

		HASH_FIND(hh, before, now.schema, now.len, was);
		compare(t, says, &now, was, is_known, &news);
		at += 1 + now.len;
	}
	free_index(before);
	buf_clear(known);
	buf_add_slice(known, buf_slice(says->matched));
	if (news.n_later)
		say_later(t, &news);
	buf_fini(&news.later);
	return news.is_lost;
}
