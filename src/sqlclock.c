#include "walpush/sqlclock.h"

#include <ctype.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

static const struct clock_word {
	const char *name;
	enum { WORD, CALL, CALL_WITH_ONE } kind; /* the last: with two arguments it is a difference */
} words[] = {
	{ "now", CALL },
	{ "current_date", WORD },
	{ "current_time", WORD },
	{ "current_timestamp", WORD },
	{ "localtime", WORD },
	{ "localtimestamp", WORD },
	{ "clock_timestamp", CALL },
	{ "statement_timestamp", CALL },
	{ "transaction_timestamp", CALL },
	{ "timeofday", CALL },
	{ "age", CALL_WITH_ONE },
};

static bool is_of_name(char c)
{
	return isalnum((unsigned char)c) || c == '_' || c == '$' || (unsigned char)c >= 0x80;
}

/* Behind the next `quote`. A doubled one ends the text and begins it again, which comes to the same. */
static const char *behind_quote(const char *at, char quote, bool escapes)
{
	for (; *at && *at != quote; at++)
		if (escapes && *at == '\\' && at[1])
			at++;
	return *at ? at + 1 : at;
}

static const char *behind_line(const char *at)
{
	return at + strcspn(at, "\n");
}

static const char *behind_comment(const char *at)
{
	unsigned depth = 0;

	while (*at) {
		if (strncmp(at, "/*", 2) == 0) {
			depth++;
			at += 2;
		} else if (strncmp(at, "*/", 2) == 0) {
			at += 2;
			if (--depth == 0)
				return at;
		} else {
			at++;
		}
	}
	return at;
}

/* $tag$ … $tag$. A parameter, $1, is none. */
static const char *behind_dollars(const char *at)
{
	size_t len = 1;
	const char *end;

	while (is_of_name(at[len]) && at[len] != '$')
		len++;
	if (at[len] != '$' || isdigit((unsigned char)at[1]))
		return at + 1;
	len++;
	for (end = at + len; *end; end++)
		if (strncmp(end, at, len) == 0)
			return end + len;
	return end;
}

/* NULL: nothing of that kind begins here. */
static const char *behind_what_is_no_code(const char *at, bool is_plan)
{
	if (*at == '\'')
		return behind_quote(at + 1, '\'', false);
	if (is_plan)
		return NULL;
	if (*at == '"')
		return behind_quote(at + 1, '"', false);
	if ((*at == 'E' || *at == 'e') && at[1] == '\'')
		return behind_quote(at + 2, '\'', true);
	if (strncmp(at, "--", 2) == 0)
		return behind_line(at);
	if (strncmp(at, "/*", 2) == 0)
		return behind_comment(at);
	return *at == '$' ? behind_dollars(at) : NULL;
}

/* `at`: behind the opening one. */
static bool has_one_argument(const char *at, bool is_plan)
{
	int depth = 0;

	while (*at && depth >= 0) {
		const char *behind = behind_what_is_no_code(at, is_plan);

		if (behind) {
			at = behind;
			continue;
		}
		if (*at == ',' && depth == 0)
			return false;
		depth += (*at == '(') - (*at == ')');
		at++;
	}
	return true;
}

static bool means_clock(const struct clock_word *w, const char *behind, bool is_member, bool is_plan)
{
	behind += strspn(behind, " \t\r\n");
	if (w->kind == WORD)
		return !is_member; /* behind a dot it is a column */
	return *behind == '(' && (w->kind == CALL || has_one_argument(behind + 1, is_plan));
}

static const char *word_at(const char *at, size_t len, bool is_member, bool is_plan)
{
	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
		if (strlen(words[i].name) == len && strncasecmp(words[i].name, at, len) == 0 &&
		    means_clock(&words[i], at + len, is_member, is_plan))
			return words[i].name;
	return NULL;
}

/* In JSON a quoted name is \"name\". */
static bool is_quoted(const char *sql, const char *at)
{
	return at - sql >= 2 && at[-1] == '"' && at[-2] == '\\';
}

const char *sqlclock_find(const char *sql, bool is_plan)
{
	const char *at = sql, *behind, *found;
	size_t len;

	while (*at) {
		behind = behind_what_is_no_code(at, is_plan);
		if (behind) {
			at = behind;
			continue;
		}
		for (len = 0; is_of_name(at[len]);)
			len++;
		found = len && !is_quoted(sql, at) ? word_at(at, len, at > sql && at[-1] == '.', is_plan) : NULL;
		if (found)
			return found;
		at += len ? len : 1;
	}
	return NULL;
}
