/* The hosts of a connection string, and the lists that libpq is given for them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <libpq-fe.h>
#include <unistd.h>

#include "pghosts.h"

/* What a resolver would say: a name's addresses. Every other name does not resolve. */
static const struct {
	const char *name;
	const char *addresses[4];
} zone[] = {
	{ "one", { "10.0.0.1" } },
	{ "two", { "10.0.0.2", "fd00::2" } },
	{ "local", { "fe80::1%eth0" } },
};

static void look_up(struct pghost *h)
{
	snprintf(h->answer.reason, sizeof(h->answer.reason), "no such name");
	for (size_t i = 0; i < sizeof(zone) / sizeof(*zone); i++)
		for (size_t a = 0; strcmp(zone[i].name, h->host) == 0 && zone[i].addresses[a]; a++)
			strcpy(h->answer.addresses[h->answer.n++], zone[i].addresses[a]);
}

static const struct {
	const char *host, *hostaddr, *port;
	size_t n_names;
	const char *hosts, *hostaddrs, *ports; /* NULL, if nothing is to be looked up */
} cases[] = {
	/* Nothing to look up. */
	{ NULL, NULL, NULL, 0, NULL, NULL, NULL },
	{ "", "", "", 0, NULL, NULL, NULL },
	{ "10.1.2.3", NULL, "5432", 0, NULL, NULL, NULL },
	{ "::1", NULL, "5432", 0, NULL, NULL, NULL },
	{ "/run/postgresql", NULL, "5432", 0, NULL, NULL, NULL },
	{ "@abstract", NULL, "5432", 0, NULL, NULL, NULL },
	{ NULL, "10.1.2.3", "5432", 0, NULL, NULL, NULL },
	{ "one", "10.1.2.3", "5432", 0, NULL, NULL, NULL },
	{ "one,two", "10.1.2.3,::1", "5432", 0, NULL, NULL, NULL },
	{ "/run/a,10.0.0.1,::1", NULL, "1,2,3", 0, NULL, NULL, NULL },
	/* Lists that do not fit: libpq says so before it looks up anything. */
	{ "one,two", "10.1.2.3", NULL, 0, NULL, NULL, NULL },
	{ "one", "10.1.2.3,10.1.2.4", NULL, 0, NULL, NULL, NULL },
	{ "one,two", NULL, "1,2,3", 0, NULL, NULL, NULL },
	{ "one", NULL, "1,2", 0, NULL, NULL, NULL },
	/* One name. */
	{ "one", NULL, "5432", 1, "one", "10.0.0.1", "5432" },
	{ "one", NULL, NULL, 1, "one", "10.0.0.1", "5432" },
	{ "one", "", "5432", 1, "one", "10.0.0.1", "5432" },
	{ "two", NULL, "5432", 1, "two,two", "10.0.0.2,fd00::2", "5432,5432" },
	{ "two", NULL, "", 1, "two,two", "10.0.0.2,fd00::2", "5432,5432" },
	{ "local", NULL, "5432", 1, "local", "fe80::1%eth0", "5432" },
	/* Several. */
	{ "one,two", NULL, "5432", 2, "one,two,two", "10.0.0.1,10.0.0.2,fd00::2", "5432,5432,5432" },
	{ "two,one", NULL, "1,2", 2, "two,two,one", "10.0.0.2,fd00::2,10.0.0.1", "1,1,2" },
	{ "two,one", NULL, ",2", 2, "two,two,one", "10.0.0.2,fd00::2,10.0.0.1", "5432,5432,2" },
	{ "one,one", NULL, "1,2", 2, "one,one", "10.0.0.1,10.0.0.1", "1,2" },
	{ "one,10.9.9.9,two", NULL, "1,2,3", 2, "one,10.9.9.9,two,two", "10.0.0.1,,10.0.0.2,fd00::2", "1,2,3,3" },
	{ "/run/pg,one", NULL, "5432", 1, "/run/pg,one", ",10.0.0.1", "5432,5432" },
	{ "one,", NULL, "5432", 1, "one,", "10.0.0.1,", "5432,5432" },
	{ "one,two", ",10.9.9.9", "1,2", 1, "one,two", "10.0.0.1,10.9.9.9", "1,2" },
	/* What does not resolve is left out, with its port. */
	{ "gone,one", NULL, "1,2", 2, "one", "10.0.0.1", "2" },
	{ "two,gone", NULL, "1,2", 2, "two,two", "10.0.0.2,fd00::2", "1,1" },
	{ "gone,/run/pg,/run/pg2", NULL, "1,2,3", 1, "/run/pg,/run/pg2", ",", "2,3" },
	{ "gone,/run/pg", NULL, "1,2", 1, "/run/pg", "", "2" },
};

static void assert_list(const struct buf *list, const char *text)
{
	assert_string_equal(list->data ? list->data : "", text);
}

