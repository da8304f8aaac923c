/* cmd_explain: `walpush explain`: why does this user receive nothing there, who would receive this row, who received this message? Asks the running
 * process by its admin port, and where that is not possible the database alone. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "admin_port.h"
#include "cmd.h"
#include "walpush/base/mem.h"
#include "walpush/dba/explain_alone.h"

#define PATIENCE_S 10
#define ANSWER_BYTES (4u << 20)
#define TRIES 5 /* a second apart, while another question is being answered */

struct options {
	const char *file;
	bool json;
	struct explain_question question;
	bool has_event;
};

static int usage(const char *complaint)
{
	fprintf(stderr,
		"walpush explain: %s\n"
		"usage: walpush explain [-c sidecar.conf] [--json] --user USER --path PATH [--claim NAME=VALUE]...\n"
		"       walpush explain [-c sidecar.conf] [--json] --table TABLE --key KEY\n"
		"       walpush explain [-c sidecar.conf] [--json] --event ID\n",
		complaint);
	return CMD_USAGE;
}

static int failed(const char *what, const char *why)
{
	fprintf(stderr, "walpush explain: %s%s%s\n", what, *why ? ": " : "", why);
	return CMD_FAILED;
}

/* --- options -------------------------------------------------------------------------------------------------------- */

static const char *take_text(char **to, const char *text)
{
	free(*to);
	*to = mem_text(text);
	return *text ? NULL : "an option has an empty value";
}

static const char *take_claim(struct explain_question *q, const char *text)
{
	const char *equals = strchr(text, '=');
	char *name;
	bool ok;

	if (!equals || equals == text)
		return "--claim takes NAME=VALUE";
	if (!q->claims)
		q->claims = json_object();
	name = mem_text_of((struct slice){ text, (size_t)(equals - text) });
	ok = json_object_set_new(q->claims, name, json_string(equals + 1)) == 0;
	free(name);
	return ok ? NULL : "--claim takes UTF-8";
}

static const char *take_event(struct options *o, const char *text)
{
	o->has_event = true;
	return event_id_parse(slice_of(text), &o->question.event) ? NULL
								  : "--event takes the `id` of a message, 0/16B3748-2";
}

/* NULL: taken. Otherwise the complaint. */
static const char *take(struct options *o, int option, const char *value)
{
	switch (option) {
	case 'c':
		o->file = value;
		return NULL;
	case 'j':
		o->json = true;
		return NULL;
	case 'u':
		return take_text(&o->question.user, value);
	case 'p':
		return take_text(&o->question.path, value);
	case 'C':
		return take_claim(&o->question, value);
	case 't':
		return take_text(&o->question.table, value);
	case 'k':
		return take_text(&o->question.key, value);
	case 'e':
		return take_event(o, value);
	case ':':
		return "an option lacks its value";
	default:
		return "unknown option";
	}
}

/* What /explain would refuse is refused here, whoever will answer. */
static const char *check(const struct explain_question *q, struct fail *why)
{
	struct explain_question again;
	struct buf query = { 0 };
	bool ok;

	explain_question_write(q, &query);
	ok = explain_question_read(buf_slice(&query), &again, why);
	explain_question_fini(&again);
	buf_fini(&query);
	return ok ? NULL : why->text;
}

static const char *settle(struct options *o, struct fail *why)
{
	struct explain_question *q = &o->question;

	if ((q->user != NULL) != (q->path != NULL))
		return "--user and --path belong together";
	if ((q->table != NULL) != (q->key != NULL))
		return "--table and --key belong together";
	if ((q->user != NULL) + (q->table != NULL) + o->has_event != 1)
		return "ask one thing: a user, a row, or an event";
	if (q->claims && !q->user)
		return "--claim belongs to --user";
	q->kind = q->user ? EXPLAIN_USER : q->table ? EXPLAIN_ROW : EXPLAIN_EVENT;
	return check(q, why);
}

static const char *parse_options(int argc, char **argv, struct options *out, struct fail *why)
{
	static const struct option names[] = {
		{ "config", required_argument, NULL, 'c' },
		{ "json", no_argument, NULL, 'j' },
		{ "user", required_argument, NULL, 'u' },
		{ "path", required_argument, NULL, 'p' },
		{ "claim", required_argument, NULL, 'C' },
		{ "table", required_argument, NULL, 't' },
		{ "key", required_argument, NULL, 'k' },
		{ "event", required_argument, NULL, 'e' },
		{ NULL, 0, NULL, 0 },
	};
	const char *complaint = NULL;
	int option;

	optind = 0;
	while (!complaint && (option = getopt_long(argc, argv, ":c:", names, NULL)) != -1)
		complaint = take(out, option, optarg);
	if (!complaint && optind < argc)
		complaint = "too many arguments";
	return complaint ? complaint : settle(out, why);
}

