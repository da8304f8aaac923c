#include "probe.h"

#include <stdlib.h>

#include "walpush/base/mem.h"

struct probe {
	const struct outside *outside;
	struct breakers *breakers;
	void (*closed)(void *ctx);
	void *ctx;
	int64_t limit; /* µs */

	struct sqlpipe_query *query; /* NULL: none runs */
	uint32_t text;               /* of the query */
};

static int64_t now(const struct probe *p)
{
	return p->outside->now(p->outside->at);
}

static void ended(struct probe *p, bool is_answered)
{
	p->query = NULL;
	breakers_probed(p->breakers, p->text, is_answered, now(p));
}

static void on_answer(void *ctx, struct sqlrows *rows, const struct fail *why)
{
	struct probe *p = ctx;
	enum breaker_reason reason;
	/* Another error is an answer too. What ends its server process is not sent again with these values; others may well be answered. */
	bool is_answered = rows || !breaker_concerns(why->sqlstate, &reason) || reason == BREAKER_LOST;

	sqlrows_free(rows);
	ended(p, is_answered);
	if (is_answered)
		p->closed(p->ctx);
	probe_look(p);
}

static void on_due(void *ctx)
{
	struct probe *p = ctx;

	if (p->query) { /* limits.answer is over */
		p->outside->forget(p->outside->at, OUTSIDE_SPARE, p->query);
		p->outside->cancel(p->outside->at, OUTSIDE_SPARE);
		ended(p, false);
	}
	probe_look(p);
}

static void send_probe(struct probe *p, uint32_t text)
{
	const struct breaker_kept *kept = breakers_kept(p->breakers, text);

	p->text = text;
	p->query = p->outside->ask(p->outside->at, OUTSIDE_SPARE, kept->name, kept->sql, kept->n_values,
				   (const char *const *)kept->values, on_answer, p);
	p->outside->wake(p->outside->at, OUTSIDE_TIMER_PROBE, p->limit, on_due, p);
}

void probe_look(struct probe *p)
{
	int64_t next, time = now(p);
	unsigned open;
	uint32_t text;

	if (p->query)
		return;
	open = breakers_open(p->breakers);
	text = breakers_due(p->breakers, time, &next);
	if (breakers_open(p->breakers) < open)
		p->closed(p->ctx);
	if (text != BREAKER_NONE)
		send_probe(p, text);
	else if (next != INT64_MAX)
		p->outside->wake(p->outside->at, OUTSIDE_TIMER_PROBE, next - time, on_due, p);
}

void probe_soon(struct probe *p)
{
	if (!p->query)
		p->outside->wake(p->outside->at, OUTSIDE_TIMER_PROBE, 0, on_due, p);
}

void probe_withdraw(struct probe *p)
{
	if (!p->query)
		return;
	p->outside->forget(p->outside->at, OUTSIDE_SPARE, p->query);
	ended(p, false);
}

void probe_forget(struct probe *p)
{
	if (p->query)
		p->outside->forget(p->outside->at, OUTSIDE_SPARE, p->query);
	p->query = NULL;
}

void probe_limit(struct probe *p, int64_t limit)
{
	p->limit = limit;
}

struct probe *probe_new(const struct outside *outside, struct breakers *breakers, void (*closed)(void *ctx), void *ctx)
{
	struct probe *p = mem_new(sizeof(*p));

	*p = (struct probe){ .outside = outside, .breakers = breakers, .closed = closed, .ctx = ctx };
	return p;
}

void probe_free(struct probe *p)
{
	if (!p)
		return;
	probe_forget(p);
	free(p);
}
