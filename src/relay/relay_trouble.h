/*
 * relay_trouble: what Redis refuses, and how the log says it.
 *
 * There is one for each connection. Redis refuses the same question every second as long as its reason lasts. So a
 * refusal is logged once and then rarely, for each question separately. If a question was not refused for a minute, its
 * next refusal is news.
 */
#ifndef WALPUSH_RELAY_TROUBLE_H
#define WALPUSH_RELAY_TROUBLE_H

#include <hiredis/hiredis.h>

#include "walpush/relay/redisrefusal.h"
#include "walpush/base/repeat.h"

enum relay_question {
	RELAY_ASKS_APPEND,
	RELAY_ASKS_TAIL,
	RELAY_ASKS_LEAD,
	RELAY_ASKS_TRIM,
	RELAY_ASKS_WAIT,
	RELAY_ASKS_GOAL,
	RELAY_ASKS_READ,
	RELAY_ASKS_LEADER,
	RELAY_ASKS_LENGTH,
	RELAY_QUESTIONS
};

struct relay_trouble {
	struct {
		struct repeat repeat;
		int64_t last; /* µs: the last refusal */
	} said[RELAY_QUESTIONS];
	char words
		[REDISREFUSAL_WORDS]; /* what Redis last said to relay_trouble_stops, until the owner clears it; "": nothing */
};

/* NULL: the answer is no error, or there is no answer. */
const char *relay_trouble_of(const redisReply *reply);
/* A refusal that stops the relay: logs it, and keeps Redis' words for callers that ask for the reason. `now`: µs. */
void relay_trouble_stops(struct relay_trouble *t, enum relay_question q, const char *error, int64_t now);
/* The answer to a question that nothing waits for: logs it if it is a refusal. */
void relay_trouble_look(struct relay_trouble *t, enum relay_question q, const redisReply *reply, int64_t now);

#endif
