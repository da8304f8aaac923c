#include "walpush/conf/conf.h"

#include <stdlib.h>

#include "parts.h"
#include "walpush/base/mem.h"
#include "walpush/base/file.h"

static bool read_text(struct conf_reader *r, config_t *source, const char *text, const struct conf_lines *lines,
		      struct conf_draft *d)
{
	if (!config_read_string(source, text)) {
		int line = config_error_line(source);

		return fails_add(r->all, r->file, line > 0 ? (unsigned)line : 1, "%s", config_error_text(source));
	}
	r->source = source;
	conf_line_set(config_root_setting(source), lines);
	conf_read(r, d);
	conf_check(r, d);
	return true;
}

struct conf *conf_parse_all(const char *name, struct slice text, struct fails *all)
{
	struct conf_refused refused = { 0 };
	struct conf_reader reader = { .file = name, .refused = &refused, .all = all };
	struct conf_draft draft = { 0 };
	struct conf_lines lines = { 0 };
	struct conf *c = NULL;
	config_t source;
	char *terminated = mem_text_of(text);

	config_init(&source);
	draft.conf.file = mem_text(name);
	if (conf_scan(&reader, text, &lines) && read_text(&reader, &source, terminated, &lines, &draft)) {
		c = mem_new(sizeof(*c));
		*c = draft.conf;
		c->text = terminated;
		terminated = NULL;
	} else {
		conf_release(&draft);
	}
	config_destroy(&source);
	free((void *)refused.at);
	free(lines.at);
	free(terminated);
	return c;
}

/* The configuration, if there is no error. */
static struct conf *only_without_errors(struct conf *c, struct fails *all, struct fail *why)
{
	if (fails_end(all, why))
		return c;
	conf_free(c);
	return NULL;
}

struct conf *conf_parse(const char *name, struct slice text, struct fail *why)
{
	struct fails all = { 0 };
	struct conf *c = conf_parse_all(name, text, &all);

	return only_without_errors(c, &all, why);
}

struct conf *conf_load_all(const char *file, struct fails *all)
{
	struct buf text = { 0 };
	struct conf *c = NULL;
	const char *problem;

	if (file_read(file, CONF_FILE_MAX, &text, &problem))
		c = conf_parse_all(file, buf_slice(&text), all);
	else
		fails_add(all, file, 0, "the configuration cannot be read: %s; name the file with -c", problem);
	buf_fini(&text);
	return c;
}

struct conf *conf_load(const char *file, struct fail *why)
{
	struct fails all = { 0 };
	struct conf *c = conf_load_all(file, &all);

	return only_without_errors(c, &all, why);
}

void conf_free(struct conf *c)
{
	struct conf_draft draft;

	if (!c)
		return;
	draft = (struct conf_draft){ .conf = *c };
	conf_release(&draft);
	free(c);
}
