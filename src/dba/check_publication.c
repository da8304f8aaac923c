/* Does the publication of a slot of pgoutput send what the rules need? */
#include "parts.h"

#include "walpush/base/buf.h"
#include "walpush/base/sqlrows.h"
#include "walpush/rules/publication.h"
#include "walpush/text/sqltext.h"

static struct sqlrows *rows_of(const PGresult *result)
{
	struct sqlrows *rows = sqlrows_new((size_t)PQntuples(result), (size_t)PQnfields(result));

	for (int row = 0; row < PQntuples(result); row++)
		for (int i = 0; i < PQnfields(result); i++)
			if (!PQgetisnull(result, row, i))
				sqlrows_set(rows, (size_t)row, (size_t)i, PQgetvalue(result, row, i));
	return rows;
}

/* Returns NULL if a finding says why. */
static struct publication *read_publication(struct check *c)
{
	struct buf tables = { 0 };
	struct fail why = { 0 };
	struct publication *p;
	struct sqlrows *rows;
	PGresult *result;

	rules_catalog_param(c->rules, &tables);
	result = check_ask(c, publication_query, 2, (const char *[]){ c->conf->database.publication, tables.data });
	buf_fini(&tables);
	if (!result)
		return NULL;
	rows = rows_of(result);
	p = publication_new(rows, &why);
	if (!p)
		check_add(c, CHECK_FAILURE, CHECK_WORDS, "report this as a bug of walpush", "%s", why.text);
	sqlrows_free(rows);
	PQclear(result);
	return p;
}

static bool slot_exists(struct check *c)
{
	PGresult *result = check_ask(c, "SELECT FROM pg_replication_slots WHERE slot_name = $1 AND plugin = 'pgoutput'",
				     1, (const char *[]){ c->conf->database.slot });
	bool exists = result && PQntuples(result) == 1;

	PQclear(result);
	return exists;
}

/* pgoutput looks for the publication as it was when a row was written, and stops if there was none. So a slot that is older than its publication
 * can send nothing of the time before: a new slot begins after it. */
static void add_new_slot(struct check *c, struct buf *fix)
{
	buf_add_text(fix, " SELECT pg_drop_replication_slot(");
	sqltext_literal(fix, c->conf->database.slot);
	buf_add_text(fix, "); SELECT pg_create_logical_replication_slot(");
	sqltext_literal(fix, c->conf->database.slot);
	buf_add_text(fix, ", 'pgoutput');");
}

static void take_lack(void *ctx, const struct publication_lack *lack)
{
	struct check *c = ctx;
	struct buf fix = { 0 };

	buf_add_text(&fix, lack->mend);
	if (lack->kind == PUBLICATION_ABSENT && slot_exists(c))
		add_new_slot(c, &fix);
	check_about(c, lack->table);
	check_add(c, lack->is_hint || lack->is_later ? CHECK_WARNING : CHECK_FAILURE,
		  lack->is_sql ? CHECK_SQL : CHECK_WORDS, fix.data, "%s", lack->text);
	if (lack->is_deciding && !lack->is_hint)
		check_stops(c);
	buf_fini(&fix);
}

void check_publication(struct check *c)
{
	size_t before = c->n_findings;
	struct publication *p;

	if (!check_is_pgoutput(c)) {
		check_ok(c, "none is needed: the plugin is %s", c->plugin);
		return;
	}
	p = read_publication(c);
	if (!p)
		return;
	publication_compare(p, c->rules, take_lack, c);
	check_about(c, NULL);
	if (c->n_findings == before)
		check_ok(c, "%s sends what the rules need", c->conf->database.publication);
	publication_free(p);
}
