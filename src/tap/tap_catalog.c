/*
 * tap_catalog: asks what the admit queries read and what the tables look like, at the start and whenever a row does not fit.
 *
 *   what is read ─▶ digest ─▶ what is read ─▶ the tables' columns ─▶ bind ─▶ the publication ─▶ in force, and watched
 *                     ▲             │ other than before
 *                     └─────────────┘
 *
 * What the queries read is asked for again after the digest. Otherwise DDL between the two would be in the digest but not in what was found.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "parts.h"
#include "walpush/base/fail.h"
#include "walpush/base/log.h"
#include "walpush/base/clock.h"
#include "walpush/base/mem.h"
#include "walpush/text/sqlclock.h"

#define ASK_AGAIN 5000000 /* µs */

struct finding {
	/* Belong to `now.rules`, which point into them. */
	struct edition *rules_of; /* the rules are made from its configuration */
	struct catalog *catalog;
	struct retired { /* earlier ones, until no transaction points into them */
		struct retired *next;
		struct rules *rules;
		struct edition *rules_of;
		struct catalog *catalog;
	} * retired;

	enum { READING_FIRST, READING_AGAIN } reading;
	unsigned of; /* the edition whose tables were asked for last, as in n_editions */
	struct sqlpipe_query *query;
	struct publication_ask *publication; /* NULL: nothing is asked at present */
	struct rules *next_rules;            /* bound, while the publication is asked for */
	struct catalog *next_catalog;
	struct event *again;
	struct reads_ask *ask;    /* NULL: nothing is asked at present */
	struct edition *reads_of; /* the edition with the queries */
	struct backoff backoff;
	struct buf reads_text; /* text of tap->reads, compared with the next answer */

	struct repeat not_followed[REPEAT_TABLE], strangers[REPEAT_TABLE];
	struct buf secrets; /* the columns that look like secrets and are sent, as they were logged */
	struct buf unfit;   /* what rules_unfit said, as it was logged */
};

/* Before there are rules, the cause is a mistake in the configuration. Later, a migration has removed what the configuration names. */
static void cannot_bind(struct tap *t, const struct fail *why)
{
	log_error(t->now.rules ? "the tables no longer fit the configuration; the rules stay as they were"
			       : "the configuration does not fit the database",
		  log_s("file", t->now.conf->file), log_n("line", why->line), log_s("error", why->text),
		  log_fix("correct the line, or create what it names"));
	if (t->now.rules) {
		intake_rules(t->intake, t->now.rules);
		return;
	}
	t->exit_status = 2;
	event_base_loopbreak(t->loop);
}

/* A transaction that is half read may still point into the rules. */
static void retire(struct tap *t)
{
	struct retired *old;

	if (!t->now.rules)
		return;
	old = mem_new(sizeof(*old));
	old->rules = t->now.rules;
	old->rules_of = t->finding->rules_of;
	old->catalog = t->finding->catalog;
	LL_PREPEND(t->finding->retired, old);
}

static void free_all_retired(struct tap *t)
{
	struct retired *old, *next;

	LL_FOREACH_SAFE(t->finding->retired, old, next) {
		rules_free(old->rules);
		edition_unref(old->rules_of);
		catalog_free(old->catalog);
		free(old);
	}
	t->finding->retired = NULL;
}

void tap_free_retired(struct tap *t)
{
	if (intake_is_idle(t->intake))
		free_all_retired(t);
}

/* What is said of one table that matches a pattern is not said of the others again. */
static void add_secrets(struct buf *out, const struct rules_section *s)
{
	struct buf one = { 0 }, names = { 0 };

	if (rules_add_secrets(s, &names))
		buf_addf(&one, "%s: %s", s->conf->name, names.data);
	if (one.len && !strstr(buf_slice(out).at, one.data))
		buf_addf(out, "%s%s", out->len ? "; " : "", one.data);
	buf_fini(&one);
	buf_fini(&names);
}

