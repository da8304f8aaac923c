/*
 * The Redis of `relay`: is it there and new enough, does it allow the commands of the relay, and does it keep its data?
 *
 * Each command of the relay is run once, with a key of its own that expires at once.
 */
#include "parts.h"

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "walpush/base/buf.h"
#include "walpush/relay/redisrefusal.h"
#include "walpush/relay/redistls.h"
#include "walpush/text/redisurl.h"
#include "walpush/base/resolve.h"

#define PATIENCE_S 5
#define SOON_S (14 * 86400)

/* Connects to the first address that answers. If none answers, the result has the error of the last one. NULL: no memory, or `why` is filled. */
static redisContext *connect_to(const struct redisurl *u, struct fail *why)
{
	struct resolve_answer found;
	redisContext *redis = NULL;

	if (!resolve_now(u->host, PATIENCE_S * 1000000, &found, why))
		return NULL;
	for (size_t i = 0; i < found.n && (!redis || redis->err); i++) {
		if (redis)
			redisFree(redis);
		redis = redisConnectWithTimeout(found.addresses[i], u->port, (struct timeval){ PATIENCE_S, 0 });
	}
	return redis;
}

/* Nothing is sent without the TLS that the address asks for. */
static bool secure(struct check *c, redisContext *redis, const struct redisurl *u, struct redistls *tls)
{
	bool ok = redistls_start(tls, redis, u);

	if (!ok)
		check_add(c, CHECK_FAILURE, CHECK_WORDS,
			  "let Redis answer with TLS, and with a certificate for the host of relay.url from an "
			  "authority of this machine; SSL_CERT_FILE in the environment names a file of others",
			  "TLS with %s port %d: %s", u->host, u->port, redistls_error(tls, redis));
	return ok;
}

/* NULL: it failed, and a finding says why. */
static redisContext *dial(struct check *c, const struct redisurl *u, struct redistls *tls)
{
	struct fail why = { .text = "no memory" };
	redisContext *redis = connect_to(u, &why);

	if (redis && !redis->err && redisSetTimeout(redis, (struct timeval){ PATIENCE_S, 0 }) == REDIS_OK) {
		if (secure(c, redis, u, tls))
			return redis;
		redisFree(redis);
		return NULL;
	}
	check_add(c, CHECK_FAILURE, CHECK_WORDS, "start Redis, or correct relay.url", "no Redis at %s port %d: %s",
		  u->host, u->port, redis ? redis->errstr : why.text);
	if (redis)
		redisFree(redis);
	return NULL;
}

static bool is_good(const redisReply *reply)
{
	return reply && reply->type != REDIS_REPLY_ERROR;
}

static const char *error_of(const redisContext *redis, const redisReply *reply)
{
	return reply ? reply->str : redis->errstr;
}

/* With TLS 1.3 a server says only after the handshake that it wants a certificate of its client. */
static bool enter(struct check *c, redisContext *redis, const struct redisurl *u, struct redistls *tls)
{
	redisReply *reply = NULL;
	bool ok;

	if (u->user)
		reply = redisCommand(redis, "AUTH %s %s", u->user, u->password ? u->password : "");
	else if (u->password)
		reply = redisCommand(redis, "AUTH %s", u->password);
	ok = (!u->user && !u->password) || is_good(reply);
	freeReplyObject(reply);
	/* After a failed AUTH, the error of PING says the same as the error of AUTH, or less. */
	reply = ok && redisurl_selects(u) ? redisCommand(redis, "SELECT %s", u->database) : redisCommand(redis, "PING");
	ok = ok && is_good(reply);
	if (!ok && !reply && u->tls)
		check_add(c, CHECK_FAILURE, CHECK_WORDS,
			  "let Redis ask its clients for no certificate (tls-auth-clients no): walpush shows none",
			  "Redis does not let us in: %s", redistls_error(tls, redis));
	else if (!ok)
		check_add(c, CHECK_FAILURE, CHECK_WORDS,
			  "set user, password and database in relay.url as the server wants them, and let the user run "
			  "PING, and SELECT where the URL names a database",
			  "Redis does not let us in: %s", error_of(redis, reply));
	freeReplyObject(reply);
	return ok;
}

/* The relay works without ROLE, but only ROLE shows that a Redis that takes writes is a replica. */
static void try_role(struct check *c, redisContext *redis)
{
	redisReply *reply = redisCommand(redis, "ROLE");

	if (!is_good(reply))
		check_add(c, CHECK_WARNING, CHECK_WORDS, "let the user run ROLE",
			  "ROLE: %s; after a switchover a demoted master is noticed only when it refuses to append",
			  error_of(redis, reply));
	freeReplyObject(reply);
}

