/*
 * conf: cases in tests/fixtures/conf (ok/NAME.conf must load; error/NAME.conf must fail with the line in NAME.error),
 * the shipped sidecar.conf, and docs/configuration.md with every example in it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "parts.h"
#include "walpush/base/mem.h"
#include "walpush/base/file.h"

#define FIXTURES "tests/fixtures/conf/"
#define DOCUMENT "docs/configuration.md"

static const char base_database[] = "database = { url = \"postgresql://app@db/app\"  slot = \"walpush\" }\n";
static const char base_jwt[] = "jwt = { algorithm = \"HS256\"  key = \"secret\" }\n";
static const char base_streams[] =
	"streams = { orders = { path = \"/ws/\"  admit = \"SELECT 1\"  groups = [ \"orders\" ] } }\n";
static const char base_tables[] =
	"tables = { orders = { type = \"order\"  key = \"order_id\"  groups = [ \"orders\" ] } }\n";

static char *text_of_file(const char *path)
{
	struct buf text = { 0 };
	const char *problem = "";

	if (!file_read(path, 1 << 20, &text, &problem))
		fail_msg("%s: %s", path, problem);
	buf_add_text(&text, "");
	return buf_steal(&text);
}

static struct conf *load_ok(const char *path)
{
	struct fail why = { 0 };
	struct conf *c = conf_load(path, &why);

	if (!c)
		fail_msg("%s", why.text);
	return c;
}

static struct conf *parse(const char *text, struct fail *why)
{
	return conf_parse("test.conf", slice_of(text), why);
}

/* The fragment, with what a configuration must have and the fragment has not. */
static struct conf *parse_fragment(const char *fragment, struct fail *why)
{
	const char *const parts[] = { base_database, base_jwt, base_streams, base_tables };
	struct buf text = { 0 };
	struct conf *c;

	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		char name[16] = "\n";

		strncat(name, parts[i], strcspn(parts[i], " "));
		strcat(name, " ");
		if (strncmp(fragment, name + 1, strlen(name + 1)) != 0 && !strstr(fragment, name))
			buf_add_text(&text, parts[i]);
	}
	buf_add_text(&text, fragment);
	c = parse(text.data, why);
	buf_fini(&text);
	return c;
}

static void expect_texts(const struct texts *t, size_t n, const char *const *want)
{
	assert_int_equal(t->n, n);
	for (size_t i = 0; i < n; i++)
		assert_string_equal(t->at[i].text, want[i]);
}

#define EXPECT_TEXTS(texts, ...)                                                                                       \
	expect_texts(texts, sizeof((const char *[]){ __VA_ARGS__ }) / sizeof(char *), (const char *[]){ __VA_ARGS__ })

/* ---- the directory of errors ---- */

/* Most of these files have little but their error. */
static bool is_of_the_rest(const struct fail *why)
{
	return strstr(why->text, " is missing; set it to a group") != NULL;
}

/* Each line of `expected` is an error, and there are no others: no error makes another one. */
static void expect_errors(const struct fails *all, char *expected)
{
	char *rest, *line = strtok_r(expected, "\n", &rest);

	for (size_t i = 0; i < all->n; i++) {
		const char *text = all->at[i].text + strlen(FIXTURES "error/");
		unsigned number = ~0u;

		assert_memory_equal(all->at[i].text, FIXTURES "error/", strlen(FIXTURES "error/"));
		assert_null(strstr(text, "hunter2"));
		assert_int_equal(sscanf(text, "%*[^:]:%u:", &number), 1);
		assert_int_equal(all->at[i].line, number);
		if (line && strcmp(text, line) == 0)
			line = strtok_r(NULL, "\n", &rest);
		else if (!is_of_the_rest(&all->at[i]))
			fail_msg("unexpected: %s", text);
	}
	if (line)
		fail_msg("not said: %s", line);
}

static void one_error(const char *name)
{
	char path[512], expected_path[512];
	struct fails all = { 0 };
	char *expected;

	snprintf(path, sizeof(path), FIXTURES "error/%s.conf", name);
	snprintf(expected_path, sizeof(expected_path), FIXTURES "error/%s.error", name);
	expected = text_of_file(expected_path);
	conf_free(conf_load_all(path, &all));
	expect_errors(&all, expected);
	fails_fini(&all);
	free(expected);
}

