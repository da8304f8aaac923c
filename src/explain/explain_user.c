/* The steps of an admission: path, token, claims, what withholds admissions, the admit query, the groups. */
#include <inttypes.h>
#include <stdlib.h>

#include "parts.h"
#include "walpush/base/mem.h"

/* --- before the query ----------------------------------------------------------------------------------------------- */

static void refuse(struct explain *e, unsigned code, const char *step, const char *reason, const char *fix)
{
	explain_set(e, "admitted", json_false());
	explain_set(e, "code", code ? json_integer(code) : json_null());
	explain_no(e, step, reason, fix);
}

static struct slice without_query(const char *path)
{
	return (struct slice){ path, strcspn(path, "?#") };
}

static bool find_stream(struct explain *e)
{
	struct slice path = without_query(e->question->path);

	for (size_t i = 0; i < rules_n_streams(e->now.plain); i++) {
		const struct rules_stream *s = rules_stream(e->now.plain, i);

		if (!path_match(s->path, path, &e->path))
			continue;
		e->stream = s;
		explain_set(e, "stream", json_string(s->conf->name));
		for (size_t k = 0; k < e->path.n; k++)
			json_object_set_new(json_object_get(e->document, "values"), e->path.name[k],
					    json_string(e->path.value[k]));
		return true;
	}
	refuse(e, 0, "path", "no stream has this path: the upgrade is answered 404",
	       "compare it with the paths of `streams`; a slash at the end counts");
	return false;
}

static void claim_is_missing(struct explain *e, const char *claim)
{
	char reason[256], fix[256];

	snprintf(reason, sizeof(reason), "the stream names {token.%.60s}, and the token has no such claim", claim);
	snprintf(fix, sizeof(fix), "say it: --claim %.60s=…; where tokens lack it, let the application put it in",
		 claim);
	refuse(e, 4401, "claim", reason, fix);
}

static bool make_ticket(struct explain *e)
{
	static const struct address nowhere;
	json_t *claims = e->question->claims ? json_incref(e->question->claims) : json_object();
	const char *missing = NULL;
	struct token token;
	struct fail why;
	char reason[256];
	bool ok = token_claimed(&e->now.conf->jwt, e->question->user, claims, &token, &why);

	json_decref(claims);
	if (!ok) {
		snprintf(reason, sizeof(reason), "a token with this claim is refused: %.60s", why.text);
		refuse(e, 4401, "token", reason, "compare jwt.issuer, jwt.audience and jwt.token-type with the claim");
		return false;
	}
	e->ticket = ticket_new(e->stream, &e->path, &token, &nowhere, &missing);
	token_fini(&token);
	if (!e->ticket)
		claim_is_missing(e, missing);
	return e->ticket != NULL;
}

static bool is_within_limit(struct explain *e)
{
	int64_t most = e->now.conf->limits.per_user;
	char reason[128];

	if (most == 0 || e->now.connections < most)
		return true;
	snprintf(reason, sizeof(reason), "the user has %" PRId64 " connections, and limits.per-user is %" PRId64,
		 e->now.connections, most);
	refuse(e, 4429, "limit", reason,
	       "let the application close those that it does not need, or raise limits.per-user");
	return false;
}

/* Is there a reason why nobody is admitted by this stream? */
static bool is_open(struct explain *e)
{
	int at = e->now.bound ? rules_stream_index(e->now.bound, e->stream->identity) : -1;
	const char *strangers = at < 0 ? NULL : rules_stream(e->now.bound, (size_t)at)->strangers;
	char reason[512];

	if (!e->now.withheld && !strangers)
		return true;
	snprintf(reason, sizeof(reason), "nobody is admitted: %s%.300s",
		 e->now.withheld ? "" : "the admit query calls what a role that is not trusted owns: ",
		 e->now.withheld ? e->now.withheld : strangers);
	refuse(e, 1013, "withheld", reason,
	       e->now.withheld ? "see `trouble` and `fix` of /status" : "walpush check -c sidecar.conf");
	return false;
}

static void ask(struct explain *e)
{
	const struct rules_query *admit = &e->stream->admit;
	size_t n = admit->source.n_refs;
	const char **values = mem_new_array(n, sizeof(char *));

	ticket_params(e->ticket, e->stream, values);
	e->values = mem_new_array(n, sizeof(char *));
	for (size_t i = 0; i < n; i++)
		e->values[i] = values[i] ? mem_text(values[i]) : NULL;
	free(values);
	e->sql = (struct explain_sql){ admit->name, admit->sql, n, (const char *const *)e->values };
}

void explain_user_begin(struct explain *e)
{
	const struct explain_question *q = e->question;
	json_t *claims = q->claims ? json_copy(q->claims) : json_object();

	json_object_set_new(claims, e->now.conf->jwt.user_claim, json_string(q->user));
	e->document = json_pack("{s:s, s:s, s:s, s:n, s:{}, s:o, s:n, s:n, s:n, s:n, s:n, s:n, s:[]}", "asked", "user",
				"user", q->user, "path", q->path, "stream", "values", "claims", claims, "admitted",
				"code", "step", "reason", "fix", "admit", "groups");
	if (find_stream(e) && make_ticket(e) && is_within_limit(e) && is_open(e))
		ask(e);
}

/* --- its answer ----------------------------------------------------------------------------------------------------- */

static void failed(struct explain *e, const struct fail *why)
{
	char reason[600];

	explain_set(e, "admit", json_pack("{s:s, s:o}", "sqlstate", why->sqlstate, "error", explain_text(why->text)));
	if (strncmp(why->sqlstate, "22", 2) == 0) {
		refuse(e, 4403, "admit", "a value does not fit the admit query, so it can match no row",
		       "look at the path and the claims");
		return;
	}
	snprintf(reason, sizeof(reason), "the admit query failed: %s", why->text);
	refuse(e, 1013, "database", reason, "correct the query, or grant SELECT on what it reads: walpush check");
}

static void admitted(struct explain *e, const struct sqlrows *rows)
{
	char reason[256];

	ticket_groups(e->ticket, e->stream, rows, &e->groups);
	explain_set(e, "admitted", json_true());
	explain_set(e, "groups", explain_names(e->names, e->groups.names.data, e->groups.n, GROUPS_TOLD));
	if (e->groups.missing) {
		snprintf(reason, sizeof(reason),
			 "`groups` names {admit.%.60s}, which the rows of the query do not have", e->groups.missing);
		explain_no(e, "groups", reason, "give the column that name: SELECT … AS …");
	} else if (e->groups.n == 0) {
		explain_no(e, "groups", "it is admitted to no group: each of them names a value that is NULL",
			   "look at the columns that `groups` names");
	}
}

void explain_user_answer(struct explain *e, struct sqlrows *rows, const struct fail *why)
{
	if (!rows) {
		failed(e, why);
		return;
	}
	explain_set(e, "admit", json_pack("{s:I}", "rows", (json_int_t)rows->n_rows));
	if (rows->n_rows)
		admitted(e, rows);
	else
		refuse(e, 4403, "admit", "the admit query returns no row for this user and path",
		       "run it in psql with these values, one condition after the other");
	sqlrows_free(rows);
}
