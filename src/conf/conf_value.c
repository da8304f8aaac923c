/* Reads one value of the file to one member of a struct, by the type of its row in the option table. */
#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "parts.h"
#include "walpush/base/mem.h"
#include "walpush/base/file.h"

static const struct {
	const char *suffix;
	int64_t bytes;
} units[] = { { "TiB", (int64_t)1 << 40 }, { "GiB", 1 << 30 }, { "MiB", 1 << 20 }, { "KiB", 1 << 10 }, { "", 1 } };

static const struct {
	const char *name;
	unsigned bit;
} events[] = { { "insert", CONF_ON_INSERT }, { "update", CONF_ON_UPDATE }, { "delete", CONF_ON_DELETE } };

/* The value that is read, and its name in messages. */
struct value {
	const struct conf_reader *r;
	const struct conf_option *o;
	const char *shown;
};

static void *member(const struct conf_option *o, void *base)
{
	return (char *)base + o->at;
}

void conf_value_number(const struct conf_option *o, int64_t value, struct buf *out)
{
	size_t i = 0;

	if (o->type == CONF_SECONDS) {
		buf_addf(out, "%.10g", (double)value / 1000);
	} else if (o->type == CONF_BYTES && value) {
		while (value % units[i].bytes)
			i++;
		buf_addf(out, "%" PRId64 "%s%s", value / units[i].bytes, *units[i].suffix ? " " : "", units[i].suffix);
	} else {
		buf_addf(out, "%" PRId64, value);
	}
}

void conf_value_expected(const struct conf_option *o, struct buf *out)
{
	static const char *const text[] = {
		[CONF_GROUP] = "a group: NAME = { … }",
		[CONF_SECTIONS] = "a group of groups: NAME = { FIRST = { … } SECOND = { … } }",
		[CONF_LIST] = "a group or a list of groups: NAME = ( { … }, { … } )",
		[CONF_BOOL] = "true or false",
		[CONF_INT] = "a whole number",
		[CONF_SECONDS] = "a number of seconds",
		[CONF_BYTES] = "a number of bytes (65536 or \"64 KiB\")",
		[CONF_CLOSE_CODE] = "1000, 1008, 1012, 1013 or a number from 3000 to 4999",
		[CONF_EVENTS] = "\"insert\", \"update\", \"delete\" or a list of them",
		[CONF_TEXT] = "a string in double quotes",
		[CONF_PATH] = "the name of a file in double quotes",
		[CONF_SECRET_FILE] = "the name of a file in double quotes",
		[CONF_SCALAR] = "a string, a whole number, true or false",
		[CONF_LINED] = "a string in double quotes",
		[CONF_TEXTS] = "a list of strings: [ \"…\", \"…\" ]",
	};

	if (o->choices)
		buf_addf(out, "one of %s", o->choices);
	else
		buf_add_text(out, text[o->type]);
	if (o->type == CONF_INT || o->type == CONF_SECONDS || o->type == CONF_BYTES) {
		buf_add_text(out, " from ");
		conf_value_number(o, o->min, out);
		buf_add_text(out, " to ");
		conf_value_number(o, o->max, out);
	}
}

/* Shows a string as in the file, before its variables are replaced, and on one line. */
static void add_quoted(const char *text, struct buf *out)
{
	buf_add_char(out, '"');
	for (size_t n = 0; *text && n < 48; text++, n++)
		buf_add_char(out, isprint((unsigned char)*text) ? *text : '?');
	buf_add_text(out, *text ? "…\"" : "\"");
}

static void add_given(const struct value *v, const config_setting_t *s, struct buf *out)
{
	bool show = v->o->choices || v->o->type < CONF_TEXT;

	switch (config_setting_type(s)) {
	case CONFIG_TYPE_INT:
	case CONFIG_TYPE_INT64:
		buf_addf(out, "%lld", config_setting_get_int64(s));
		break;
	case CONFIG_TYPE_FLOAT:
		buf_addf(out, "%g", config_setting_get_float(s));
		break;
	case CONFIG_TYPE_BOOL:
		buf_add_text(out, config_setting_get_bool(s) ? "true" : "false");
		break;
	case CONFIG_TYPE_STRING:
		if (show)
			add_quoted(config_setting_get_string(s), out);
		else
			buf_add_text(out, "a string");
		break;
	case CONFIG_TYPE_GROUP:
		buf_add_text(out, "a group");
		break;
	default:
		buf_add_text(out, "a list");
	}
}

