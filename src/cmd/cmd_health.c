/* cmd_health: `walpush health`: the answer of /healthz on the admin port, as an exit code. For probes in an image
 * without a shell and curl. */
#include <getopt.h>
#include <stdio.h>
#include <unistd.h>

#include "admin_port.h"
#include "cmd.h"
#include "walpush/conf/conf.h"

#define PATIENCE_S 3      /* for each step; a loop that does not turn for this long is not healthy */
#define ANSWER_BYTES 1023 /* status and one line */

static int unwell(const char *what, const char *why)
{
	fprintf(stderr, "walpush health: %s: %s\n", what, why);
	return CMD_FAILED;
}

static int health(const struct conf_admin *admin)
{
	struct admin_answer answer = { 0 };
	const char *why = "";
	bool answered;
	int fd, status = CMD_FINE;

	if (admin->port == 0)
		return unwell("admin.port is 0", "give it a number, so that it can be found");
	fd = admin_port_dial(admin, PATIENCE_S, &why);
	if (fd < 0)
		return unwell("nobody answers on the admin port", why);
	answered = admin_port_ask(fd, "/healthz", NULL, ANSWER_BYTES, &answer, &why);
	close(fd);
	if (!answered)
		status = unwell("the admin port does not answer", why);
	else if (answer.status != 200)
		status = unwell("not well", answer.body);
	buf_fini(&answer.text);
	return status;
}

int cmd_health(int argc, char **argv)
{
	static const struct option names[] = { { "config", required_argument, NULL, 'c' }, { NULL, 0, NULL, 0 } };
	const char *file = "sidecar.conf";
	struct fail why = { 0 };
	struct conf *conf;
	int option, status;

	optind = 0;
	while ((option = getopt_long(argc, argv, ":c:", names, NULL)) == 'c')
		file = optarg;
	if (option != -1 || optind < argc) {
		fputs("usage: walpush health [-c sidecar.conf]\n", stderr);
		return CMD_USAGE;
	}
	conf = conf_load(file, &why);
	if (!conf) {
		fprintf(stderr, "walpush health: %s\n", why.text);
		return CMD_USAGE;
	}
	status = health(&conf->admin);
	conf_free(conf);
	return status;
}