static void lists_for_libpq(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct pghosts_lists lists;
		struct pghosts hosts;
		struct fail why;

		print_message("%s, %s, %s\n", cases[i].host, cases[i].hostaddr, cases[i].port);
		pghosts_parse(cases[i].host, cases[i].hostaddr, cases[i].port, &hosts);
		assert_int_equal(hosts.n_names, cases[i].n_names);
		for (size_t h = 0; h < hosts.n; h++)
			if (hosts.at[h].is_name)
				look_up(&hosts.at[h]);
		if (hosts.n_names) {
			assert_true(pghosts_lists(&hosts, &lists, &why));
			assert_list(&lists.host, cases[i].hosts);
			assert_list(&lists.hostaddr, cases[i].hostaddrs);
			assert_list(&lists.port, cases[i].ports);
			pghosts_lists_fini(&lists);
		}
		pghosts_fini(&hosts);
	}
}

static void no_host_is_left(void **state)
{
	struct pghosts_lists lists;
	struct pghosts hosts;
	struct fail why = { 0 };

	(void)state;
	pghosts_parse("gone,lost", NULL, "5432", &hosts);
	look_up(&hosts.at[0]);
	look_up(&hosts.at[1]);
	assert_false(pghosts_lists(&hosts, &lists, &why));
	assert_string_equal(why.text, "names do not resolve: gone: no such name");
	pghosts_lists_fini(&lists);
	pghosts_fini(&hosts);
}

/* --- what libpq completes ------------------------------------------------------------------------------------------ */

static void assert_read(const char *url, size_t n, const char *host, const char *port, bool is_name)
{
	struct pghosts hosts;

	print_message("%s\n", url);
	pghosts_read(url, &hosts);
	assert_int_equal(hosts.n, n);
	if (n) {
		assert_string_equal(hosts.at[n - 1].host, host);
		assert_string_equal(hosts.at[n - 1].port, port);
		assert_int_equal(hosts.at[n - 1].is_name, is_name);
	}
	pghosts_fini(&hosts);
}

static void connection_strings(void **state)
{
	(void)state;
	assert_read("postgresql://u@db/app", 1, "db", "5432", true);
	assert_read("postgresql://u:p@db:6000/app?sslmode=verify-full", 1, "db", "6000", true);
	assert_read("postgresql://u@a:1,b:2/app?target_session_attrs=primary", 2, "b", "2", true);
	assert_read("postgresql://u@[::1]:5432/app", 1, "::1", "5432", false);
	assert_read("postgresql://u@%2Frun%2Fpg/app", 1, "/run/pg", "5432", false);
	assert_read("postgresql:///app", 0, NULL, NULL, false);
	assert_read("host=db port=7 dbname=app", 1, "db", "7", true);
	assert_read("host=db hostaddr=10.0.0.1 dbname=app", 1, "db", "5432", false);
	assert_read("hostaddr=10.0.0.1 dbname=app", 0, NULL, NULL, false);
}

static void the_environment_and_the_service_file(void **state)
{
	char file[] = "/tmp/walpush-service-XXXXXX";
	static const char text[] = "[app]\nhost=db.of.service\nport=7000\n";
	int fd = mkstemp(file);

	(void)state;
	assert_int_equal(write(fd, text, sizeof(text) - 1), sizeof(text) - 1);
	close(fd);
	setenv("PGSERVICEFILE", file, 1);
	assert_read("service=app dbname=app", 1, "db.of.service", "7000", true);
	assert_read("postgresql:///app?service=app", 1, "db.of.service", "7000", true);
	assert_read("postgresql://u@db/app?service=app", 1, "db", "7000", true);
	assert_read("service=unknown", 0, NULL, NULL, false); /* libpq says so when it is to connect */
	setenv("PGSERVICE", "app", 1);
	assert_read("dbname=app", 1, "db.of.service", "7000", true);
	unsetenv("PGSERVICE");
	setenv("PGHOST", "db.of.environment", 1);
	setenv("PGPORT", "8000", 1);
	assert_read("postgresql://u@/app", 1, "db.of.environment", "8000", true);
	assert_read("postgresql://u@db/app", 1, "db", "8000", true);
	setenv("PGHOSTADDR", "10.0.0.1", 1);
	assert_read("dbname=app", 1, "db.of.environment", "8000", false);
	unsetenv("PGHOST");
	unsetenv("PGPORT");
	unsetenv("PGHOSTADDR");
	unsetenv("PGSERVICEFILE");
	unlink(file);
}

/* libpq agrees that the lists fit together: what it then cannot do is reach an address that nobody has. */
static void libpq_takes_the_lists(void **state)
{
	static const char *const keys[] = { "dbname", "host", "hostaddr", "port", NULL };
	static const char *const values[] = { "postgresql://u@ignored:9/app", "two,two,/nowhere",
					      "127.0.0.1,127.0.0.1,", "1,1,1", NULL };
	PGconn *conn = PQconnectdbParams(keys, values, 1);

	(void)state;
	assert_non_null(strstr(PQerrorMessage(conn), "\"127.0.0.1\", port 1 failed"));
	assert_non_null(strstr(PQerrorMessage(conn), "/nowhere/.s.PGSQL.1"));
	PQfinish(conn);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lists_for_libpq),       cmocka_unit_test(no_host_is_left),
		cmocka_unit_test(connection_strings),    cmocka_unit_test(the_environment_and_the_service_file),
		cmocka_unit_test(libpq_takes_the_lists),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