/* Logs the columns once, and again when a migration or a reload changes them. */
static void say_secrets(struct tap *t)
{
	struct buf now = { 0 };

	for (size_t i = 0; i < rules_n_tables(t->now.rules); i++) {
		const struct rules_table *table = rules_table(t->now.rules, i);

		for (size_t k = 0; k < table->n_sections; k++)
			add_secrets(&now, table->sections[k]);
	}
	if (now.len && !slice_equal(buf_slice(&now), buf_slice(&t->finding->secrets)))
		log_warn("columns that look like secrets are sent", log_s("columns", now.data),
			 log_fix("name them in `exclude`, or name in `columns` what may be seen"));
	buf_fini(&t->finding->secrets);
	t->finding->secrets = now;
}

/* Logs it once, and again when it changes. */
static void say_unfit(struct tap *t)
{
	const char *first;
	size_t n = rules_unfit(t->now.rules, &first);
	struct buf now = { 0 };

	if (n)
		buf_addf(&now, "%zu %s", n, first);
	if (n && !slice_equal(buf_slice(&now), buf_slice(&t->finding->unfit)))
		log_error("tables that match a pattern lack a column that the configuration names; they are left out",
			  log_s("file", t->now.conf->file), log_n("tables", (int64_t)n), log_s("error", first),
			  log_fix("run the application's migrations for these schemas; walpush check names them"));
	buf_fini(&t->finding->unfit);
	t->finding->unfit = now;
}

bool tap_rules_are_current(const struct tap *t)
{
	return t->finding->rules_of == t->now.edition;
}

void tap_use_rules(struct tap *t, struct rules *rules, struct catalog *catalog)
{
	tap_explain_forget(t);
	retire(t);
	t->now.rules = rules;
	t->finding->rules_of = edition_ref(t->now.edition);
	t->finding->catalog = catalog;
	buf_clear(&t->add_tables);
	rules_add_tables(rules, &t->add_tables);
	buf_clear(&t->filter_tables);
	rules_filter_tables(rules, &t->filter_tables);
	intake_rules(t->intake, rules);
	say_secrets(t);
	say_unfit(t);
}

static void say_not_followed(struct tap *t, const struct rules_stream *s)
{
	unsigned times;
	enum log_level level = repeat_level(repeat_for(t->finding->not_followed, s->conf->name), LOG_LEVEL_WARN,
					    s->not_followed, clock_us(), &times);

	log_write(level, "not all that an admit query reads can be followed; it is asked again as time passes",
		  LOG_FIELDS(log_s("stream", s->conf->name), log_s("reads", s->not_followed),
			     log_ms("every_ms", admit_rechecks(t->admissions, s->identity)),
			     log_fix("list the tables behind it in `membership`, or say ignore = true"),
			     log_n("times", times)));
}

static void say_strangers(struct tap *t, const struct rules_stream *s)
{
	unsigned times;
	enum log_level level = repeat_level(repeat_for(t->finding->strangers, s->conf->name), LOG_LEVEL_ERROR,
					    s->strangers, clock_us(), &times);

	log_write(level, "an admit query calls what belongs to a role that is not trusted; nobody is admitted by it",
		  LOG_FIELDS(log_s("stream", s->conf->name), log_s("calls", s->strangers),
			     log_fix("drop it, give it to the owner of the database, or name in the query what is "
				     "meant: OPERATOR(pg_catalog.=)"),
			     log_n("times", times)));
}

static void say_what_was_found(struct tap *t)
{
	for (size_t i = 0; i < rules_n_streams(t->now.rules); i++) {
		const struct rules_stream *s = rules_stream(t->now.rules, i);

		if (s->not_followed)
			say_not_followed(t, s);
		if (s->strangers)
			say_strangers(t, s);
	}
}

