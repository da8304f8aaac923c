#include "walpush/text/sqlclock.h"

#include <ctype.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

static const struct clock_word {
	const char *name;
	enum { WORD, CALL, CALL_WITH_ONE } kind; /* age() with two arguments does not read the clock */
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

/* Words that the server replaces by the current time or date in a literal. */
static const char *const literals[] = { "now", "today", "tomorrow", "yesterday" };

static bool is_of_name(char c)
{
	return isalnum((unsigned char)c) || c == '_' || c == '$' || (unsigned char)c >= 0x80;
}

/* The position after the next `quote`. A doubled quote ends the text and begins another one, with the same result. */
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

/* $tag$ … $tag$. A parameter such as $1 begins no such text. */
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

/* The position after the literal, quoted name or comment that begins at `at`; NULL: none begins there. */
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

/* `at`: after the opening parenthesis. */
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
		return !is_member; /* after a dot it is a column */
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

/* --- literals ------------------------------------------------------------------------------------------------------ */

/* Is the word at `at`, of `len` bytes, this word? */
static bool is_word(const char *at, size_t len, const char *word)
{
	return strlen(word) == len && strncasecmp(word, at, len) == 0;
}

static size_t word_len(const char *at, const char *end)
{
	size_t len = 0;

	while (at + len < end && isalpha((unsigned char)at[len]))
		len++;
	return len;
}

static size_t count_in_literal(const char *at, const char *end, const char *word)
{
	size_t n = 0;

	while (at < end) {
		size_t len = word_len(at, end);

		n += is_word(at, len, word);
		at += len ? len : 1;
	}
	return n;
}

static bool begins_literal(const char *at)
{
	return *at == '\'' || *at == '$' || ((*at == 'E' || *at == 'e') && at[1] == '\'');
}

static size_t count(const char *sql, const char *word)
{
	size_t n = 0;

	while (*sql) {
		const char *behind = behind_what_is_no_code(sql, false);

		if (behind && begins_literal(sql))
			n += count_in_literal(sql + 1, behind, word);
		if (behind)
			sql = behind;
		else
			for (sql++; is_of_name(sql[-1]) && is_of_name(*sql);)
				sql++; /* the e of type'x' begins no E'' literal */
	}
	return n;
}

const char *sqlclock_frozen(const char *sql, const char *definition)
{
	for (size_t i = 0; i < sizeof(literals) / sizeof(*literals); i++)
		if (count(sql, literals[i]) > count(definition, literals[i]))
			return literals[i];
	return NULL;
}

static const char *literal_word(const char *at, const char *end)
{
	for (size_t i = 0; i < sizeof(literals) / sizeof(*literals); i++)
		if (count_in_literal(at, end, literals[i]))
			return literals[i];
	return NULL;
}

/* `at`: after a literal. Is a parenthesis around the literal cast to a time or a date? The end of a plan's string ends the expression. */
static bool becomes_time(const char *at, bool is_plan)
{
	int depth = 0;

	while (*at && !(is_plan && *at == '"' && at[-1] != '\\')) {
		const char *behind = behind_what_is_no_code(at, is_plan);

		depth += (*at == '(') - (*at == ')');
		if (depth < 0) {
			depth = 0;
			if (strncmp(at + 1, "::date", 6) == 0 || strncmp(at + 1, "::time", 6) == 0)
				return true;
		}
		at = behind ? behind : at + 1;
	}
	return false;
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
			found = is_plan || begins_literal(at) ? literal_word(at, behind) : NULL;
			if (found && becomes_time(behind, is_plan))
				return found;
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
