/*
 * Which functions does a query call that are VOLATILE? A check must not call them: they may write, lock, or send something, and a rollback
 * takes not all of it back.
 *
 * The server records no dependency on its own functions, so their OIDs are read from the stored form of the query, as a view's rule, of the
 * views and policies behind it, and of the checks of domains that it casts to.
 */
#include "check_exec.h"
#include "walpush/base/buf.h"
#include "walpush/rules/reads.h"

static const char volatiles[] =
	"WITH RECURSIVE node (oid, stored) AS ("
	"  SELECT r.oid, r.ev_action::text FROM pg_rewrite r JOIN pg_class v ON v.oid = r.ev_class"
	"  WHERE v.relnamespace = pg_my_temp_schema() AND starts_with(v.relname::text, '" READS_VIEW "')"
	"  UNION"
	"  SELECT next.* FROM node n"
	"  CROSS JOIN LATERAL regexp_matches(n.stored, ':(?:relid|resulttype) ([1-9][0-9]*)', 'g') AS found"
	"  CROSS JOIN LATERAL ("
	"    SELECT r.oid, r.ev_action::text FROM pg_class c JOIN pg_rewrite r ON r.ev_class = c.oid"
	"    WHERE c.oid = found[1]::oid AND c.relkind = 'v' AND r.ev_type = '1'"
	"    UNION ALL"
	"    SELECT p.oid, p.polqual::text FROM pg_class c JOIN pg_policy p ON p.polrelid = c.oid"
	"    WHERE c.oid = found[1]::oid AND c.relrowsecurity AND p.polcmd IN ('r', '*')"
	"    UNION ALL"
	"    SELECT k.oid, k.conbin::text FROM pg_constraint k WHERE k.contypid = found[1]::oid"
	"  ) AS next (oid, stored)"
	"), named AS ("
	"  SELECT found[1]::oid AS oid FROM node n CROSS JOIN LATERAL regexp_matches(n.stored,"
	"   ':(?:funcid|opfuncid|aggfnoid|winfnoid) ([1-9][0-9]*)', 'g') AS found"
	"), called AS ("
	"  SELECT oid FROM named"
	"  UNION SELECT f FROM named JOIN pg_aggregate a ON a.aggfnoid::oid = named.oid"
	"  CROSS JOIN LATERAL (VALUES (a.aggtransfn::oid), (a.aggfinalfn::oid)) AS part (f)"
	") "
	"SELECT string_agg(p.oid::regprocedure::text, ', ' ORDER BY p.oid::regprocedure::text),"
	" bool_and(p.pronamespace = 'pg_catalog'::regnamespace)"
	" FROM called JOIN pg_proc p ON p.oid = called.oid WHERE p.provolatile = 'v'";

bool exec_volatile(struct check *c, const struct rules_query *q, struct buf *names, bool *only_own)
{
	PGresult *result = check_view(c, q, volatiles);
	bool ok = PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) == 1;

	if (ok && !PQgetisnull(result, 0, 0)) {
		buf_add_text(names, PQgetvalue(result, 0, 0));
		*only_own = PQgetvalue(result, 0, 1)[0] == 't';
	}
	PQclear(result);
	return ok;
}
