#include "walpush/pg/refusal.h"

#include <string.h>

#include "walpush/base/resolve.h"
#include "walpush/text/sqltext.h"

#define SQL_SCRIPT "walpush sql -c @C | WALPUSH_PASSWORD='…' psql -d @S"
#define BY_ITSELF                                                                                                      \
	"connect to PostgreSQL itself: a pooler or proxy in between refused this, and few of them carry replication"
#define TOKEN                                                                                                          \
	"a token (IAM, Entra) is good for minutes: let what makes them write database.url-file, which is read for "    \
	"each new connection; if there are none, correct the password in database.url"

/*
 * The fix is in the first row whose `sqlstate` begins the SQLSTATE and whose `word` is in the text. "-": there is none, so libpq wrote the text.
 * @R is the role and @D the database, quoted for SQL; @S the database and @C the configuration's file, quoted for a shell; @W where a provider's
 * customers set parameters. `managed`: for a managed server; NULL: the same. Source: PostgreSQL's auth.c, postinit.c, libpq's fe-connect.c,
 * fe-auth.c and fe-secure-*.c of versions 13 to 18, and what poolers and proxies answer.
 */
static const struct row {
	const char *sqlstate, *word;
	enum refusal_kind kind;
	const char *fix, *managed;
} rows[] = {
	{ "28", "PAM authentication failed", REFUSAL_WORDS, TOKEN, NULL },
	{ "28", "IAM", REFUSAL_WORDS, TOKEN, NULL },
	{ "28", "oken", REFUSAL_WORDS, TOKEN, NULL },
	{ "28", "ertificate", REFUSAL_WORDS,
	  "the server asks for a client certificate: let sslcert and sslkey in database.url name one that it accepts",
	  NULL },
	{ "28", "eer authentication failed", REFUSAL_WORDS,
	  "through this socket the server lets in only the system's user of the role's name: write host=127.0.0.1 in "
	  "database.url, or run walpush as that user",
	  NULL },
	{ "28", "password retrieved from file", REFUSAL_WORDS,
	  "correct the role's line in that password file, or write the password into database.url", NULL },
	{ "28", "LDAP", REFUSAL_WORDS,
	  "correct the password in database.url: a directory service knows it, not PostgreSQL", NULL },
	{ "28", "RADIUS", REFUSAL_WORDS,
	  "correct the password in database.url: a RADIUS server knows it, not PostgreSQL", NULL },
	{ "28", "GSSAPI", REFUSAL_WORDS,
	  "give walpush a ticket of Kerberos for the role, or a line in pg_hba.conf that asks for a password",
	  "give walpush a ticket of Kerberos for the role, or let the role log in by password" },
	{ "28", "", REFUSAL_SHELL, SQL_SCRIPT, NULL },
	{ "3D", "", REFUSAL_WORDS, "correct the database's name in database.url", NULL },
	{ "42501", "", REFUSAL_SQL, "GRANT CONNECT ON DATABASE @D TO @R;", NULL }, /* and see replication_fix */
	{ "53300", "for role \"", REFUSAL_SQL, "ALTER ROLE @R CONNECTION LIMIT -1;", NULL },
	{ "53300", "for database \"", REFUSAL_SQL, "ALTER DATABASE @D CONNECTION LIMIT -1;", NULL },
	{ "53300", "max_wal_senders", REFUSAL_WORDS, "raise max_wal_senders, or end a replication that nobody needs",
	  "raise max_wal_senders @W, or end a replication that nobody needs" },
	{ "53300", "", REFUSAL_WORDS, "raise max_connections, or let the application pool its own",
	  "raise max_connections @W or take a larger instance, or let the application pool its own" },
	{ "53", "", REFUSAL_WORDS, "the server lacks a resource: free it there, see the server's log", NULL },
	{ "55000", "accepting connections", REFUSAL_SQL, "ALTER DATABASE @D ALLOW_CONNECTIONS true;", NULL },
	{ "57P", "", REFUSAL_WORDS, "wait until the server takes connections", NULL },
	{ "XX000", "ndpoint", REFUSAL_WORDS,
	  "write the endpoint's full host name in database.url, not its address, and not sslsni=0: the proxy finds the "
	  "server by that name",
	  NULL },
	{ "XX000", "enant", REFUSAL_WORDS,
	  "connect to PostgreSQL itself (db.PROJECT.supabase.co, port 5432): the pooler knows no such user, and "
	  "carries "
	  "no replication",
	  NULL },
	{ "08", "", REFUSAL_WORDS, BY_ITSELF, NULL },
	{ "0A", "", REFUSAL_WORDS, BY_ITSELF, NULL },
	{ "XX", "", REFUSAL_WORDS, BY_ITSELF ", or see the server's log", NULL },
	{ "42704", "", REFUSAL_WORDS, "correct `options` in database.url: the server does not know this", NULL },
	{ "22023", "", REFUSAL_WORDS, "correct `options` in database.url: the server does not accept this", NULL },

	{ "-", RESOLVE_TROUBLE, REFUSAL_WORDS,
	  "correct the host in database.url, /etc/hosts, or the name servers in /etc/resolv.conf", NULL },
	{ "-", "root certificate file \"system\"", REFUSAL_WORDS,
	  "sslrootcert=system needs libpq 16: name a file, as in sslrootcert=/etc/ssl/certs/ca-certificates.crt",
	  NULL },
	{ "-", "locate root certificate", REFUSAL_WORDS,
	  "walpush's user has no home directory: name the file of the CA's certificate with sslrootcert in "
	  "database.url",
	  NULL },
	{ "-", "root certificate file", REFUSAL_WORDS,
	  "let sslrootcert in database.url name the certificate of the CA that signed the server's, in a file that "
	  "walpush "
	  "may read",
	  "let sslrootcert in database.url name the provider's bundle of CA certificates, in a file that walpush may "
	  "read" },
	{ "-", "does not match host name", REFUSAL_WORDS,
	  "write as `host` in database.url the name that the certificate has; where that name leads elsewhere (a "
	  "private "
	  "link), beside it `hostaddr` with the address to connect to",
	  NULL },
	{ "-", "weak sslmode", REFUSAL_WORDS,
	  "sslrootcert=system goes with sslmode=verify-full alone: write that in database.url", NULL },
	{ "-", "certificate verify failed", REFUSAL_WORDS,
	  "let sslrootcert in database.url name the certificate of the CA that signed the server's; if it names that "
	  "one, the "
	  "server's certificate has expired or is another's",
	  "let sslrootcert in database.url name the provider's bundle of CA certificates, as it is today" },
	{ "-", "certificate present, but not private key", REFUSAL_WORDS,
	  "let sslkey in database.url name the key of the certificate in sslcert", NULL },
	{ "-", "private key file", REFUSAL_WORDS,
	  "let sslkey in database.url name the certificate's key, in a file that only walpush's user may read (mode "
	  "0600)",
	  NULL },
	{ "-", "certificate file", REFUSAL_WORDS,
	  "let sslcert in database.url name a file with a certificate that walpush may read", NULL },
	{ "-", "server does not support SSL", REFUSAL_WORDS,
	  "turn ssl on there (postgresql.conf: ssl, ssl_cert_file, ssl_key_file), or connect to the server itself if "
	  "something "
	  "stands before it",
	  "connect to the server itself: what answered has no TLS, so it is a proxy" },
	{ "-", "SSL protocol", REFUSAL_WORDS,
	  "let ssl_min_protocol_version in database.url and the server's versions meet: TLSv1.2 or later on both sides",
	  NULL },
	{ "-", "SSL negotiation", REFUSAL_WORDS, "another program answers there: correct host and port in database.url",
	  NULL },
	{ "-", "but received", REFUSAL_WORDS, "another program answers there: correct host and port in database.url",
	  NULL },
	{ "-", "sslmode", REFUSAL_WORDS, "write sslmode=verify-full, verify-ca or require in database.url", NULL },
	{ "-", "target_session_attrs", REFUSAL_WORDS,
	  "write target_session_attrs=primary or read-write in database.url, or leave it out", NULL },
	{ "-", "read-only", REFUSAL_WORDS,
	  "target_session_attrs in database.url asks for another server than this: name the primary, or write "
	  "target_session_attrs=any",
	  NULL },
	{ "-", "hot standby mode", REFUSAL_WORDS,
	  "target_session_attrs in database.url asks for another server than this: name the primary, or write "
	  "target_session_attrs=any",
	  NULL },
	{ "-", "writable connection", REFUSAL_WORDS,
	  "target_session_attrs in database.url asks for another server than this: name the primary, or write "
	  "target_session_attrs=any",
	  NULL },
	{ "-", "no password supplied", REFUSAL_WORDS,
	  "write the password into database.url (postgresql://role:password@host/database, with @ : / ? # % encoded), "
	  "or "
	  "give walpush's user a password file of mode 0600",
	  NULL },
	{ "-", "definition of service", REFUSAL_WORDS,
	  "write that service into pg_service.conf (PGSERVICEFILE, or ~/.pg_service.conf of walpush's user), or write "
	  "out "
	  "host, port and database in database.url",
	  NULL },
	{ "-", "service file", REFUSAL_WORDS,
	  "let PGSERVICEFILE name a service file that walpush may read, or write out host, port and database in "
	  "database.url",
	  NULL },
	{ "-", "channel binding", REFUSAL_WORDS,
	  "write channel_binding=prefer in database.url, or let the server keep the role's password as scram-sha-256",
	  NULL },
	{ "-", "require_auth", REFUSAL_WORDS, "let require_auth in database.url name what the server asks for", NULL },
	{ "-", "uthentication method", REFUSAL_WORDS,
	  "the server asks for what libpq does not do: let it ask for scram-sha-256", NULL },
	{ "-", "GSS", REFUSAL_WORDS, "write gssencmode=disable in database.url, or give walpush a ticket of Kerberos",
	  NULL },
	{ "-", "invalid", REFUSAL_WORDS,
	  "correct that value in database.url, or the PG… variable of the environment that gives it", NULL },
	{ "-", "could not match", REFUSAL_WORDS, "name as many hosts as addresses and ports in database.url", NULL },
	{ "-", "Permission denied", REFUSAL_WORDS,
	  "let walpush's user into the socket's directory, or write host=127.0.0.1 in database.url", NULL },
	{ "-", "within", REFUSAL_WORDS,
	  "nothing answers: let a firewall between pass this port, or correct host and port in database.url", "@F" },
	{ "-", "timeout expired", REFUSAL_WORDS,
	  "nothing answers: let a firewall between pass this port, or correct host and port in database.url", "@F" },
	{ "-", "timed out", REFUSAL_WORDS,
	  "nothing answers: let a firewall between pass this port, or correct host and port in database.url", "@F" },
	{ "-", "unreachable", REFUSAL_WORDS,
	  "there is no way to that address from here: correct the host in database.url, or the network", "@F" },
	{ "-", "No route to host", REFUSAL_WORDS,
	  "there is no way to that address from here: correct the host in database.url, or the network", "@F" },
	{ "-", "Connection refused", REFUSAL_WORDS, "start PostgreSQL there, or correct host and port in database.url",
	  "@F" },
	{ "-", "No such file or directory", REFUSAL_WORDS,
	  "start PostgreSQL there, or correct host and port in database.url: the socket's directory is "
	  "unix_socket_directories",
	  "@F" },
	{ "-", "SSL", REFUSAL_WORDS,
	  "TLS with the server fails: see the server's log, and sslmode and the other ssl settings in database.url",
	  NULL },
	{ "-", "closed", REFUSAL_WORDS,
	  "what answers there hangs up: see the server's log; a proxy or load balancer without a server behind it does "
	  "the same",
	  NULL },
	{ "-", "", REFUSAL_WORDS, "correct host, port and the other settings in database.url", NULL },
	{ "", "", REFUSAL_WORDS, "see the server's log", NULL },
};

