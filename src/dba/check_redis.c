/* What Redis says of itself in the answer of INFO: is it one that the relay can use, and does it keep what it is given? */
#include "parts.h"

#include <stdio.h>
#include <stdlib.h>

#include "walpush/base/buf.h"

/* The value of "name:value" in the answer of INFO; empty: the answer does not have the name. */
static void info(const char *text, const char *name, char *out, size_t cap)
{
	size_t n = strlen(name);

	out[0] = '\0';
	for (const char *line = text; line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
		if (strncmp(line, name, n) != 0 || line[n] != ':')
			continue;
		snprintf(out, cap, "%.*s", (int)strcspn(line + n + 1, "\r\n"), line + n + 1);
		return;
	}
}

/* False: nothing else of it counts. */
static bool judge_kind(struct check *c, const char *text)
{
	char version[32], cluster[8], role[16], mode[16];
	int major = 0, minor = 0;

	info(text, "redis_version", version, sizeof(version));
	info(text, "cluster_enabled", cluster, sizeof(cluster));
	info(text, "redis_mode", mode, sizeof(mode));
	info(text, "role", role, sizeof(role));
	if (strcmp(mode, "sentinel") == 0)
		check_add(c, CHECK_FAILURE, CHECK_WORDS, "name the master's host and port in relay.url",
			  "this is a Sentinel, which holds no data");
	else if (sscanf(version, "%d.%d", &major, &minor) != 2 || major < 6 || (major == 6 && minor < 2))
		check_add(c, CHECK_FAILURE, CHECK_WORDS, "upgrade to Redis 6.2 or later",
			  "Redis %s cannot trim a stream by id", version[0] ? version : "of an unknown version");
	else if (strcmp(cluster, "1") == 0)
		check_add(c, CHECK_FAILURE, CHECK_WORDS, "name a Redis that is no cluster in relay.url",
			  "this Redis is part of a cluster, which the relay does not follow");
	else if (strcmp(role, "slave") == 0)
		check_add(c, CHECK_FAILURE, CHECK_WORDS, "name the master in relay.url",
			  "this Redis is a replica: read-only");
	else
		return true;
	return false;
}

/* Whoever may run CONFIG has a password if walpush has one, and it is not walpush's. */
static void warn_config(struct check *c, const struct redisurl *u, const char *set, const char *text)
{
	struct buf fix = { 0 };

	buf_addf(&fix, "%sredis-cli -h %s -p %d%s CONFIG SET %s", u->password ? "REDISCLI_AUTH='…' " : "", u->host,
		 u->port, u->tls ? " --tls" : "", set);
	check_add(c, CHECK_WARNING, CHECK_SHELL, fix.data, "%s", text);
	buf_fini(&fix);
}

static long long number_of(const char *text, const char *name)
{
	char digits[32];

	info(text, name, digits, sizeof(digits));
	return strtoll(digits, NULL, 10);
}

/* Lost entries are filled in again from the slot, so no message is lost. But if Redis drops entries silently, clients must refetch. */
static void judge_policy(struct check *c, const struct redisurl *u, const char *text)
{
	char policy[32], words[96];

	info(text, "maxmemory_policy", policy, sizeof(policy));
	snprintf(words, sizeof(words), "maxmemory-policy %s may throw the stream away when memory is short", policy);
	if (strncmp(policy, "allkeys", 7) == 0 && number_of(text, "maxmemory") > 0)
		warn_config(c, u, "maxmemory-policy noeviction", words);
}

/* A full Redis refuses the entries, and nothing is pushed; then the commands of check_relay.c say it. */
static void judge_room(struct check *c, const struct redisurl *u, const char *text)
{
	long long most = number_of(text, "maxmemory"), used = number_of(text, "used_memory");
	char set[64], words[128];

	snprintf(set, sizeof(set), "maxmemory %lld", 2 * most);
	snprintf(words, sizeof(words), "Redis uses %lld of %lld MiB (maxmemory): when it is full, nothing is pushed",
		 used >> 20, most >> 20);
	if (used > most / 10 * 9 && used < most)
		warn_config(c, u, set, words);
	most = number_of(text, "maxclients"); /* Redis 7 says it here */
	used = number_of(text, "connected_clients");
	snprintf(set, sizeof(set), "maxclients %lld", 2 * most);
	snprintf(words, sizeof(words), "Redis has %lld of %lld clients (maxclients): each walpush takes 3", used, most);
	if (most > 0 && used + 6 > most)
		warn_config(c, u, set, words);
}

static void judge_persistence(struct check *c, const struct redisurl *u, const char *text)
{
	char aof[8];

	info(text, "aof_enabled", aof, sizeof(aof));
	if (strcmp(aof, "0") == 0)
		warn_config(
			c, u, "appendonly yes",
			"Redis has no append-only file: after its restart the stream is filled again from the slot's "
			"window, and who is further behind refetches");
}

bool check_redis_info(struct check *c, const struct redisurl *u, const char *text)
{
	size_t before = c->n_findings;
	char version[32];

	if (!judge_kind(c, text))
		return false;
	judge_policy(c, u, text);
	judge_room(c, u, text);
	judge_persistence(c, u, text);
	info(text, "redis_version", version, sizeof(version));
	if (c->n_findings == before)
		check_ok(c, "Redis %s", version);
	return true;
}
