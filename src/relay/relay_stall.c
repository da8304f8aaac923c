#include "relay_stall.h"

#include <stdio.h>
#include <string.h>

#include "walpush/base/resolve.h"

const char *relay_stall_words(const struct relay_stall *s)
{
	const char *words = s->append_lag > RELAY_STALL ? s->append_words
			    : s->read_lag > RELAY_STALL ? s->read_words
							: "";

	return words[0] ? words : NULL;
}

const char *relay_stall_say(const struct relay_stall *s, char out[RELAY_STALL_TEXT])
{
	if (s->append_lag > RELAY_STALL && s->append_words[0])
		snprintf(out, RELAY_STALL_TEXT, "Redis refuses what is appended to the stream: %s", s->append_words);
	else if (s->append_lag > RELAY_STALL)
		snprintf(out, RELAY_STALL_TEXT, "Redis has not acknowledged what is appended to the stream");
	else if (s->read_lag > RELAY_STALL)
		snprintf(out, RELAY_STALL_TEXT, "Redis refuses to let the stream be read: %s", s->read_words);
	else
		return NULL;
	return out;
}

/* If the name does not resolve, Redis was not asked, so `trouble` is returned unchanged. */
const char *relay_stall_away(const char *trouble, char out[RELAY_STALL_TEXT])
{
	char words[REDISREFUSAL_WORDS] = "";

	if (trouble && strncmp(trouble, RESOLVE_TROUBLE, sizeof(RESOLVE_TROUBLE) - 1) == 0)
		return trouble;
	if (trouble)
		redisrefusal_words(words, trouble);
	snprintf(out, RELAY_STALL_TEXT, "no connection to Redis%s%s", trouble ? ": " : "", words);
	return out;
}
