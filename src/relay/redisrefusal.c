#include "walpush/relay/redisrefusal.h"

#include <ctype.h>
#include <string.h>

#include "walpush/base/slice.h"

struct kind {
	const char *word; /* the first word of the error */
	bool ends;
	const char *fix;
};

/*
 * BUSY, TRYAGAIN, OOM and MISCONF are the same for every connection to this server and pass by themselves; NOPERM
 * follows the user's rights at once. NOREPLICAS may come from a master that was cut off from the others. Mostly it
 * comes from the right master, so it does not end the connection at once; but relay.c makes a connection again if
 * nothing was acknowledged on it for long. UNKILLABLE answers only SCRIPT KILL, which is never sent.
 */
static const struct kind kinds[] = {
	{ "READONLY", true, "let the name in relay.url lead to the master" },
	{ "ROLE", true, "let the name in relay.url lead to the master" }, /* redislink.c says it, not Redis */
	{ "MASTERDOWN", true, "let the name in relay.url lead to the master" },
	{ "UNBLOCKED", true, "let the name in relay.url lead to the master" },
	{ "LOADING", true, "wait until Redis has loaded its data" },
	{ "MOVED", true, "name a Redis that is no cluster in relay.url" },
	{ "ASK", true, "name a Redis that is no cluster in relay.url" },
	{ "CLUSTERDOWN", true, "name a Redis that is no cluster in relay.url" },
	{ "NOAUTH", true, "set user and password in relay.url" },
	{ "OOM", false, "raise maxmemory of Redis, or lower replay.seconds and replay.bytes" },
	{ "MISCONF", false, "Redis cannot save its data: look at its log and its disk" },
	{ "NOREPLICAS", false, "start the replicas of Redis, or lower min-replicas-to-write" },
	{ "NOPERM", false, "grant the commands that `walpush check` names" },
	{ "BUSY", false, "another client's script runs on this Redis: SCRIPT KILL" },
};

/* The text after the last `mark`; NULL: there is none. */
static const char *behind_last(const char *text, const char *mark)
{
	const char *at = NULL, *next;

	for (; (next = strstr(text, mark)); text = at)
		at = next + strlen(mark);
	return at;
}

/* The text after "@user_script: 1: -", where Redis 6.2 wraps an error. */
static const char *unwrapped(const char *error)
{
	static const char wrapping[] = "ERR Error running script";
	const char *at = behind_last(error, "@user_script:");

	if (!at || strncmp(error, wrapping, sizeof(wrapping) - 1) != 0)
		return error;
	at += strspn(at, " 0123456789:");
	return *at == '-' ? at + 1 : at;
}

static struct slice words_of(const char *error)
{
	static const char mark[] = " script: ";
	const char *from = unwrapped(error), *behind = behind_last(from, mark);

	if (behind && strstr(behind, "on @user_script"))
		return (struct slice){ from, (size_t)(behind - from) - (sizeof(mark) - 1) };
	return slice_of(from);
}

static const struct kind *kind_of(const char *error)
{
	const char *words = unwrapped(error);
	size_t len = strcspn(words, " ");

	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
		if (strlen(kinds[i].word) == len && memcmp(kinds[i].word, words, len) == 0)
			return &kinds[i];
	return NULL;
}

void redisrefusal_words(char out[REDISREFUSAL_WORDS], const char *error)
{
	struct slice words = words_of(error);
	size_t len = words.len < REDISREFUSAL_WORDS ? words.len : REDISREFUSAL_WORDS - 1;

	for (size_t i = 0; i < len; i++)
		out[i] = (char)(isprint((unsigned char)words.at[i]) ? words.at[i] : '?');
	out[len] = '\0';
}

bool redisrefusal_ends(const char *error)
{
	const struct kind *kind = kind_of(error);

	return kind && kind->ends;
}

bool redisrefusal_role_ends(const char *role)
{
	return strcmp(role, "slave") == 0 || strcmp(role, "replica") == 0 || strcmp(role, "sentinel") == 0;
}

const char *redisrefusal_fix(const char *error)
{
	const struct kind *kind = kind_of(error);

	return kind ? kind->fix : NULL;
}
