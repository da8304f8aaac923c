/* What a connection that cannot be opened means: SQLSTATE, text and facts in, the fix out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "walpush/pg/refusal.h"

#define NO_LINE "no pg_hba.conf entry for host \"10.0.0.7\", user \"walpush\", database \"app\", "
#define REJECTED "pg_hba.conf rejects connection for host \"fe80::1%eth0\", user \"walpush\", database \"app\", "
#define SOCKET "no pg_hba.conf entry for host \"[local]\", user \"walpush\", database \"app\", no encryption"
#define GERMAN                                                                                                         \
	"kein pg_hba.conf-Eintrag für Host »10.0.0.7«, Benutzer »walpush«, Datenbank »app«, keine Verschlüsselung"
#define AT "connection to server at \"db\" (10.0.0.7), port 5432 failed: "

static struct buf fix;
static enum refusal_kind kind;

static const char *fix_of(const char *sqlstate, const char *text, const struct refusal_facts *facts)
{
	struct fail why = { 0 };

	fail_set(&why, "%s", text);
	strcpy(why.sqlstate, sqlstate);
	buf_clear(&fix);
	kind = refusal_fix(&why, facts, &fix);
	return fix.data;
}

static const struct refusal_facts own = { .role = "walpush", .database = "app", .host = "db" }, managed = {
	.role = "walpush", .database = "app", .host = "x.rds.amazonaws.com", .provider = PROVIDER_RDS
};

static const struct answer {
	const char *sqlstate, *text;
	enum refusal_kind kind;
	const char *fix; /* its beginning */
} answers[] = {
	{ "28P01", "password authentication failed for user \"walpush\"", REFUSAL_SHELL,
	  "walpush sql -c sidecar.conf | " },
	{ "28000", "role \"walpush\" does not exist", REFUSAL_SHELL, "walpush sql -c " },
	{ "28000", "role \"walpush\" is not permitted to log in", REFUSAL_SHELL, "walpush sql -c " },
	{ "28P01", "password authentication failed; password retrieved from file \"/root/.pgpass\"", REFUSAL_WORDS,
	  "correct the role's line in that password file" },
	{ "28000", "PAM authentication failed for user \"walpush\"", REFUSAL_WORDS, "a token (IAM, Entra)" },
	{ "28000", "Cloud SQL IAM service account authentication failed for user \"walpush\"", REFUSAL_WORDS,
	  "a token (IAM, Entra)" },
	{ "28000", "The access token has expired", REFUSAL_WORDS, "a token (IAM, Entra)" },
	{ "28000", "connection requires a valid client certificate", REFUSAL_WORDS,
	  "the server asks for a client cert" },
	{ "28000", "Peer authentication failed for user \"walpush\"", REFUSAL_WORDS, "through this socket" },
	{ "28000", "LDAP authentication failed for user \"walpush\"", REFUSAL_WORDS, "correct the password in" },
	{ "28000", "GSSAPI authentication failed for user \"walpush\"", REFUSAL_WORDS, "give walpush a ticket" },
	{ "3D000", "database \"app\" does not exist", REFUSAL_WORDS, "correct the database's name" },
	{ "42501", "permission denied for database \"app\"", REFUSAL_SQL, "GRANT CONNECT ON DATABASE app TO walpush;" },
	{ "42501", "keine Berechtigung für Datenbank app", REFUSAL_SQL, "GRANT CONNECT ON DATABASE app TO walpush;" },
	{ "53300", "too many connections for role \"walpush\"", REFUSAL_SQL,
	  "ALTER ROLE walpush CONNECTION LIMIT -1;" },
	{ "53300", "too many connections for database \"app\"", REFUSAL_SQL,
	  "ALTER DATABASE app CONNECTION LIMIT -1;" },
	{ "53300", "sorry, too many clients already", REFUSAL_WORDS, "raise max_connections" },
	{ "53300", "number of requested standby connections exceeds max_wal_senders (currently 1)", REFUSAL_WORDS,
	  "raise max_wal_senders" },
	{ "53200", "out of memory", REFUSAL_WORDS, "the server lacks a resource" },
	{ "55000", "database \"app\" is not currently accepting connections", REFUSAL_SQL,
	  "ALTER DATABASE app ALLOW_" },
	{ "57P03", "the database system is starting up", REFUSAL_WORDS, "wait until the server takes connections" },
	{ "57P01", "terminating connection due to administrator command", REFUSAL_WORDS, "wait until" },
	{ "08P01", "unsupported startup parameter: replication", REFUSAL_WORDS, "connect to PostgreSQL itself" },
	{ "0A000", "Feature not supported: RDS Proxy currently doesn't support replication", REFUSAL_WORDS,
	  "connect to PostgreSQL itself" },
	{ "XX000", "Tenant or user not found", REFUSAL_WORDS, "connect to PostgreSQL itself (db.PROJECT" },
	{ "XX000", "Endpoint ID is not specified", REFUSAL_WORDS, "write the endpoint's full host name" },
	{ "XX000", "something else", REFUSAL_WORDS, "connect to PostgreSQL itself" },
	{ "42704", "unrecognized configuration parameter \"work\"", REFUSAL_WORDS, "correct `options`" },
	{ "22023", "invalid value for parameter \"work_mem\": \"x\"", REFUSAL_WORDS, "correct `options`" },
	{ "P0001", "a login trigger says no", REFUSAL_WORDS, "see the server's log" },

	{ "", AT "Connection refused", REFUSAL_WORDS, "start PostgreSQL there" },
	{ "", "connection to server on socket \"/tmp/.s.PGSQL.5432\" failed: No such file or directory", REFUSAL_WORDS,
	  "start PostgreSQL there" },
	{ "", "connection to server on socket \"/x/.s.PGSQL.5432\" failed: Permission denied", REFUSAL_WORDS,
	  "let walpush's user into the socket's directory" },
	{ "", "no connection within 10000 ms: check host, port and firewall", REFUSAL_WORDS, "nothing answers" },
	{ "", AT "timeout expired", REFUSAL_WORDS, "nothing answers" },
	{ "", AT "Connection timed out", REFUSAL_WORDS, "nothing answers" },
	{ "", AT "Network is unreachable", REFUSAL_WORDS, "there is no way to that address" },
	{ "", AT "No route to host", REFUSAL_WORDS, "there is no way to that address" },
	{ "", "names do not resolve: db", REFUSAL_WORDS, "correct the host in database.url" },
	{ "", AT "root certificate file \"/root/.postgresql/root.crt\" does not exist  Either provide the file",
	  REFUSAL_WORDS, "let sslrootcert in database.url name the certificate of the CA" },
	{ "", AT "could not read root certificate file \"/x\": no certificate", REFUSAL_WORDS, "let sslrootcert" },
	{ "", AT "root certificate file \"system\" does not exist", REFUSAL_WORDS,
	  "sslrootcert=system needs libpq 16" },
	{ "", "weak sslmode \"require\" may not be used with sslrootcert=system (use \"verify-full\")", REFUSAL_WORDS,
	  "sslrootcert=system goes with" },
	{ "", AT "could not get home directory to locate root certificate file", REFUSAL_WORDS,
	  "walpush's user has no home" },
	{ "", AT "SSL error: certificate verify failed", REFUSAL_WORDS, "let sslrootcert" },
	{ "", AT "server certificate for \"db.int\" does not match host name \"vpce-1\"", REFUSAL_WORDS,
	  "write as `host` in database.url the name that the certificate has" },
	{ "", AT "certificate present, but not private key file \"/x\"", REFUSAL_WORDS, "let sslkey in" },
	{ "", AT "private key file \"/x\" has group or world access", REFUSAL_WORDS, "let sslkey in" },
	{ "", AT "could not open certificate file \"/x\": No such file or directory", REFUSAL_WORDS, "let sslcert in" },
	{ "", AT "server does not support SSL, but SSL was required", REFUSAL_WORDS, "turn ssl on there" },
	{ "",
	  AT "SSL error: tlsv1 alert protocol version  This may indicate that the server does not support any SSL "
	     "protocol version",
	  REFUSAL_WORDS, "let ssl_min_protocol_version" },
	{ "", AT "SSL SYSCALL error: EOF detected", REFUSAL_WORDS, "TLS with the server fails" },
	{ "", AT "received invalid response to SSL negotiation: H", REFUSAL_WORDS, "another program answers" },
	{ "", AT "expected authentication request from server, but received H", REFUSAL_WORDS, "another program" },
	{ "", AT "server closed the connection unexpectedly", REFUSAL_WORDS, "what answers there hangs up" },
	{ "", "invalid sslmode value: \"on\"", REFUSAL_WORDS, "write sslmode=" },
	{ "", "invalid target_session_attrs value: \"master\"", REFUSAL_WORDS, "write target_session_attrs=" },
	{ "", "invalid port number: \"70000\"", REFUSAL_WORDS, "correct that value in database.url" },
	{ "", AT "session is read-only", REFUSAL_WORDS, "target_session_attrs in database.url asks" },
	{ "", AT "session is not read-only", REFUSAL_WORDS, "target_session_attrs in database.url asks" },
	{ "", AT "server is in hot standby mode", REFUSAL_WORDS, "target_session_attrs in database.url asks" },
	{ "", AT "server is not in hot standby mode", REFUSAL_WORDS, "target_session_attrs in database.url asks" },
	{ "", "could not make a writable connection to server \"db:5432\"", REFUSAL_WORDS, "target_session_attrs in" },
	{ "", AT "fe_sendauth: no password supplied", REFUSAL_WORDS, "write the password into database.url" },
	{ "", "definition of service \"shop\" not found", REFUSAL_WORDS, "write that service into pg_service.conf" },
	{ "", "service file \"/etc/x.conf\" not found", REFUSAL_WORDS, "let PGSERVICEFILE name" },
	{ "", AT "channel binding is required, but server did not offer it", REFUSAL_WORDS, "write channel_binding=" },
	{ "", AT "authentication method 7 not supported", REFUSAL_WORDS, "the server asks for what libpq does not do" },
	{ "", "GSSAPI encryption required but was impossible", REFUSAL_WORDS, "write gssencmode=disable" },
	{ "", "could not match 2 host names to 1 hostaddr values", REFUSAL_WORDS, "name as many hosts" },
	{ "", "out of memory for a database connection", REFUSAL_WORDS, "correct host, port and the other settings" },
};