static const char *const titles[] = {
	[REFUSAL_WORDS] = "do: ",
	[REFUSAL_SQL] = "SQL: ",
	[REFUSAL_HBA] = "first line of pg_hba.conf, then reload: ",
	[REFUSAL_SHELL] = "shell: ",
};

const char *refusal_title(enum refusal_kind kind)
{
	return titles[kind];
}

static bool says(const struct fail *why, const char *word)
{
	return strstr(why->text, word) != NULL;
}

/* --- quoting -------------------------------------------------------------------------------------------------- */

void refusal_add_word(struct buf *out, const char *text)
{
	static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_./:@%+,-";

	if (*text && text[strspn(text, plain)] == '\0') {
		buf_add_text(out, text);
		return;
	}
	buf_add_char(out, '\'');
	for (; *text; text++) {
		if (*text == '\'')
			buf_add_text(out, "'\\''");
		else
			buf_add_char(out, *text);
	}
	buf_add_char(out, '\'');
}

/* Quotes also take the meaning from `all`, `replication` and the like. */
static void add_hba_name(struct buf *out, const char *name)
{
	static const char *const keywords[] = { "all", "replication", "sameuser", "samerole", "samegroup" };
	static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-";
	bool quote = !*name || name[strspn(name, plain)] != '\0';

	for (size_t i = 0; i < sizeof(keywords) / sizeof(*keywords); i++)
		quote = quote || strcmp(name, keywords[i]) == 0;
	buf_add_text(out, quote ? "\"" : "");
	for (; *name; name++) {
		if (*name == '"')
			buf_add_char(out, '"');
		buf_add_char(out, *name);
	}
	buf_add_text(out, quote ? "\"" : "");
}

