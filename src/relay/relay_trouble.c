#include "relay_trouble.h"

/* If a question was not refused for this long, its next refusal is news. */
#define QUIET 60000000 /* µs */

static const struct {
	const char *message;
	const char *fix; /* for errors that do not tell themselves */
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

const char *relay_trouble_of(const redisReply *reply)
{
	return reply && reply->type == REDIS_REPLY_ERROR ? reply->str : NULL;
}

static void say(struct relay_trouble *t, enum relay_question q, const char *error, int64_t now)
{
	const char *fix = redisrefusal_fix(error);
	enum log_level level;
	unsigned times;

	if (now - t->said[q].last > QUIET)
		repeat_end(&t->said[q].repeat);
	t->said[q].last = now;
	level = repeat_level(&t->said[q].repeat, LOG_LEVEL_ERROR, error, now, &times);
	log_write(level, refusals[q].message,
		  LOG_FIELDS(log_s("error", error), log_fix(fix ? fix : refusals[q].fix), log_n("times", times)));
}

void relay_trouble_stops(struct relay_trouble *t, enum relay_question q, const char *error, int64_t now)
{
	say(t, q, error, now);
	redisrefusal_words(t->words, error);
}

void relay_trouble_look(struct relay_trouble *t, enum relay_question q, const redisReply *reply, int64_t now)
{
	if (relay_trouble_of(reply))
		say(t, q, relay_trouble_of(reply), now);
}
