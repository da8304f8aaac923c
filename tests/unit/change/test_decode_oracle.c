/* jansson as the oracle of decode: on every recorded record, and on mutations of them, the two must tell the same.
 * jansson refuses numbers that are too large for it, so each number that decode found is first replaced by 0 where jansson
 * cannot read it; everything else is still compared. */
#include <stddef.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <jansson.h>

#include "records.h"
#include "walpush/change/decode.h"
#include "walpush/text/jsontext.h"
#include "walpush/base/utf8.h"

#define MUTATIONS 1500 /* of each recorded record */

static struct decoder *decoder;
static size_t accepted, refused;

static void disagree(struct slice record, const char *what)
{
	fail_msg("decode and jansson disagree on %s: %.*s", what, (int)record.len, record.at);
}

static bool same_text(struct slice body, const json_t *value)
{
	struct buf text = { 0 };
	bool same =
		json_is_string(value) && jsontext_unescape(body, &text) &&
		slice_equal(buf_slice(&text), (struct slice){ json_string_value(value), json_string_length(value) });

	buf_fini(&text);
	return same;
}

/* A zero where jansson could not read the number. */
static bool same_number(struct slice digits, const json_t *value, bool blanked)
{
	char text[2000];

	if (blanked || digits.len >= sizeof(text))
		return json_is_number(value);
	snprintf(text, sizeof(text), "%.*s", (int)digits.len, digits.at);
	if (json_is_integer(value))
		return !strpbrk(text, ".eE") && strtoll(text, NULL, 10) == json_integer_value(value);
	return json_is_real(value) && strpbrk(text, ".eE") && strtod(text, NULL) == json_real_value(value);
}

static bool same_value(const struct column *c, const json_t *value, bool blanked)
{
	switch (c->kind) {
	case VALUE_NULL:
		return json_is_null(value) && c->value.len == 0;
	case VALUE_BOOL:
		return json_is_boolean(value) &&
		       slice_equal(c->value, json_is_true(value) ? SLICE("true") : SLICE("false"));
	case VALUE_NUMBER:
		return same_number(c->value, value, blanked);
	default:
		return same_text(c->value, value);
	}
}

static bool same_columns(const struct column *columns, size_t n, const json_t *array, bool blanked)
{
	if (json_array_size(array) != n)
		return false;
	for (size_t i = 0; i < n; i++) {
		json_t *o = json_array_get(array, i);

		if (json_object_size(o) != 3 || !same_text(columns[i].name, json_object_get(o, "name")) ||
		    columns[i].type != (uint32_t)json_integer_value(json_object_get(o, "typeoid")) ||
		    !same_value(&columns[i], json_object_get(o, "value"), blanked))
			return false;
	}
	return true;
}

static bool same_lsn(lsn_t lsn, const json_t *value)
{
	lsn_t other = 0;

	return value ? lsn_parse(slice_of(json_string_value(value)), &other) && lsn == other : lsn == 0;
}

static bool same_optional_text(struct slice body, const json_t *value)
{
	return value ? same_text(body, value) : body.len == 0;
}

static void compare(struct slice record, const struct change *c, const json_t *root, bool blanked)
{
	static const char letters[] = "BCIUDTM";

	if (json_string_value(json_object_get(root, "action"))[0] != letters[c->kind])
		disagree(record, "the action");
	if (c->kind == CHANGE_MESSAGE)
		return;
	if (c->xid != (uint32_t)json_integer_value(json_object_get(root, "xid")))
		disagree(record, "xid");
	if (!same_lsn(c->lsn, json_object_get(root, "lsn")) || !same_lsn(c->next_lsn, json_object_get(root, "nextlsn")))
		disagree(record, "an LSN");
	if (!same_optional_text(c->timestamp, json_object_get(root, "timestamp")))
		disagree(record, "the timestamp");
	if (!same_optional_text(c->schema, json_object_get(root, "schema")) ||
	    !same_optional_text(c->table, json_object_get(root, "table")))
		disagree(record, "the table");
	if (!same_columns(c->columns, c->n_columns, json_object_get(root, "columns"), blanked))
		disagree(record, "columns");
	if (!same_columns(c->identity, c->n_identity, json_object_get(root, "identity"), blanked))
		disagree(record, "identity");
}

static void blank_numbers(struct slice record, char *copy, const struct column *columns, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (columns[i].kind == VALUE_NUMBER) {
			size_t at = (size_t)(columns[i].value.at - record.at);

			memset(copy + at, ' ', columns[i].value.len);
			copy[at] = '0';
		}
}

static bool is_out_of_range(const json_error_t *error)
{
	return json_error_code(error) == json_error_numeric_overflow;
}

static json_t *load_blanked(struct slice record, const struct change *c, json_error_t *error)
{
	struct slice copy = records_exact(record);
	json_t *root;

	blank_numbers(record, (char *)copy.at, c->columns, c->n_columns);
	blank_numbers(record, (char *)copy.at, c->identity, c->n_identity);
	root = json_loadb(copy.at, copy.len, JSON_REJECT_DUPLICATES, error);
	records_free(copy);
	return root;
}

