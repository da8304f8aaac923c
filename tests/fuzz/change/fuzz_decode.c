/*
 * Whatever decode accepts: every slice lies in the record, every text is sound and unescapes to UTF-8 without a zero byte,
 * a byte less or more is refused, and jansson reads it too (but for numbers that are too large for it, and for messages,
 * whose bytes need not be UTF-8). Whatever it refuses: the offset lies in the record.
 */
#include <jansson.h>
#include <stdlib.h>

#include "walpush/base/buf.h"
#include "walpush/change/decode.h"
#include "walpush/text/jsontext.h"
#include "walpush/base/mem.h"
#include "walpush/base/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct decoder *decoder;

static void must(bool holds)
{
	if (!holds)
		abort();
}

static void check_text(struct slice record, struct slice text)
{
	struct buf plain = { 0 };

	if (!text.at)
		return;
	must(text.at >= record.at && text.at + text.len <= record.at + record.len);
	must(jsontext_unescape(text, &plain));
	must(utf8_is_valid(buf_slice(&plain)));
	must(plain.len == 0 || !memchr(plain.data, '\0', plain.len));
	buf_fini(&plain);
}

static void check_columns(struct slice record, const struct column *columns, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		check_text(record, columns[i].name);
		check_text(record, columns[i].value);
		must((columns[i].kind == VALUE_NULL) <= (columns[i].value.len == 0));
	}
}

static void check_jansson(struct slice record, const struct change *c)
{
	json_error_t error;
	json_t *root = json_loadb(record.at, record.len, JSON_REJECT_DUPLICATES, &error);

	must(root || json_error_code(&error) == json_error_numeric_overflow ||
	     (c->kind == CHANGE_MESSAGE && !utf8_is_valid(record)));
	json_decref(root);
}

static void check_a_byte_less_or_more(struct slice record)
{
	char *bytes = mem_new(record.len + 1);
	struct change change;
	struct fail why;

	memcpy(bytes, record.at, record.len);
	bytes[record.len] = '}';
	must(!decode_record(decoder, (struct slice){ bytes, record.len - 1 }, &change, &why));
	must(!decode_record(decoder, (struct slice){ bytes, record.len + 1 }, &change, &why));
	free(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice record = { (const char *)data, size };
	struct change change;
	struct fail why;
	bool tells;

	if (!decoder)
		decoder = decoder_new();
	tells = decode_is_ddl(record);
	if (!decode_record(decoder, record, &change, &why)) {
		must(why.offset <= size);
		return 0;
	}
	must(!tells || change.kind == CHANGE_MESSAGE);
	check_text(record, change.schema);
	check_text(record, change.table);
	check_text(record, change.timestamp);
	check_columns(record, change.columns, change.n_columns);
	check_columns(record, change.identity, change.n_identity);
	check_jansson(record, &change);
	check_a_byte_less_or_more(record);
	return 0;
}
