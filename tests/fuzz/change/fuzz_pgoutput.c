/*
 * A stream of messages, each behind its length in two bytes. Whatever pgoutput accepts: every text unescapes to UTF-8 without a zero byte, a
 * number is one of JSON's, and a byte less or more is refused. Whatever it refuses: the offset lies in the message.
 */
#include <stdlib.h>

#include "walpush/base/buf.h"
#include "walpush/base/mem.h"
#include "walpush/base/utf8.h"
#include "walpush/change/pgoutput.h"
#include "walpush/text/jsontext.h"

#define TABLES_MOST 4 /* of a TRUNCATE */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct pgoutput *decoder;
static struct relations *relations;

static void must(bool holds)
{
	if (!holds)
		abort();
}

static void check_text(struct slice text)
{
	struct buf plain = { 0 };

	if (!text.at)
		return;
	must(jsontext_unescape(text, &plain));
	must(utf8_is_valid(buf_slice(&plain)));
	must(plain.len == 0 || !memchr(plain.data, '\0', plain.len));
	buf_fini(&plain);
}

static void check_columns(const struct column *columns, size_t n)
{
	size_t len;

	for (size_t i = 0; i < n; i++) {
		check_text(columns[i].name);
		check_text(columns[i].value);
		must((columns[i].kind == VALUE_NULL) <= (columns[i].value.len == 0));
		if (columns[i].kind == VALUE_NUMBER)
			must(jsontext_number(columns[i].value, &len) && len == columns[i].value.len);
	}
}

static void check_a_byte_less_or_more(const struct relation *r, struct slice message)
{
	char *bytes = mem_new(message.len + 1);
	struct change change;
	struct fail why;

	memcpy(bytes, message.at, message.len);
	must(!pgoutput_decode(decoder, r, (struct slice){ bytes, message.len - 1 }, &change, &why));
	must(!pgoutput_decode(decoder, r, (struct slice){ bytes, message.len + 1 }, &change, &why));
	free(bytes);
}

static void decode(const struct relation *r, struct slice message)
{
	struct change change;
	struct fail why;

	if (!pgoutput_decode(decoder, r, message, &change, &why)) {
		must(why.offset <= message.len);
		return;
	}
	check_text(change.schema);
	check_text(change.table);
	check_text(change.timestamp);
	check_columns(change.columns, change.n_columns);
	check_columns(change.identity, change.n_identity);
	must(!pgoutput_is_ddl(message) || change.kind == CHANGE_MESSAGE);
	check_a_byte_less_or_more(r, message);
}

static void take(struct slice message)
{
	size_t n = relations_count(message);
	struct fail why;

	if (relation_is_told(message)) {
		relations_take(relations, message, &why);
		return;
	}
	if (n == 0)
		decode(NULL, message);
	for (size_t i = 0; i < n && i < TABLES_MOST; i++) {
		struct relation *r = relations_find(relations, message, i, &why);

		decode(r, message);
		relation_unref(r);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!decoder) {
		decoder = pgoutput_new();
		relations = relations_new();
	}
	relations_forget(relations);
	while (size > 2) {
		size_t n = (size_t)data[0] << 8 | data[1];
		char *message;

		data += 2;
		size -= 2;
		n = n < size ? n : size;
		message = mem_new(n + 1);
		memcpy(message, data, n);
		take((struct slice){ message, n });
		free(message);
		data += n;
		size -= n;
	}
	return 0;
}