static void test_errors(void **state)
{
	DIR *dir = opendir(FIXTURES "error");
	struct dirent *e;
	size_t n = 0;

	(void)state;
	assert_non_null(dir);
	while ((e = readdir(dir))) {
		char *dot = strrchr(e->d_name, '.');

		if (dot && strcmp(dot, ".conf") == 0) {
			*dot = '\0';
			one_error(e->d_name);
			n++;
		}
	}
	closedir(dir);
	assert_true(n > 100); /* the directory was found and is not empty */
}

static void test_cannot_be_read(void **state)
{
	struct fail why;

	(void)state;
	assert_null(conf_load(FIXTURES "nosuch.conf", &why));
	assert_string_equal(why.text, FIXTURES "nosuch.conf:0: the configuration cannot be read: No such file or "
					       "directory; name the file with -c");
	assert_null(conf_load(FIXTURES "ok", &why));
	assert_non_null(strstr(why.text, "it is a directory"));
	assert_null(conf_load(FIXTURES "ok/minimal.conf/x", &why));
	assert_non_null(strstr(why.text, strerror(ENOTDIR)));
	assert_null(conf_load("/dev/zero", &why));
	assert_non_null(strstr(why.text, "it is too large"));
}

/* ---- what is accepted ---- */

static void test_defaults(void **state)
{
	struct conf *c = load_ok(FIXTURES "ok/minimal.conf");

	(void)state;
	assert_string_equal(c->file, FIXTURES "ok/minimal.conf");
	assert_null(c->database.url_file);
	assert_string_equal(c->database.plugin, "auto");
	assert_string_equal(c->database.publication, c->database.slot);
	assert_int_equal(c->database.connect_timeout, 10000);
	assert_int_equal(c->database.statement_timeout, 5000);
	assert_int_equal(c->database.lock_timeout, 1000);
	assert_int_equal(c->database.status_interval, 10000);
	assert_int_equal(c->database.warn_bytes, 1 << 30);
	assert_string_equal(c->listen.address, "0.0.0.0");
	assert_int_equal(c->database.admit_connections, 4);
	assert_false(c->database.async_commits);
	assert_int_equal(c->listen.port, 8001);
	assert_int_equal(c->listen.origins.n, 0);
	assert_int_equal(c->listen.ping, 25000);
	assert_false(c->listen.compression);
	assert_string_equal(c->admin.address, "127.0.0.1");
	assert_int_equal(c->admin.port, 8002);
	assert_string_equal(c->jwt.user_claim, "user_id");
	assert_string_equal(c->jwt.token_type, "access");
	assert_null(c->jwt.issuer);
	assert_int_equal(c->jwt.n_keys, 1);
	assert_null(c->jwt.keys[0].kid);
	assert_string_equal(c->jwt.keys[0].key, "secret");
	assert_int_equal(c->jwt.keys[0].line, 3);
	assert_int_equal(c->replay.seconds, 300000);
	assert_int_equal(c->replay.bytes, 64 << 20);
	assert_int_equal(c->limits.connections, 0);
	assert_int_equal(c->limits.per_user, 50);
	assert_int_equal(c->limits.handshake, 10000);
	assert_int_equal(c->limits.admit_timeout, 5000);
	assert_int_equal(c->limits.stall, 60000);
	assert_int_equal(c->limits.drain, 10000);
	assert_int_equal(c->limits.bulk, 1000);
	assert_int_equal(c->limits.transaction_bytes, 16 << 20);
	assert_int_equal(c->limits.row_bytes, 1 << 20);
	assert_int_equal(c->limits.group_bytes, 1 << 20);
	assert_int_equal(c->limits.log_bytes, 256 << 20);
	assert_string_equal(c->log.level, "info");
	assert_string_equal(c->log.format, "logfmt");
	assert_null(c->audit_file);
	assert_null(c->relay.url);
	assert_null(c->actor_query.text);
	assert_int_equal(c->n_memberships, 0);
	assert_string_equal(c->tables[0].from.text, "orders");
	assert_int_equal(c->tables[0].from.line, 5);
	assert_int_equal(c->tables[0].close, 0);
	assert_false(c->tables[0].only_actions);
	conf_free(c);
}

