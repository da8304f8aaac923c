#include "walpush/text/shown.h"

#include <stdbool.h>
#include <string.h>

#define CUT "..."

static bool may_begin_a_secret(struct slice rest)
{
	return (rest.at[0] && strchr("?&;=#", rest.at[0])) || (rest.len >= 3 && memcmp(rest.at, "eyJ", 3) == 0);
}

static bool is_plain(char c)
{
	return c > ' ' && c <= '~' && c != '"' && c != '\\' && c != '%';
}

/* Returns how many bytes it wrote: at most three. */
static size_t write_byte(char c, char out[3])
{
	if (is_plain(c)) {
		out[0] = c;
		return 1;
	}
	out[0] = '%';
	out[1] = "0123456789ABCDEF"[(unsigned char)c >> 4];
	out[2] = "0123456789ABCDEF"[(unsigned char)c & 0xF];
	return 3;
}

void shown(struct slice text, char out[SHOWN_MAX])
{
	size_t n = 0, i = 0;

	while (i < text.len && n + 3 + sizeof(CUT) <= SHOWN_MAX &&
	       !may_begin_a_secret((struct slice){ text.at + i, text.len - i }))
		n += write_byte(text.at[i++], out + n);
	memcpy(out + n, i < text.len ? CUT : "", i < text.len ? sizeof(CUT) : 1);
}
