#include "walpush/pg/window.h"

#include <assert.h>

void window_init(struct window *w, int64_t age_us, uint64_t bytes)
{
	*w = (struct window){ .age = age_us, .bytes = bytes };
}

static struct window_mark *mark_at(struct window *w, unsigned i)
{
	return &w->marks[(w->first + i) % WINDOW_MARKS];
}

/* µs. Two marks are more than this apart. A position that is handled within this time after a mark gets no mark. */
static int64_t part_of(const struct window *w)
{
	return w->age / (WINDOW_MARKS - 2);
}

/* A mark is `handled` before its time, and stands for everything handled within one part after its time. It is dropped when all of this is older
 * than the window. */
static void forget_old(struct window *w, int64_t now)
{
	while (w->n && now - mark_at(w, 0)->at >= w->age + part_of(w)) {
		w->first = (w->first + 1) % WINDOW_MARKS;
		w->n--;
	}
}

static void remember(struct window *w, int64_t at)
{
	forget_old(w, at);
	if (w->n && at - mark_at(w, w->n - 1)->at <= part_of(w))
		return;
	assert(w->n < WINDOW_MARKS);
	*mark_at(w, w->n++) = (struct window_mark){ at, w->handled };
}

void window_reset(struct window *w, lsn_t lsn)
{
	w->handled = lsn;
	w->first = w->n = 0;
	w->has_event = false;
}

void window_event(struct window *w, int64_t at)
{
	w->last_event = at;
	w->has_event = true;
}

void window_handled(struct window *w, lsn_t lsn, int64_t at)
{
	if (lsn <= w->handled)
		return;
	remember(w, at); /* the position before this one */
	w->handled = lsn;
}

lsn_t window_before(const struct window *w, int64_t at)
{
	for (unsigned i = 0; i < w->n; i++)
		if (w->marks[(w->first + i) % WINDOW_MARKS].at >= at)
			return w->marks[(w->first + i) % WINDOW_MARKS].lsn;
	return w->handled;
}

lsn_t window_confirm(struct window *w, int64_t now)
{
	lsn_t held = w->handled;

	forget_old(w, now);
	if (w->has_event && now - w->last_event < w->age && w->n)
		held = mark_at(w, 0)->lsn;
	if (w->handled - held > w->bytes)
		held = w->handled - w->bytes;
	return held;
}

int64_t window_held_us(struct window *w, int64_t now)
{
	lsn_t confirm = window_confirm(w, now);

	for (unsigned i = w->n; i-- > 0;)
		if (mark_at(w, i)->lsn <= confirm)
			return confirm < w->handled ? now - mark_at(w, i)->at : 0;
	return 0;
}