/* The default follows from statement-timeout. */
static void test_lock_timeout(void **state)
{
	static const struct {
		const char *set;
		int64_t is; /* ms; 0: refused */
	} cases[] = {
		{ "statement-timeout = 60", 1000 },
		{ "statement-timeout = 2", 1000 },
		{ "statement-timeout = 1", 500 },
		{ "statement-timeout = 0.1", 50 },
		{ "statement-timeout = 0.1; lock-timeout = 0", 50 },
		{ "statement-timeout = 60; lock-timeout = 59.999", 59999 },
		{ "statement-timeout = 60; lock-timeout = 0.001", 1 },
		{ "statement-timeout = 60; lock-timeout = 60", 0 },
		{ "statement-timeout = 0.5; lock-timeout = 1", 0 },
		{ "lock-timeout = -1", 0 },
		{ "lock-timeout = 601", 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct buf text = { 0 };
		struct fail why;
		struct conf *c;

		buf_addf(&text,
			 "database = { url = \"postgresql://db/app\" slot = \"s\" %s }\n"
			 "jwt = { algorithm = \"HS256\" key = \"k\" }\n"
			 "streams = { o = { path = \"/ws/o/\" admit = \"SELECT 1\" groups = [ \"o\" ] } }\n"
			 "tables = { o = { type = \"o\" key = \"id\" groups = [ \"o\" ] } }\n",
			 cases[i].set);
		c = parse(text.data, &why);
		if ((c != NULL) != (cases[i].is != 0))
			fail_msg("%s: %s", cases[i].set, c ? "accepted" : why.text);
		if (c)
			assert_int_equal(c->database.lock_timeout, cases[i].is);
		else
			assert_non_null(strstr(why.text, "database.lock-timeout"));
		conf_free(c);
		buf_fini(&text);
	}
}

static void test_full_scalars(void **state)
{
	struct conf *c = load_ok(FIXTURES "ok/full.conf");

	(void)state;
	assert_null(c->database.url);
	assert_string_equal(c->database.url_file, FIXTURES "ok/database.url");
	assert_int_equal(c->database.connect_timeout, 3000);
	assert_int_equal(c->database.statement_timeout, 1500);
	assert_int_equal(c->database.lock_timeout, 500);
	assert_int_equal(c->database.status_interval, 250);
	assert_int_equal(c->database.admit_connections, 2);
	assert_true(c->database.async_commits);
	assert_true(c->database.warn_bytes == 5000000000);
	assert_int_equal(c->listen.port, 9);
	EXPECT_TEXTS(&c->listen.origins, "https://dms.example.org", "http://[::1]:5173");
	assert_int_equal(c->listen.origins.at[0].line, 14);
	assert_int_equal(c->listen.origins.at[1].line, 15);
	assert_string_equal(c->listen.certificate, "/etc/tls.crt");
	assert_string_equal(c->listen.certificate_key, FIXTURES "ok/tls.key");
	EXPECT_TEXTS(&c->listen.trusted_proxies, "10.0.0.0/8", "::1");
	assert_true(c->listen.compression);
	assert_int_equal(c->admin.port, 0);
	EXPECT_TEXTS(&c->admin.hosts, "walpush");
	assert_string_equal(c->jwt.algorithm, "ES256");
	assert_int_equal(c->jwt.line, 26);
	assert_int_equal(c->jwt.n_keys, 3);
	assert_string_equal(c->jwt.keys[0].key, "-----BEGIN PUBLIC KEY-----\nMFkw\n-----END PUBLIC KEY-----");
	assert_int_equal(c->jwt.keys[0].line, 28);
	assert_string_equal(c->jwt.keys[1].kid, "a");
	assert_string_equal(c->jwt.keys[2].kid, "b");
	assert_int_equal(c->jwt.keys[2].line, 30);
	assert_string_equal(c->jwt.token_type, "");
	assert_int_equal(c->replay.bytes, 0);
	assert_int_equal(c->limits.handshakes_per_second, 7);
	assert_int_equal(c->limits.message_bytes, 5120);
	assert_int_equal(c->limits.admit_timeout, 500);
	assert_int_equal(c->limits.row_bytes, 512 << 10);
	assert_string_equal(c->log.format, "json");
	assert_string_equal(c->audit_file, FIXTURES "ok/audit.jsonl");
	assert_int_equal(c->relay.wait, 1);
	assert_string_equal(c->actor_query.text, "SELECT name FROM users WHERE id = {id}");
	conf_free(c);
}

static void test_full_streams(void **state)
{
	struct conf *c = load_ok(FIXTURES "ok/full.conf");
	const struct conf_stream *s = &c->streams[0];

	(void)state;
	assert_int_equal(c->n_streams, 2);
	assert_string_equal(s->name, "first");
	assert_string_equal(s->admit.text, "SELECT 1 FROM t WHERE id = {path.id}");
	assert_int_equal(s->admit.line, s->line + 2);
	EXPECT_TEXTS(&s->groups, "a_{path.id}", "b");
	assert_int_equal(s->groups.at[0].line, s->line + 4);
	assert_int_equal(s->groups.at[1].line, s->line + 5); /* libconfig itself knows only the line behind it */
	assert_string_equal(s->hello.text, "{ \"type\": \"hi\" }");
	assert_string_equal(s->resync.text, "close");
	assert_string_equal(c->streams[1].admit.text, "${x}");
	assert_null(c->streams[1].hello.text);
	assert_true(s->public);
	assert_false(c->streams[1].public);
	assert_int_equal(c->n_memberships, 2);
	assert_string_equal(c->memberships[0].table, "users");
	assert_string_equal(c->memberships[0].user, "id");
	EXPECT_TEXTS(&c->memberships[0].columns, "is_active");
	assert_string_equal(c->memberships[1].table, "support.bans");
	assert_null(c->memberships[1].user);
	conf_free(c);
}

static void test_full_tables(void **state)
{
	struct conf *c = load_ok(FIXTURES "ok/full.conf");
	const struct conf_table *t = &c->tables[0];
	const struct conf_action *a = t->actions;

	(void)state;
	assert_int_equal(c->n_tables, 2);
	EXPECT_TEXTS(&t->columns, "id", "status");
	EXPECT_TEXTS(&t->quiet, "seen_at", "n");
	assert_string_equal(t->data_query.text, "SELECT 2");
	assert_int_equal(t->n_when, 2);
	assert_string_equal(t->when[0].equals, "3");
	assert_string_equal(t->when[1].column, "live");
	assert_string_equal(t->when[1].equals, "true");
	assert_int_equal(t->close, 1000);
	assert_true(t->only_actions);
	EXPECT_TEXTS(&t->reads_ignore, "users", "support.chat");
	EXPECT_TEXTS(&c->actor_reads_ignore, "users");
	assert_int_equal(t->n_actions, 5);
	assert_string_equal(a[0].name, "zulu"); /* the file's order */
	assert_int_equal(a[0].on, CONF_ON_UPDATE);
	assert_string_equal(a[0].condition.was, "a");
	assert_string_equal(a[0].condition.becomes, "");
	assert_int_equal(a[0].condition.line, a[0].line);
	assert_string_equal(a[0].actor, "x_id");
	assert_string_equal(a[1].name, "alpha");
	assert_int_equal(a[1].on, CONF_ON_INSERT | CONF_ON_DELETE);
	assert_int_equal(a[1].close, 4999);
	assert_null(a[1].condition.column);
	assert_true(a[2].condition.changes);
	assert_null(a[2].condition.becomes);
	assert_int_equal(a[3].on, CONF_ON_INSERT);
	assert_string_equal(a[4].condition.was, "7");
	assert_string_equal(c->tables[1].from.text, "support.chat");
	assert_null(c->tables[1].type.text);
	assert_int_equal(c->tables[1].n_when, 1);
	assert_string_equal(c->tables[1].when[0].equals, "false");
	conf_free(c);
}

static void test_terminators(void **state)
{
	struct conf *c = load_ok(FIXTURES "ok/terminators.conf");

	(void)state;
	assert_string_equal(c->jwt.keys[0].key, "-----BEGIN PUBLIC KEY-----\nAA==\n-----END PUBLIC KEY-----");
	assert_string_equal(c->streams[0].admit.text, "SELECT '// # \" \\' -- @include");
	assert_null(c->relay.url);
	conf_free(c);
}

static void test_shipped(void **state)
{
	struct conf *c;

	(void)state;
	setenv("DATABASE_URL", "postgresql://app@db/app", 1);
	setenv("JWT_SIGNING_KEY", "secret", 1);
	setenv("WALPUSH_LISTEN_PORT", "18001", 1);
	c = load_ok("sidecar.conf");
	assert_int_equal(c->listen.port, 18001);
	assert_int_equal(c->admin.port, 8002);
	assert_int_equal(c->n_streams, 4);
	assert_int_equal(c->n_tables, 4);
	assert_int_equal(c->n_memberships, 3);
	conf_free(c);
	unsetenv("DATABASE_URL");
	unsetenv("JWT_SIGNING_KEY");
	unsetenv("WALPUSH_LISTEN_PORT");
}

/* ---- details ---- */

static void test_variables(void **state)
{
	static const struct {
		const char *written, *read;
	} cases[] = {
		{ "a${COLUMN}b${COLUMN}", "a1b1" },
		{ "${UNSET:-}x", "x" },
		{ "${EMPTY:-d}", "d" },
		{ "${TWICE}", "${COLUMN}" },
		{ "$${COLUMN}", "${COLUMN}" },
		{ "$COLUMN $ $$ {COLUMN}", "$COLUMN $ $$ {COLUMN}" },
		{ "$$$${x}", "$$$${x}" + 1 },
		{ "${COLUMN:-a b:-c}", "1" },
	};
	struct fail why = { 0 };

	(void)state;
	setenv("TWICE", "${COLUMN}", 1); /* a value is not looked into */
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char text[256];
		struct conf *c;

		snprintf(text, sizeof(text), "jwt = { algorithm = \"HS256\"  key = \"k\"  issuer = \"%s\" }\n",
			 cases[i].written);
		c = parse_fragment(text, &why);
		if (!c)
			fail_msg("%s: %s", cases[i].written, why.text);
		assert_string_equal(c->jwt.issuer, cases[i].read);
		conf_free(c);
	}
}

