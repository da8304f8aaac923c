/*
 * tap_reload: SIGHUP. A new configuration is made beside the one in force, and takes its place only if all of it is good.
 *
 *   read the file ─▶ compile ─▶ ask what is read, and the catalog ─▶ bind ─▶ the publication ─▶ let the server plan each query ─▶ take over
 *        └──────────────┴──────────────┴─────────────┴──────────────┴─▶ refused: nothing changes, and a log line says why
 *
 * The hubs receive the configuration as an edition (edition.h). If the new rules give the same results as the bound rules, the bound rules stay,
 * with everything that is half read. Otherwise the replication stream starts again after the last handled transaction: no transaction is routed by
 * two sets of rules, and nothing is lost, because what is not published comes again. If the ids get another meaning, a new epoch begins, and every
 * client is sent `resync`. While the database is down, a reload waits; the next SIGHUP replaces it.
 */
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "parts.h"
#include "walpush/base/fail.h"
#include "walpush/base/log.h"
#include "walpush/base/mem.h"
#include "walpush/text/redisurl.h"

struct probe { /* a query that the server must plan */
	struct probe *next;
	struct reload *reload;
	const struct rules_query *query;
	struct sqlpipe_query *asked; /* NULL: answered */
};

struct reload {
	struct tap *tap;
	struct edition *edition;
	struct buf kept; /* names of options that differ and need a restart */
	struct reads_ask *reads_ask;
	struct reads *reads;
	struct event *again; /* asks for `reads` again */
	struct sqlpipe_query *catalog_query;
	struct catalog *catalog;
	struct rules *rules; /* bound to `catalog` */
	struct publication_ask *publication;
	struct probe *probes;
	unsigned n_open; /* probes without an answer */
};

/* A feature that would be missing without a sign is refused instead. */
bool tap_supports(const struct conf *conf, struct fail *why)
{
	const char *missing = conf->listen.compression ? "listen.compression" : NULL;

	if (missing)
		return fail_at_line(why, 1, "%s is not supported yet; remove it", missing);
	if (!conf->relay.url || redisurl_check(conf->relay.url, why))
		return true;
	why->line = 1; /* a mistake in the file; its line is not known */
	return false;
}

/* Frees what was not taken over. */
static void reload_end(struct reload *r)
{
	struct tap *t = r->tap;
	struct probe *p, *next;

	LL_FOREACH_SAFE(r->probes, p, next) {
		if (p->asked)
			sqlpipe_forget(tap_watch_sql(t), p->asked);
		free(p);
	}
	reads_ask_cancel(r->reads_ask);
	reads_free(r->reads, rules_n_streams(r->edition->rules));
	event_free(r->again);
	if (r->catalog_query)
		sqlpipe_forget(t->sql, r->catalog_query);
	publication_ask_cancel(r->publication);
	rules_free(r->rules);
	catalog_free(r->catalog);
	edition_unref(r->edition);
	buf_fini(&r->kept);
	free(r);
	t->reload = NULL;
}

static void refuse(struct tap *t, const struct fail *why)
{
	metrics_count(t->counts, METRICS_RELOADS, "refused");
	log_error("the configuration is refused; the one before it stays in force", log_s("file", t->now.conf->file),
		  log_n("line", why->line), log_s("error", why->text));
	if (t->reload)
		reload_end(t->reload);
}

/* --- taking over ------------------------------------------------------------------------------------------------- */

static void take_rules(struct tap *t, struct reload *r)
{
	reads_free(t->reads, t->n_reads);
	t->reads = r->reads;
	t->n_reads = rules_n_streams(t->now.plain);
	t->reads_for = t->n_editions;
	r->reads = NULL;
	if (t->now.rules && rules_digest_feed(t->now.rules) == rules_digest_feed(r->rules))
		return;
	tap_watch_forget(t); /* other tables are watched now, and every connection is asked again */
	tap_take_rules(t, r->rules, r->catalog);
	r->rules = NULL;
	r->catalog = NULL;
}

static void tell_hubs(struct tap *t)
{
	struct mail mail = { .kind = MAIL_EDITION };

	for (unsigned i = 0; i < t->n_hubs; i++) {
		mail.edition = edition_ref(t->now.edition);
		hub_post(t->hubs[i], &mail);
	}
}

static void take_over(struct reload *r)
{
	struct tap *t = r->tap;
	struct edition *before = t->now.edition;

	if (r->kept.len)
		log_warn("these options need a restart; they stay as they were", log_s("options", r->kept.data));
	t->now.edition = r->edition;
	t->n_editions++;
	t->now.plain = r->edition->rules;
	t->now.conf = r->edition->shared.conf;
	tap_overlap_forget(t);
	r->edition = before; /* released by reload_end */
	log_setup(t->now.conf->log.level, t->now.conf->log.format);
	tap_reopen_audit(t);
	intake_reload(t->intake, &t->now.conf->limits);
	intake_async_commits(t->intake, t->now.conf->database.async_commits);
	take_rules(t, r);
	admit_recheck(t->admissions);
	tell_hubs(t);
	metrics_count(t->counts, METRICS_RELOADS, "taken");
	log_info("the configuration is taken over", log_s("file", t->now.conf->file));
	reload_end(r);
	tap_findings_reload(t);
	tap_read_catalog(t); /* other tables may decide permission now, and must be watched */
}

/* Also for programs that rotate the file. */
void tap_reopen_audit(struct tap *t)
{
	struct fail why = { 0 };

	if (!audit_open(t->shared.audit, t->now.conf->audit_file, &why))
		log_error("the audit log stays where it is", log_s("error", why.text));
}

/* --- the server plans the queries --------------------------------------------------------------------------------- */

