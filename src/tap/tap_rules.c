/* tap_rules: rules and catalogs, made from the configuration, from what was read, and from the server's rows. */
#include "parts.h"
#include "walpush/base/fail.h"

static const char *value_of(const void *rows, size_t row, size_t column)
{
	return sqlrows_get(rows, row, column);
}

struct catalog *tap_rules_catalog(const struct sqlrows *rows, bool relations, struct fail *why)
{
	struct catalog *c = catalog_new();

	if (!relations)
		catalog_keep_ids(c);
	if (catalog_add_rows(c, rows, rows->n_rows, value_of, why))
		return c;
	catalog_free(c);
	return NULL;
}

struct rules *tap_rules_new(const struct conf *conf, const struct reads *reads, struct fail *why)
{
	struct rules *rules = rules_new(conf, why);

	if (rules)
		rules_reads(rules, reads);
	return rules;
}

struct sqlpipe_query *tap_rules_ask(struct sqlpipe *sql, const struct rules *rules, sqlpipe_done *done, void *ctx)
{
	struct buf list = { 0 }, patterns = { 0 };
	struct sqlpipe_query *query;

	rules_catalog_param(rules, &list);
	rules_patterns_param(rules, &patterns);
	query = sqlpipe_ask(sql, "catalog", catalog_query, 2, (const char *[]){ list.data, patterns.data }, done, ctx);
	buf_fini(&list);
	buf_fini(&patterns);
	return query;
}

void tap_rules_watched(const struct tap *t, struct buf *tables, struct buf *deciding, struct buf *patterns)
{
	struct fail why = { 0 };
	struct rules *rules = tap_rules_new(t->now.conf, t->reads, &why);

	if (!rules)
		fail_never("the configuration is none any more: %s", why.text);
	rules_catalog_param(rules, tables);
	rules_deciding_param(rules, deciding);
	rules_patterns_param(rules, patterns);
	rules_free(rules);
}
