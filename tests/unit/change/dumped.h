/* dumped: a change as lines of text, for comparison. */
#ifndef TEST_DUMPED_H
#define TEST_DUMPED_H

#include "walpush/base/buf.h"
#include "walpush/change/decode.h"

static inline void dump_columns(struct buf *out, char mark, const struct column *columns, size_t n)
{
	static const char *const kinds[] = { "null", "bool", "number", "string" };

	for (size_t i = 0; i < n; i++) {
		buf_addf(out, "  %c ", mark);
		buf_add_slice(out, columns[i].name);
		buf_addf(out, " %u %s", columns[i].type, kinds[columns[i].kind]);
		if (columns[i].kind != VALUE_NULL)
			buf_add_char(out, ' ');
		buf_add_slice(out, columns[i].value);
		buf_add_char(out, '\n');
	}
}

static inline void dump_change(struct buf *out, const struct change *c)
{
	static const char *const kinds[] = { "begin", "commit", "insert", "update", "delete", "truncate", "message" };
	char lsn[LSN_TEXT_MAX], next[LSN_TEXT_MAX];

	lsn_format(lsn, c->lsn);
	lsn_format(next, c->next_lsn);
	buf_addf(out, "%s xid=%u lsn=%s next=%s at=%.*s", kinds[c->kind], c->xid, lsn, next, (int)c->timestamp.len,
		 c->timestamp.at);
	if (c->table.len)
		buf_addf(out, " table=%.*s . %.*s", (int)c->schema.len, c->schema.at, (int)c->table.len, c->table.at);
	buf_add_char(out, '\n');
	dump_columns(out, '+', c->columns, c->n_columns);
	dump_columns(out, '-', c->identity, c->n_identity);
}

#endif
