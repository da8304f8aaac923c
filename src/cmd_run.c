/* cmd_run: `walpush run`, the server. */
#include <getopt.h>
#include <libwebsockets.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "walpush/cmd.h"
#include "walpush/conf.h"
#include "walpush/log.h"
#include "walpush/tap.h"

#define FILES_MOST 1000000 /* libwebsockets keeps tables of this size, and none beyond 10 million */

/* The libraries size their tables by the limit, so it is set before they start. */
static void raise_file_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return;
	limit.rlim_cur = limit.rlim_max < FILES_MOST ? limit.rlim_max : FILES_MOST;
	setrlimit(RLIMIT_NOFILE, &limit);
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

int cmd_run(int argc, char **argv)
{
	const char *file = config_file(argc, argv);
	struct fail why = { 0 };
	struct conf *conf;
	int status;

	if (!file) {
		fputs("usage: walpush run [-c sidecar.conf]\n", stderr);
		return CMD_USAGE;
	}
	conf = conf_load(file, &why);
	if (!conf) {
		fprintf(stderr, "walpush: %s\n", why.text);
		return CMD_USAGE;
	}
	log_setup(conf->log.level, conf->log.format);
	/* The library's own log prints query strings, and so tokens. */
	lws_set_log_level(0, NULL);
	raise_file_limit();
	signal(SIGHUP, SIG_IGN); /* until the tap listens to it */
	status = serve(conf);
	conf_free(conf);
	return status;
}
