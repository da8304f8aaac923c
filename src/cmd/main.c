#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cmd.h"

static const struct command {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *usage;
} commands[] = {
	{ "run", cmd_run, "run    -c sidecar.conf                 serve (the default)" },
	{ "check", cmd_check, "check  -c sidecar.conf [--offline]     what is wrong, and its fix" },
	{ "sql", cmd_sql,
	  "sql    -c sidecar.conf [--plugin NAME [--switch]] the DBA's script;\n"
	  "                 [--revoke] [--recreate-slot]   what it takes away when asked" },
	{ "explain", cmd_explain,
	  "explain -c sidecar.conf --user 7 --path P\n"
	  "                                         why somebody receives something, or not" },
	{ "listen", cmd_listen, "listen -c sidecar.conf --user 7 PATH   subscribe, print what arrives" },
	{ "token", cmd_token, "token  -c sidecar.conf --user 7        mint a token; --check reads one" },
	{ "health", cmd_health, "health -c sidecar.conf                 ask the admin port: for probes" },
};

#define N_COMMANDS (sizeof(commands) / sizeof(*commands))

static int help(void)
{
	fputs("walpush " WALPUSH_VERSION ": pushes committed row changes of PostgreSQL to WebSockets\n\n", stdout);
	for (size_t i = 0; i < N_COMMANDS; i++)
		printf("  walpush %s\n", commands[i].usage);
	fputs("  walpush --help | --version\n\n"
	      "Without -c: ./sidecar.conf\n"
	      "Exit codes: 0 fine, 1 failed, 2 usage or configuration\n",
	      stdout);
	return CMD_FINE;
}

/* Otherwise the first socket becomes standard error, and its peer receives the log. */
static bool has_standard_files(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd < STDERR_FILENO);
	if (fd > STDERR_FILENO)
		close(fd);
	return fd >= 0;
}

int main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : "run";

	if (!has_standard_files()) {
		fprintf(stderr, "walpush: cannot open /dev/null: %s; it stands in for standard files that are closed\n",
			strerror(errno));
		return CMD_FAILED;
	}
	if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0)
		return help();
	if (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0) {
		puts("walpush " WALPUSH_VERSION);
		return CMD_FINE;
	}
	if (name[0] == '-') /* options of the default command */
		return cmd_run(argc, argv);
	for (size_t i = 0; i < N_COMMANDS; i++)
		if (strcmp(name, commands[i].name) == 0)
			return commands[i].run(argc > 1 ? argc - 1 : argc, argc > 1 ? argv + 1 : argv);
	fprintf(stderr, "walpush: there is no command \"%s\"; walpush --help lists them\n", name);
	return CMD_USAGE;
}
