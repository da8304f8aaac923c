#include "publication_ask.h"

#include <stdlib.h>
#include <string.h>

#include "walpush/base/log.h"
#include "walpush/base/mem.h"

static const char plugin_query[] =
	"SELECT plugin::text FROM pg_catalog.pg_replication_slots WHERE pg_catalog.texteq(slot_name::text, $1::text)";

struct publication_ask {
	struct sqlpipe *sql;
	struct sqlpipe_query *query;
	const struct rules *rules;
	char *publication;
	bool log;
	publication_done *done;
	void *ctx;
	struct publication_says says;
	struct buf pushed, matched;
};

void publication_ask_cancel(struct publication_ask *a)
{
	if (!a)
		return;
	if (a->query)
		sqlpipe_forget(a->sql, a->query);
	buf_fini(&a->pushed);
	buf_fini(&a->matched);
	free(a->publication);
	free(a);
}

static void finish(struct publication_ask *a, const struct fail *why)
{
	struct publication_says says = a->says;
	struct buf pushed = a->pushed, matched = a->matched;
	publication_done *done = a->done;
	void *ctx = a->ctx;

	a->pushed = a->matched = (struct buf){ 0 };
	publication_ask_cancel(a);
	says.pushed = &pushed;
	says.matched = &matched;
	done(ctx, why ? NULL : &says, why);
	buf_fini(&pushed);
	buf_fini(&matched);
}

static void take_lack(void *ctx, const struct publication_lack *lack)
{
	struct publication_ask *a = ctx;

	if (lack->is_later)
		return; /* tap_published.c says it, once */
	if (a->log)
		log_write(lack->is_hint ? LOG_LEVEL_WARN : LOG_LEVEL_ERROR,
			  lack->is_hint ? "the publication leaves something out"
					: "the publication does not send all that the configuration needs",
			  LOG_FIELDS(log_s("publication", a->publication), log_s("error", lack->text),
				     log_fix(lack->mend)));
	if (lack->is_hint)
		return;
	a->says.lacks_deciding |= lack->is_deciding;
	a->says.lacks_pushed |= lack->is_pushed;
	if (lack->is_pushed)
		buf_addf(&a->pushed, "%s\n", lack->text);
	if (!a->says.first.text[0])
		fail_set(&a->says.first, "%s: %s", lack->text, lack->mend);
}

static void note_matched(struct publication_ask *a, const struct publication *p)
{
	for (size_t i = 0; i < rules_n_tables(a->rules); i++) {
		const struct rules_table *t = rules_table(a->rules, i);

		if (!t->is_matched)
			continue;
		buf_add_char(&a->matched, publication_sends(p, t) ? '+' : '-');
		buf_add(&a->matched, t->schema, strlen(t->schema) + 1);
		buf_add(&a->matched, t->name, strlen(t->name) + 1);
	}
}

static void on_publication(void *ctx, struct sqlrows *rows, const struct fail *why)
{
	struct publication_ask *a = ctx;
	struct publication *p;
	struct fail bad = { 0 };

	a->query = NULL;
	if (!rows) {
		finish(a, why);
		return;
	}
	p = publication_new(rows, &bad);
	sqlrows_free(rows);
	if (p) {
		a->says.digest = publication_digest(p);
		a->says.names = publication_names(p, a->rules);
		a->says.has_all = publication_has_all(p);
		note_matched(a, p);
		a->says.n_lacks = publication_compare(p, a->rules, take_lack, a);
		publication_free(p);
	}
	finish(a, p ? NULL : &bad);
}

static void ask_publication(struct publication_ask *a)
{
	struct buf tables = { 0 };

	rules_catalog_param(a->rules, &tables);
	a->query = sqlpipe_ask(a->sql, "publication", publication_query, 2,
			       (const char *[]){ a->publication, tables.data }, on_publication, a);
	buf_fini(&tables);
}

static void on_plugin(void *ctx, struct sqlrows *rows, const struct fail *why)
{
	struct publication_ask *a = ctx;
	const char *plugin = rows && rows->n_rows ? sqlrows_get(rows, 0, 0) : NULL;

	a->query = NULL;
	a->says.is_pgoutput = plugin && strcmp(plugin, "pgoutput") == 0;
	if (a->says.is_pgoutput)
		ask_publication(a);
	else
		finish(a, rows ? NULL : why);
	sqlrows_free(rows);
}

struct publication_ask *publication_ask_new(struct sqlpipe *sql, const struct conf_database *conf,
					    const struct rules *rules, bool log, publication_done *done, void *ctx)
{
	struct publication_ask *a = mem_new(sizeof(*a));

	*a = (struct publication_ask){ .sql = sql,
				       .rules = rules,
				       .publication = mem_text(conf->publication),
				       .log = log,
				       .done = done,
				       .ctx = ctx };
	a->query = sqlpipe_ask(sql, "plugin", plugin_query, 1, (const char *[]){ conf->slot }, on_plugin, a);
	return a;
}