/* The bytes of a message need not be UTF-8, which jansson insists on. */
static bool is_binary_message(struct slice record, const struct change *c)
{
	return c->kind == CHANGE_MESSAGE && !utf8_is_valid(record);
}

static void check_accepted(struct slice record, const struct change *c)
{
	json_error_t error;
	json_t *root = json_loadb(record.at, record.len, JSON_REJECT_DUPLICATES, &error);
	bool blanked = !root && is_out_of_range(&error);

	if (is_binary_message(record, c))
		return;
	if (blanked)
		root = load_blanked(record, c, &error);
	if (!root)
		fail_msg("jansson refuses what decode accepts, %s: %.*s", error.text, (int)record.len, record.at);
	compare(record, c, root, blanked);
	json_decref(root);
}

static void check_recorded(struct slice record, void *ctx)
{
	struct change change;
	struct fail why;

	(void)ctx;
	if (!decode_record(decoder, record, &change, &why))
		fail_msg("%s: %.*s", why.text, (int)record.len, record.at);
	check_accepted(record, &change);
}

static uint32_t next_random(void) /* xorshift: the same sequence in every run */
{
	static uint32_t x = 2463534242u;

	x ^= x << 13;
	x ^= x >> 17;
	x ^= x << 5;
	return x;
}

static size_t below(size_t n)
{
	return n ? next_random() % n : 0;
}

static struct slice random_token(void)
{
	static const char *const tokens[] = { "\"",
					      "\\",
					      "\\u00e9",
					      "\\ud83d\\ude00",
					      "\\ud83d",
					      "\\u0000",
					      "\\n",
					      "\n",
					      "\xC3\xA9",
					      "\xE2\x80\xA8",
					      "\xF0\x9F\x98\x80",
					      "\xFF",
					      "\xC3",
					      "{",
					      "}",
					      "[",
					      "]",
					      ",",
					      ":",
					      "null",
					      "true",
					      "0",
					      "-",
					      "1e9",
					      "1e999",
					      ".5",
					      "99999999999999999999",
					      "\"value\":1",
					      ",\"xid\":1",
					      " ",
					      "\x7F",
					      "" };

	return slice_of(tokens[below(sizeof(tokens) / sizeof(tokens[0]))]);
}

/* Replaces up to three bytes somewhere by a token. */
static void mutate(struct slice record, struct buf *out)
{
	size_t at = below(record.len), gone = below(4);
	struct slice token = random_token();

	if (gone > record.len - at)
		gone = record.len - at;
	buf_clear(out);
	buf_add(out, record.at, at);
	buf_add_slice(out, token);
	buf_add(out, record.at + at + gone, record.len - at - gone);
}

static void check_mutations(struct slice record, void *ctx)
{
	struct buf mutation = { 0 };

	(void)ctx;
	for (int i = 0; i < MUTATIONS; i++) {
		struct slice exact;
		struct change change;
		struct fail why;

		mutate(record, &mutation);
		exact = records_exact(buf_slice(&mutation));
		if (decode_record(decoder, exact, &change, &why)) {
			accepted++;
			check_accepted(exact, &change);
		} else {
			refused++;
		}
		records_free(exact);
	}
	buf_fini(&mutation);
}

struct walk {
	void (*each)(struct slice record, void *ctx);
	size_t n;
};

static void walk_recording(const char *stem, void *ctx)
{
	struct walk *walk = ctx;
	char path[200];

	snprintf(path, sizeof(path), RECORDS_DIR "input/%s.jsonl", stem);
	walk->n += records_lines(path, walk->each, NULL);
}

static void test_recordings(void **state)
{
	struct walk walk = { check_recorded, 0 };

	(void)state;
	records_names(RECORDS_DIR "input", walk_recording, &walk);
	assert_true(walk.n >= 250);
}

static void test_mutations(void **state)
{
	struct walk walk = { check_mutations, 0 };

	(void)state;
	records_names(RECORDS_DIR "input", walk_recording, &walk);
	/* Both must happen often, or nothing was compared. */
	assert_true(accepted > walk.n * MUTATIONS / 50);
	assert_true(refused > walk.n * MUTATIONS / 50);
}

/* Would the oracle notice? A change that differs from the record in one point. */
static void test_the_oracle_sees(void **state)
{
	struct column right = { SLICE("n"), SLICE("1.5"), 1700, VALUE_NUMBER }, wrong = right;
	json_t *array = json_loads("[{\"name\":\"n\",\"typeoid\":1700,\"value\":1.5}]", 0, NULL);

	(void)state;
	assert_true(same_columns(&right, 1, array, false));
	wrong.value = SLICE("1.6");
	assert_false(same_columns(&wrong, 1, array, false));
	wrong = right;
	wrong.kind = VALUE_STRING;
	assert_false(same_columns(&wrong, 1, array, false));
	wrong = right;
	wrong.type = 20;
	assert_false(same_columns(&wrong, 1, array, false));
	assert_false(same_columns(&right, 0, array, false));
	json_decref(array);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_recordings),
		cmocka_unit_test(test_mutations),
		cmocka_unit_test(test_the_oracle_sees),
	};
	int failed;

	decoder = decoder_new();
	failed = cmocka_run_group_tests_name("decode and jansson", tests, NULL, NULL);
	decoder_free(decoder);
	return failed;
}
