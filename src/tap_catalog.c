/* tap_catalog: what the tables look like, read at the start and whenever a row does not fit. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "tap_impl.h"
#include "walpush/fail.h"
#include "walpush/log.h"
#include "walpush/mem.h"

struct catalog *tap_catalog_from(const struct sqlrows *rows, bool relations, struct fail *why)
{
	struct catalog *c = catalog_new();

	if (!relations)
		catalog_keep_ids(c);
	for (size_t r = 0; r < rows->n_rows; r++) {
		if (!catalog_add(c, (const char *const *)&rows->values[r * rows->n_columns], why)) {
			catalog_free(c);
			return NULL;
		}
	}
	return c;
}

/* Not yet streaming, it is a mistake in the configuration; later, a migration took away what the configuration names. */
static void cannot_bind(struct tap *t, const struct fail *why)
{
	log_error(t->rules ? "the tables no longer fit the configuration; the rules stay as they were"
			   : "the configuration does not fit the database",
		  log_s("file", t->conf->file), log_n("line", why->line), log_s("error", why->text),
		  log_s("mend", "correct the line, or create what it names"));
	if (t->rules) {
		intake_rules(t->intake, t->rules);
		return;
	}
	t->exit_status = 2;
	event_base_loopbreak(t->loop);
}

/* A transaction that is half read may still point into them. */
static void retire(struct tap *t)
{
	struct retired *old;

	if (!t->rules)
		return;
	old = mem_new(sizeof(*old));
	old->rules = t->rules;
	old->rules_of = t->rules_of;
	old->catalog = t->catalog;
	LL_PREPEND(t->retired, old);
}

static void free_all_retired(struct tap *t)
{
	struct retired *old, *next;

	LL_FOREACH_SAFE(t->retired, old, next) {
		rules_free(old->rules);
		edition_unref(old->rules_of);
		catalog_free(old->catalog);
		free(old);
	}
	t->retired = NULL;
}

void tap_free_retired(struct tap *t)
{
	if (intake_is_idle(t->intake))
		free_all_retired(t);
}

/* Once, and again when a migration or a reload makes them others. */
static void say_secrets(struct tap *t)
{
	struct buf now = { 0 }, names = { 0 };

	for (size_t i = 0; i < rules_n_tables(t->rules); i++) {
		const struct rules_table *table = rules_table(t->rules, i);

		for (size_t k = 0; k < table->n_sections; k++) {
			buf_clear(&names);
			if (rules_add_secrets(table->sections[k], &names))
				buf_addf(&now, "%s%s: %s", now.len ? "; " : "", table->sections[k]->conf->name,
					 names.data);
		}
	}
	if (now.len && !slice_equal(buf_slice(&now), buf_slice(&t->secrets)))
		log_warn("columns that look like secrets are sent", log_s("columns", now.data),
			 log_s("mend", "name them in `exclude`, or name in `columns` what may be seen"));
	buf_fini(&names);
	buf_fini(&t->secrets);
	t->secrets = now;
}

void tap_use_rules(struct tap *t, struct rules *rules, struct catalog *catalog)
{
	retire(t);
	t->rules = rules;
	t->rules_of = edition_ref(t->edition);
	t->catalog = catalog;
	buf_clear(&t->add_tables);
	rules_add_tables(rules, &t->add_tables);
	intake_rules(t->intake, rules);
	say_secrets(t);
}

static void take_catalog(struct tap *t, struct catalog *catalog)
{
	struct fail why = { 0 };
	struct rules *rules;

	rules = rules_new(t->conf, &why);
	if (!rules || !rules_bind(rules, catalog, &why)) {
		cannot_bind(t, &why);
		rules_free(rules);
		catalog_free(catalog);
		return;
	}
	tap_use_rules(t, rules, catalog);
	tap_stream_go(t);
}

static void on_catalog(void *ctx, struct sqlrows *rows, const struct fail *why)
{
	struct tap *t = ctx;
	struct fail bad = { 0 };
	struct catalog *catalog = rows ? tap_catalog_from(rows, t->conf->data.relations, &bad) : NULL;

	sqlrows_free(rows);
	if (t->catalog_for != t->n_editions) { /* another list of tables, perhaps */
		catalog_free(catalog);
		tap_read_catalog(t);
		return;
	}
	if (catalog) {
		take_catalog(t, catalog);
		return;
	}
	log_error("cannot read the tables' columns; trying again in 5 s", log_s("sqlstate", rows ? "" : why->sqlstate),
		  log_s("error", rows ? bad.text : why->text));
	event_add(t->catalog_again, &(struct timeval){ 5, 0 });
}

static void on_again(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	tap_read_catalog(arg);
}

void tap_read_catalog(struct tap *t)
{
	struct buf list = { 0 };
	const char *values[1];

	t->catalog_for = t->n_editions;
	rules_catalog_param(t->plain, &list);
	values[0] = list.data;
	sqlpipe_ask(t->sql, "catalog", catalog_query, 1, values, on_catalog, t);
	buf_fini(&list);
}

void tap_catalog_init(struct tap *t)
{
	t->catalog_again = event_new(t->loop, -1, 0, on_again, t);
	if (!t->catalog_again)
		fail_never("libevent makes no timer for the catalog");
}

/* After the intake is freed. */
void tap_catalog_fini(struct tap *t)
{
	event_free(t->catalog_again);
	free_all_retired(t);
	rules_free(t->rules);
	edition_unref(t->rules_of);
	catalog_free(t->catalog);
	buf_fini(&t->add_tables);
	buf_fini(&t->secrets);
}
