#include "walpush/text/sqltext.h"

#include <ctype.h>
#include <string.h>

void sqltext_literal(struct buf *out, const char *text)
{
	buf_add_char(out, '\'');
	for (; *text; text++) {
		if (*text == '\'')
			buf_add_char(out, '\'');
		buf_add_char(out, *text);
	}
	buf_add_char(out, '\'');
}

/* May the name be written without quotes? Quotes are always correct; a plain name is only easier to read. The list has only the reserved words
 * that are likely names of tables and roles, so other reserved words stay without quotes. */
static bool is_plain(const char *name)
{
	static const char *const reserved[] = { "user", "order", "group", "table", "end", "all", "default", "select" };

	if (!islower((unsigned char)*name) && *name != '_')
		return false;
	for (const char *c = name; *c; c++)
		if (!islower((unsigned char)*c) && !isdigit((unsigned char)*c) && *c != '_')
			return false;
	for (size_t i = 0; i < sizeof(reserved) / sizeof(*reserved); i++)
		if (strcmp(name, reserved[i]) == 0)
			return false;
	return true;
}

void sqltext_ident(struct buf *out, const char *name)
{
	if (is_plain(name)) {
		buf_add_text(out, name);
		return;
	}
	buf_add_char(out, '"');
	for (; *name; name++) {
		if (*name == '"')
			buf_add_char(out, '"');
		buf_add_char(out, *name);
	}
	buf_add_char(out, '"');
}
