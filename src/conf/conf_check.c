/* Checks that concern several options, and options whose value follows from others. */
#include <stdlib.h>
#include <string.h>

#include "parts.h"
#include "walpush/base/mem.h"

#define RECORD_LEAST 65536
#define LOCK_TIMEOUT 1000 /* ms: of database.lock-timeout, unless half of statement-timeout is less */

/* The line of the option, or of the nearest group around it that the file has. */
static unsigned line_of(const struct conf_reader *r, const char *option)
{
	char path[CONF_NAME_SHOWN] = "";
	config_setting_t *s = NULL;
	char *dot = path;

	strncat(path, option, sizeof(path) - 1);
	while (dot && !(s = config_lookup(r->source, path))) {
		dot = strrchr(path, '.');
		if (dot)
			*dot = '\0';
	}
	return s ? conf_line(s) : 1;
}

static void check_database(const struct conf_reader *r, const struct conf *c)
{
	const struct conf_database *d = &c->database;

	if (!d->url && !d->url_file && !conf_is_refused(r, &d->url) && !conf_is_refused(r, &d->url_file))
		fails_add(r->all, r->file, line_of(r, "database.url"),
			  "database.url is missing; set it, or database.url-file, to where PostgreSQL is");
	if (d->url && d->url_file)
		fails_add(r->all, r->file, line_of(r, "database.url-file"),
			  "database.url and database.url-file exclude each other; keep one");
}

static void name_publication(struct conf_database *d)
{
	if (*d->publication || !d->slot)
		return;
	free(d->publication);
	d->publication = mem_text(d->slot);
}

/* A lock_timeout that is not below the statement_timeout never ends a query, and a query that is ended by its statement_timeout does not say that
 * it waited for a lock. */
static void check_lock_timeout(const struct conf_reader *r, struct conf_database *d)
{
	if (!d->lock_timeout)
		d->lock_timeout = d->statement_timeout / 2 < LOCK_TIMEOUT ? d->statement_timeout / 2 : LOCK_TIMEOUT;
	if (d->lock_timeout >= d->statement_timeout && !conf_is_refused(r, &d->statement_timeout))
		fails_add(r->all, r->file, line_of(r, "database.lock-timeout"),
			  "database.lock-timeout must be less than database.statement-timeout, or no query ends by "
			  "it; lower it, or raise database.statement-timeout");
}

static void check_listen(const struct conf_reader *r, const struct conf *c)
{
	const struct conf_listen *l = &c->listen;

	if (l->certificate && !l->certificate_key && !conf_is_refused(r, &l->certificate_key))
		fails_add(r->all, r->file, line_of(r, "listen.certificate"),
			  "listen.certificate needs listen.certificate-key beside it");
	if (l->certificate_key && !l->certificate && !conf_is_refused(r, &l->certificate))
		fails_add(r->all, r->file, line_of(r, "listen.certificate-key"),
			  "listen.certificate-key needs listen.certificate beside it");
	if (l->port && l->port == c->admin.port && !conf_is_refused(r, &l->port) && !conf_is_refused(r, &c->admin.port))
		fails_add(r->all, r->file, line_of(r, "admin.port"), "admin.port and listen.port must differ");
}

/* What a file holds is not looked at before. */
static void check_admin(const struct conf_reader *r, const struct conf_admin *a)
{
	const char *should = a->token ? conf_accept_admin_token(a->token) : NULL;

	if (should)
		fails_add(r->all, r->file, line_of(r, "admin.token-file"),
			  "the file of admin.token-file should hold %s", should);
}

/* jwt.key is put at the front of the list. It has no kid, so a token without a kid is tried with it first. */
static void join_keys(struct conf_draft *d)
{
	struct conf_jwt *j = &d->conf.jwt;

	if (!d->single_key.key)
		return;
	j->keys = mem_resize(j->keys, j->n_keys + 1, sizeof(*j->keys));
	memmove(j->keys + 1, j->keys, j->n_keys * sizeof(*j->keys));
	j->keys[0] = d->single_key;
	j->n_keys++;
	d->single_key = (struct conf_jwt_key){ 0 };
}

static bool check_key(const struct conf_reader *r, const struct conf_jwt *j, size_t i)
{
	const struct conf_jwt_key *k = &j->keys[i];

	if (!k->key)
		return fails_add(r->all, r->file, k->line, "a key of jwt.keys needs key or key-file");
	if (*k->key == '\0')
		return fails_add(r->all, r->file, k->line, "this key is empty; anybody could sign with it");
	if (j->algorithm && j->algorithm[0] == 'H' && strncmp(k->key, "-----BEGIN", 10) == 0)
		return fails_add(r->all, r->file, k->line,
				 "%s wants a secret, but this key is PEM: set jwt.algorithm to RS… or ES…",
				 j->algorithm);
	for (size_t before = 0; before < i; before++)
		if (k->kid && j->keys[before].kid && strcmp(k->kid, j->keys[before].kid) == 0)
			return fails_add(r->all, r->file, k->line, "this kid already stands in line %u",
					 j->keys[before].line);
	return true;
}

/* Before join_keys, which moves the keys of the list: what was refused is known by its address. */
static void check_keys(const struct conf_reader *r, const struct conf_draft *d)
{
	const struct conf_jwt *j = &d->conf.jwt;
	const struct conf_jwt alone = { .algorithm = j->algorithm, .keys = (struct conf_jwt_key *)&d->single_key };

	if (!d->single_key.key && j->n_keys == 0 && !conf_is_refused(r, &d->single_key.key) &&
	    !conf_is_refused(r, &j->keys))
		fails_add(r->all, r->file, j->line, "jwt has no key; set key, key-file or keys");
	if (d->single_key.key)
		check_key(r, &alone, 0);
	for (size_t i = 0; i < j->n_keys; i++)
		if (!conf_is_refused(r, &j->keys[i]))
			check_key(r, j, i);
}

