/* cmd_run: `walpush run`, the server. */
#include <getopt.h>
#include <libwebsockets.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "cmd.h"
#include "walpush/conf/conf.h"
#include "walpush/base/log.h"
#include "walpush/rules/rules.h"
#include "walpush/tap/tap.h"

#define FILES_MOST 1000000 /* libwebsockets keeps tables of this size, and none above 10 million */

/* Bytes of stack. WANTED: the limit is raised to this, if possible. LEAST: with less, walpush does not start. Below 32
 * KiB the resolver overruns the stack. */
#define STACK_WANTED (8u << 20)
#define STACK_LEAST (256u << 10)

/* The libraries size their tables by the limit, so it is set before the libraries start. */
static void raise_file_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return;
	limit.rlim_cur = limit.rlim_max < FILES_MOST ? limit.rlim_max : FILES_MOST;
	setrlimit(RLIMIT_NOFILE, &limit);
}

/* The first thread's stack grows up to the limit. Above the limit the process dies without a message. */
static bool raise_stack_limit(void)
{
	struct rlimit limit;
	char line[120];
	ssize_t written;

	if (getrlimit(RLIMIT_STACK, &limit) != 0 || limit.rlim_cur >= STACK_WANTED)
		return true;
	limit.rlim_cur = limit.rlim_max < STACK_WANTED ? limit.rlim_max : STACK_WANTED;
	if (setrlimit(RLIMIT_STACK, &limit) == 0 && limit.rlim_cur >= STACK_LEAST)
		return true;
	/* Not by fprintf, which needs 8 KiB of stack itself. */
	snprintf(line, sizeof(line),
		 "walpush: the stack may take %u KiB and needs %u; raise the limit (ulimit -s, LimitSTACK)\n",
		 (unsigned)(limit.rlim_cur / 1024), STACK_LEAST / 1024);
	written = write(STDERR_FILENO, line, strlen(line));
	(void)written;
	return false;
}

static void end_at_once(int number)
{
	(void)number;
	_exit(CMD_FINE);
}

/* These hold until the tap handles signals. SIGTERM needs a handler, because the kernel does not deliver it to process
 * 1 of a container without one. */
static void mind_signals(void)
{
	signal(SIGTERM, end_at_once);
	signal(SIGINT, end_at_once);
	signal(SIGHUP, SIG_IGN);
	/* Without these signals, a write to a closed socket, or to a file at its size limit, returns an error. */
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
}

static int serve(const struct conf *conf)
{
	struct fail why = { 0 };
	struct tap *tap = tap_new(conf, &why);
	int status;

	if (!tap) {
		log_error("cannot start", log_s("file", conf->file), log_n("line", why.line), log_s("error", why.text));
		return why.line ? CMD_USAGE : CMD_FAILED;
	}
	status = tap_run(tap);
	tap_free(tap);
	log_info("stopped", log_n("status", status));
	return status;
}

static const char *config_file(int argc, char **argv)
{
	static const struct option names[] = { { "config", required_argument, NULL, 'c' }, { NULL, 0, NULL, 0 } };
	const char *file = "sidecar.conf";
	int option;

	optind = 0;
	while ((option = getopt_long(argc, argv, ":c:", names, NULL)) != -1) {
		if (option != 'c')
			return NULL;
		file = optarg;
	}
	return optind < argc ? NULL : file;
}

static void print_errors(const struct fails *all)
{
	for (size_t i = 0; i < all->n; i++)
		fprintf(stderr, "walpush: %s\n", all->at[i].text);
	if (all->more)
		fprintf(stderr, "walpush: %zu more errors are in later lines; correct those above first\n", all->more);
}

int cmd_run(int argc, char **argv)
{
	const char *file = config_file(argc, argv);
	struct fails all = { 0 };
	struct conf *conf;
	int status;

	if (!file) {
		fputs("usage: walpush run [-c sidecar.conf]\n", stderr);
		return CMD_USAGE;
	}
	mind_signals();
	if (!raise_stack_limit())
		return CMD_FAILED;
	conf = rules_load(file, NULL, &all);
	if (!conf) {
		print_errors(&all);
		fails_fini(&all);
		return CMD_USAGE;
	}
	log_setup(conf->log.level, conf->log.format);
	/* The library's own log prints query strings, and so it prints tokens. */
	lws_set_log_level(0, NULL);
	raise_file_limit();
	status = serve(conf);
	conf_free(conf);
	return status;
}
