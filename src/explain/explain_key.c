#include <stdlib.h>

#include "parts.h"

static json_t *text_of(const json_t *value)
{
	char *text;
	json_t *result;

	if (json_is_string(value))
		return json_string(json_string_value(value));
	text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
	result = json_string(text ? text : "");
	free(text);
	return result;
}

static json_t *texts_of(json_t *values)
{
	json_t *texts = json_array();

	for (size_t i = 0; i < json_array_size(values); i++)
		json_array_append_new(texts, text_of(json_array_get(values, i)));
	json_decref(values);
	return texts;
}

json_t *explain_key_read(const char *text, size_t n)
{
	json_t *values = *text == '[' && n > 1 ? json_loads(text, 0, NULL) : NULL;
	json_t *quoted = *text == '"' ? json_loads(text, JSON_DECODE_ANY, NULL) : NULL;

	if (!values)
		values = json_pack("[s]", quoted ? json_string_value(quoted) : text);
	json_decref(quoted);
	values = texts_of(values);
	if (json_array_size(values) == n)
		return values;
	json_decref(values);
	return NULL;
}

static bool same_values(const char *json, const char *text)
{
	json_t *list = *json == '[' ? json_loads(json, 0, NULL) : NULL;
	size_t n = list ? json_array_size(list) : 1;
	json_t *a = explain_key_read(json, n), *b = explain_key_read(text, n);
	bool same = a && b && json_equal(a, b);

	json_decref(list);
	json_decref(a);
	json_decref(b);
	return same;
}

/* Thousands of keys are compared with one text, so most of them are without being parsed. */
bool explain_key_is(const char *json, const char *text)
{
	size_t n = strlen(text);

	if (strcmp(json, text) == 0)
		return true;
	if (*json == '[' || *text == '"' || strchr(json, '\\'))
		return same_values(json, text);
	return *json == '"' && strncmp(json + 1, text, n) == 0 && strcmp(json + 1 + n, "\"") == 0;
}