/* As an administrator of Redis types it. */
static void add_rights(const struct check *c, const struct redisurl *u, struct buf *out)
{
	buf_addf(out,
		 "let the user run PING, EVAL, EXISTS, XADD, XINFO, XREVRANGE, XREAD, XTRIM, XLEN, SET, GET and WAIT "
		 "on the "
		 "keys that begin with relay.stream: ACL SETUSER %s ~%s* +ping +info +role +eval +exists +xadd +xinfo "
		 "+xrevrange +xread +xtrim +xlen +set +get +wait",
		 u->user ? u->user : "default", c->conf->relay.stream);
}

/* True: the other commands would meet the same. */
static bool say_refused(struct check *c, const struct redisurl *u, const char *command, const char *error)
{
	const char *known = strncmp(error, "NOPERM", 6) == 0 ? NULL : redisrefusal_fix(error);
	char words[REDISREFUSAL_WORDS];
	struct buf fix = { 0 };

	redisrefusal_words(words, error);
	if (!known)
		add_rights(c, u, &fix);
	check_add(c, CHECK_FAILURE, CHECK_WORDS, known ? known : fix.data, "%.*s: %s", (int)strcspn(command, " "),
		  command, words);
	buf_fini(&fix);
	return known != NULL;
}

/* Runs each command of the relay once. The key is expired by SET, because the user needs SET anyway. */
static void try_commands(struct check *c, redisContext *redis, const struct redisurl *u)
{
	static const char *const tries[] = {
		"EVAL %s 1 %b",
		"XREAD COUNT 1 STREAMS %b 0-0",
		"XTRIM %b MINID ~ 1-0",
		"SET %b:leader 1 PX 1000",
		"GET %b:leader",
		"XLEN %b",
		"WAIT 0 1",
	};
	static const char script[] =
		"redis.call('XADD', KEYS[1], '1-1', 'e', '2') redis.call('XINFO', 'STREAM', KEYS[1])"
		" redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)"
		" return redis.call('EXISTS', KEYS[1])";
	size_t before = c->n_findings;
	struct buf key = { 0 };
	bool ends = false;

	buf_addf(&key, "%s:check:%s:%ld", c->conf->relay.stream, c->conf->database.slot, (long)getpid());
	for (size_t i = 0; i < sizeof(tries) / sizeof(*tries) && !ends; i++) {
		redisReply *reply = i == 0 ? redisCommand(redis, tries[i], script, key.data, key.len)
					   : redisCommand(redis, tries[i], key.data, key.len);

		if (!is_good(reply))
			ends = say_refused(c, u, tries[i], error_of(redis, reply));
		freeReplyObject(reply);
	}
	freeReplyObject(redisCommand(redis, "SET %b 1 PX 1", key.data, key.len));
	if (c->n_findings == before)
		check_ok(c, "lets us do what we must");
	buf_fini(&key);
}

static void look(struct check *c, redisContext *redis, const struct redisurl *u)
{
	redisReply *reply = redisCommand(redis, "INFO");
	bool is_ours = true;

	if (is_good(reply) && reply->type == REDIS_REPLY_STRING)
		is_ours = check_redis_info(c, u, reply->str);
	else
		check_add(c, CHECK_WARNING, CHECK_WORDS, "let the user run INFO for this check",
			  "its version and memory policy cannot be read: %s", error_of(redis, reply));
	freeReplyObject(reply);
	if (!is_ours)
		return;
	try_role(c, redis);
	try_commands(c, redis, u);
}

static void warn_expiry(struct check *c, const struct redistls *tls)
{
	if (tls->expires && tls->expires <= (int64_t)time(NULL) + SOON_S)
		check_add(c, CHECK_WARNING, CHECK_WORDS, "renew it, then restart Redis or set tls-cert-file again",
			  "the certificate of Redis, or one of its authorities, expires within 14 days: the relay "
			  "cannot connect "
			  "from then on");
}

static void try_server(struct check *c, const struct redisurl *u)
{
	struct redistls tls = { 0 };
	redisContext *redis = dial(c, u, &tls);

	if (redis && enter(c, redis, u, &tls)) {
		warn_expiry(c, &tls);
		look(c, redis, u);
	}
	if (redis)
		redisFree(redis);
	redistls_fini(&tls);
}

void check_relay(struct check *c)
{
	struct fail why = { 0 };
	struct redisurl u;

	if (!c->conf->relay.url) {
		check_ok(c, "none; this process serves alone");
		return;
	}
	if (!redisurl_parse(c->conf->relay.url, &u, &why)) {
		check_add(c, CHECK_FAILURE, CHECK_WORDS, "correct relay.url", "%s", why.text);
		return;
	}
	if (c->where == CHECK_OFFLINE)
		check_ok(c, "relay.url is well-formed");
	else
		try_server(c, &u);
	redisurl_fini(&u);
}
