#include "record.h"

#include <stdlib.h>

#include "walpush/base/mem.h"
#include "walpush/change/plugin.h"
#include "walpush/pg/source.h"

struct record *record_new(char *bytes, struct slice text, struct relation *relation, uint64_t number)
{
	struct record *r = mem_new(sizeof(*r));

	r->bytes = bytes;
	r->text = text;
	r->relation = relation;
	r->relation_bytes = relation ? relation_charge(relation) : 0;
	r->number = number;
	r->kind = plugin_kind(text);
	return r;
}

void record_free(struct record *r)
{
	answers_drop(&r->answers);
	source_free_record(r->bytes);
	relation_unref(r->relation);
	free(r->names);
	free(r);
}

size_t record_cost(const struct record *r)
{
	return r->text.len + r->relation_bytes + sizeof(*r) + 64;
}

void record_drop_text(struct record *r)
{
	source_free_record(r->bytes);
	r->bytes = NULL;
	r->text = (struct slice){ 0 };
}
