#include "breaker.h"

#include <stdlib.h>
#include <string.h>

#include "walpush/base/fail.h"
#include "walpush/base/mem.h"

/* µs */
#define WAIT_FIRST 1000000
#define WAIT_MOST 30000000
#define FORGIVEN_AFTER 60000000
#define SLOW_WITHIN 30000000
/* Parts of limits.answer. So many slow answers are too many in any case. */
#define SLOW_PART 10
#define SLOW_TIMES 3
#define SLOW_MOST (SLOW_PART * SLOW_TIMES)

struct breaker {
	enum { CLOSED, OPEN, PROBED } state;
	enum breaker_reason reason;
	uint32_t cause;
	int64_t since;            /* when it was opened */
	int64_t until;            /* before that it is not probed */
	int64_t wait;             /* of the last failure */
	int64_t failed;           /* the last failure */
	struct breaker_kept kept; /* sql NULL: nothing */
	struct slow {
		int64_t at, us;
	} slow[SLOW_MOST];
	unsigned n_slow;
};

struct breakers {
	struct breaker *at;
	uint32_t n;
	int64_t limit; /* limits.answer */
	unsigned n_open;
	bool is_probing;
	breaker_share *share;
	void *ctx;
};

/* --- the question of a probe -------------------------------------------------------------------------------------- */

static void forget_kept(struct breaker *b)
{
	for (size_t i = 0; i < b->kept.n_values; i++)
		free(b->kept.values[i]);
	free(b->kept.values);
	free(b->kept.name);
	free(b->kept.sql);
	b->kept = (struct breaker_kept){ 0 };
}

/* Values that no probe gets an answer with may be the only ones: the next row's may do better. */
static bool is_wanted(const struct breaker *b)
{
	return !b->kept.sql || (b->state == OPEN && b->kept.failed >= KEPT_TRIES);
}

bool breakers_keep(struct breakers *bs, uint32_t text, const char *name, const char *sql, size_t n_values,
		   const char *const *values)
{
	struct breaker_kept *kept;

	if (breakers_may_ask(bs, text) || !is_wanted(&bs->at[text]))
		return false;
	forget_kept(&bs->at[text]);
	kept = &bs->at[text].kept;
	kept->name = mem_text(name);
	kept->sql = mem_text(sql);
	kept->n_values = n_values;
	kept->values = mem_new_array(n_values, sizeof(char *));
	for (size_t i = 0; i < n_values; i++)
		kept->values[i] = values[i] ? mem_text(values[i]) : NULL;
	return true;
}

const struct breaker_kept *breakers_kept(const struct breakers *bs, uint32_t text)
{
	return &bs->at[text].kept;
}

/* --- opening and closing ------------------------------------------------------------------------------------------ */

bool breakers_may_ask(const struct breakers *bs, uint32_t text)
{
	return text >= bs->n || bs->at[text].state == CLOSED;
}

static void wait_longer(struct breaker *b, int64_t now)
{
	bool again = b->failed && now - b->failed < FORGIVEN_AFTER;

	b->wait = again ? b->wait * 2 : WAIT_FIRST;
	if (b->wait > WAIT_MOST)
		b->wait = WAIT_MOST;
	b->failed = now;
	b->until = now + b->wait;
}

static bool open_one(struct breakers *bs, uint32_t text, uint32_t cause, enum breaker_reason reason, int64_t now)
{
	struct breaker *b = &bs->at[text];

	if (b->state != CLOSED)
		return false;
	b->state = OPEN;
	b->reason = reason;
	b->cause = cause;
	b->since = now;
	b->n_slow = 0;
	wait_longer(b, now);
	bs->n_open++;
	return true;
}

bool breakers_failed(struct breakers *bs, uint32_t text, enum breaker_reason reason, int64_t now)
{
	bool opened = false;

	if (text >= bs->n)
		return false;
	for (uint32_t i = 0; i < bs->n; i++)
		if (i == text || (bs->share && bs->share(bs->ctx, text, i)))
			opened |= open_one(bs, i, text, reason, now);
	return opened;
}

bool breakers_failed_all(struct breakers *bs, enum breaker_reason reason, int64_t now)
{
	bool opened = false;

	for (uint32_t i = 0; i < bs->n; i++)
		opened |= open_one(bs, i, BREAKER_NONE, reason, now);
	return opened;
}

/* Drops the slow answers that are too long ago. Returns the time of the rest. */
static int64_t slow_sum(struct breaker *b, int64_t now)
{
	int64_t sum = 0;
	unsigned n = 0;

	for (unsigned i = 0; i < b->n_slow; i++) {
		if (now - b->slow[i].at >= SLOW_WITHIN)
			continue;
		sum += b->slow[i].us;
		b->slow[n++] = b->slow[i];
	}
	b->n_slow = n;
	return sum;
}

bool breakers_answered(struct breakers *bs, uint32_t text, int64_t us, int64_t now)
{
	struct breaker *b;

	if (us <= bs->limit / SLOW_PART || text >= bs->n || bs->at[text].state != CLOSED)
		return false;
	b = &bs->at[text];
	if (slow_sum(b, now) + us >= bs->limit * SLOW_TIMES)
		return breakers_failed(bs, text, BREAKER_SLOW, now);
	b->slow[b->n_slow++] = (struct slow){ now, us };
	return false;
}

