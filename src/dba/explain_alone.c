#include "walpush/dba/explain_alone.h"

#include <libpq-fe.h>
#include <stdlib.h>

#include "walpush/pg/pgdial.h"
#include "walpush/text/pgtypes.h"
#include "walpush/text/sqltext.h"

/* Booleans as sqlpipe gives them. */
static const char *text_of(const PGresult *result, int row, int column)
{
	const char *value = PQgetvalue(result, row, column);

	if (PQgetisnull(result, row, column))
		return NULL;
	if (PQftype(result, column) != PG_BOOL)
		return value;
	return *value == 't' ? "true" : "false";
}

static struct sqlrows *rows_of(const PGresult *result)
{
	int n_rows = PQntuples(result), n_columns = PQnfields(result);
	struct sqlrows *rows = sqlrows_new((size_t)n_rows, (size_t)n_columns);

	for (int c = 0; c < n_columns; c++) {
		sqlrows_name(rows, (size_t)c, PQfname(result, c));
		for (int r = 0; r < n_rows; r++)
			if (text_of(result, r, c))
				sqlrows_set(rows, (size_t)r, (size_t)c, text_of(result, r, c));
	}
	return rows;
}

/* NULL: `why` is filled. */
static struct sqlrows *ask(PGconn *sql, const char *text, size_t n, const char *const *values, struct fail *why)
{
	PGresult *result = PQexecParams(sql, text, (int)n, NULL, values, NULL, NULL, 0);
	struct sqlrows *rows = NULL;

	if (PQresultStatus(result) == PGRES_TUPLES_OK)
		rows = rows_of(result);
	else
		pgdial_result_fail(result, why);
	PQclear(result);
	return rows;
}

static const char *value_of(const void *rows, size_t row, size_t column)
{
	return sqlrows_get(rows, row, column);
}

/* Only the table that is asked about must be there, so the error of another one does not matter. */
static struct catalog *bind_rules(PGconn *sql, const struct conf *conf, struct rules *rules, struct fail *why)
{
	struct catalog *catalog = catalog_new();
	struct buf list = { 0 }, patterns = { 0 };
	struct sqlrows *rows;

	rules_catalog_param(rules, &list);
	rules_patterns_param(rules, &patterns);
	rows = ask(sql, catalog_query, 2, (const char *[]){ list.data, patterns.data }, why);
	buf_fini(&list);
	buf_fini(&patterns);
	if (!conf->data.relations)
		catalog_keep_ids(catalog);
	if (!rows || !catalog_add_rows(catalog, rows, rows->n_rows, value_of, why) ||
	    !rules_bind(rules, catalog, why)) {
		catalog_free(catalog);
		catalog = NULL;
	}
	sqlrows_free(rows);
	return catalog;
}

static void run(PGconn *sql, struct explain *e)
{
	const struct explain_sql *q;

	while ((q = explain_next(e))) {
		struct fail why = { 0 };
		struct sqlrows *rows = ask(sql, q->sql, q->n_values, q->values, &why);

		explain_answer(e, rows, &why);
	}
}

static json_t *explain(PGconn *sql, const struct explain_present *now, const struct explain_question *q)
{
	struct explain *e = explain_new(now, q);
	json_t *document;

	run(sql, e);
	document = explain_document(e);
	explain_free(e);
	json_object_set_new(
		document, "not_known",
		json_string(q->kind == EXPLAIN_USER
				    ? "the database alone was asked: not who is connected, and not whether "
				      "walpush admits anybody at present (walpush check)"
				    : "the database alone was asked: not the action of the last change, and "
				      "not who would receive it"));
	return document;
}

json_t *explain_alone(const struct conf *conf, struct rules *rules, const struct explain_question *q, struct fail *why)
{
	PGconn *sql = pgdial_open(&conf->database, PGDIAL_SQL, why);
	struct explain_present now = { conf, rules, NULL, NULL, 0 };
	struct catalog *catalog = NULL;
	json_t *document = NULL;

	if (!sql)
		return NULL;
	if (q->kind == EXPLAIN_ROW) {
		catalog = bind_rules(sql, conf, rules, why);
		now.bound = rules;
	}
	if (catalog || q->kind == EXPLAIN_USER)
		document = explain(sql, &now, q);
	catalog_free(catalog);
	PQfinish(sql);
	return document;
}
