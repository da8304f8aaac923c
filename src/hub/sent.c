#include "sent.h"

#include <stdlib.h>

#include "walpush/base/clock.h"
#include "walpush/base/mem.h"

void sent_fini(struct sent *s)
{
	free(s->runs);
	*s = (struct sent){ 0 };
}

void sent_begin(struct sent *s, bool is_on)
{
	s->is_on = is_on;
	s->begun = s->n;
}

static struct sent_run *run_before(const struct sent *s, uint64_t back)
{
	return &s->runs[(s->n - 1 - back) % SENT_RUNS];
}

void sent_end(struct sent *s)
{
	int64_t now;

	if (s->n == s->begun)
		return;
	now = clock_wall_us();
	for (uint64_t i = 0; i < s->n - s->begun && i < SENT_RUNS; i++)
		run_before(s, i)->ended = now;
	s->begun = s->n;
}

void sent_start_run(struct sent *s, struct topic *topic, const struct run *run)
{
	int64_t now = clock_wall_us();

	if (!s->runs)
		s->runs = mem_new_array(SENT_RUNS, sizeof(*s->runs));
	s->runs[s->n++ % SENT_RUNS] = (struct sent_run){ topic, run->first, run->last, now, now, 1 };
}

static bool concerns(const struct sent_run *r, const struct mail_trace *trace)
{
	if (event_id_compare(r->first, trace->id) > 0 || event_id_compare(r->last, trace->id) < 0)
		return false;
	for (size_t i = 0; i < trace->n; i++)
		if (trace->topics[i] == r->topic)
			return true;
	return false;
}

void sent_find(const struct sent *s, const struct mail_trace *trace, struct mail_traced *out)
{
	*out = (struct mail_traced){ 0 };
	for (uint64_t i = 0; i < s->n && i < SENT_RUNS; i++) {
		const struct sent_run *r = run_before(s, i);

		if (!concerns(r, trace))
			continue;
		out->n += r->n;
		if (!out->first || r->began < out->first)
			out->first = r->began;
		if (r->ended > out->last)
			out->last = r->ended;
	}
}