static void close_one(struct breakers *bs, struct breaker *b)
{
	b->state = CLOSED;
	bs->n_open--;
	forget_kept(b);
}

/* --- probes ------------------------------------------------------------------------------------------------------- */

/* Opened for the session's sake, and nobody wanted to ask: the wait is enough. Returns when the next one is over. */
static int64_t close_waited(struct breakers *bs, int64_t now)
{
	int64_t next = INT64_MAX;

	for (uint32_t i = 0; i < bs->n; i++) {
		struct breaker *b = &bs->at[i];

		if (b->state != OPEN || b->cause != BREAKER_NONE || b->kept.sql)
			continue;
		if (b->until <= now)
			close_one(bs, b);
		else if (b->until < next)
			next = b->until;
	}
	return next;
}

uint32_t breakers_due(struct breakers *bs, int64_t now, int64_t *next)
{
	uint32_t due = BREAKER_NONE;

	*next = close_waited(bs, now);
	if (bs->is_probing)
		return BREAKER_NONE;
	for (uint32_t i = 0; i < bs->n; i++) {
		const struct breaker *b = &bs->at[i];

		if (b->state != OPEN || !b->kept.sql)
			continue;
		if (b->until > now)
			*next = b->until < *next ? b->until : *next;
		else if (due == BREAKER_NONE || b->until < bs->at[due].until)
			due = i; /* who has waited longest: a text that never answers must not keep the others away */
	}
	if (due == BREAKER_NONE)
		return due;
	bs->at[due].state = PROBED;
	bs->is_probing = true;
	return due;
}

/* Nothing is known against a text that was only opened with the one that is answered again. */
static void close_those_with(struct breakers *bs, uint32_t cause)
{
	for (uint32_t i = 0; i < bs->n; i++)
		if (bs->at[i].state == OPEN && bs->at[i].cause == cause && !bs->at[i].kept.sql)
			close_one(bs, &bs->at[i]);
}

void breakers_probed(struct breakers *bs, uint32_t text, bool is_answered, int64_t now)
{
	struct breaker *b;

	if (text >= bs->n || bs->at[text].state != PROBED)
		fail_never("intake: text %u of %u was not probed", (unsigned)text, (unsigned)bs->n);
	b = &bs->at[text];
	bs->is_probing = false;
	if (!is_answered) {
		b->state = OPEN;
		b->kept.failed++;
		wait_longer(b, now);
		return;
	}
	close_one(bs, b);
	close_those_with(bs, text);
}

bool breaker_concerns(const char *sqlstate, enum breaker_reason *reason)
{
	static const struct {
		const char *sqlstate;
		enum breaker_reason reason;
	} all[] = {
		{ "55P03", BREAKER_LOCK },    /* lock_not_available: lock_timeout */
		{ "40P01", BREAKER_LOCK },    /* deadlock_detected */
		{ "57014", BREAKER_TIMEOUT }, /* query_canceled: statement_timeout */
		{ "57P02", BREAKER_LOST },    /* crash_shutdown: it ended its server process twice, see suspects.h */
	};

	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) {
		if (strcmp(sqlstate, all[i].sqlstate) != 0)
			continue;
		*reason = all[i].reason;
		return true;
	}
	return false;
}

/* --- for people --------------------------------------------------------------------------------------------------- */

bool breakers_state(const struct breakers *bs, uint32_t text, struct breaker_state *out)
{
	const struct breaker *b;

	if (breakers_may_ask(bs, text))
		return false;
	b = &bs->at[text];
	*out = (struct breaker_state){ b->reason, b->cause, b->since, b->wait };
	return true;
}

unsigned breakers_open(const struct breakers *bs)
{
	return bs->n_open;
}

const char *breaker_reason_text(enum breaker_reason reason)
{
	static const char *const texts[BREAKER_REASONS] = {
		[BREAKER_LOCK] = "it waited for a lock in vain",
		[BREAKER_TIMEOUT] = "it was not done within database.statement-timeout",
		[BREAKER_LOST] = "its server process ended",
		[BREAKER_LATE] = "there was no answer within limits.answer",
		[BREAKER_SLOW] = "its answers were slow too often",
	};

	return texts[reason];
}

/* --- life --------------------------------------------------------------------------------------------------------- */

void breakers_reset(struct breakers *bs, uint32_t n, breaker_share *share, void *ctx)
{
	for (uint32_t i = 0; i < bs->n; i++)
		forget_kept(&bs->at[i]);
	free(bs->at);
	*bs = (struct breakers){
		.at = mem_new_array(n, sizeof(*bs->at)), .n = n, .limit = bs->limit, .share = share, .ctx = ctx
	};
}

/* What was slow by another limit does not count. */
void breakers_limit(struct breakers *bs, int64_t limit)
{
	if (limit == bs->limit)
		return;
	bs->limit = limit;
	for (uint32_t i = 0; i < bs->n; i++)
		bs->at[i].n_slow = 0;
}

struct breakers *breakers_new(void)
{
	return mem_new(sizeof(struct breakers));
}

void breakers_free(struct breakers *bs)
{
	if (!bs)
		return;
	breakers_reset(bs, 0, NULL, NULL);
	free(bs->at);
	free(bs);
}
