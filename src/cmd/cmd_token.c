#include "cmd.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "walpush/conf/conf.h"
#include "walpush/token/token.h"

#define LIFETIME_DEFAULT 900 /* seconds */

struct options {
	const char *file;
	const char *user;
	int64_t lifetime; /* seconds */
};

static int usage(const char *complaint)
{
	fprintf(stderr, "walpush token: %s\nusage: walpush token [-c sidecar.conf] --user USER [--lifetime SECONDS]\n",
		complaint);
	return CMD_USAGE;
}

static bool parse_seconds(const char *text, int64_t *out)
{
	char *end;
	long long n;

	errno = 0;
	n = strtoll(text, &end, 10);
	*out = n;
	return errno == 0 && end != text && *end == '\0' && n > 0;
}

static int parse_options(int argc, char **argv, struct options *out)
{
	static const struct option names[] = {
		{ "config", required_argument, NULL, 'c' },
		{ "user", required_argument, NULL, 'u' },
		{ "lifetime", required_argument, NULL, 'l' },
		{ NULL, 0, NULL, 0 },
	};
	int option;

	/* Zero makes glibc start again, even if somebody parsed before; the leading colon keeps it from printing. */
	optind = 0;
	while ((option = getopt_long(argc, argv, ":c:u:l:", names, NULL)) != -1) {
		if (option == 'c')
			out->file = optarg;
		else if (option == 'u')
			out->user = optarg;
		else if (option != 'l')
			return usage(option == ':' ? "an option lacks its value" : "unknown option");
		else if (!parse_seconds(optarg, &out->lifetime))
			return usage("--lifetime takes a positive number of seconds");
	}
	if (optind < argc)
		return usage("too many arguments");
	return out->user ? CMD_FINE : usage("--user is needed");
}

static int print_token(const struct conf_jwt *conf, const struct token_keys *keys, const struct options *options)
{
	struct buf token = { 0 };
	int status = CMD_FAILED;
	struct fail why;

	if (!token_mint(keys, conf, options->user, time(NULL), options->lifetime, &token, &why))
		fprintf(stderr, "walpush token: %s\n", why.text);
	else if (printf("%s\n", token.data) < 0 || fflush(stdout) != 0)
		perror("walpush token");
	else
		status = CMD_FINE;
	buf_fini(&token);
	return status;
}

int cmd_token(int argc, char **argv)
{
	struct options options = { .file = "sidecar.conf", .lifetime = LIFETIME_DEFAULT };
	int status = parse_options(argc, argv, &options);
	struct token_keys *keys;
	struct conf *conf;
	struct fail why;

	if (status != CMD_FINE)
		return status;
	conf = conf_load(options.file, &why);
	if (!conf) {
		fprintf(stderr, "walpush token: %s\n", why.text);
		return CMD_USAGE;
	}
	keys = token_keys_new(&conf->jwt, &why);
	if (keys) {
		status = print_token(&conf->jwt, keys, &options);
	} else {
		fprintf(stderr, "walpush token: %s:%u: %s\n", options.file, why.line, why.text);
		status = CMD_USAGE;
	}
	token_keys_free(keys);
	conf_free(conf);
	return status;
}
