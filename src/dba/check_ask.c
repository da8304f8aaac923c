/* Asks the server: for rows, for a plan, for what it knows of a query. */
#include "parts.h"
#include "walpush/base/buf.h"
#include "walpush/rules/reads.h"

#define TEXT_OID 25
#define VALUES_MOST 8

PGresult *check_ask(struct check *c, const char *sql, size_t n_values, const char *const *values)
{
	Oid types[VALUES_MOST] = { 0 };
	PGresult *result;

	for (size_t i = 0; i < n_values && i < VALUES_MOST; i++)
		types[i] = TEXT_OID;
	result = PQexecParams(c->sql, sql, (int)n_values, types, values, NULL, NULL, 0);
	if (PQresultStatus(result) == PGRES_TUPLES_OK)
		return result;
	check_add(c, CHECK_FAILURE, CHECK_WORDS, "see the server's log; run walpush check again",
		  "the server did not answer this question: %s",
		  PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY)
			  ? PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY)
			  : "the connection is lost");
	PQclear(result);
	return NULL;
}

bool check_do(struct check *c, const char *sql)
{
	PGresult *result = PQexec(c->sql, sql);
	bool ok = PQresultStatus(result) == PGRES_COMMAND_OK;

	PQclear(result);
	return ok;
}

PGresult *check_view(struct check *c, const struct rules_query *q, const char *sql)
{
	struct buf view = { 0 };
	PGresult *result = NULL;

	reads_view(&view, 1, q);
	if (check_do(c, READS_BEGIN) && check_do(c, READS_QUERY_NAMES) && check_do(c, view.data) &&
	    check_do(c, READS_OWN_NAMES))
		result = PQexec(c->sql, sql);
	check_do(c, READS_END);
	buf_fini(&view);
	return result;
}

PGresult *check_explain(struct check *c, int n_params)
{
	struct buf sql = { 0 };
	PGresult *result;

	buf_add_text(&sql, "EXPLAIN (FORMAT JSON, VERBOSE) EXECUTE " CHECK_STATEMENT);
	for (int i = 0; i < n_params; i++)
		buf_add_text(&sql, i ? ", NULL" : "(NULL");
	if (n_params)
		buf_add_char(&sql, ')');
	result = PQexec(c->sql, sql.data);
	buf_fini(&sql);
	return result;
}
