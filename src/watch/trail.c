#include "walpush/watch/trail.h"

#include <stdlib.h>
#include <string.h>

#include "walpush/base/mem.h"

struct trail {
	struct trail_sample samples[TRAIL_SAMPLES];
	size_t n_samples, next_sample;
	struct trail_event events[TRAIL_EVENTS];
	size_t n_events, next_event;
	struct metrics_sums { /* as of the last tick */
		uint64_t messages, deliveries, bytes;
		struct metrics_histogram written;
	} before;
	bool has_before;
};

struct trail *trail_new(void)
{
	return mem_new(sizeof(struct trail));
}

void trail_free(struct trail *t)
{
	free(t);
}

static struct metrics_sums sums_of(const struct metrics *m)
{
	struct metrics_sums sums = { .messages = metrics_total(m, METRICS_MESSAGES),
				     .deliveries = metrics_total(m, METRICS_DELIVERIES),
				     .bytes = metrics_total(m, METRICS_SENT_BYTES) };

	metrics_histogram(m, METRICS_COMMIT_TO_WRITTEN, &sums.written);
	return sums;
}

void trail_tick(struct trail *t, const struct metrics *m, double behind_bytes)
{
	struct metrics_sums now = sums_of(m);
	struct metrics_histogram gained;
	struct trail_sample *s = &t->samples[t->next_sample];

	/* Events counted before the first tick belong to no second. */
	if (t->has_before) {
		gained = metrics_histogram_since(&now.written, &t->before.written);
		*s = (struct trail_sample){
			.messages = (double)(now.messages - t->before.messages),
			.deliveries = (double)(now.deliveries - t->before.deliveries),
			.bytes = (double)(now.bytes - t->before.bytes),
			.written_ms = gained.count ? (double)gained.sum_us / 1e3 / (double)gained.count : -1,
			.written_p99_ms = gained.count ? metrics_histogram_quantile(&gained, 0.99) / 1e3 : -1,
			.behind_bytes = behind_bytes,
			.connections = (double)metrics_total(m, METRICS_CONNECTIONS),
		};
		t->next_sample = (t->next_sample + 1) % TRAIL_SAMPLES;
		t->n_samples += t->n_samples < TRAIL_SAMPLES;
	}
	t->before = now;
	t->has_before = true;
}

static void cut_text(char out[TRAIL_TEXT], struct slice text)
{
	static const char more[] = "…";
	size_t n = text.len;

	if (n >= TRAIL_TEXT) {
		n = TRAIL_TEXT - sizeof(more);
		while (n && ((unsigned char)text.at[n] & 0xC0) == 0x80)
			n--;
	}
	memcpy(out, text.at, n);
	strcpy(out + n, n < text.len ? more : "");
}

void trail_event(struct trail *t, int64_t at, const struct audit_change *change)
{
	struct trail_event *e = &t->events[t->next_event];

	e->at = at;
	e->id = change->id;
	cut_text(e->table, slice_of(change->table));
	cut_text(e->action, slice_of(change->action));
	cut_text(e->key, change->key);
	cut_text(e->group, slice_of(change->groups));
	e->n_groups = change->n_groups;
	e->receivers = change->receivers;
	t->next_event = (t->next_event + 1) % TRAIL_EVENTS;
	t->n_events += t->n_events < TRAIL_EVENTS;
}

const struct trail_event *trail_last(const struct trail *t, size_t i)
{
	return i < t->n_events ? &t->events[(t->next_event + TRAIL_EVENTS - 1 - i) % TRAIL_EVENTS] : NULL;
}

size_t trail_n_samples(const struct trail *t)
{
	return t->n_samples;
}

const struct trail_sample *trail_sample(const struct trail *t, size_t i)
{
	return &t->samples[(t->next_sample + TRAIL_SAMPLES - t->n_samples + i) % TRAIL_SAMPLES];
}
