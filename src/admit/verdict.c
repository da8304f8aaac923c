#include "verdict.h"

bool verdict_changed(struct verdict *v, lsn_t commit, bool own)
{
	bool heard = v->from == LSN_MAX;

	if (heard)
		v->from = commit;
	v->last = commit;
	if (own)
		v->own = commit;
	if (v->is_out && v->next == LSN_MAX)
		v->next = commit;
	return heard;
}

void verdict_know(struct verdict *v, lsn_t known)
{
	v->known = known;
	v->hides = v->from < known && v->own >= v->from;
}

void verdict_asked(struct verdict *v, lsn_t place, int64_t now)
{
	if (place) /* it begins after the changes before `place` */
		v->from = LSN_MAX;
	verdict_know(v, place ? place : v->last);
	v->next = LSN_MAX;
	v->is_out = true;
	if (!v->sent)
		v->sent = now;
}

void verdict_held(struct verdict *v, lsn_t place)
{
	v->from = place;
}

bool verdict_counts(const struct verdict *v, lsn_t need)
{
	return v->next >= need;
}

bool verdict_no_counts(const struct verdict *v)
{
	return v->next == LSN_MAX || v->own < v->next;
}

bool verdict_skips(const struct verdict *v)
{
	return v->from < v->known;
}

bool verdict_hides(const struct verdict *v)
{
	return v->hides;
}

void verdict_take(struct verdict *v)
{
	v->from = v->next;
	v->sent = 0;
	verdict_drop(v);
}

void verdict_drop(struct verdict *v)
{
	v->next = LSN_MAX;
	v->is_out = false;
}

enum verdict_act verdict_act(const struct verdict *v, int64_t now, int64_t limit)
{
	if (v->from == LSN_MAX)
		return VERDICT_HEARS;
	if (v->sent && now - v->sent >= VERDICT_PATIENCE * limit)
		return VERDICT_LATE;
	return v->own >= v->from ? VERDICT_ASK : VERDICT_WAIT;
}

void verdict_anew(struct verdict *v, lsn_t floor)
{
	*v = (struct verdict){ .from = floor, .last = floor, .known = floor, .next = LSN_MAX };
}