static bool refuse(const struct value *v, const config_setting_t *s)
{
	struct buf text = { 0 };

	buf_addf(&text, "%s should be ", v->shown);
	conf_value_expected(v->o, &text);
	buf_add_text(&text, ", not ");
	add_given(v, s, &text);
	fails_add(v->r->all, v->r->file, conf_line(s), "%s", text.data);
	buf_fini(&text);
	return false;
}

/* ---- numbers ---- */

static bool seconds_to_ms(double seconds, int64_t *out)
{
	if (!(seconds >= 0 && seconds < 1e9))
		return false;
	*out = (int64_t)(seconds * 1000 + 0.5);
	return *out > 0 || seconds == 0; /* less than half a millisecond must not become 0, which often means "off" */
}

static bool parse_seconds(const char *text, int64_t *out)
{
	char *end;
	double seconds;

	if (!isdigit((unsigned char)*text) || text[strspn(text, "0123456789.")])
		return false;
	seconds = strtod(text, &end);
	return *end == '\0' && seconds_to_ms(seconds, out);
}

static bool parse_bytes(const char *suffix, int64_t n, int64_t *out)
{
	suffix += strspn(suffix, " ");
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
		if (strcmp(suffix, units[i].suffix) == 0)
			return !__builtin_mul_overflow(n, units[i].bytes, out);
	return false;
}

static bool parse_number(const struct conf_option *o, const char *text, int64_t *out)
{
	size_t digits = strspn(text, "0123456789");

	if (o->type == CONF_SECONDS)
		return parse_seconds(text, out);
	if (digits == 0 || digits > 18)
		return false;
	*out = strtoll(text, NULL, 10);
	return o->type == CONF_BYTES ? parse_bytes(text + digits, *out, out) : text[digits] == '\0';
}

static bool in_range(const struct conf_option *o, int64_t n)
{
	if (o->type == CONF_CLOSE_CODE)
		return n == 1000 || n == 1008 || n == 1012 || n == 1013 || (n >= 3000 && n <= 4999);
	return n >= o->min && n <= o->max;
}

static bool number_of(const struct value *v, const config_setting_t *s, int64_t *out, bool *failed)
{
	char *text;
	bool ok;

	switch (config_setting_type(s)) {
	case CONFIG_TYPE_INT:
	case CONFIG_TYPE_INT64:
		*out = config_setting_get_int64(s);
		return v->o->type != CONF_SECONDS || seconds_to_ms((double)*out, out);
	case CONFIG_TYPE_FLOAT:
		return v->o->type == CONF_SECONDS && seconds_to_ms(config_setting_get_float(s), out);
	case CONFIG_TYPE_STRING:
		text = conf_expand(v->r, conf_line(s), v->shown, config_setting_get_string(s));
		*failed = text == NULL;
		ok = text && parse_number(v->o, text, out);
		free(text);
		return ok;
	default:
		return false;
	}
}

static bool read_number(const struct value *v, const config_setting_t *s, int64_t *out)
{
	bool failed = false;
	int64_t n = 0;

	if (!number_of(v, s, &n, &failed) || !in_range(v->o, n))
		return !failed && refuse(v, s);
	*out = n;
	return true;
}

static bool read_bool(const struct value *v, const config_setting_t *s, bool *out)
{
	char *text;
	bool ok;

	if (config_setting_type(s) == CONFIG_TYPE_BOOL) {
		*out = config_setting_get_bool(s);
		return true;
	}
	if (config_setting_type(s) != CONFIG_TYPE_STRING)
		return refuse(v, s);
	text = conf_expand(v->r, conf_line(s), v->shown, config_setting_get_string(s));
	if (!text)
		return false;
	*out = strcmp(text, "true") == 0;
	ok = *out || strcmp(text, "false") == 0 || refuse(v, s);
	free(text);
	return ok;
}

/* ---- texts ---- */

static bool is_choice(const char *choices, const char *text)
{
	size_t n = strlen(text);

	for (const char *at = choices; n && (at = strstr(at, text)); at += n)
		if ((at == choices || at[-1] == ' ') && (at[n] == ',' || at[n] == '\0'))
			return true;
	return false;
}

/* NULL on failure. */
static char *text_of(const struct value *v, const config_setting_t *s)
{
	const char *should = NULL;
	char *text;

	if (config_setting_type(s) != CONFIG_TYPE_STRING) {
		refuse(v, s);
		return NULL;
	}
	text = conf_expand(v->r, conf_line(s), v->shown, config_setting_get_string(s));
	if (!text)
		return NULL;
	if (*text && v->o->choices && !is_choice(v->o->choices, text))
		refuse(v, s);
	else if (*text && v->o->accept && (should = v->o->accept(text)))
		fails_add(v->r->all, v->r->file, conf_line(s), "%s should be %s", v->shown, should);
	else
		return text;
	free(text);
	return NULL;
}