/* --- answers -------------------------------------------------------------------------------------------------------- */

/* Takes over the document. */
static int tell(const struct options *o, json_t *document)
{
	struct buf text = { 0 };
	char *json = o->json ? json_dumps(document, JSON_INDENT(2)) : NULL;
	bool yes = explain_says_yes(document), ok;

	if (!o->json)
		explain_print(document, &text);
	ok = (o->json ? puts(json ? json : "") : fputs(buf_slice(&text).at, stdout)) >= 0 && fflush(stdout) == 0;
	free(json);
	buf_fini(&text);
	json_decref(document);
	return ok && yes ? CMD_FINE : CMD_FAILED;
}

static int tell_answer(const struct options *o, const struct admin_answer *answer)
{
	json_t *document = json_loads(answer->body, 0, NULL);
	const char *error = json_string_value(json_object_get(document, "error"));
	int status = CMD_FAILED;

	if (answer->status == 200 && json_is_string(json_object_get(document, "asked")))
		return tell(o, document);
	if (answer->status == 403 || answer->status == 404)
		failed("the process on the admin port has another admin.token, or none: reload it (SIGHUP)", "");
	else
		failed("the admin port answers", error ? error : answer->body);
	json_decref(document);
	return status;
}

/* --- the running process -------------------------------------------------------------------------------------------- */

static int ask_process(const struct options *o, const struct conf_admin *admin, int fd)
{
	struct buf target = { 0 }, query = { 0 };
	const char *why = "";
	int status = CMD_FAILED;

	explain_question_write(&o->question, &query);
	buf_addf(&target, "/explain?%s", query.data);
	for (int tries = 1; fd >= 0; tries++) {
		struct admin_answer answer = { 0 };
		bool answered = admin_port_ask(fd, target.data, admin->token, ANSWER_BYTES, &answer, &why);
		bool busy = answered && answer.status == 503 && tries < TRIES;

		close(fd);
		fd = -1;
		if (!answered)
			failed("the admin port does not answer", why);
		else if (!busy)
			status = tell_answer(o, &answer);
		buf_fini(&answer.text);
		if (busy && sleep(1) == 0)
			fd = admin_port_dial(admin, PATIENCE_S, &why);
	}
	buf_fini(&target);
	buf_fini(&query);
	return status;
}

/* --- the database alone --------------------------------------------------------------------------------------------- */

static int ask_database(const struct options *o, const struct conf *conf)
{
	struct fail why = { 0 };
	struct rules *rules;
	json_t *document;

	if (o->question.kind == EXPLAIN_EVENT)
		return failed("only a running process knows of messages",
			      conf->admin.token ? "nobody answers on the admin port"
						: "set admin.token or admin.token-file, and reload it (SIGHUP)");
	rules = rules_new(conf, &why);
	if (!rules) {
		failed("", why.text);
		return CMD_USAGE;
	}
	document = explain_alone(conf, rules, &o->question, &why);
	rules_free(rules);
	return document ? tell(o, document) : failed("the database does not answer", why.text);
}

static int explain(const struct options *o)
{
	struct fail why = { 0 };
	const char *no_process = "";
	struct conf *conf = conf_load(o->file, &why);
	int fd, status;

	if (!conf) {
		fprintf(stderr, "walpush explain: %s\n", why.text);
		return CMD_USAGE;
	}
	fd = conf->admin.token && conf->admin.port ? admin_port_dial(&conf->admin, PATIENCE_S, &no_process) : -1;
	status = fd >= 0 ? ask_process(o, &conf->admin, fd) : ask_database(o, conf);
	conf_free(conf);
	return status;
}

int cmd_explain(int argc, char **argv)
{
	struct options options = { .file = "sidecar.conf" };
	struct fail why = { 0 };
	const char *complaint = parse_options(argc, argv, &options, &why);
	int status = complaint ? usage(complaint) : explain(&options);

	explain_question_fini(&options.question);
	return status;
}
