/*
 * relay: the interface for src/tap. It joins a writer, a reader, and what concerns both connections.
 *
 * The parts do not know each other: relay.c passes on what one tells the other.
 */
#include "walpush/relay/relay.h"

#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "relay_env.h"
#include "relay_reader.h"
#include "relay_stall.h"
#include "relay_writer.h"
#include "walpush/base/clock.h"
#include "walpush/base/fail.h"
#include "walpush/base/log.h"
#include "walpush/base/mem.h"

/* Only the thread that made it may call it: the tap. */
struct relay {
	struct relay_env env;
	pthread_t thread;
	const struct relay_calls *calls;
	void *ctx;
	char *slot;
	char *key, *leader_key; /* NULL until relay_open; the parts borrow them */
	char *name;             /* the name of this process, for the leader's key */
	struct relay_writer *writer;
	struct relay_reader *reader;
	struct event *second;
	char unready[RELAY_STALL_TEXT];
};

static bool is_here(const struct relay *r)
{
	return pthread_equal(r->thread, pthread_self());
}

/* --- the Redis stream -------------------------------------------------------------------------------------------- */

void relay_open(struct relay *r, const char *epoch)
{
	struct buf key = { 0 };

	assert(is_here(r));
	buf_addf(&key, "%s:%s:%s", r->env.conf->stream, r->slot, epoch);
	if (r->key && strcmp(r->key, key.data) == 0) {
		buf_fini(&key);
		return;
	}
	free(r->key);
	free(r->leader_key);
	r->key = mem_text(key.data);
	buf_add_text(&key, ":leader");
	r->leader_key = buf_steal(&key);
	log_info("relay", log_s("stream", r->key));
	relay_writer_reopen(r->writer, r->key, r->leader_key);
	relay_reader_reopen(r->reader, r->key, r->leader_key);
}

bool relay_is_up(const struct relay *r)
{
	return relay_writer_is_up(r->writer) && relay_reader_is_up(r->reader);
}

bool relay_is_current(const struct relay *r)
{
	return relay_reader_is_current(r->reader);
}

int64_t relay_leaderless_since(const struct relay *r)
{
	return relay_writer_leads(r->writer) ? 0 : relay_reader_leaderless_since(r->reader);
}

void relay_numbers(const struct relay *r, struct relay_numbers *out)
{
	*out = (struct relay_numbers){ 0 };
	relay_writer_numbers(r->writer, r->env.clock(), out);
	relay_reader_numbers(r->reader, out);
}

/* --- readiness --------------------------------------------------------------------------------------------------- */

static struct relay_stall stall(const struct relay *r, int64_t now)
{
	return (struct relay_stall){
		.append_lag = relay_writer_lag(r->writer, now),
		.append_words = relay_writer_words(r->writer),
		.read_lag = relay_reader_lag(r->reader, now),
		.read_words = relay_reader_words(r->reader),
	};
}

/* Why a connection is not up; NULL: it was not tried yet. */
static const char *trouble_of(const struct relay *r)
{
	const char *writing = relay_writer_trouble(r->writer);

	return writing ? writing : relay_reader_trouble(r->reader);
}

const char *relay_unready(struct relay *r, int64_t now)
{
	struct relay_stall s = stall(r, now);

	return relay_is_up(r) ? relay_stall_say(&s, r->unready) : relay_stall_away(trouble_of(r), r->unready);
}

const char *relay_fix(const struct relay *r, int64_t now)
{
	struct relay_stall s = stall(r, now);
	const char *words = relay_is_up(r) ? relay_stall_words(&s) : trouble_of(r);

	return words ? redisrefusal_fix(words) : NULL;
}

/* --- the holder of the slot -------------------------------------------------------------------------------------- */

lsn_t relay_tail_end(const struct relay *r)
{
	return relay_writer_tail_end(r->writer);
}

uint32_t relay_decoding(const struct relay *r)
{
	return relay_writer_decoding(r->writer);
}

lsn_t relay_half_told(const struct relay *r)
{
	return relay_writer_half_told(r->writer);
}

lsn_t relay_start(struct relay *r, lsn_t from, enum relay_hole hole)
{
	assert(is_here(r));
	return relay_writer_start(r->writer, from, hole);
}

bool relay_miss(struct relay *r)
{
	assert(is_here(r));
	return relay_writer_miss(r->writer);
}

void relay_lead(struct relay *r, bool leads)
{
	assert(is_here(r));
	relay_writer_lead(r->writer, leads);
}

lsn_t relay_end(const struct relay *r)
{
	return relay_writer_end(r->writer);
}

void relay_add(struct relay *r, const struct relay_entry *e)
{
	assert(is_here(r));
	relay_writer_add(r->writer, e);
}

