#include "pgscan.h"

#include <string.h>

char pgscan_peek(const struct pgscan *s)
{
	return s->left.len ? *s->left.at : '\0';
}

void pgscan_skip(struct pgscan *s, size_t n)
{
	s->left.at += n;
	s->left.len -= n;
}

bool pgscan_quoted(struct pgscan *s, struct slice *out)
{
	buf_clear(&s->unquoted);
	for (pgscan_skip(s, 1); s->left.len; pgscan_skip(s, 1)) {
		char c = *s->left.at;

		if (c == '"' && (s->left.len < 2 || s->left.at[1] != '"')) {
			pgscan_skip(s, 1);
			*out = buf_slice(&s->unquoted);
			return true;
		}
		if (c == '"' || c == '\\') {
			pgscan_skip(s, 1);
			if (s->left.len == 0)
				return false;
		}
		buf_add_char(&s->unquoted, *s->left.at);
	}
	return false;
}

bool pgscan_plain(struct pgscan *s, const char *ends, struct slice *out)
{
	size_t n = 0;

	while (n < s->left.len && s->left.at[n] != s->delimiter && s->left.at[n] != '\0' &&
	       !strchr(ends, s->left.at[n]))
		n++;
	*out = (struct slice){ s->left.at, n };
	pgscan_skip(s, n);
	return n > 0;
}
