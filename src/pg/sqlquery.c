#include "sqlquery.h"

#include <stdlib.h>
#include <string.h>

#include "walpush/base/mem.h"

#define PG_TYPE_BOOL 16

struct sqlpipe_query *sqlquery_new(const char *statement, const char *sql, size_t n_values, const char *const *values,
				   sqlpipe_done *done, void *ctx)
{
	struct sqlpipe_query *q = mem_new(sizeof(*q));

	q->statement = mem_text(statement);
	q->sql = mem_text(sql);
	q->n_values = n_values;
	q->values = mem_new_array(n_values, sizeof(char *));
	for (size_t i = 0; i < n_values; i++)
		q->values[i] = values[i] ? mem_text(values[i]) : NULL;
	q->done = done;
	q->ctx = ctx;
	return q;
}

void sqlquery_free(struct sqlpipe_query *q)
{
	for (size_t i = 0; i < q->n_values; i++)
		free(q->values[i]);
	free(q->values);
	free(q->statement);
	free(q->sql);
	sqlrows_free(q->rows);
	free(q);
}

void sqlquery_reset(struct sqlpipe_query *q)
{
	sqlrows_free(q->rows);
	q->rows = NULL;
	q->why = (struct fail){ 0 };
	q->prepares = q->is_meant = false;
}

struct sqlpipe_query *sqlquery_stand_in(const struct sqlpipe_query *q)
{
	struct sqlpipe_query *stand_in =
		sqlquery_new(q->statement, q->sql, q->n_values, (const char *const *)q->values, NULL, NULL);

	stand_in->prepares = q->prepares;
	return stand_in;
}

bool sqlquery_is_wanted(const struct sqlpipe_query *q)
{
	return q->done && !q->is_let_go;
}

bool sqlquery_is_question(const struct sqlpipe_query *q)
{
	return !q->is_of_session && strchr(q->statement, ' ');
}

struct sqlrows *sqlquery_rows(const PGresult *result)
{
	int n_rows = PQntuples(result), n_columns = PQnfields(result);
	struct sqlrows *rows = sqlrows_new((size_t)n_rows, (size_t)n_columns);

	for (int c = 0; c < n_columns; c++) {
		bool is_bool = PQftype(result, c) == PG_TYPE_BOOL;

		sqlrows_name(rows, (size_t)c, PQfname(result, c));
		rows->types[c] = PQftype(result, c);
		for (int r = 0; r < n_rows; r++) {
			const char *value = PQgetisnull(result, r, c) ? NULL : PQgetvalue(result, r, c);

			if (is_bool && value)
				value = *value == 't' ? "true" : "false";
			sqlrows_set(rows, (size_t)r, (size_t)c, value);
		}
	}
	return rows;
}
