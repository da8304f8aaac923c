/*
 * Finds text that libconfig accepts but misreads. Versions 1.5 to 1.7 report no error for these: a comment or a string that never ends (the
 * rest of the file is lost), an integer beyond 32 bits (cut to its low half), "\x00" (the string ends there), a missing comma in a list of
 * strings (two become one). @include is refused, because a line number must be a line of this file.
 *
 * This is not a parser: it knows comments, strings, brackets and numbers, and leaves all other errors to libconfig.
 */
#include <ctype.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "parts.h"
#include "walpush/base/mem.h"

#define NESTING_MAX 16 /* the deepest legal place is tables.X.actions.Y.on[…] */

struct scan {
	const struct conf_reader *r;
	const char *at, *end;
	unsigned line;
	char open[NESTING_MAX]; /* the brackets around `at` */
	size_t depth;
	bool after_string; /* the last token was a string: libconfig would join another one to it */
	struct conf_lines *lines;
};

static bool in_list(const struct scan *s)
{
	return s->depth && s->open[s->depth - 1] != '{';
}

static bool scan_comment(struct scan *s)
{
	unsigned start = s->line;

	for (s->at += 2; s->at + 1 < s->end; s->at++) {
		if (s->at[0] == '*' && s->at[1] == '/') {
			s->at += 2;
			return true;
		}
		s->line += *s->at == '\n';
	}
	return fails_add(s->r->all, s->r->file, start, "this comment is never closed: end it with */");
}

static bool scan_string(struct scan *s)
{
	unsigned start = s->line;

	if (in_list(s) && s->after_string)
		return fails_add(s->r->all, s->r->file, s->line,
				 "two strings side by side are one: put a comma between them");
	if (in_list(s)) {
		s->lines->at = mem_resize(s->lines->at, s->lines->n + 1, sizeof(*s->lines->at));
		s->lines->at[s->lines->n++] = s->line;
	}
	s->after_string = true;
	for (s->at++; s->at < s->end && *s->at != '"'; s->at++) {
		s->line += *s->at == '\n';
		if (*s->at != '\\' || s->at + 1 == s->end)
			continue;
		if (s->end - s->at >= 4 && tolower(s->at[1]) == 'x' && s->at[2] == '0' && s->at[3] == '0')
			return fails_add(s->r->all, s->r->file, s->line,
					 "a string cannot hold a zero byte: leave out \\x00");
		if (s->at[1] == '\\' || s->at[1] == '"')
			s->at++;
	}
	if (s->at == s->end)
		return fails_add(s->r->all, s->r->file, start,
				 "this string is never closed: end it with a double quote");
	s->at++;
	return true;
}

static bool is_word(char c)
{
	return isalnum((unsigned char)c) || c == '_' || c == '-' || c == '+' || c == '.' || c == '*';
}

/* A number, a name, true or false. Checks only for an integer that libconfig would cut. */
static bool scan_word(struct scan *s)
{
	char word[64];
	char *rest;
	size_t n = 0;
	long long value;

	while (s->at + n < s->end && is_word(s->at[n]))
		n++;
	memcpy(word, s->at, n < sizeof(word) ? n : sizeof(word) - 1);
	word[n < sizeof(word) ? n : sizeof(word) - 1] = '\0';
	s->at += n;
	s->after_string = false;
	if (strspn(word, "+-") > 1 || !strpbrk(word, "0123456789"))
		return true;
	errno = 0;
	value = strtoll(word, &rest, strncasecmp(word + strspn(word, "+-"), "0x", 2) == 0 ? 16 : 10);
	if (rest == word || *rest != '\0')
		return true;
	if (errno || value > INT32_MAX || value < INT32_MIN)
		return fails_add(s->r->all, s->r->file, s->line,
				 "an integer beyond 32 bits needs an L behind it, as in 5000000000L");
	return true;
}

static bool scan_bracket(struct scan *s)
{
	char c = *s->at++;

	s->after_string = false;
	if (strchr("{[(", c)) {
		if (s->depth == NESTING_MAX)
			return fails_add(s->r->all, s->r->file, s->line, "nested too deeply");
		s->open[s->depth++] = c;
	} else if (s->depth) {
		s->depth--;
	}
	return true;
}

static bool scan_token(struct scan *s)
{
	char c = *s->at;

	if (c == '\0')
		return fails_add(s->r->all, s->r->file, s->line, "a zero byte: this is not a text file");
	if (c == '@')
		return fails_add(s->r->all, s->r->file, s->line,
				 "@include is not supported: put everything into this file");
	if (c == '"')
		return scan_string(s);
	if (c == '/' && s->at + 1 < s->end && s->at[1] == '*')
		return scan_comment(s);
	if (c == '#' || (c == '/' && s->at + 1 < s->end && s->at[1] == '/')) {
		while (s->at < s->end && *s->at != '\n')
			s->at++;
		return true;
	}
	if (strchr("{[()]}", c))
		return scan_bracket(s);
	if (is_word(c))
		return scan_word(s);
	s->line += c == '\n';
	if (!isspace((unsigned char)c))
		s->after_string = false;
	s->at++;
	return true;
}

bool conf_scan(const struct conf_reader *r, struct slice text, struct conf_lines *out)
{
	struct scan s = { .r = r, .at = text.at, .end = text.at + text.len, .line = 1, .lines = out };

	while (s.at < s.end)
		if (!scan_token(&s))
			return false;
	return true;
}