/* A replica without the slot lacks nothing: it asks for its tables when it gets the slot. */
static enum rules_lack lack_of(const struct tap *t, const struct rules *rules)
{
	if (!t->now.rules || !t->asked.add.len || t->published.is_pgoutput ||
	    (t->way->is_shared && !source_is_streaming(t->source)))
		return RULES_LACK_NOTHING;
	return rules_lack(rules, buf_slice(&t->asked.add).at, buf_slice(&t->asked.filter).at);
}

/*
 * Can rows that the replication stream should bring have passed already? Not if DDL is met at its place in the replication stream: a message is
 * the reason for the look, or would have come with what was handled since. Missed rows of tables that only decide permission do not count,
 * because every connection is asked again from here on. With a relay they count: the other replicas find out by themselves, perhaps earlier.
 */
static bool has_missed(const struct tap *t, const struct rules *rules, enum rules_lack lack)
{
	if (tap_ddl_asks(t) || (t->ddl_look == DDL_LOOK_STREAM && t->ddl_heard))
		return false;
	if (rules_digest(t->now.rules) != rules_digest(rules))
		return false; /* this is another epoch */
	return lack == RULES_LACK_ROWS || (lack && t->way->is_shared);
}

void tap_take_rules(struct tap *t, struct rules *rules, struct catalog *catalog)
{
	enum rules_lack lack = lack_of(t, rules);
	bool moved = tap_matched_moved(t, rules);
	bool changed = t->now.rules && rules_digest_feed(t->now.rules) != rules_digest_feed(rules),
	     other = lack || changed || (t->now.rules && t->ddl_heard != t->has_trigger);

	if (other || moved) {
		t->asked.missed = t->asked.missed || has_missed(t, rules, lack);
		/* The intake forgets what it holds, so nothing points into the earlier rules. */
		tap_flow_restart(t, !other             ? "a schema was renamed"
				    : lack && !changed ? "a table has a child that the stream does not bring"
						       : "the rules have changed");
		intake_clear(t->intake);
		intake_limits(t->intake, &t->now.conf->limits);
	}
	tap_use_rules(t, rules, catalog);
	admit_recheck(t->admissions);
	say_what_was_found(t);
	/* Other memberships than before may count: every connection is asked again. */
	if (other && !tap_ddl_asks(t))
		admit_changed(t->admissions, topiclog_published(t->now.log), NULL);
	tap_flow_go(t);
}

static void read_again_in(struct tap *t, int64_t us)
{
	struct timeval wait = clock_timeval(us);

	event_add(t->finding->again, &wait);
}

/* Nothing more is to be read. */
static void is_read(struct tap *t)
{
	if (t->finds_out)
		log_info("what decides permission is found out");
	t->finds_out = false;
	t->wires->found_out(t);
	tap_watch_go(t);
	tap_overlap_go(t);
	if (reads_may_pass(t->reads, rules_n_streams(t->now.plain)))
		read_again_in(t, ASK_AGAIN);
}

static void drop_next(struct tap *t)
{
	publication_ask_cancel(t->finding->publication);
	rules_free(t->finding->next_rules);
	catalog_free(t->finding->next_catalog);
	t->finding->publication = NULL;
	t->finding->next_rules = NULL;
	t->finding->next_catalog = NULL;
}

/* Nothing has been streamed yet: what is missing from the beginning would never be noticed. */
static void refuse_publication(struct tap *t)
{
	log_error("the publication does not send all that the configuration needs; see above",
		  log_s("publication", t->now.conf->database.publication),
		  log_fix("run the statements, or what walpush sql --plugin pgoutput prints"));
	t->exit_status = 2;
	event_base_loopbreak(t->loop);
}

