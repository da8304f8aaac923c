/* A frame that is accepted can be written again from what was parsed, byte for byte. */
#include <stdlib.h>

#include "walpush/base/buf.h"
#include "walframe.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void add64(struct buf *b, uint64_t n)
{
	for (int shift = 56; shift >= 0; shift -= 8)
		buf_add_char(b, (char)(n >> shift));
}

static void write_frame(struct buf *b, const struct walframe *f)
{
	buf_add_char(b, f->kind == WALFRAME_DATA ? 'w' : 'k');
	if (f->kind == WALFRAME_DATA)
		add64(b, f->start);
	add64(b, f->end);
	add64(b, (uint64_t)f->sent_at);
	if (f->kind == WALFRAME_DATA)
		buf_add_slice(b, f->payload);
	else
		buf_add_char(b, f->reply_demanded);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice bytes = { (const char *)data, size };
	struct buf again = { 0 };
	struct walframe frame;
	struct fail why;

	if (!walframe_parse(bytes, &frame, &why))
		return 0;
	write_frame(&again, &frame);
	if (!slice_equal(bytes, buf_slice(&again)))
		abort();
	buf_fini(&again);
	return 0;
}