/* An empty optional string counts as not set, so that "${REDIS_URL:-}" can turn an option off. */
static bool settle_empty(const struct value *v, const config_setting_t *s, char **text)
{
	if (**text || (v->o->flags & CONF_EMPTY_OK))
		return true;
	free(*text);
	*text = NULL;
	if ((v->o->flags & CONF_REQUIRED) || v->o->initial || v->o->type == CONF_TEXTS)
		return fails_add(v->r->all, v->r->file, conf_line(s), "%s must not be empty", v->shown);
	return true;
}

static char *beside_configuration(const struct conf_reader *r, char *path)
{
	const char *slash = strrchr(r->file, '/');
	struct buf out = { 0 };

	if (*path == '/' || strcmp(path, "-") == 0 || !slash)
		return path;
	buf_add(&out, r->file, (size_t)(slash - r->file) + 1);
	buf_add_text(&out, path);
	free(path);
	return buf_steal(&out);
}

static char *read_secret(const struct value *v, const config_setting_t *s, const char *path)
{
	struct buf text = { 0 };
	const char *problem = NULL;

	if (file_read(path, CONF_KEY_FILE_MAX, &text, &problem) && text.len && memchr(text.data, '\0', text.len))
		problem = "it holds a zero byte, and a key is text";
	if (problem) {
		buf_clear(&text); /* show the path as in the file, because a variable may hold the key itself */
		add_quoted(config_setting_get_string(s), &text);
		fails_add(v->r->all, v->r->file, conf_line(s), "%s: cannot use %s: %s", v->shown, text.data, problem);
		buf_fini(&text);
		return NULL;
	}
	if (text.len && text.data[text.len - 1] == '\n')
		text.data[--text.len] = '\0';
	if (text.len && text.data[text.len - 1] == '\r')
		text.data[--text.len] = '\0';
	buf_add_text(&text, "");
	return buf_steal(&text);
}

/* Two options may fill the same member, for example jwt.key and jwt.key-file. Only one of them may be set. */
static bool read_text(const struct value *v, const config_setting_t *s, char **out)
{
	char *text = text_of(v, s);

	if (!text || !settle_empty(v, s, &text))
		return false;
	if (text && (v->o->type == CONF_PATH || v->o->type == CONF_SECRET_FILE))
		text = beside_configuration(v->r, text);
	if (text && v->o->type == CONF_SECRET_FILE) {
		char *secret = read_secret(v, s, text);

		free(text);
		if (!secret)
			return false;
		text = secret;
	}
	if (text && *out) {
		free(text);
		return fails_add(v->r->all, v->r->file, conf_line(s),
				 "%s: the same is set with and without -file; keep one", v->shown);
	}
	if (text)
		*out = text;
	return true;
}

static bool read_scalar(const struct value *v, const config_setting_t *s, char **out)
{
	struct buf text = { 0 };

	switch (config_setting_type(s)) {
	case CONFIG_TYPE_STRING:
		return read_text(v, s, out);
	case CONFIG_TYPE_BOOL:
	case CONFIG_TYPE_INT:
	case CONFIG_TYPE_INT64:
		add_given(v, s, &text);
		*out = buf_steal(&text);
		return true;
	default:
		return refuse(v, s);
	}
}

static bool is_list(const config_setting_t *s)
{
	return config_setting_type(s) == CONFIG_TYPE_ARRAY || config_setting_type(s) == CONFIG_TYPE_LIST;
}

/* Adds each word of "a, b c". An empty string has no word. */
static bool add_words(const struct value *v, const config_setting_t *s, struct texts *out)
{
	static const char between[] = ", \t\r\n";
	char *text, *at;
	bool ok = true;

	if (config_setting_type(s) != CONFIG_TYPE_STRING)
		return refuse(v, s);
	text = conf_expand(v->r, conf_line(s), v->shown, config_setting_get_string(s));
	if (!text)
		return false;
	for (at = text + strspn(text, between); *at; at += strspn(at, between)) {
		struct slice word = { at, strcspn(at, between) };
		const char *should;

		out->at = mem_resize(out->at, out->n + 1, sizeof(*out->at));
		out->at[out->n] = (struct text){ mem_text_of(word), conf_line(s) };
		should = v->o->accept(out->at[out->n++].text);
		if (should)
			ok = fails_add(v->r->all, v->r->file, conf_line(s), "%s should be %s", v->shown, should);
		at += word.len;
	}
	free(text);
	return ok;
}

