#include "source_health.h"

#include <string.h>

#include "source_fix.h"
#include "walpush/base/log.h"
#include "walpush/pg/refusal.h"

void source_health_init(struct source_health *h)
{
	*h = (struct source_health){
		.soon = { .base = 100000, .cap = 5000000 },
		.slow = { .base = 5000000, .cap = 15000000 },
	};
}

static void say(struct source_health *h, const char *slot, const struct fail *why, int64_t wait, int64_t now)
{
	unsigned times;
	enum log_level level = repeat_level(&h->trouble, LOG_LEVEL_WARN, why->text, now, &times);

	log_write(level, "not streaming, trying again",
		  LOG_FIELDS(log_s("slot", slot), log_s("error", why->text), log_s("sqlstate", why->sqlstate),
			     log_fix(h->fix ? h->fix : ""), log_ms("wait_ms", wait), log_n("times", times)));
}

int64_t source_health_fails(struct source_health *h, const char *slot, const struct fail *why, bool slow, int64_t now)
{
	const struct source_fix *fix = source_fix_for(why);
	int64_t wait = backoff_next(slow || (fix && fix->slow) ? &h->slow : &h->soon);

	h->held_by_other = strcmp(why->sqlstate, "55006") == 0;
	h->fix = fix ? fix->what : NULL;
	say(h, slot, why, wait, now);
	return wait;
}

int64_t source_health_refused(struct source_health *h, const char *slot, const struct fail *why, const char *fix,
			      int64_t wait, int64_t now)
{
	int64_t own = backoff_next(refusal_is_of_login(why) ? &h->slow : &h->soon);

	h->held_by_other = false;
	mem_copy_text(h->refusal, sizeof(h->refusal), fix);
	h->fix = h->refusal;
	say(h, slot, why, wait ? wait : own, now);
	return wait ? wait : own;
}

void source_health_progress(struct source_health *h)
{
	if (h->refused || (!h->deaths && !h->trouble.text[0]))
		return;
	h->deaths = 0;
	h->fix = NULL;
	repeat_end(&h->trouble);
	backoff_reset(&h->soon);
	backoff_reset(&h->slow);
}

void source_health_refuse(struct source_health *h)
{
	h->refused = true;
}

void source_health_handled(struct source_health *h, lsn_t handled)
{
	if (handled <= h->handled)
		return;
	h->handled = handled;
	h->refused = false;
}