/* Only errors of the query itself count (class 42). A server that has no time for the query does not make the configuration wrong. */
static void on_probe(void *ctx, struct sqlrows *rows, const struct fail *why)
{
	struct probe *p = ctx;
	struct reload *r = p->reload;
	struct fail bad = { 0 };

	p->asked = NULL;
	r->n_open--;
	sqlrows_free(rows);
	if (!rows && strncmp(why->sqlstate, "42", 2) == 0) {
		fail_at_line(&bad, p->query->line, "%s: %s", p->query->name, why->text);
		refuse(r->tap, &bad);
	} else if (r->n_open == 0) {
		take_over(r);
	}
}

static void add_probe(struct reload *r, const struct rules_query *query)
{
	struct probe *p;

	if (!query || !query->sql)
		return;
	p = mem_new(sizeof(*p));
	p->reload = r;
	p->query = query;
	r->n_open++;
	LL_PREPEND(r->probes, p);
}

/* The planner sees names, types and privileges, and runs nothing. But it waits for a lock on what the query reads. */
static void ask_probe(struct probe *p)
{
	const char **nothing = mem_new_array(p->query->source.n_refs, sizeof(char *));
	struct buf sql = { 0 };

	buf_addf(&sql, "EXPLAIN %s", p->query->sql);
	p->asked = sqlpipe_ask(tap_watch_sql(p->reload->tap), "explain of a reload", sql.data, p->query->source.n_refs,
			       nothing, on_probe, p);
	buf_fini(&sql);
	free(nothing);
}

static void ask_probes(struct reload *r)
{
	const struct conf *conf = r->edition->shared.conf;
	struct probe *p;

	for (size_t i = 0; i < rules_n_streams(r->rules); i++)
		add_probe(r, &rules_stream(r->rules, i)->admit);
	for (size_t i = 0; i < conf->n_tables; i++) {
		const struct rules_section *section = rules_section(r->rules, conf->tables[i].name);

		add_probe(r, &section->lookup);
		add_probe(r, &section->data);
	}
	add_probe(r, rules_actor(r->rules));
	LL_FOREACH(r->probes, p)
		ask_probe(p);
}

static void on_publication(void *ctx, const struct publication_says *says, const struct fail *why)
{
	struct reload *r = ctx;

	r->publication = NULL;
	if (!says)
		refuse(r->tap, why);
	else if (says->n_lacks)
		refuse(r->tap, &says->first);
	else
		ask_probes(r);
}

static void on_catalog(void *ctx, struct sqlrows *rows, const struct fail *why)
{
	struct reload *r = ctx;
	struct fail bad = { 0 };

	r->catalog_query = NULL;
	if (rows)
		r->catalog = tap_rules_catalog(rows, r->edition->shared.conf->data.relations, &bad);
	else
		bad = *why;
	sqlrows_free(rows);
	if (r->catalog)
		r->rules = tap_rules_new(r->edition->shared.conf, r->reads, &bad);
	if (r->rules && rules_bind(r->rules, r->catalog, &bad))
		r->publication = publication_ask_new(r->tap->sql, &r->edition->shared.conf->database, r->rules, true,
						     on_publication, r);
	else
		refuse(r->tap, &bad);
}

static void ask_catalog(struct reload *r)
{
	struct fail bad = { 0 };
	struct rules *rules = tap_rules_new(r->edition->shared.conf, r->reads, &bad);

	if (!rules) {
		refuse(r->tap, &bad);
		return;
	}
	r->catalog_query = tap_rules_ask(r->tap->sql, rules, on_catalog, r);
	rules_free(rules);
}

static void on_reads(void *ctx, struct reads *reads, const struct fail *why)
{
	struct reload *r = ctx;

	r->reads_ask = NULL;
	r->reads = reads;
	if (reads) {
		tap_say_refused(r->edition->rules, reads);
		ask_catalog(r);
		return;
	}
	log_debug("the reload waits for the database", log_s("error", why->text));
	event_add(r->again, &(struct timeval){ 1, 0 });
}

static void ask_reads(struct reload *r)
{
	struct tap *t = r->tap;

	r->reads_ask =
		reads_ask_new(t->loop, t->names, &t->now.conf->database, &t->login, r->edition->rules, on_reads, r);
}

static void on_again(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	ask_reads(arg);
}

/* --- the file ------------------------------------------------------------------------------------------------------ */

static struct edition *read_edition(struct tap *t, struct buf *kept, struct fail *why)
{
	struct fails all = { 0 };
	struct conf *conf = rules_load(t->now.conf->file, NULL, &all);

	fails_end(&all, why);
	if (conf && !(tap_supports(conf, why) && audit_check(conf->audit_file, why))) {
		conf_free(conf);
		conf = NULL;
	}
	if (!conf)
		return NULL;
	conf_keep(t->now.conf, conf, kept);
	return edition_new(&t->shared, conf, true, why);
}

void tap_reload(struct tap *t)
{
	struct fail why = { 0 };
	struct buf kept = { 0 };
	struct edition *edition;

	if (t->reload)
		reload_end(t->reload);
	login_hurry(&t->login);
	log_info("reading the configuration again", log_s("file", t->now.conf->file));
	edition = read_edition(t, &kept, &why);
	if (!edition) {
		refuse(t, &why);
		buf_fini(&kept);
		return;
	}
	t->reload = mem_new(sizeof(*t->reload));
	t->reload->tap = t;
	t->reload->edition = edition;
	t->reload->kept = kept;
	t->reload->again = event_new(t->loop, -1, 0, on_again, t->reload);
	if (!t->reload->again)
		fail_never("libevent makes no timer for the reload");
	ask_reads(t->reload);
}

/* Call this before the connection for lookups is freed. */
void tap_reload_fini(struct tap *t)
{
	if (t->reload)
		reload_end(t->reload);
}