static bool add_element(const struct value *v, const config_setting_t *s, struct texts *out)
{
	char *text;

	if (v->o->flags & CONF_SPLIT)
		return add_words(v, s, out);
	text = text_of(v, s);
	if (!text || !settle_empty(v, s, &text))
		return false;
	out->at = mem_resize(out->at, out->n + 1, sizeof(*out->at));
	out->at[out->n++] = (struct text){ text, conf_line(s) };
	return true;
}

static bool read_texts(const struct value *v, const config_setting_t *s, struct texts *out)
{
	int n = is_list(s) ? config_setting_length(s) : 0;
	bool ok = true;

	if (!is_list(s))
		return refuse(v, s);
	if (n == 0 && (v->o->flags & CONF_REQUIRED))
		return fails_add(v->r->all, v->r->file, conf_line(s), "%s must not be empty", v->shown);
	for (int i = 0; i < n; i++)
		ok = add_element(v, config_setting_get_elem(s, (unsigned)i), out) && ok;
	return ok;
}

static bool add_event(const struct value *v, const config_setting_t *s, unsigned *out)
{
	char *text = NULL;
	unsigned bit = 0;

	if (config_setting_type(s) == CONFIG_TYPE_STRING) {
		text = text_of(v, s);
		if (!text)
			return false;
		for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++)
			bit |= strcmp(text, events[i].name) == 0 ? events[i].bit : 0;
		free(text);
	}
	*out |= bit;
	return bit || refuse(v, s);
}

static bool read_events(const struct value *v, const config_setting_t *s, unsigned *out)
{
	bool ok = true;

	if (!is_list(s))
		return add_event(v, s, out);
	if (config_setting_length(s) == 0)
		return fails_add(v->r->all, v->r->file, conf_line(s), "%s must not be empty", v->shown);
	for (int i = 0; i < config_setting_length(s); i++)
		ok = add_event(v, config_setting_get_elem(s, (unsigned)i), out) && ok;
	return ok;
}

/* The line of an empty text goes too: with a line and no text, a setting is one that was refused. */
static bool read_lined(const struct value *v, const config_setting_t *s, struct text *out)
{
	bool ok = read_text(v, s, &out->text);

	out->line = !ok || out->text ? conf_line(s) : 0;
	return ok;
}

bool conf_value_read(const struct conf_reader *r, const struct conf_option *o, config_setting_t *s, const char *shown,
		     void *base)
{
	struct value v = { r, o, shown };

	switch (o->type) {
	case CONF_BOOL:
		return read_bool(&v, s, member(o, base));
	case CONF_INT:
	case CONF_SECONDS:
	case CONF_BYTES:
	case CONF_CLOSE_CODE:
		return read_number(&v, s, member(o, base));
	case CONF_EVENTS:
		return read_events(&v, s, member(o, base));
	case CONF_TEXT:
	case CONF_PATH:
	case CONF_SECRET_FILE:
		return read_text(&v, s, member(o, base));
	case CONF_SCALAR:
		return read_scalar(&v, s, member(o, base));
	case CONF_LINED:
		return read_lined(&v, s, member(o, base));
	case CONF_TEXTS:
		return read_texts(&v, s, member(o, base));
	default:
		return refuse(&v, s); /* the value is not a group; conf_read.c reads groups */
	}
}

void conf_value_default(const struct conf_option *o, void *base)
{
	void *to = member(o, base);

	switch (o->initial ? o->type : CONF_GROUP) {
	case CONF_BOOL:
		*(bool *)to = strcmp(o->initial, "true") == 0;
		break;
	case CONF_INT:
	case CONF_SECONDS:
	case CONF_BYTES:
	case CONF_CLOSE_CODE:
		parse_number(o, o->initial, to);
		break;
	case CONF_EVENTS:
		for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++)
			*(unsigned *)to |= strcmp(o->initial, events[i].name) == 0 ? events[i].bit : 0;
		break;
	case CONF_TEXT:
		*(char **)to = mem_text(o->initial);
		break;
	default:
		break;
	}
}

void conf_value_release(const struct conf_option *o, void *base)
{
	struct texts *texts = member(o, base);

	switch (o->type) {
	case CONF_TEXT:
	case CONF_PATH:
	case CONF_SECRET_FILE:
	case CONF_SCALAR:
	case CONF_LINED: /* its text is its first member */
		free(*(char **)member(o, base));
		*(char **)member(o, base) = NULL;
		break;
	case CONF_TEXTS:
		for (size_t i = 0; i < texts->n; i++)
			free(texts->at[i].text);
		free(texts->at);
		*texts = (struct texts){ 0 };
		break;
	default:
		break;
	}
}
