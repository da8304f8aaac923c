/* An entry that is accepted says the same when it is written and read again. Input: fields split by newlines, the first is the id. */
#include <stdlib.h>

#include "walpush/relay/relay_entry.h"

#define FIELDS 32

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t split(const uint8_t *data, size_t size, struct slice out[FIELDS])
{
	size_t n = 0, start = 0;

	for (size_t i = 0; i <= size && n < FIELDS; i++) {
		if (i < size && data[i] != '\n')
			continue;
		out[n++] = (struct slice){ (const char *)data + start, i - start };
		start = i + 1;
	}
	return n;
}

static void check(const struct relay_entry *e)
{
	struct slice fields[RELAY_FIELDS_MAX + 2];
	char id[RELAY_ID_MAX], before[RELAY_ID_MAX];
	struct buf scratch = { 0 };
	struct relay_entry again;
	struct fail why;
	size_t n = relay_entry_encode(e, fields, &scratch);

	fields[n++] = SLICE("p");
	fields[n++] = (struct slice){ before, relay_id_format(before, e->before) };
	if (!relay_entry_decode((struct slice){ id, relay_id_format(id, e->id) }, fields, n, &again, &why))
		abort();
	if (again.kind != e->kind || again.end != e->end || event_id_compare(again.id, e->id) != 0 ||
	    event_id_compare(again.before, e->before) != 0)
		abort();
	buf_fini(&scratch);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice parts[FIELDS];
	struct relay_entry e;
	struct fail why;
	size_t n = split(data, size, parts);

	if (relay_entry_decode(parts[0], parts + 1, n - 1, &e, &why))
		check(&e);
	return 0;
}