static void each_text_has_its_fix(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(answers) / sizeof(*answers); i++) {
		const char *found = fix_of(answers[i].sqlstate, answers[i].text, &own);

		if (kind != answers[i].kind || strncmp(found, answers[i].fix, strlen(answers[i].fix)) != 0)
			fail_msg("%s %s: %s%s", answers[i].sqlstate, answers[i].text, refusal_title(kind), found);
		if (answers[i].sqlstate[0])
			assert_null(strstr(found, "start PostgreSQL"));
	}
}

static void a_managed_server_has_no_files(void **state)
{
	(void)state;
	for (int p = PROVIDER_RDS; p < PROVIDERS; p++) {
		for (size_t i = 0; i < sizeof(answers) / sizeof(*answers); i++) {
			struct refusal_facts facts = managed;
			const char *found;

			facts.provider = (enum provider)p;
			found = fix_of(answers[i].sqlstate, answers[i].text, &facts);
			if (kind == REFUSAL_HBA || strstr(found, "pg_hba") || strstr(found, "ALTER SYSTEM") ||
			    strstr(found, "postgresql.conf") || strstr(found, "start PostgreSQL there, or"))
				assert_string_equal(found, "");
		}
	}
	assert_non_null(strstr(fix_of("28000", NO_LINE "SSL encryption", &managed), "security group"));
	assert_int_equal(kind, REFUSAL_WORDS);
	assert_non_null(strstr(fix_of("28000", NO_LINE "no encryption", &managed), "sslmode="));
	assert_non_null(strstr(fix_of("", AT "Connection refused", &managed), "security group"));
	assert_non_null(strstr(fix_of("", AT "certificate verify failed", &managed), "provider's bundle"));
}