static void on_publication(void *ctx, const struct publication_says *says, const struct fail *why)
{
	struct tap *t = ctx;
	struct rules *rules = t->finding->next_rules;
	struct catalog *catalog = t->finding->next_catalog;

	t->finding->publication = NULL;
	if (!says) {
		log_error("cannot read what the publication sends; trying again in 5 s",
			  log_s("sqlstate", why->sqlstate), log_s("error", why->text));
		drop_next(t);
		read_again_in(t, ASK_AGAIN);
		return;
	}
	if (!t->now.rules && says->n_lacks) {
		refuse_publication(t);
		return;
	}
	t->finding->next_rules = NULL;
	t->finding->next_catalog = NULL;
	tap_take_rules(t, rules, catalog);
	tap_published_take(t, says);
	is_read(t);
}

static void take_catalog(struct tap *t, struct catalog *catalog)
{
	struct fail why = { 0 };
	struct rules *rules = tap_rules_new(t->now.conf, t->reads, &why);

	if (!rules || !rules_bind(rules, catalog, &why)) {
		cannot_bind(t, &why);
		rules_free(rules);
		catalog_free(catalog);
		is_read(t);
		return;
	}
	t->finding->next_rules = rules;
	t->finding->next_catalog = catalog;
	t->finding->publication = publication_ask_new(t->sql, &t->now.conf->database, rules, true, on_publication, t);
}

static void on_catalog(void *ctx, struct sqlrows *rows, const struct fail *why)
{
	struct tap *t = ctx;
	struct fail bad = { 0 };
	struct catalog *catalog = rows ? tap_rules_catalog(rows, t->now.conf->data.relations, &bad) : NULL;

	t->finding->query = NULL;
	sqlrows_free(rows);
	if (t->finding->of != t->n_editions) { /* the list of tables may be another */
		catalog_free(catalog);
		tap_read_catalog(t);
		return;
	}
	if (catalog) {
		take_catalog(t, catalog);
		return;
	}
	log_error("cannot read the tables' columns; trying again in 5 s", log_s("sqlstate", rows ? "" : why->sqlstate),
		  log_s("error", rows ? bad.text : why->text));
	read_again_in(t, ASK_AGAIN);
}

static void read_queries(struct tap *t);

static void ask_catalog(struct tap *t)
{
	struct fail why = { 0 };
	struct rules *rules = tap_rules_new(t->now.conf, t->reads, &why);

	if (!rules) /* rules were made from the same file before */
		fail_never("the configuration is none any more: %s", why.text);
	t->finding->query = tap_rules_ask(t->sql, rules, on_catalog, t);
	rules_free(rules);
}

/* If a query waited for a lock in vain, the earlier answer about it counts until the next one. */
static void keep_known(struct tap *t, struct reads *reads, size_t n)
{
	for (size_t i = 0; i < n && t->reads && t->reads_for == t->n_editions; i++) {
		struct reads known = t->reads[i];

		if (!reads[i].may_pass || known.failed)
			continue;
		t->reads[i] = reads[i];
		reads[i] = known;
		reads[i].may_pass = true;
	}
	t->reads_for = t->n_editions;
}

static void say_frozen(const struct rules_query *q, const struct reads *reads)
{
	const char *word = reads->definition.len ? sqlclock_frozen(q->sql, reads->definition.data) : NULL;

	if (word)
		log_warn("the server computes this time once, when it prepares the query, so nobody's permission ends "
			 "by it",
			 log_s("query", q->name), log_n("line", q->line), log_s("literal", word),
			 log_fix("write now() or current_date in its place; see `walpush check`"));
}

void tap_say_refused(const struct rules *rules, const struct reads *reads)
{
	for (size_t i = 0; i < rules_n_streams(rules); i++) {
		const struct rules_query *q = &rules_stream(rules, i)->admit;

		say_frozen(q, &reads[i]);
		if (reads[i].refused.text[0])
			log_error("the server refuses this query, so nobody is admitted by it", log_s("query", q->name),
				  log_n("line", q->line), log_s("sqlstate", reads[i].refused.sqlstate),
				  log_s("error", reads[i].refused.text), log_fix("see `walpush check`"));
	}
}

