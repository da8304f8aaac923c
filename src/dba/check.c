/* What the checks found. */
#include "walpush/dba/check.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "parts.h"
#include "walpush/base/fail.h"
#include "walpush/base/mem.h"
#include "walpush/pg/provider.h"
#include "walpush/pg/refusal.h"
#include "walpush/rules/reads.h"

const char *const check_states[CHECK_STATES] = { "ok", "warning", "failure", "skipped" };
const char *const check_fixes[CHECK_FIXES] = { "", "sql", "restart", "hba", "conf", "shell", "words" };
static const char *const kind_titles[CHECK_FIXES] = {
	"",
	"SQL: ",
	"SQL, then restart PostgreSQL: ",
	"first line of pg_hba.conf, then reload: ",
	"sidecar.conf: ",
	"shell: ",
	"do: ",
};

struct check *check_new(const struct conf *conf, struct rules *rules, enum check_where where)
{
	struct check *c = mem_new(sizeof(*c));

	c->conf = conf;
	c->rules = rules;
	c->where = where;
	return c;
}

void check_free(struct check *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < c->n_findings; i++) {
		free(c->findings[i].text);
		free(c->findings[i].fix);
	}
	free(c->findings);
	free(c->folds);
	free(c->role);
	free(c->database);
	free(c->role_name);
	free(c->database_name);
	free(c->host);
	PQfinish(c->sql);
	catalog_free(c->catalog);
	reads_free(c->reads, rules_n_streams(c->rules));
	free(c);
}

static char *one_line(char *text)
{
	for (char *at = text; *at; at++)
		if (*at == '\n' || *at == '\r' || *at == '\t')
			*at = ' ';
	return text;
}

void check_add_script(const struct check *c, struct buf *out)
{
	buf_add_text(out, "walpush sql -c ");
	refusal_add_word(out, c->conf->file);
	buf_add_text(out, " | psql -d ");
	refusal_add_word(out, c->database_name);
}

/* On a managed server nobody may do this: then `instead` says what its provider lets its customers do. */
static bool is_not_ours(const struct check *c, enum check_fix kind, const char *fix, struct buf *instead)
{
	if (!c->provider || !fix)
		return false;
	if (kind == CHECK_HBA)
		buf_add_text(instead, provider_door(c->provider));
	else if (!provider_instead(c->provider, fix, kind == CHECK_RESTART, instead) && kind == CHECK_RESTART)
		buf_addf(instead, "%s, then restart the instance", fix);
	return instead->len > 0;
}

void check_about(struct check *c, const struct rules_table *t)
{
	c->about = t && t->is_matched ? t : NULL;
}

static bool is_told(const struct check *c, enum check_state state, const char *text)
{
	for (size_t i = c->n_findings; i-- && c->findings[i].check == c->running;)
		if (c->findings[i].state == state && strcmp(c->findings[i].text, text) == 0)
			return true;
	return false;
}

static struct check_fold *fold_of(struct check *c, enum check_state state)
{
	const struct rules_table *pattern =
		rules_pattern_at(c->rules, slice_of(c->about->schema), slice_of(c->about->name), 0);

	for (size_t i = 0; i < c->n_folds; i++)
		if (c->folds[i].state == state && c->folds[i].pattern == pattern)
			return &c->folds[i];
	c->folds = mem_resize(c->folds, c->n_folds + 1, sizeof(*c->folds));
	c->folds[c->n_folds] = (struct check_fold){ state, pattern, 0 };
	return &c->folds[c->n_folds++];
}

void check_unfold(struct check *c)
{
	check_about(c, NULL);
	for (size_t i = 0; i < c->n_folds; i++) {
		const struct check_fold *f = &c->folds[i];
		bool is_fine = f->state == CHECK_OK;

		if (f->n > CHECK_NAMED)
			check_add(c, f->state, is_fine ? CHECK_NONE : CHECK_WORDS,
				  is_fine ? NULL
					  : "the same; what walpush sql prints does what can be done for all of them",
				  "%zu more of the tables that match %s.%s", f->n - CHECK_NAMED, f->pattern->schema,
				  f->pattern->name);
	}
	c->n_folds = 0;
}

void check_add(struct check *c, enum check_state state, enum check_fix kind, const char *fix, const char *format, ...)
{
	struct check_finding *f;
	struct buf instead = { 0 };
	char *text;
	va_list args;

	if (is_not_ours(c, kind, fix, &instead)) {
		kind = CHECK_WORDS;
		fix = instead.data;
	}
	va_start(args, format);
	if (vasprintf(&text, format, args) < 0)
		fail_never("out of memory: no text for a finding");
	va_end(args);
	one_line(text);
	if (c->about && (is_told(c, state, text) || fold_of(c, state)->n++ >= CHECK_NAMED)) {
		free(text);
		buf_fini(&instead);
		return;
	}
	c->findings = mem_resize(c->findings, c->n_findings + 1, sizeof(*c->findings));
	f = &c->findings[c->n_findings++];
	*f = (struct check_finding){ c->running, state, text, kind, fix ? one_line(mem_text(fix)) : NULL, false };
	buf_fini(&instead);
}

void check_stops(struct check *c)
{
	c->findings[c->n_findings - 1].stops = true;
}

static size_t count(const struct check *c, enum check_state state)
{
	size_t n = 0;

	for (size_t i = 0; i < c->n_findings; i++)
		n += c->findings[i].state == state;
	return n;
}

size_t check_failures(const struct check *c)
{
	return count(c, CHECK_FAILURE);
}

size_t check_warnings(const struct check *c)
{
	return count(c, CHECK_WARNING);
}

void check_print(const struct check *c, struct buf *out)
{
	for (size_t i = 0; i < c->n_findings; i++) {
		const struct check_finding *f = &c->findings[i];

		buf_addf(out, "%-8s %-16s %s", check_states[f->state], f->check, f->text);
		if (f->fix)
			buf_addf(out, " | %s%s", kind_titles[f->kind], f->fix);
		buf_add_char(out, '\n');
	}
	buf_addf(out, "%zu failure%s, %zu warning%s%s\n", check_failures(c), check_failures(c) == 1 ? "" : "s",
		 check_warnings(c), check_warnings(c) == 1 ? "" : "s",
		 c->where == CHECK_OFFLINE ? "; offline: no server was looked at" : "");
}

json_t *check_json(const struct check *c)
{
	json_t *findings = json_array();

	for (size_t i = 0; i < c->n_findings; i++) {
		const struct check_finding *f = &c->findings[i];
		json_t *fix =
			f->fix ? json_pack("{s:s, s:s}", "kind", check_fixes[f->kind], "text", f->fix) : json_null();

		json_array_append_new(findings, json_pack("{s:s, s:s, s:b, s:s, s:O, s:o}", "check", f->check, "state",
							  check_states[f->state], "stops", f->stops, "text", f->text,
							  "fix", fix, "mend", fix));
	}
	return json_pack("{s:s, s:b, s:i, s:i, s:o}", "file", c->conf->file, "offline", c->where == CHECK_OFFLINE,
			 "failures", (int)check_failures(c), "warnings", (int)check_warnings(c), "findings", findings);
}
