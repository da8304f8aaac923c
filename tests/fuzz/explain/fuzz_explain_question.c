/* Any query of /explain: what is read of it can be written, and is read again as the same. And any key: what it is compared with changes nothing. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

#include "walpush/base/mem.h"
#include "walpush/explain/explain.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool same(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

static void any_question(struct slice query)
{
	struct explain_question q, again;
	struct fail why = { 0 };
	struct buf out = { 0 };

	if (!explain_question_read(query, &q, &why)) {
		assert(*why.text && !q.user && !q.claims);
		return;
	}
	explain_question_write(&q, &out);
	assert(explain_question_read(buf_slice(&out), &again, &why));
	assert(again.kind == q.kind && same(again.user, q.user) && same(again.path, q.path) &&
	       same(again.table, q.table) && same(again.key, q.key) && same(again.find, q.find));
	assert(event_id_compare(again.event, q.event) == 0 && json_equal(again.claims, q.claims) == (q.claims != NULL));
	explain_question_fini(&q);
	explain_question_fini(&again);
	buf_fini(&out);
}

static void any_key(struct slice bytes)
{
	char *text = mem_text_of(bytes);

	assert(explain_key_is(text, text));
	explain_key_is(text, "1");
	explain_key_is("[1,\"a\"]", text);
	explain_key_is("\"a\\u0062\"", text);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice bytes = { (const char *)data, size };

	if (!data)
		return 0;
	any_question(bytes);
	if (!memchr(data, '\0', size))
		any_key(bytes);
	return 0;
}
