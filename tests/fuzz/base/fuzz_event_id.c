/* An id, or an LSN, that is accepted survives being printed and read again. No text is both. */
#include <stdlib.h>

#include "walpush/base/event_id.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_lsn(lsn_t lsn)
{
	char printed[LSN_TEXT_MAX];
	lsn_t again;

	if (!lsn_parse((struct slice){ printed, lsn_format(printed, lsn) }, &again) || again != lsn)
		abort();
}

static void check_id(struct event_id id)
{
	char printed[EVENT_ID_TEXT_MAX];
	struct event_id again;

	if (!event_id_parse((struct slice){ printed, event_id_format(printed, id) }, &again) ||
	    event_id_compare(id, again) != 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice text = { (const char *)data, size };
	struct event_id id;
	lsn_t lsn;
	bool is_lsn = lsn_parse(text, &lsn), is_id = event_id_parse(text, &id);

	if (is_lsn && is_id)
		abort();
	if (is_lsn)
		check_lsn(lsn);
	if (is_id)
		check_id(id);
	return 0;
}