/* Where TLS is the matter, a line that lets the role in without it is no fix. */
static void a_line_without_tls_is_for_servers_without_it(void **state)
{
	static const struct {
		const char *text;
		enum refusal_tls tls;
		enum refusal_kind kind;
		const char *fix;
	} cases[] = {
		{ NO_LINE "no encryption", REFUSAL_TLS_UNKNOWN, REFUSAL_WORDS, "write sslmode=verify-full in" },
		{ NO_LINE "SSL off", REFUSAL_TLS_UNKNOWN, REFUSAL_WORDS, "write sslmode=verify-full in" },
		{ NO_LINE "no encryption", REFUSAL_TLS_WORKS, REFUSAL_WORDS, "write sslmode=verify-full in" },
		{ REJECTED "no encryption", REFUSAL_TLS_WORKS, REFUSAL_WORDS, "write sslmode=verify-full in" },
		{ NO_LINE "no encryption", REFUSAL_TLS_REFUSED, REFUSAL_WORDS,
		  "sslmode=require in database.url, and as first line of pg_hba.conf, then reload: hostssl app walpush "
		  "10.0.0.7/32 scram-sha-256" },
		{ NO_LINE "no encryption", REFUSAL_TLS_NONE, REFUSAL_HBA,
		  "host app walpush 10.0.0.7/32 scram-sha-256" },
		{ NO_LINE "SSL encryption", REFUSAL_TLS_UNKNOWN, REFUSAL_HBA,
		  "hostssl app walpush 10.0.0.7/32 scram-sha-256" },
		{ REJECTED "SSL on", REFUSAL_TLS_UNKNOWN, REFUSAL_HBA,
		  "hostssl app walpush fe80::1/128 scram-sha-256" },
		{ NO_LINE "GSS encryption", REFUSAL_TLS_UNKNOWN, REFUSAL_HBA, "hostgssenc app walpush 10.0.0.7/32 " },
		{ SOCKET, REFUSAL_TLS_UNKNOWN, REFUSAL_HBA, "local app walpush scram-sha-256" },
		{ GERMAN, REFUSAL_TLS_UNKNOWN, REFUSAL_WORDS, "write sslmode=verify-full in" },
		{ GERMAN, REFUSAL_TLS_NONE, REFUSAL_WORDS,
		  "as first line of pg_hba.conf, then reload: host app walpush ADDRESS/32 scram-sha-256" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct refusal_facts facts = own;

		facts.tls = cases[i].tls;
		fix_of("28000", cases[i].text, &facts);
		if (kind != cases[i].kind || strncmp(fix.data, cases[i].fix, strlen(cases[i].fix)) != 0)
			fail_msg("%s (%d): %s", cases[i].text, (int)cases[i].tls, fix.data);
	}
}

static void names_are_quoted_for_where_they_go(void **state)
{
	static const struct {
		const char *name, *sql, *hba, *word;
	} cases[] = {
		{ "walpush", "walpush", "walpush", "walpush" },
		{ "Walpush", "\"Walpush\"", "Walpush", "Walpush" },
		{ "svc.walpush", "\"svc.walpush\"", "svc.walpush", "svc.walpush" },
		{ "w@contoso.com", "\"w@contoso.com\"", "\"w@contoso.com\"", "w@contoso.com" },
		{ "all", "\"all\"", "\"all\"", "all" },
		{ "sameuser", "sameuser", "\"sameuser\"", "sameuser" },
		{ "a \"b\"", "\"a \"\"b\"\"\"", "\"a \"\"b\"\"\"", "'a \"b\"'" },
		{ "it's $HOME", "\"it's $HOME\"", "\"it's $HOME\"", "'it'\\''s $HOME'" },
		{ "+group", "\"+group\"", "\"+group\"", "+group" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct refusal_facts facts = { .role = cases[i].name, .database = cases[i].name };
		char wanted[200];

		snprintf(wanted, sizeof(wanted), "GRANT CONNECT ON DATABASE %s TO %s;", cases[i].sql, cases[i].sql);
		assert_string_equal(fix_of("42501", "permission denied for database", &facts), wanted);
		snprintf(wanted, sizeof(wanted), "local %s %s scram-sha-256", cases[i].hba, cases[i].hba);
		assert_string_equal(fix_of("28000", SOCKET, &facts), wanted);
		snprintf(wanted, sizeof(wanted), "walpush sql -c sidecar.conf | WALPUSH_PASSWORD='…' psql -d %s",
			 cases[i].word);
		assert_string_equal(fix_of("28P01", "password authentication failed", &facts), wanted);
	}
	assert_string_equal(fix_of("28P01", "x", &(struct refusal_facts){ .database = "a", .file = "/my conf" }),
			    "walpush sql -c '/my conf' | WALPUSH_PASSWORD='…' psql -d a");
}

static void a_role_that_may_not_replicate_gets_it_as_the_provider_gives_it(void **state)
{
	static const struct {
		enum provider provider;
		enum refusal_kind kind;
		const char *fix;
	} cases[] = {
		{ PROVIDER_NONE, REFUSAL_SQL, "ALTER ROLE walpush REPLICATION;" },
		{ PROVIDER_RDS, REFUSAL_SQL, "GRANT rds_replication TO walpush;" },
		{ PROVIDER_AZURE, REFUSAL_SQL, "ALTER ROLE walpush REPLICATION;" },
		{ PROVIDER_NEON, REFUSAL_WORDS, "make the role in Neon's console" },
		{ PROVIDER_YANDEX, REFUSAL_WORDS, "grant the role mdb_replication" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct refusal_facts facts = own;

		facts.provider = cases[i].provider;
		facts.is_replication = true;
		fix_of("42501", "must be superuser or replication role to start walsender", &facts);
		assert_int_equal(kind, cases[i].kind);
		assert_memory_equal(fix.data, cases[i].fix, strlen(cases[i].fix));
		assert_string_equal(fix_of("42501", "permission denied for database \"app\"", &facts),
				    "GRANT CONNECT ON DATABASE app TO walpush;");
	}
}

static void a_login_is_refused_for_good(void **state)
{
	static const struct {
		const char *sqlstate;
		bool is_refused;
	} cases[] = {
		{ "28P01", true }, { "28000", true },  { "3D000", true },  { "42501", true },  { "0A000", true },
		{ "XX000", true }, { "53300", false }, { "57P03", false }, { "08006", false }, { "", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct fail why = { 0 };

		strcpy(why.sqlstate, cases[i].sqlstate);
		assert_int_equal(refusal_is_of_login(&why), cases[i].is_refused);
	}
}

static int close_fix(void **state)
{
	(void)state;
	buf_fini(&fix);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_text_has_its_fix),
		cmocka_unit_test(a_managed_server_has_no_files),
		cmocka_unit_test(a_line_without_tls_is_for_servers_without_it),
		cmocka_unit_test(names_are_quoted_for_where_they_go),
		cmocka_unit_test(a_role_that_may_not_replicate_gets_it_as_the_provider_gives_it),
		cmocka_unit_test(a_login_is_refused_for_good),
	};

	return cmocka_run_group_tests(tests, NULL, close_fix);
}
