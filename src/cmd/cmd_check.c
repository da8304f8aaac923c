/* cmd_check: `walpush check`: is everything there that walpush needs? Reports what is missing, and the fix. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "walpush/base/file.h"
#include "walpush/dba/check.h"
#include "cmd.h"

#define DEFAULT_FILE "sidecar.conf"
#define SERVED_MOST (1u << 20) /* bytes; a file that was accepted is not larger */

struct options {
	const char *file;
	bool json;
	enum check_where where;
};

static bool parse_options(int argc, char **argv, struct options *out)
{
	static const struct option names[] = {
		{ "config", required_argument, NULL, 'c' },
		{ "json", no_argument, NULL, 'j' },
		{ "offline", no_argument, NULL, 'o' },
		{ "serving", no_argument, NULL, 's' }, /* for walpush run, which reads the report */
		{ NULL, 0, NULL, 0 },
	};
	int option;

	optind = 0;
	while ((option = getopt_long(argc, argv, ":c:", names, NULL)) != -1) {
		if (option == 'c')
			out->file = optarg;
		else if (option == 'j')
			out->json = true;
		else if (option == 'o')
			out->where = CHECK_OFFLINE;
		else if (option == 's')
			out->where = CHECK_SERVING;
		else
			return false;
	}
	return optind == argc;
}

static bool print_json(json_t *document)
{
	bool ok = json_dumpf(document, stdout, JSON_INDENT(2)) == 0 && putchar('\n') != EOF && fflush(stdout) == 0;

	json_decref(document);
	return ok;
}

static const char *fix_of(const struct options *options, const struct fail *why)
{
	if (!why->line && strcmp(options->file, DEFAULT_FILE) == 0)
		return "name the configuration's file with -c, or run walpush where " DEFAULT_FILE " is";
	if (!why->line)
		return "let -c name a file that walpush's user may read";
	if (strstr(why->text, "needs the environment variable"))
		return "set that variable where walpush starts, or write ${NAME:-default}";
	if (strstr(why->text, ": cannot use "))
		return "let the option name a file that walpush's user may read";
	return "correct the line";
}

static json_t *error_json(const struct options *options, const struct fail *why)
{
	const char *fix = fix_of(options, why);

	return json_pack("{s:s, s:s, s:b, s:s, s:{s:s, s:s}, s:{s:s, s:s}}", "check", "configuration", "state",
			 "failure", "stops", 0, "text", why->text, "fix", "kind", "words", "text", fix, "mend", "kind",
			 "words", "text", fix);
}

static void print_errors_json(const struct options *options, const struct fails *all)
{
	json_t *findings = json_array();

	for (size_t i = 0; i < all->n; i++)
		json_array_append_new(findings, error_json(options, &all->at[i]));
	print_json(json_pack("{s:s, s:b, s:I, s:i, s:o}", "file", options->file, "offline",
			     options->where == CHECK_OFFLINE, "failures", (json_int_t)all->n + (json_int_t)all->more,
			     "warnings", 0, "findings", findings));
}

/* The file itself is the first check. Without the file there are no other checks. */
static int bad_file(const struct options *options, const struct fails *all)
{
	size_t n = all->n + all->more;

	if (options->json) {
		print_errors_json(options, all);
		return CMD_USAGE;
	}
	for (size_t i = 0; i < all->n; i++)
		printf("failure  configuration    %s | do: %s\n", all->at[i].text, fix_of(options, &all->at[i]));
	if (all->more)
		printf("failure  configuration    %zu more errors are in later lines | do: correct those above first\n",
		       all->more);
	printf("%zu failure%s, 0 warnings\n", n, n == 1 ? "" : "s");
	return CMD_USAGE;
}

static int report(const struct check *c, bool json)
{
	struct buf text = { 0 };
	bool ok;

	if (json) {
		ok = print_json(check_json(c));
	} else {
		check_print(c, &text);
		ok = fputs(text.data, stdout) >= 0 && fflush(stdout) == 0;
		buf_fini(&text);
	}
	return ok && check_failures(c) == 0 ? CMD_FINE : CMD_FAILED;
}

/* A process that serves gives its configuration as it was read, under the file's name: other files are named relative to it. */
static struct conf *read_served(const char *name, struct rules **rules, struct fails *all)
{
	struct buf text = { 0 };
	struct conf *conf = NULL;
	struct fail why = { 0 };
	const char *problem;

	*rules = NULL;
	if (file_read("/proc/self/fd/0", SERVED_MOST, &text, &problem))
		conf = conf_parse(name, buf_slice(&text), &why);
	else
		fail_set(&why, "standard input: %s", problem);
	if (conf)
		*rules = rules_new(conf, &why);
	if (!*rules)
		fails_add(all, name, why.line, "%s", why.text);
	buf_fini(&text);
	return conf;
}

int cmd_check(int argc, char **argv)
{
	struct options options = { .file = DEFAULT_FILE };
	struct fails all = { 0 };
	struct rules *rules;
	struct check *check;
	struct conf *conf;
	int status;

	if (!parse_options(argc, argv, &options)) {
		fputs("usage: walpush check [-c sidecar.conf] [--offline] [--json]\n", stderr);
		return CMD_USAGE;
	}
	if (options.where == CHECK_SERVING)
		conf = read_served(options.file, &rules, &all);
	else
		conf = rules_load(options.file, &rules, &all);
	if (rules) {
		check = check_new(conf, rules, options.where);
		check_run(check);
		status = report(check, options.json);
		check_free(check);
	} else {
		status = bad_file(&options, &all);
		fails_fini(&all);
	}
	rules_free(rules);
	conf_free(conf);
	return status;
}
