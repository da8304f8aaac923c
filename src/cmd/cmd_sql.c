/* cmd_sql: `walpush sql`: the DBA's script for this configuration, or with --ddl the event trigger, which is the same
 * for all configurations. Needs no database. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "cmd.h"
#include "walpush/pg/pgdial.h"
#include "walpush/dba/setup.h"

static int print(struct buf *script, struct fail *why)
{
	bool ok = fputs(script->data, stdout) >= 0 && fflush(stdout) == 0;

	if (!ok)
		fail_set(why, "cannot write the script");
	buf_fini(script);
	return ok ? CMD_FINE : CMD_FAILED;
}

static int print_script(const struct conf *conf, const struct rules *rules, struct fail *why)
{
	struct buf script = { 0 };
	char *role, *database;

	if (!pgdial_identity(&conf->database, &role, &database, why))
		return CMD_USAGE;
	setup_script(conf, rules, role, &script);
	free(role);
	free(database);
	return print(&script, why);
}

static int print_ddl(struct fail *why)
{
	struct buf script = { 0 };

	setup_ddl(&script);
	return print(&script, why);
}

static int print_script_of(const char *file, struct fail *why)
{
	struct conf *conf = conf_load(file, why);
	struct rules *rules = conf ? rules_new(conf, why) : NULL;
	int status = rules ? print_script(conf, rules, why) : CMD_USAGE;

	rules_free(rules);
	conf_free(conf);
	return status;
}

int cmd_sql(int argc, char **argv)
{
	static const struct option names[] = { { "config", required_argument, NULL, 'c' },
					       { "ddl", no_argument, NULL, 'd' },
					       { NULL, 0, NULL, 0 } };
	const char *file = "sidecar.conf";
	struct fail why = { 0 };
	bool ddl = false;
	int option, status;

	optind = 0;
	while ((option = getopt_long(argc, argv, ":c:", names, NULL)) == 'c' || option == 'd') {
		if (option == 'c')
			file = optarg;
		else
			ddl = true;
	}
	if (option != -1 || optind < argc) {
		fputs("usage: walpush sql [-c sidecar.conf] [--ddl]\n", stderr);
		return CMD_USAGE;
	}
	status = ddl ? print_ddl(&why) : print_script_of(file, &why);
	if (status != CMD_FINE)
		fprintf(stderr, "walpush sql: %s\n", why.text);
	return status;
}