static const char *role_of(const struct refusal_facts *f)
{
	return f->role ? f->role : "walpush";
}

static const char *database_of(const struct refusal_facts *f)
{
	return f->database ? f->database : f->role ? f->role : "app";
}

static void add_part(struct buf *out, char what, const struct refusal_facts *f)
{
	switch (what) {
	case 'R':
		sqltext_ident(out, role_of(f));
		break;
	case 'D':
		sqltext_ident(out, database_of(f));
		break;
	case 'S':
		refusal_add_word(out, database_of(f));
		break;
	case 'C':
		refusal_add_word(out, f->file ? f->file : "sidecar.conf");
		break;
	case 'W':
		buf_add_text(out, provider_settings(f->provider));
		break;
	default:
		buf_addf(out, "%s; or correct host and port in database.url", provider_door(f->provider));
	}
}

static void add_template(struct buf *out, const char *text, const struct refusal_facts *f)
{
	for (; *text; text++) {
		if (*text == '@' && text[1] && strchr("RDSCWF", text[1]))
			add_part(out, *++text, f);
		else
			buf_add_char(out, *text);
	}
}

/* --- pg_hba.conf ---------------------------------------------------------------------------------------------- */

/* A server that speaks another language than English does not say it in these words, and may mean it. */
static bool is_without_tls(const struct fail *why)
{
	return says(why, "no encryption") || says(why, "SSL off") || /* before PostgreSQL 14 */
	       (!says(why, "encryption") && !says(why, "SSL on"));
}

