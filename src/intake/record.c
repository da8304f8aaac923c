#include "record.h"

#include <stdlib.h>
#include <string.h>

#include "walpush/base/mem.h"
#include "walpush/pg/source.h"

#define ACTION "{\"action\":\""

char record_kind(struct slice text)
{
	size_t n = strlen(ACTION);

	if (text.len <= n || memcmp(text.at, ACTION, n) != 0)
		return 0;
	return text.at[n];
}

struct record *record_new(char *bytes, struct slice text, uint64_t number)
{
	struct record *r = mem_new(sizeof(*r));

	r->bytes = bytes;
	r->text = text;
	r->number = number;
	r->kind = record_kind(text);
	return r;
}

void record_free(struct record *r)
{
	answers_drop(&r->answers);
	source_free_record(r->bytes);
	free(r->names);
	free(r);
}

size_t record_cost(const struct record *r)
{
	return r->text.len + sizeof(*r) + 64;
}

void record_drop_text(struct record *r)
{
	source_free_record(r->bytes);
	r->bytes = NULL;
	r->text = (struct slice){ 0 };
}
