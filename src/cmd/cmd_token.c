/* cmd_token: `walpush token`: mints a token to try things out, or says of one why it is refused. */
#include "cmd.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "walpush/base/file.h"
#include "walpush/conf/conf.h"
#include "walpush/token/token.h"

#define LIFETIME_DEFAULT 900 /* seconds */

struct options {
	const char *file;
	const char *user;
	int64_t lifetime; /* seconds */
	bool checks;      /* one that is on standard input, so that no other user sees it among the arguments */
};

static int usage(const char *complaint)
{
	fprintf(stderr,
		"walpush token: %s\nusage: walpush token [-c sidecar.conf] --user USER [--lifetime SECONDS]\n"
		"       walpush token [-c sidecar.conf] --check <FILE-WITH-A-TOKEN\n",
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
		{ "check", no_argument, NULL, 'k' },
		{ NULL, 0, NULL, 0 },
	};
	int option;

	/* Zero makes glibc start again, even if somebody parsed before; the leading colon keeps it from printing. */
	optind = 0;
	while ((option = getopt_long(argc, argv, ":c:u:l:k", names, NULL)) != -1) {
		if (option == 'c')
			out->file = optarg;
		else if (option == 'u')
			out->user = optarg;
		else if (option == 'k')
			out->checks = true;
		else if (option != 'l')
			return usage(option == ':' ? "an option lacks its value" : "unknown option");
		else if (!parse_seconds(optarg, &out->lifetime))
			return usage("--lifetime takes a positive number of seconds");
	}
	if (optind < argc)
		return usage("too many arguments");
	if (out->checks && out->user)
		return usage("--check takes the user from the token");
	return out->user || out->checks ? CMD_FINE : usage("--user is needed, or --check");
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

static int print_verdict(const struct token_keys *keys, struct slice text)
{
	int64_t now = time(NULL);
	struct token_fault why;
	struct token token;

	if (!token_verify(keys, text, now, &token, &why)) {
		fprintf(stderr, "walpush token: refused (%s): %s\n", why.check, why.detail[0] ? why.detail : why.words);
		return CMD_FAILED;
	}
	printf("accepted for another %" PRId64 " s, user \"%s\"\n", token.expires - now, token.user);
	token_fini(&token);
	return fflush(stdout) == 0 ? CMD_FINE : CMD_FAILED;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static int check_token(const struct token_keys *keys)
{
	struct buf text = { 0 };
	const char *problem;
	struct slice token;
	int status = CMD_FAILED;

	if (file_read("/dev/stdin", TOKEN_LENGTH_MAX + 16, &text, &problem)) {
		token = buf_slice(&text);
		while (token.len && is_blank(token.at[token.len - 1]))
			token.len--;
		status = print_verdict(keys, token);
	} else {
		fprintf(stderr, "walpush token: standard input: %s\n", problem);
	}
	if (text.data)
		explicit_bzero(text.data, text.len);
	buf_fini(&text);
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
		status = options.checks ? check_token(keys) : print_token(&conf->jwt, keys, &options);
	} else {
		fprintf(stderr, "walpush token: %s:%u: %s\n", options.file, why.line, why.text);
		status = CMD_USAGE;
	}
	token_keys_free(keys);
	conf_free(conf);
	return status;
}
