#include "heard.h"

/* The server is asked again after 1 ms, doubling to 64 ms. */
#define ASK_FIRST 1000
#define ASK_DOUBLED 6

static int64_t now(const struct heard *h)
{
	return h->outside->now(h->outside->at);
}

static void ask(struct heard *h);

static void on_due(void *ctx)
{
	struct heard *h = ctx;

	if (!h->need)
		return;
	if (now(h) - h->since < h->patience) {
		ask(h);
		return;
	}
	h->vain = h->need;
	h->need = 0;
	h->calls->in_vain(h->ctx);
}

static void ask(struct heard *h)
{
	unsigned doubled = h->asked < ASK_DOUBLED ? h->asked : ASK_DOUBLED;

	h->asked++;
	h->calls->ask(h->ctx);
	h->outside->wake(h->outside->at, OUTSIDE_TIMER_HEARD, (int64_t)ASK_FIRST << doubled, on_due, h);
}

/* A later answer knows at least as much as the one that was waited for. */
bool heard_is_vain(const struct heard *h)
{
	return h->vain > h->upto;
}

static bool is_in_vain(struct heard *h, lsn_t need, bool is_full)
{
	if (is_full && need > h->vain)
		h->vain = need;
	return heard_is_vain(h);
}

enum heard_says heard_by(struct heard *h, lsn_t need, bool is_full)
{
	if (h->upto >= need || is_in_vain(h, need, is_full)) {
		h->need = 0;
		return h->upto >= need ? HEARD : HEARD_IN_VAIN;
	}
	if (h->need != need) {
		if (!h->need)
			h->since = now(h);
		h->need = need;
		h->asked = 0;
		ask(h);
	}
	return HEARD_NOT_YET;
}

void heard_leave(struct heard *h)
{
	h->need = 0;
}

bool heard_moved(struct heard *h, lsn_t upto)
{
	if (upto > h->upto)
		h->upto = upto;
	return h->need && h->upto >= h->need;
}

void heard_clear(struct heard *h)
{
	h->upto = h->need = h->vain = 0;
}
