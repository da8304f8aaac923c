/* cmd_sql: `walpush sql`: the DBA's script for this configuration and the slot's plugin (wal2json if neither --plugin nor the file
 * says which), with --switch also for a slot that has the other one; or with --ddl the event trigger, which is the same for all configurations.
 * Needs no database. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd.h"
#include "walpush/pg/pgdial.h"
#include "walpush/dba/setup.h"

struct sql_options {
	const char *file, *plugin; /* plugin: NULL leaves it to the configuration */
	bool ddl, row_filters, moves, revokes, recreates;
};

static int print(struct buf *script, struct fail *why)
{
	bool ok = fputs(script->data, stdout) >= 0 && fflush(stdout) == 0;

	if (!ok)
		fail_set(why, "cannot write the script");
	buf_fini(script);
	return ok ? CMD_FINE : CMD_FAILED;
}

/* A move to a plugin that nobody has named could be one back. */
static const char *plugin_of(const struct conf *conf, const struct sql_options *o, struct fail *why)
{
	const char *plugin = o->plugin ? o->plugin : conf->database.plugin;

	if (strcmp(plugin, "auto") != 0)
		return plugin;
	if (!o->moves)
		return SETUP_WAL2JSON;
	fail_set(why, "--switch moves the slot to which plugin? Add --plugin " SETUP_PGOUTPUT
		      " or --plugin " SETUP_WAL2JSON ", or set database.plugin");
	return NULL;
}

static int print_script(const struct conf *conf, const struct rules *rules, const struct sql_options *o,
			struct fail *why)
{
	struct setup_options options = { .plugin = plugin_of(conf, o, why),
					 .row_filters = o->row_filters,
					 .moves = o->moves,
					 .revokes = o->revokes,
					 .recreates = o->recreates };
	struct buf script = { 0 };
	char *role, *database;

	if (!options.plugin)
		return CMD_USAGE;
	if (o->row_filters && strcmp(options.plugin, SETUP_PGOUTPUT) != 0)
		return fail_set(why,
				"--row-filters is for pgoutput alone: walpush sql --plugin pgoutput --row-filters"),
		       CMD_USAGE;
	if (!pgdial_identity(&conf->database, &role, &database, why))
		return CMD_USAGE;
	options.role = role;
	setup_script(conf, rules, &options, &script);
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

static int print_script_of(const struct sql_options *o, struct fail *why)
{
	struct fails all = { 0 };
	struct rules *rules;
	struct conf *conf = rules_load(o->file, &rules, &all);
	int status = rules ? print_script(conf, rules, o, why) : CMD_USAGE;

	fails_end(&all, why);
	rules_free(rules);
	conf_free(conf);
	return status;
}

static bool is_plugin(const char *name)
{
	return strcmp(name, SETUP_WAL2JSON) == 0 || strcmp(name, SETUP_PGOUTPUT) == 0;
}

static bool parse(int argc, char **argv, struct sql_options *o)
{
	static const struct option names[] = {
		{ "config", required_argument, NULL, 'c' },  { "ddl", no_argument, NULL, 'd' },
		{ "plugin", required_argument, NULL, 'p' },  { "row-filters", no_argument, NULL, 'r' },
		{ "switch", no_argument, NULL, 's' },        { "revoke", no_argument, NULL, 'v' },
		{ "recreate-slot", no_argument, NULL, 'n' }, { NULL, 0, NULL, 0 }
	};
	int option;

	optind = 0;
	while ((option = getopt_long(argc, argv, ":c:", names, NULL)) != -1) {
		if (option == 'c')
			o->file = optarg;
		else if (option == 'd')
			o->ddl = true;
		else if (option == 'r')
			o->row_filters = true;
		else if (option == 's')
			o->moves = true;
		else if (option == 'v')
			o->revokes = true;
		else if (option == 'n')
			o->recreates = true;
		else if (option == 'p' && is_plugin(optarg))
			o->plugin = optarg;
		else
			return false;
	}
	return optind == argc && !(o->ddl && (o->moves || o->revokes || o->recreates));
}

int cmd_sql(int argc, char **argv)
{
	struct sql_options o = { .file = "sidecar.conf" };
	struct fail why = { 0 };
	int status;

	if (!parse(argc, argv, &o)) {
		fputs("usage: walpush sql [-c sidecar.conf] [--plugin wal2json|pgoutput] [--row-filters]\n"
		      "                   [--revoke] [--recreate-slot] [--switch] | --ddl\n",
		      stderr);
		return CMD_USAGE;
	}
	status = o.ddl ? print_ddl(&why) : print_script_of(&o, &why);
	if (status != CMD_FINE)
		fprintf(stderr, "walpush sql: %s\n", why.text);
	return status;
}
