/* A snapshot that is accepted prints as it was, and sees nothing that runs or is yet to come. */
#include <stdlib.h>

#include "walpush/base/buf.h"
#include "walpush/pg/snapshot.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void print(struct buf *b, const struct snapshot *s)
{
	buf_add_u64(b, s->xmin);
	buf_add_char(b, ':');
	buf_add_u64(b, s->xmax);
	buf_add_char(b, ':');
	for (size_t i = 0; i < s->n_running; i++) {
		if (i)
			buf_add_char(b, ',');
		buf_add_u64(b, s->running[i]);
	}
}

static void check_sees(const struct snapshot *s)
{
	if (snapshot_sees(s, (uint32_t)s->xmax))
		abort();
	for (size_t i = 0; i < s->n_running; i++) /* further back, 32 bits no longer tell */
		if (s->xmax - s->running[i] <= UINT64_C(1) << 31 && snapshot_sees(s, (uint32_t)s->running[i]))
			abort();
	if (s->xmax - s->xmin < UINT64_C(1) << 31 && !snapshot_sees(s, (uint32_t)(s->xmin - 1)))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice text = { (const char *)data, size };
	struct snapshot snapshot = { 0 };
	struct buf again = { 0 };
	struct fail why;

	if (!snapshot_parse(text, &snapshot, &why)) {
		if (snapshot.running || why.offset > size)
			abort();
		return 0;
	}
	print(&again, &snapshot);
	if (!slice_equal(text, buf_slice(&again)))
		abort();
	check_sees(&snapshot);
	buf_fini(&again);
	snapshot_fini(&snapshot);
	return 0;
}
