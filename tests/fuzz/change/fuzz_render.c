/*
 * Whatever text a value has, and whatever its type is said to be, what is rendered is JSON; jansson judges (but for numbers
 * too large for it, and for lone surrogates, which JSON's grammar allows). Numbers and strings come back as they went in. The input is a
 * type, an element type, then the text as PostgreSQL's output function would give it.
 */
#include <jansson.h>
#include <stdlib.h>

#include "walpush/change/render.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint32_t types[] = { 25,  16,   17,   20,   23,   701,  1700, 1184, 1114, 1082, 1083,  1186,          2950,
				  114, 3802, 3904, 3906, 3908, 3910, 3912, 3926, 603,  869,  99999, CATALOG_HSTORE };

#define N_TYPES (sizeof(types) / sizeof(types[0]))

static void must(bool holds)
{
	if (!holds)
		abort();
}

static json_t *parse(const struct buf *out, bool *beyond_jansson)
{
	json_error_t error;
	json_t *json =
		json_loadb(out->data, out->len, JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, &error);

	*beyond_jansson = !json && (json_error_code(&error) == json_error_numeric_overflow ||
				    memmem(out->data, out->len, "\\u", 2));
	return json;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf body = { 0 }, out = { 0 };
	struct column value = { .kind = VALUE_STRING };
	uint32_t type, element;
	bool beyond;
	json_t *json;

	if (size < 2)
		return 0;
	type = types[data[0] % N_TYPES];
	element = data[1] & 1 ? types[data[1] / 2 % N_TYPES] : 0;
	buf_add_json(&body, (struct slice){ (const char *)data + 2, size - 2 });
	value.value = buf_slice(&body);
	buf_add_text(&out, "x"); /* must stay */
	render_value(&value, type, element, &out);
	must(out.data[0] == 'x' && out.len > 1);
	out.data++;
	out.len--;
	json = parse(&out, &beyond);
	must(json || beyond);
	if (type == 25 && !element)
		must(out.len == body.len + 2 && memcmp(out.data + 1, body.data, body.len) == 0);
	if (json && element && size > 2 && data[2] != '{' && data[2] != '[')
		must(json_is_string(json));
	json_decref(json);
	out.data--;
	buf_fini(&body);
	buf_fini(&out);
	return 0;
}
