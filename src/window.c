#include "walpush/window.h"

#include <assert.h>

void window_init(struct window *w, int64_t age_us, uint64_t bytes)
{
	*w = (struct window){ .age = age_us, .bytes = bytes };
}

void window_reset(struct window *w, lsn_t lsn)
{
	w->handled = lsn;
	w->first = w->n = 0;
}

static struct window_mark *mark_at(struct window *w, unsigned i)
{
	return &w->marks[(w->first + i) % WINDOW_MARKS];
}

static void forget_old(struct window *w, int64_t now)
{
	while (w->n && now - mark_at(w, 0)->at > w->age) {
		w->first = (w->first + 1) % WINDOW_MARKS;
		w->n--;
	}
}

void window_event(struct window *w, lsn_t lsn, int64_t now)
{
	forget_old(w, now);
	if (w->n && now - mark_at(w, w->n - 1)->at < w->age / (WINDOW_MARKS - 2))
		return; /* held by the mark before it */
	assert(w->n < WINDOW_MARKS);
	*mark_at(w, w->n++) = (struct window_mark){ now, lsn };
}

void window_handled(struct window *w, lsn_t lsn)
{
	if (lsn > w->handled)
		w->handled = lsn;
}

lsn_t window_confirm(struct window *w, int64_t now)
{
	lsn_t held = w->handled;

	forget_old(w, now);
	if (w->n && mark_at(w, 0)->lsn < held)
		held = mark_at(w, 0)->lsn;
	if (w->handled - held > w->bytes)
		held = w->handled - w->bytes;
	return held;
}
