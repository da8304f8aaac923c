/*
 * sent: which messages this hub has lately written, to how many connections and when. For /explain. Hub thread.
 *
 * A cell is a run of one log: the same run that goes to connection after connection only counts, so a delivery costs one comparison, and nothing is
 * kept for a connection. A connection that reads later gets its messages in other runs, which are cells of their own. The last SENT_RUNS are kept;
 * the memory is taken when the first one is noted, and nothing is noted while it is off.
 */
#ifndef WALPUSH_HUB_SENT_H
#define WALPUSH_HUB_SENT_H

#include <stdbool.h>

#include "walpush/share/mailbox.h"

#define SENT_RUNS 10000

struct sent { /* zeroed: it is off */
	bool is_on;
	struct sent_run {
		struct topic *topic; /* to compare, never to look into */
		struct event_id first, last;
		int64_t began, ended; /* µs since 1970 */
		uint32_t n;           /* connections */
	} * runs;
	uint64_t n;     /* runs so far */
	uint64_t begun; /* of them, when this turn began */
};

void sent_fini(struct sent *s);
/* A turn of the hub begins, and ends. */
void sent_begin(struct sent *s, bool is_on);
void sent_end(struct sent *s);
void sent_start_run(struct sent *s, struct topic *topic, const struct run *run);
/* The run goes to one connection. */
static inline void sent_note(struct sent *s, struct topic *topic, const struct run *run)
{
	struct sent_run *r;

	if (!s->is_on)
		return;
	/* A run of an earlier turn is not continued: its end is known. */
	r = s->n > s->begun ? &s->runs[(s->n - 1) % SENT_RUNS] : NULL;
	if (r && r->topic == topic && event_id_compare(r->last, run->last) == 0 &&
	    event_id_compare(r->first, run->first) == 0)
		r->n++;
	else
		sent_start_run(s, topic, run);
}
/* What is known of the message with this id in these logs. */
void sent_find(const struct sent *s, const struct mail_trace *trace, struct mail_traced *out);

#endif
