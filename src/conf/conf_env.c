/* ${NAME} and ${NAME:-default} in strings. No error shows a value, because it may be a password. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "parts.h"
#include "walpush/base/mem.h"
#include "walpush/base/utf8.h"

static size_t name_length(const char *s)
{
	size_t n = 0;

	if (isdigit((unsigned char)*s))
		return 0;
	while (isalnum((unsigned char)s[n]) || s[n] == '_')
		n++;
	return n;
}

struct place {
	const struct conf_reader *r;
	unsigned line;
	const char *shown;
};

/* `at`: after "${". Returns the text after the "}"; NULL on failure. */
static const char *put_variable(const struct place *p, const char *at, struct buf *out)
{
	size_t n = name_length(at);
	const char *fallback = strncmp(at + n, ":-", 2) == 0 ? at + n + 2 : NULL;
	const char *end = fallback ? fallback + strcspn(fallback, "{}") : at + n;
	char *name;
	const char *value;

	if (n == 0 || *end != '}') {
		fails_add(p->r->all, p->r->file, p->line,
			  "%s: after \"${\" comes NAME} or NAME:-default}, the default without "
			  "braces; write \"$${\" for the characters themselves",
			  p->shown);
		return NULL;
	}
	name = mem_text_of((struct slice){ at, n });
	value = getenv(name);
	if (value && *value)
		buf_add_text(out, value);
	else if (fallback)
		buf_add(out, fallback, (size_t)(end - fallback));
	else
		fails_add(p->r->all, p->r->file, p->line,
			  "%s needs the environment variable %.100s, which is unset or empty", p->shown, name);
	free(name);
	return (value && *value) || fallback ? end + 1 : NULL;
}

char *conf_expand(const struct conf_reader *r, unsigned line, const char *shown, const char *text)
{
	struct place place = { r, line, shown };
	struct buf out = { 0 };
	const char *next;

	buf_add_text(&out, "");
	while ((next = strstr(text, "${"))) {
		bool escaped = next > text && next[-1] == '$';

		buf_add(&out, text, (size_t)(next - text));
		text = next + 2;
		if (escaped) {
			buf_add_char(&out, '{');
			continue;
		}
		text = put_variable(&place, text, &out);
		if (!text)
			goto fail;
	}
	buf_add_text(&out, text);
	if (!utf8_is_valid(slice_of(out.data))) {
		fails_add(r->all, r->file, line, "%s is not valid UTF-8", shown);
		goto fail;
	}
	return buf_steal(&out);
fail:
	buf_fini(&out);
	return NULL;
}
