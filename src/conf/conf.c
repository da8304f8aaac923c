#include "walpush/conf/conf.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parts.h"
#include "walpush/base/mem.h"
#include "walpush/base/file.h"

bool conf_error(const struct conf_reader *r, unsigned line, const char *format, ...)
{
	struct fail said;
	va_list args;

	va_start(args, format);
	vsnprintf(said.text, sizeof(said.text), format, args);
	va_end(args);
	return fail_at_line(r->why, line, "%s:%u: %s", r->file, line, said.text);
}

/* The root stands in no line: what is missing there is reported for the first. */
unsigned conf_line(const config_setting_t *s)
{
	unsigned line = (unsigned)(uintptr_t)config_setting_get_hook(s);

	if (!line)
		line = config_setting_source_line(s);
	return line ? line : 1;
}

static void set_lines(config_setting_t *parent, const struct conf_lines *lines, size_t *next)
{
	for (int i = 0; i < config_setting_length(parent); i++) {
		config_setting_t *s = config_setting_get_elem(parent, (unsigned)i);

		if (config_setting_is_aggregate(s))
			set_lines(s, lines, next);
		else if (!config_setting_is_group(parent) && config_setting_type(s) == CONFIG_TYPE_STRING &&
			 *next < lines->n)
			config_setting_set_hook(s, (void *)(uintptr_t)lines->at[(*next)++]);
	}
}

static bool read_text(struct conf_reader *r, config_t *source, const char *text, const struct conf_lines *lines,
		      struct conf_draft *d)
{
	size_t next = 0;

	if (!config_read_string(source, text)) {
		int line = config_error_line(source);

		return conf_error(r, line > 0 ? (unsigned)line : 1, "%s", config_error_text(source));
	}
	r->source = source;
	set_lines(config_root_setting(source), lines, &next);
	return conf_read(r, d) && conf_check(r, d);
}

struct conf *conf_parse(const char *name, struct slice text, struct fail *why)
{
	struct conf_reader reader = { .file = name, .why = why };
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
	} else {
		conf_release(&draft);
	}
	config_destroy(&source);
	free(lines.at);
	free(terminated);
	return c;
}

struct conf *conf_load(const char *file, struct fail *why)
{
	struct conf_reader reader = { .file = file, .why = why };
	struct buf text = { 0 };
	struct conf *c = NULL;
	const char *problem;

	if (file_read(file, CONF_FILE_MAX, &text, &problem))
		c = conf_parse(file, buf_slice(&text), why);
	else
		conf_error(&reader, 0, "the configuration cannot be read: %s; name the file with -c", problem);
	buf_fini(&text);
	return c;
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