#define TEXT_63 "abcdefghijklmnopqrstuvwxyz0123456789_abcdefghijklmnopqrstuvwxyz"
#define ISSUER(text) "jwt = { algorithm = \"HS256\"  key = \"k\"  issuer = \"" text "\" }\n"
#define CLOSE(code) "tables = { a = { type = \"a\"  key = \"b\"  groups = [ \"c\" ]  close = " code " } }\n"
#define SLOT(name) "database = { url = \"host=db\"  slot = \"" name "\" }\n"

/* Both sides of a bound. */
static void test_edges(void **state)
{
	static const struct {
		const char *fragment;
		bool ok;
	} cases[] = {
		{ SLOT(TEXT_63), true },
		{ SLOT(TEXT_63 "a"), false },
		{ CLOSE("1000"), true },
		{ CLOSE("1001"), false },
		{ CLOSE("1008"), true },
		{ CLOSE("1012"), true },
		{ CLOSE("1013"), true },
		{ CLOSE("2999"), false },
		{ CLOSE("3000"), true },
		{ CLOSE("4999"), true },
		{ CLOSE("5000"), false },
		{ "listen = { port = 0 }\nadmin = { port = 0 }\n", true },
		{ "listen = { port = 65535 }\n", true },
		{ "limits = { bulk = -4294967295 }\n", false }, /* 1 in its low half */
		{ "limits = { row-bytes = \"16 MiB\" }\n", true },
		{ "limits = { row-bytes = 16777217 }\n", false },
		{ "limits = { log-bytes = \"16 MiB\" }\n", true },
		{ "limits = { group-bytes = 268435457 }\n", false },
		{ "limits = { stall = \"1.\" }\n", true },
		{ "limits = { stall = \"1.2.3\" }\n", false },
		{ "limits = { stall = \"\" }\n", false },
		{ ISSUER("\\X00"), false },
		{ ISSUER("é€😀"), true },
		{ ISSUER("\\xc3"), false },
		{ ISSUER("\\xe0\\x80\\x80"), false },      /* too long a form */
		{ ISSUER("\\xed\\xa0\\x80"), false },      /* a surrogate */
		{ ISSUER("\\xf4\\x90\\x80\\x80"), false }, /* beyond U+10FFFF */
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct fail why = { 0 };
		struct conf *c = parse_fragment(cases[i].fragment, &why);

		if ((c != NULL) != cases[i].ok)
			fail_msg("%s: %s", cases[i].fragment, c ? "accepted" : why.text);
		conf_free(c);
	}
}

