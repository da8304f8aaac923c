#include "relay_script.h"

#include <stdlib.h>

#include "relay_trouble.h"
#include "walpush/relay/relay_entry.h"

/* tail(key): the last id that the Redis stream gave, and the last `e` in it. An entry's `e` is its first field. */
#define TAIL_FUNCTION                                                                                                  \
	"local function tail(k)"                                                                                       \
	" if redis.call('EXISTS', k) == 0 then return {'0-0', ''} end"                                                 \
	" local info, last, upto = redis.call('XINFO', 'STREAM', k), '0-0', '+'"                                       \
	" for i = 1, #info, 2 do if info[i] == 'last-generated-id' then last = info[i + 1] end end"                    \
	" while true do"                                                                                               \
	"  local found = redis.call('XREVRANGE', k, upto, '-', 'COUNT', 16)"                                           \
	"  if #found == 0 then return {last, ''} end"                                                                  \
	"  for _, entry in ipairs(found) do"                                                                           \
	"   if entry[2][1] == 'e' then return {last, entry[2][2]} end"                                                 \
	"  end"                                                                                                        \
	"  upto = '(' .. found[#found][1]"                                                                             \
	" end "                                                                                                        \
	"end "

static const char tail_script[] = TAIL_FUNCTION "return tail(KEYS[1])";

/* ARGV: the id that must be the last one; then for each entry its id, the number of its arguments, and the
 * arguments. */
static const char append_script[] =
	TAIL_FUNCTION "local now = tail(KEYS[1]) "
		      "if now[1] ~= ARGV[1] then return now end "
		      "local i = 2 "
		      "while i <= #ARGV do"
		      " local n = tonumber(ARGV[i + 1])"
		      " redis.call('XADD', KEYS[1], ARGV[i], unpack(ARGV, i + 2, i + 1 + n))"
		      " i = i + 2 + n "
		      "end "
		      "return 1";

struct slice relay_script_append(void)
{
	return (struct slice){ append_script, sizeof(append_script) - 1 };
}

void relay_script_ask_tail(struct redislink *link, const char *key, redislink_done *done, void *ctx)
{
	struct slice arguments[] = {
		SLICE("EVAL"), { tail_script, sizeof(tail_script) - 1 }, SLICE("1"), slice_of(key)
	};

	redislink_ask(link, sizeof(arguments) / sizeof(*arguments), arguments, done, ctx);
}

bool relay_script_take_tail(const redisReply *reply, struct event_id *tail, lsn_t *end)
{
	const redisReply *id, *e;
	char *rest;

	if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2)
		return false;
	id = reply->element[0];
	e = reply->element[1];
	if (id->type != REDIS_REPLY_STRING || e->type != REDIS_REPLY_STRING ||
	    !relay_id_parse((struct slice){ id->str, id->len }, tail))
		return false;
	*end = strtoull(e->str, &rest, 10);
	return *rest == '\0';
}

const char *relay_script_tail_error(const redisReply *reply)
{
	return relay_trouble_of(reply) ? relay_trouble_of(reply) : "it is no stream of walpush's";
}
