/* cmd_sql: `walpush sql`, the DBA's script for this configuration. Asks no database. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "walpush/cmd.h"
#include "walpush/pgdial.h"
#include "walpush/setup.h"

static int print_script(const struct conf *conf, const struct rules *rules, struct fail *why)
{
	struct buf script = { 0 };
	char *role, *database;
	bool ok;

	if (!pgdial_identity(&conf->database, &role, &database, why))
		return CMD_USAGE;
	setup_script(conf, rules, role, &script);
	ok = fputs(script.data, stdout) >= 0 && fflush(stdout) == 0;
	if (!ok)
		fail_set(why, "cannot write the script");
	buf_fini(&script);
	free(role);
	free(database);
	return ok ? CMD_FINE : CMD_FAILED;
}

int cmd_sql(int argc, char **argv)
{
	static const struct option names[] = { { "config", required_argument, NULL, 'c' }, { NULL, 0, NULL, 0 } };
	const char *file = "sidecar.conf";
	struct fail why = { 0 };
	struct rules *rules = NULL;
	struct conf *conf;
	int option, status = CMD_USAGE;

	optind = 0;
	while ((option = getopt_long(argc, argv, ":c:", names, NULL)) == 'c')
		file = optarg;
	if (option != -1 || optind < argc) {
		fputs("usage: walpush sql [-c sidecar.conf]\n", stderr);
		return CMD_USAGE;
	}
	conf = conf_load(file, &why);
	if (conf)
		rules = rules_new(conf, &why);
	if (rules)
		status = print_script(conf, rules, &why);
	if (status != CMD_FINE)
		fprintf(stderr, "walpush sql: %s\n", why.text);
	rules_free(rules);
	conf_free(conf);
	return status;
}