static void test_key_file(void **state)
{
	static const struct {
		const char *bytes;
		size_t n;
		const char *key; /* NULL: refused */
	} cases[] = {
		{ "secret", 6, "secret" },
		{ "secret\n", 7, "secret" },
		{ "secret\r\n", 8, "secret" },
		{ "secret\n\n", 8, "secret\n" },
		{ " s e c ", 7, " s e c " },
		{ "sec\0ret", 7, NULL },
		{ "", 0, NULL },
		{ "\n", 1, NULL },
	};
	char path[] = "/tmp/test_conf.XXXXXX";
	char text[256];
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0);
	snprintf(text, sizeof(text), "jwt = { algorithm = \"HS256\"  key-file = \"%s\" }\n", path);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct fail why = { 0 };
		struct conf *c;

		assert_int_equal(ftruncate(fd, 0), 0);
		assert_int_equal(pwrite(fd, cases[i].bytes, cases[i].n, 0), cases[i].n);
		c = parse_fragment(text, &why);
		assert_true((c != NULL) == (cases[i].key != NULL));
		if (c)
			assert_string_equal(c->jwt.keys[0].key, cases[i].key);
		conf_free(c);
	}
	close(fd);
	unlink(path);
}

static void test_table_is_sound(void **state)
{
	(void)state;
	for (size_t i = 0; i < conf_n_options; i++) {
		const struct conf_option *o = &conf_options[i];
		int64_t n = -1;

		assert_true(o->doc && *o->doc && o->doc[strlen(o->doc) - 1] == '.');
		assert_false((o->flags & CONF_REQUIRED) && o->initial);
		for (size_t k = 0; k < i; k++)
			assert_string_not_equal(o->name, conf_options[k].name);
		if (o->type != CONF_INT && o->type != CONF_SECONDS && o->type != CONF_BYTES)
			continue;
		assert_non_null(o->initial);
		conf_value_default(o, (char *)&n - o->at);
		if (n < o->min || n > o->max)
			fail_msg("the default of %s is out of its range", o->name);
	}
}

