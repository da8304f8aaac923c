/* relay_trouble: what Redis refuses, how the log says it, and what is not ready for it. */
#include "parts.h"

#include <stdio.h>
#include <string.h>

#include "walpush/base/clock.h"
#include "walpush/base/log.h"

/* --- what Redis refuses ------------------------------------------------------------------------------------------ */

/* A question that was answered for so long is news when it is refused again. */
#define QUIET 60000000 /* µs */

static const struct {
	const char *message;
	const char *mend; /* where the error itself does not tell */
} refusals[RELAY_QUESTIONS] = {
	[RELAY_ASKS_APPEND] = { "Redis refuses to append; trying again", "see `walpush check`" },
	[RELAY_ASKS_TAIL] = { "the end of the Redis stream cannot be read; trying again",
			      "see `walpush check`: version 6.2 or later, ACL, the key's type" },
	[RELAY_ASKS_LEAD] = { "Redis does not take the leader's name; other replicas see none", "see `walpush check`" },
	[RELAY_ASKS_TRIM] = { "Redis does not trim the stream, which grows", "see `walpush check`" },
	[RELAY_ASKS_WAIT] = { "Redis does not say what its replicas have; the slot is not confirmed",
			      "see `walpush check`" },
	[RELAY_ASKS_GOAL] = { "the end of the Redis stream cannot be read; trying again",
			      "see `walpush check`: version 6.2 or later, ACL, the key's type" },
	[RELAY_ASKS_READ] = { "the Redis stream cannot be read; trying again",
			      "see `walpush check`; `DEL` of the stream's key makes everybody refetch once" },
	[RELAY_ASKS_LEADER] = { "Redis does not say who leads", "see `walpush check`" },
	[RELAY_ASKS_LENGTH] = { "Redis does not say how long the stream is", "see `walpush check`" },
};

const char *relay_error(const redisReply *reply)
{
	return reply && reply->type == REDIS_REPLY_ERROR ? reply->str : NULL;
}

void relay_refused(struct relay *r, enum relay_question q, const char *error, char words[REDISREFUSAL_WORDS])
{
	const char *mend = redisrefusal_mend(error);
	struct said *said = &r->said[q];
	int64_t now = clock_us();
	enum log_level level;
	unsigned times;

	if (now - said->last > QUIET)
		repeat_end(&said->repeat);
	said->last = now;
	level = repeat_level(&said->repeat, LOG_LEVEL_ERROR, error, now, &times);
	log_write(level, refusals[q].message,
		  LOG_FIELDS(log_s("error", error), log_s("mend", mend ? mend : refusals[q].mend),
			     log_n("times", times)));
	if (words)
		redisrefusal_words(words, error);
}

void relay_look_for_error(struct relay *r, enum relay_question q, const redisReply *reply)
{
	if (relay_error(reply))
		relay_refused(r, q, relay_error(reply), NULL);
}

/* --- readiness --------------------------------------------------------------------------------------------------- */

static struct relay_stall stall(const struct relay *r, int64_t now)
{
	return (struct relay_stall){
		.append_lag = relay_append_lag(r, now),
		.append_words = r->w.words,
		.read_lag = r->r.refused_at ? now - r->r.refused_at : 0,
		.read_words = r->r.words,
	};
}

/* Why a connection is missing; NULL: it has not been tried yet. */
static const char *trouble_of(const struct relay *r)
{
	const char *writing = redislink_trouble(r->w.link);

	return writing ? writing : redislink_trouble(r->r.link);
}

/* Names that do not resolve are nothing which Redis could be asked about. */
static const char *away(struct relay *r)
{
	const char *trouble = trouble_of(r);
	char words[REDISREFUSAL_WORDS] = "";

	if (trouble && strncmp(trouble, RESOLVE_TROUBLE, sizeof(RESOLVE_TROUBLE) - 1) == 0)
		return trouble;
	if (trouble)
		redisrefusal_words(words, trouble);
	snprintf(r->unready, sizeof(r->unready), "no connection to Redis%s%s", trouble ? ": " : "", words);
	return r->unready;
}

const char *relay_unready(struct relay *r, int64_t now)
{
	struct relay_stall s = stall(r, now);

	_Static_assert(sizeof(r->unready) >= RELAY_STALL_TEXT, "room for the sentence");
	return relay_is_up(r) ? relay_stall_say(&s, r->unready) : away(r);
}

const char *relay_mend(const struct relay *r, int64_t now)
{
	struct relay_stall s = stall(r, now);
	const char *words = relay_is_up(r) ? relay_stall_words(&s) : trouble_of(r);

	return words ? redisrefusal_mend(words) : NULL;
}