static bool is_local(const struct fail *why, const struct refusal_facts *f)
{
	return says(why, "[local]") || (f->host && (f->host[0] == '/' || f->host[0] == '@'));
}

static void add_hba(struct buf *out, const char *type, const struct refusal_facts *f, struct slice address)
{
	buf_addf(out, "%s ", type);
	add_hba_name(out, database_of(f));
	buf_add_char(out, ' ');
	add_hba_name(out, role_of(f));
	if (address.len)
		buf_addf(out, " %.*s/%d", (int)address.len, address.at,
			 memchr(address.at, ':', address.len) ? 128 : 32);
	buf_add_text(out, " scram-sha-256");
}

/* The server's text names the client that it refused: … for host "10.0.0.7", user …. Empty: it speaks another language. */
static struct slice client_of(const struct fail *why)
{
	const char *host = strstr(why->text, "host \"");

	return host ? (struct slice){ host + 6, strcspn(host + 6, "\"%") } : (struct slice){ "", 0 };
}

static void add_sslmode(struct buf *out, const struct refusal_facts *f)
{
	buf_addf(out,
		 "write sslmode=verify-full in database.url, with sslrootcert for %s; or sslmode=require, which does "
		 "not look who "
		 "answers",
		 f->provider ? "the provider's bundle of CA certificates" : "the CA of the server's certificate");
}

