#include "parts.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "walpush/base/clock.h"
#include "walpush/base/fail.h"
#include "walpush/base/log.h"
#include "walpush/base/mem.h"

/* --- scripts ----------------------------------------------------------------------------------------------------- */

/* tail(key): the last id that the stream gave, and the last `e` in it. An entry's `e` comes first among its fields. */
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

/* ARGV: the id that must be the last one, then for each entry its id, how many arguments, and these. */
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

struct slice relay_append_script(void)
{
	return (struct slice){ append_script, sizeof(append_script) - 1 };
}

void relay_ask_tail(struct redislink *link, const char *key, redislink_done *done, void *ctx)
{
	struct slice arguments[] = {
		SLICE("EVAL"), { tail_script, sizeof(tail_script) - 1 }, SLICE("1"), slice_of(key)
	};

	redislink_ask(link, sizeof(arguments) / sizeof(*arguments), arguments, done, ctx);
}

bool relay_take_tail(const redisReply *reply, struct event_id *tail, lsn_t *end)
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

const char *relay_tail_error(const redisReply *reply)
{
	return relay_error(reply) ? relay_error(reply) : "it is no stream of walpush's";
}

/* --- the stream -------------------------------------------------------------------------------------------------- */

void relay_open(struct relay *r, const char *epoch)
{
	struct buf key = { 0 };

	buf_addf(&key, "%s:%s:%s", r->conf->stream, r->slot, epoch);
	if (r->key && strcmp(r->key, key.data) == 0) {
		buf_fini(&key);
		return;
	}
	free(r->key);
	free(r->leader_key);
	r->key = mem_text(key.data);
	buf_add_text(&key, ":leader");
	r->leader_key = buf_steal(&key);
	r->led_at = clock_us();
	r->is_led = false;
	r->length = -1;
	log_info("relay", log_s("stream", r->key));
	relay_writer_reopen(r);
	relay_reader_reopen(r);
}

bool relay_is_up(const struct relay *r)
{
	return redislink_is_up(r->w.link) && redislink_is_up(r->r.link);
}

bool relay_is_current(const struct relay *r)
{
	return r->r.is_current && r->r.is_synced && redislink_is_up(r->r.link);
}

void relay_lost(const struct redislink *link, struct redislink *other)
{
	if (redislink_is_refused(link) && redislink_is_up(other))
		redislink_drop(other, redislink_trouble(link));
}

int64_t relay_append_lag(const struct relay *r, int64_t now)
{
	return r->w.first ? now - r->w.first->came : 0;
}

int64_t relay_leaderless_since(const struct relay *r)
{
	return r->is_led || r->w.leads || !redislink_is_up(r->r.link) ? 0 : r->led_at;
}

void relay_numbers(const struct relay *r, struct relay_numbers *out)
{
	*out = (struct relay_numbers){
		.leads = r->w.leads,
		.queued_bytes = r->w.bytes,
		.appended = r->appended,
		.read = r->read,
		.refused = r->refused,
		.failovers = r->failovers,
		.append_lag = relay_append_lag(r, clock_us()),
		.stream_entries = r->length,
		.position = r->r.position,
	};
}

/* --- life -------------------------------------------------------------------------------------------------------- */

static void on_second(evutil_socket_t fd, short what, void *arg)
{
	struct relay *r = arg;

	(void)fd;
	(void)what;
	if (!r->key)
		return;
	relay_writer_second(r);
	relay_reader_second(r);
}

struct relay *relay_new(struct event_base *loop, struct resolve *names, const struct conf_relay *conf, const char *slot,
			const struct relay_calls *calls, void *ctx)
{
	struct relay *r = mem_new(sizeof(*r));
	struct buf name = { 0 };
	char host[64] = "";

	r->loop = loop;
	r->names = names;
	r->conf = conf;
	r->calls = calls;
	r->ctx = ctx;
	r->slot = mem_text(slot);
	gethostname(host, sizeof(host) - 1);
	buf_addf(&name, "%s/%ld", host, (long)getpid());
	r->name = buf_steal(&name);
	r->second = event_new(loop, -1, EV_PERSIST, on_second, r);
	if (!r->second)
		fail_never("libevent makes no timer for the relay");
	event_add(r->second, &(struct timeval){ 1, 0 });
	relay_writer_init(r);
	relay_reader_init(r);
	return r;
}

void relay_free(struct relay *r)
{
	if (!r)
		return;
	relay_writer_fini(r);
	relay_reader_fini(r);
	event_free(r->second);
	free(r->slot);
	free(r->key);
	free(r->leader_key);
	free(r->name);
	free(r->leader);
	free(r);
}