/* One variable for a whole list, in those lists whose entries hold no blank and no comma. */
static void test_a_list_from_one_variable(void **state)
{
	struct fail why = { 0 };
	struct conf *c;

	(void)state;
	setenv("SEVERAL", " walpush, metrics.example.org.,\tapp ", 1);
	unsetenv("NONE");
	c = parse_fragment("admin = { hosts = [ \"first\",\n \"${SEVERAL}\",\n \"${NONE:-}\" ] }\n"
			   "listen = { origins = [ \"https://a https://b:1\" ]  trusted-proxies = [ "
			   "\"10.0.0.0/8,::1\", \"\" ] }\n",
			   &why);
	assert_non_null(c);
	EXPECT_TEXTS(&c->admin.hosts, "first", "walpush", "metrics.example.org.", "app");
	assert_int_equal(c->admin.hosts.at[0].line + 1, c->admin.hosts.at[3].line);
	EXPECT_TEXTS(&c->listen.origins, "https://a", "https://b:1");
	EXPECT_TEXTS(&c->listen.trusted_proxies, "10.0.0.0/8", "::1");
	conf_free(c);
	assert_null(parse_fragment("admin = { hosts = [ \"walpush http://evil\" ] }\n", &why));
	assert_non_null(strstr(why.text, "admin.hosts should be the name of a host"));
	/* Groups hold what they hold. */
	assert_null(parse_fragment("listen = { origins = [ \"https://a;https://b\" ] }\n", &why));
	unsetenv("SEVERAL");
}