void relay_position(struct relay *r, lsn_t end, bool urgent)
{
	assert(is_here(r));
	relay_writer_position(r->writer, end, urgent);
}

lsn_t relay_safe(const struct relay *r)
{
	return relay_writer_safe(r->writer);
}

void relay_trim(struct relay *r, lsn_t confirmed)
{
	assert(is_here(r));
	relay_writer_trim(r->writer, confirmed);
}

bool relay_is_full(const struct relay *r)
{
	return relay_writer_is_full(r->writer);
}

/* --- what the parts report --------------------------------------------------------------------------------------- */

static void on_changed(void *ctx)
{
	struct relay *r = ctx;

	r->calls->changed(r->ctx);
}

static void on_refill(void *ctx, const char *why)
{
	struct relay *r = ctx;

	r->calls->refill(r->ctx, why);
}

static void on_pause(void *ctx, bool paused)
{
	struct relay *r = ctx;

	r->calls->pause(r->ctx, paused);
}

static void on_writer_refused(void *ctx, const char *words)
{
	struct relay *r = ctx;

	if (relay_reader_is_up(r->reader))
		relay_reader_drop(r->reader, words);
}

static void on_begin(void *ctx, lsn_t floor, enum relay_hole hole)
{
	struct relay *r = ctx;

	r->calls->begin(r->ctx, floor, hole);
}

static bool on_entry(void *ctx, const struct relay_entry *e)
{
	struct relay *r = ctx;

	return r->calls->entry(r->ctx, e);
}

static void on_saw(void *ctx, const struct relay_entry *e)
{
	struct relay *r = ctx;

	relay_writer_saw(r->writer, e);
}

static void on_reader_refused(void *ctx, const char *words)
{
	struct relay *r = ctx;

	if (relay_writer_is_up(r->writer))
		relay_writer_drop(r->writer, words);
}

static const struct relay_writer_calls writer_calls = { on_refill, on_pause, on_changed, on_writer_refused };
static const struct relay_reader_calls reader_calls = { on_begin, on_entry, on_changed, on_saw, on_reader_refused };

/* --- life -------------------------------------------------------------------------------------------------------- */

/* Whatever Redis says, even nothing: the name may lead to another server by now, for example because this one was cut
 * off from its replicas. */
static void dial_again(struct relay *r)
{
	static const char silence[] = "nothing was acknowledged for 10 s; dialling anew";
	const char *words = relay_writer_words(r->writer);
	char why[REDISREFUSAL_WORDS + sizeof(silence) + 2];

	snprintf(why, sizeof(why), "%s%s%s", words, words[0] ? "; " : "", silence);
	relay_writer_drop(r->writer, why);
	relay_reader_drop(r->reader, why);
}

static void on_second(evutil_socket_t fd, short what, void *arg)
{
	struct relay *r = arg;

	(void)fd;
	(void)what;
	if (!r->key)
		return;
	if (relay_writer_is_stuck(r->writer, r->env.clock()))
		dial_again(r);
	relay_writer_second(r->writer);
	relay_reader_second(r->reader);
}

static char *name_of_process(void)
{
	struct buf name = { 0 };
	char host[64] = "";

	gethostname(host, sizeof(host) - 1);
	buf_addf(&name, "%s/%ld", host, (long)getpid());
	return buf_steal(&name);
}

struct relay *relay_make(const struct relay_env *env, const char *slot, const struct relay_calls *calls, void *ctx)
{
	struct relay *r = mem_new(sizeof(*r));

	r->env = *env;
	r->thread = pthread_self();
	r->calls = calls;
	r->ctx = ctx;
	r->slot = mem_text(slot);
	r->name = name_of_process();
	r->second = event_new(env->loop, -1, EV_PERSIST, on_second, r);
	if (!r->second)
		fail_never("libevent makes no timer for the relay");
	event_add(r->second, &(struct timeval){ 1, 0 });
	r->writer = relay_writer_new(&r->env, r->name, &writer_calls, r);
	r->reader = relay_reader_new(&r->env, &reader_calls, r);
	return r;
}

struct relay *relay_new(struct event_base *loop, struct resolve *names, const struct conf_relay *conf, const char *slot,
			const struct relay_calls *calls, void *ctx)
{
	struct relay_env env = { .loop = loop, .names = names, .conf = conf, .clock = clock_us };

	return relay_make(&env, slot, calls, ctx);
}

void relay_free(struct relay *r)
{
	if (!r)
		return;
	relay_writer_free(r->writer);
	relay_reader_free(r->reader);
	event_free(r->second);
	free(r->slot);
	free(r->key);
	free(r->leader_key);
	free(r->name);
	free(r);
}