static void check_limits(const struct conf_reader *r, const struct conf *c)
{
	const struct conf_limits *l = &c->limits;
	const struct {
		const int64_t *less, *more;
		const char *less_name, *more_name;
	} order[] = {
		{ &l->token_bytes, &l->message_bytes, "limits.token-bytes", "limits.message-bytes" },
		{ &l->row_bytes, &l->transaction_bytes, "limits.row-bytes", "limits.transaction-bytes" },
		{ &l->transaction_bytes, &l->log_bytes, "limits.transaction-bytes", "limits.log-bytes" },
		{ &l->group_bytes, &l->log_bytes, "limits.group-bytes", "limits.log-bytes" },
	};

	if (l->record_bytes && l->record_bytes < RECORD_LEAST)
		fails_add(r->all, r->file, line_of(r, "limits.record-bytes"),
			  "limits.record-bytes is 0, or at least 64 KiB: ordinary rows must not count as too large");
	for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++)
		if (*order[i].less > *order[i].more && !conf_is_refused(r, order[i].less) &&
		    !conf_is_refused(r, order[i].more))
			fails_add(r->all, r->file, line_of(r, order[i].less_name), "%s must not be larger than %s",
				  order[i].less_name, order[i].more_name);
}

static void check_stream(const struct conf_reader *r, const struct conf *c, const struct conf_stream *s)
{
	for (const struct conf_stream *before = c->streams; before < s && s->path.text; before++)
		if (before->path.text && strcmp(s->path.text, before->path.text) == 0) {
			fails_add(r->all, r->file, s->path.line, "streams.%.60s and streams.%.60s have the same path",
				  before->name, s->name);
			return;
		}
}

/* An insert has no old row, and a delete has no new row. A condition that can never hold is an error. */
static const char *trouble_with(const struct conf_action *a)
{
	const struct conf_condition *c = &a->condition;

	if (!c->column && (c->becomes || c->was || c->changes))
		return "becomes, was and changes need column";
	if (c->column && !c->becomes && !c->was && !c->changes)
		return "column needs becomes, was or changes = true";
	if ((c->changes || (c->becomes && c->was)) && !(a->on & CONF_ON_UPDATE))
		return "this compares the old row with the new one, so on must hold \"update\"";
	if (c->becomes && !(a->on & (CONF_ON_INSERT | CONF_ON_UPDATE)))
		return "becomes asks the new row, which a delete does not have; use was";
	if (c->was && !(a->on & (CONF_ON_UPDATE | CONF_ON_DELETE)))
		return "was asks the old row, which an insert does not have; use becomes";
	if (c->becomes && c->was && strcmp(c->becomes, c->was) == 0)
		return "becomes and was are the same, so this never matches";
	return NULL;
}

static void check_actions(const struct conf_reader *r, const struct conf_table *t)
{
	if (t->only_actions && t->n_actions == 0 && !conf_is_refused(r, &t->actions))
		fails_add(r->all, r->file, t->line, "tables.%.60s: only-actions without actions: nothing would be told",
			  t->name);
	for (size_t i = 0; i < t->n_actions; i++) {
		struct conf_action *a = &t->actions[i];
		const char *trouble = conf_is_refused(r, a) ? NULL : trouble_with(a);

		a->condition.line = a->line;
		if (trouble)
			fails_add(r->all, r->file, a->line, "tables.%.60s.actions.%.60s: %s", t->name, a->name,
				  trouble);
	}
}

/* A message of its own, even one that was refused, needs neither a type nor a key. */
static void check_has(const struct conf_reader *r, const struct conf_table *t, const struct text *text,
		      const char *name)
{
	if (!t->message.line && !text->line)
		fails_add(r->all, r->file, t->line, "tables.%.60s.%s is missing; set it, or a message template",
			  t->name, name);
}

static void check_table(const struct conf_reader *r, struct conf_table *t)
{
	if (!t->from.text && strchr(t->name, '*'))
		fails_add(r->all, r->file, t->line,
			  "tables.%.60s: no table has a \"*\" in its name; name the table in from", t->name);
	if (!t->from.text)
		t->from = (struct text){ mem_text(t->name), t->line };
	check_has(r, t, &t->type, "type");
	check_has(r, t, &t->key, "key");
	if (t->columns.n && t->exclude.n)
		fails_add(r->all, r->file, t->exclude.at[0].line,
			  "tables.%.60s: columns and exclude exclude each other", t->name);
	check_actions(r, t);
}

void conf_check(const struct conf_reader *r, struct conf_draft *d)
{
	struct conf *c = &d->conf;

	c->jwt.line = line_of(r, "jwt");
	d->single_key.line = config_lookup(r->source, "jwt.key") ? line_of(r, "jwt.key") : line_of(r, "jwt.key-file");
	check_keys(r, d);
	join_keys(d);
	name_publication(&c->database);
	check_database(r, c);
	check_lock_timeout(r, &c->database);
	check_listen(r, c);
	check_admin(r, &c->admin);
	check_limits(r, c);
	for (size_t i = 0; i < c->n_streams; i++)
		check_stream(r, c, &c->streams[i]);
	for (size_t i = 0; i < c->n_tables; i++)
		check_table(r, &c->tables[i]);
}