/* For an address that no line lets in, or not in this way. */
static enum refusal_kind host_fix(const struct fail *why, const struct refusal_facts *f, struct buf *fix)
{
	struct slice client = client_of(why);
	bool plain = is_without_tls(why);
	const char *type = plain && f->tls == REFUSAL_TLS_NONE ? "host" : says(why, "GSS") ? "hostgssenc" : "hostssl";
	bool in_words = !client.len || (plain && f->tls == REFUSAL_TLS_REFUSED);

	if (in_words)
		buf_addf(fix, "%sas first line of pg_hba.conf, then reload: ",
			 plain && f->tls == REFUSAL_TLS_REFUSED ? "sslmode=require in database.url, and " : "");
	add_hba(fix, type, f, client.len ? client : slice_of("ADDRESS"));
	return in_words ? REFUSAL_WORDS : REFUSAL_HBA;
}

static enum refusal_kind hba_fix(const struct fail *why, const struct refusal_facts *f, struct buf *fix)
{
	if (is_without_tls(why) && !is_local(why, f) && f->tls < REFUSAL_TLS_REFUSED) {
		add_sslmode(fix, f);
		return REFUSAL_WORDS;
	}
	if (f->provider) {
		buf_add_text(fix, provider_door(f->provider));
		return REFUSAL_WORDS;
	}
	if (!is_local(why, f))
		return host_fix(why, f, fix);
	add_hba(fix, "local", f, (struct slice){ "", 0 });
	return REFUSAL_HBA;
}

/* --- the choice ----------------------------------------------------------------------------------------------- */

static const struct row *row_of(const struct fail *why)
{
	const char *sqlstate = why->sqlstate[0] ? why->sqlstate : "-";
	const struct row *r = rows;

	while (strncmp(sqlstate, r->sqlstate, strlen(r->sqlstate)) != 0 || !says(why, r->word))
		r++;
	return r;
}

static enum refusal_kind replication_fix(const struct refusal_facts *f, struct buf *fix)
{
	bool is_sql;
	const char *text = provider_replication(f->provider, &is_sql);

	add_template(fix, text ? text : "ALTER ROLE @R REPLICATION;", f);
	return text && !is_sql ? REFUSAL_WORDS : REFUSAL_SQL;
}

enum refusal_kind refusal_fix(const struct fail *why, const struct refusal_facts *f, struct buf *fix)
{
	const struct row *r = row_of(why);

	if (strncmp(why->sqlstate, "28", 2) == 0 && says(why, "pg_hba.conf"))
		return hba_fix(why, f, fix);
	if (strcmp(why->sqlstate, "42501") == 0 && f->is_replication && !says(why, "database"))
		return replication_fix(f, fix);
	add_template(fix, f->provider && r->managed ? r->managed : r->fix, f);
	return r->kind;
}

bool refusal_is_about_tls(const struct fail *why)
{
	return strncmp(why->sqlstate, "28", 2) == 0 && says(why, "pg_hba.conf") && is_without_tls(why) &&
	       !says(why, "[local]");
}

bool refusal_is_of_login(const struct fail *why)
{
	static const char *const states[] = { "28", "3D000", "42501", "0A", "XX" };

	for (size_t i = 0; i < sizeof(states) / sizeof(*states); i++)
		if (strncmp(why->sqlstate, states[i], strlen(states[i])) == 0)
			return true;
	return false;
}
