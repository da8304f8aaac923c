#include "check_exec.h"

#include "walpush/base/buf.h"

bool exec_begin(struct check *c, int ms)
{
	struct buf sql = { 0 };
	bool ok;

	buf_addf(&sql, "BEGIN READ ONLY; SET LOCAL statement_timeout = %d; SET LOCAL lock_timeout = %d", ms,
		 ms < EXEC_LOCK_MS ? ms : EXEC_LOCK_MS);
	ok = check_do(c, sql.data);
	buf_fini(&sql);
	return ok;
}

PGresult *exec_ask(struct check *c, const char *sql, size_t n, const char *const *values)
{
	static const Oid types[] = { 25, 25, 25 }; /* text */
	PGresult *result = NULL;

	/* JIT would compile such a query for longer than it runs: see READS_BEGIN. */
	if (exec_begin(c, EXEC_MS) && check_do(c, "SET LOCAL jit = off"))
		result = PQexecParams(c->sql, sql, (int)n, types, values, NULL, NULL, 0);
	check_do(c, "ROLLBACK");
	if (PQresultStatus(result) == PGRES_TUPLES_OK)
		return result;
	PQclear(result);
	return NULL;
}

bool exec_has_all_values(const struct exec *e)
{
	for (size_t i = 0; i < e->n; i++)
		if (!e->values[i])
			return false;
	return true;
}