/* Only those types can be kept; every other option must be able to change. */
static void test_what_a_reload_keeps(void **state)
{
	struct buf changed = { 0 };
	struct fail why = { 0 };
	struct conf *now, *next;

	(void)state;
	for (size_t i = 0; i < conf_n_options; i++) {
		enum conf_type type = conf_options[i].type;

		if (conf_option_restarts(&conf_options[i]))
			assert_true(type == CONF_BOOL || type == CONF_INT || type == CONF_SECONDS ||
				    type == CONF_BYTES || type == CONF_TEXT || type == CONF_PATH ||
				    type == CONF_LINED || type == CONF_TEXTS || type == CONF_SECRET_FILE);
	}
	now = parse_fragment("listen = { port = 1  threads = 2  compression = true  origins = [ \"https://a\" ] }\n"
			     "limits = { stall = 7 }\n",
			     &why);
	next = parse_fragment("listen = { port = 3  certificate = \"/c\"  certificate-key = \"/k\"  threads = 2\n"
			      " origins = [ \"https://b\" ] }\n"
			      "limits = { stall = 8 }\n",
			      &why);
	assert_non_null(now);
	assert_non_null(next);
	conf_keep(now, next, &changed);
	assert_string_equal(changed.data,
			    "listen.port, listen.certificate, listen.certificate-key, listen.compression");
	assert_int_equal(next->listen.port, 1);
	assert_null(next->listen.certificate);
	assert_true(next->listen.compression);
	assert_string_equal(next->listen.origins.at[0].text, "https://b");
	assert_int_equal(next->limits.stall, 8000);
	buf_clear(&changed);
	conf_keep(now, next, &changed);
	assert_int_equal(changed.len, 0);
	buf_fini(&changed);
	conf_free(now);
	conf_free(next);
}

/* ---- the document ---- */

static void test_document_is_current(void **state)
{
	struct buf now = { 0 };
	char *kept;

	(void)state;
	conf_document(&now);
	if (getenv("WALPUSH_UPDATE_DOCS")) {
		FILE *f = fopen(DOCUMENT, "w");

		assert_non_null(f);
		assert_int_equal(fwrite(now.data, 1, now.len, f), now.len);
		assert_int_equal(fclose(f), 0);
	}
	kept = text_of_file(DOCUMENT);
	if (strcmp(kept, now.data) != 0)
		fail_msg(DOCUMENT " is not current: run WALPUSH_UPDATE_DOCS=1 build/dev/unit/conf/test_conf");
	free(kept);
	buf_fini(&now);
}

static void test_document_examples(void **state)
{
	struct buf document = { 0 };
	const char *at;
	size_t n = 0;

	(void)state;
	conf_document(&document);
	setenv("JWT_SIGNING_KEY", "secret", 1);
	for (at = document.data; (at = strstr(at, "\n```conf\n")); n++) {
		const char *end = strstr(at + 9, "\n```\n");
		struct fail why = { 0 };
		struct conf *c;
		char *block;

		assert_non_null(end);
		block = mem_text_of((struct slice){ at + 9, (size_t)(end - at - 8) });
		c = parse_fragment(block, &why);
		if (!c)
			fail_msg("an example of " DOCUMENT " is refused: %s\n%s", why.text, block);
		conf_free(c);
		free(block);
		at = end;
	}
	unsetenv("JWT_SIGNING_KEY");
	assert_true(n > 10);
	buf_fini(&document);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_cannot_be_read),
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_lock_timeout),
		cmocka_unit_test(test_full_scalars),
		cmocka_unit_test(test_full_streams),
		cmocka_unit_test(test_full_tables),
		cmocka_unit_test(test_terminators),
		cmocka_unit_test(test_shipped),
		cmocka_unit_test(test_variables),
		cmocka_unit_test(test_edges),
		cmocka_unit_test(test_key_file),
		cmocka_unit_test(test_table_is_sound),
		cmocka_unit_test(test_a_list_from_one_variable),
		cmocka_unit_test(test_what_a_reload_keeps),
		cmocka_unit_test(test_document_is_current),
		cmocka_unit_test(test_document_examples),
	};

	setenv("COLUMN", "1", 1);
	setenv("PORT", "9", 1);
	setenv("EMPTY", "", 1);
	setenv("SECRET", "hunter2", 1);
	unsetenv("UNSET");
	unsetenv("COMPRESSION");
	unsetenv("PEM_BODY");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