/* If two answers in a row are the same, every later change gives another digest. */
static void take_reads(struct tap *t, struct reads *reads)
{
	size_t n = rules_n_streams(t->now.plain);
	struct buf text = { 0 };
	bool same;

	keep_known(t, reads, n);
	reads_text(reads, n, &text);
	same = t->finding->reading == READING_AGAIN &&
	       slice_equal(buf_slice(&text), buf_slice(&t->finding->reads_text));
	reads_free(t->reads, t->n_reads);
	t->reads = reads;
	t->n_reads = n;
	buf_fini(&t->finding->reads_text);
	t->finding->reads_text = text;
	if (!same) {
		tap_watch_begin(t);
		return;
	}
	tap_say_refused(t->now.plain, t->reads);
	ask_catalog(t);
}

void tap_catalog_watched(struct tap *t)
{
	t->finding->reading = READING_AGAIN;
	read_queries(t);
}

static void on_reads(void *ctx, struct reads *reads, const struct fail *why)
{
	struct tap *t = ctx;
	struct edition *of = t->finding->reads_of;

	t->finding->ask = NULL;
	t->finding->reads_of = NULL;
	if (!reads) {
		int64_t wait = backoff_next(&t->finding->backoff);

		/* If the connection for queries is down too, its own log line is enough. */
		log_write(sqlpipe_is_up(t->sql) ? LOG_LEVEL_WARN : LOG_LEVEL_DEBUG,
			  "cannot find out what the admit queries read; trying again",
			  LOG_FIELDS(log_s("error", why->text), log_ms("wait_ms", wait)));
		read_again_in(t, wait);
	} else if (of != t->now.edition) {
		reads_free(reads, rules_n_streams(of->rules));
		tap_read_catalog(t);
	} else {
		backoff_reset(&t->finding->backoff);
		take_reads(t, reads);
	}
	edition_unref(of);
}

static void on_again(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	tap_read_catalog(arg);
}

static void read_queries(struct tap *t)
{
	t->finding->of = t->n_editions;
	t->finding->reads_of = edition_ref(t->now.edition);
	t->finding->ask =
		reads_ask_new(t->loop, t->names, &t->now.conf->database, &t->login, t->now.plain, on_reads, t);
}

/* One question at a time; a row that does not fit causes one. The answer to an earlier question does not count. */
void tap_read_catalog(struct tap *t)
{
	t->finding->reading = READING_FIRST;
	tap_watch_pause(t);
	tap_overlap_pause(t);
	if (t->finding->query)
		sqlpipe_forget(t->sql, t->finding->query);
	t->finding->query = NULL;
	drop_next(t);
	if (!t->finding->ask)
		read_queries(t);
}

void tap_catalog_init(struct tap *t)
{
	t->finding = mem_new(sizeof(*t->finding));
	t->finding->backoff = (struct backoff){ .base = 50000, .cap = ASK_AGAIN };
	t->finding->again = event_new(t->loop, -1, 0, on_again, t);
	if (!t->finding->again)
		fail_never("libevent makes no timer for the catalog");
}

/* Call this after the intake is freed. */
void tap_catalog_fini(struct tap *t)
{
	event_free(t->finding->again);
	drop_next(t);
	reads_ask_cancel(t->finding->ask);
	edition_unref(t->finding->reads_of);
	reads_free(t->reads, t->n_reads);
	buf_fini(&t->finding->reads_text);
	free_all_retired(t);
	rules_free(t->now.rules);
	edition_unref(t->finding->rules_of);
	catalog_free(t->finding->catalog);
	buf_fini(&t->add_tables);
	buf_fini(&t->filter_tables);
	buf_fini(&t->asked.add);
	buf_fini(&t->asked.filter);
	buf_fini(&t->finding->secrets);
	buf_fini(&t->finding->unfit);
	free(t->finding);
}
