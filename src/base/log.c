#include "walpush/base/log.h"

#include <assert.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "walpush/base/buf.h"
#include "walpush/base/timetext.h"
#include "walpush/base/clock.h"

/* Relaxed: after log_setup a line may still have the old format. */
static atomic_uint threshold = LOG_LEVEL_INFO;
static atomic_bool json_lines;

static void write_last(const char *text);

static const char *const level_names[] = { "error", "warn", "info", "debug" };

void log_setup(const char *level, const char *format)
{
	for (size_t i = 0; i < sizeof(level_names) / sizeof(*level_names); i++)
		if (strcmp(level, level_names[i]) == 0)
			atomic_store_explicit(&threshold, (unsigned)i, memory_order_relaxed);
	atomic_store_explicit(&json_lines, strcmp(format, "json") == 0, memory_order_relaxed);
	fail_never_through(write_last);
}

bool log_enabled(enum log_level level)
{
	return (unsigned)level <= atomic_load_explicit(&threshold, memory_order_relaxed);
}

void log_add_time(struct buf *out)
{
	char text[TIMETEXT_MAX];

	buf_add_text(out, timetext_ms(text, clock_wall_us()));
}

static bool is_bare_word(const char *text)
{
	if (!*text)
		return false;
	for (; *text; text++)
		if (*text <= ' ' || *text == '"' || *text == '=' || *text == '\\' || (unsigned char)*text >= 0x7F)
			return false;
	return true;
}

static void add_text(struct buf *out, bool as_json, const char *text)
{
	if (!as_json && is_bare_word(text)) {
		buf_add_text(out, text);
		return;
	}
	buf_add_char(out, '"');
	buf_add_json(out, slice_of(text));
	buf_add_char(out, '"');
}

static void add_ms(struct buf *out, int64_t us)
{
	uint64_t size = us < 0 ? -(uint64_t)us : (uint64_t)us;

	buf_addf(out, "%s%" PRIu64 ".%03u", us < 0 ? "-" : "", size / 1000, (unsigned)(size % 1000));
}

static void add_value(struct buf *out, bool as_json, const struct log_field *f)
{
	char lsn[LSN_TEXT_MAX];

	switch (f->kind) {
	case LOG_FIELD_TEXT:
		add_text(out, as_json, f->text ? f->text : "");
		return;
	case LOG_FIELD_NUMBER:
		buf_addf(out, "%" PRId64, f->number);
		return;
	case LOG_FIELD_LSN:
		lsn_format(lsn, (lsn_t)f->number);
		add_text(out, as_json, lsn);
		return;
	case LOG_FIELD_MS:
		add_ms(out, f->number);
		return;
	case LOG_FIELD_END:
		break;
	}
	assert(!"a log field of unknown kind");
}

static void add_name(struct buf *out, bool as_json, const char *name, const char *before)
{
	buf_add_text(out, before);
	if (as_json)
		buf_addf(out, "\"%s\":", name);
	else
		buf_addf(out, "%s=", name);
}

static void begin_line(struct buf *line, bool as_json, enum log_level level, const char *message)
{
	const char *between = as_json ? "," : " ";

	add_name(line, as_json, "time", as_json ? "{" : "");
	buf_add_text(line, as_json ? "\"" : "");
	log_add_time(line);
	buf_add_text(line, as_json ? "\"" : "");
	add_name(line, as_json, "level", between);
	add_text(line, as_json, level_names[level]);
	add_name(line, as_json, "msg", between);
	buf_add_char(line, '"');
	buf_add_json(line, slice_of(message));
	buf_add_char(line, '"');
}

static void write_line(struct buf *line, bool as_json)
{
	ssize_t written;

	buf_add_text(line, as_json ? "}\n" : "\n");
	/* If the log cannot be written, there is no place to report this. */
	written = write(STDERR_FILENO, line->data, line->len);
	(void)written;
}

void log_write(enum log_level level, const char *message, const struct log_field *fields)
{
	bool as_json = atomic_load_explicit(&json_lines, memory_order_relaxed);
	struct buf line = { 0 };

	if (!log_enabled(level))
		return;
	begin_line(&line, as_json, level, message);
	for (; fields->kind != LOG_FIELD_END; fields++) {
		add_name(&line, as_json, fields->name, as_json ? "," : " ");
		add_value(&line, as_json, fields);
	}
	write_line(&line, as_json);
	buf_fini(&line);
}

/* For fail_never. There may be no memory, so the line is on the stack: each byte of the text becomes at most six. */
static void write_last(const char *text)
{
	bool as_json = atomic_load_explicit(&json_lines, memory_order_relaxed);
	char room[6 * FAIL_NEVER_MAX + 256];
	struct buf line = { .data = room, .cap = sizeof(room) };

	begin_line(&line, as_json, LOG_LEVEL_ERROR, text);
	write_line(&line, as_json);
}
