#include "walpush/share/gate.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <uthash.h>

#include "walpush/base/files.h"
#include "walpush/base/mem.h"

/* One socket in this many is for clients that are refused because there is no room. */
#define REFUSED_SHARE 16
#define SECOND INT64_C(1000000)

struct house { /* one address */
	UT_hash_handle hh;
	struct address address;
	uint64_t sockets, connections;
};

/*
 * A bucket of handshakes: full with as many as a second allows, and refilled at this rate. It is stored as the time
 * when it would have been empty, at this rate: so a new rate needs no conversion.
 */
struct gate {
	pthread_mutex_t lock;
	uint64_t sockets_most;
	uint64_t sockets, connections;
	int64_t empty_at; /* µs */
	struct house *houses;
};

struct gate *gate_new(uint64_t files, unsigned threads)
{
	uint64_t kept = files_kept(threads);
	struct gate *g = mem_new(sizeof(*g));

	pthread_mutex_init(&g->lock, NULL);
	g->sockets_most = files > kept + FILES_CLIENTS_LEAST ? files - kept : FILES_CLIENTS_LEAST;
	return g;
}

void gate_free(struct gate *g)
{
	struct house *h, *next;

	if (!g)
		return;
	HASH_ITER(hh, g->houses, h, next) {
		HASH_DEL(g->houses, h);
		free(h);
	}
	pthread_mutex_destroy(&g->lock);
	free(g);
}

uint64_t gate_connections(const struct gate *g, const struct conf_limits *limits)
{
	uint64_t most = g->sockets_most - g->sockets_most / REFUSED_SHARE;

	return limits->connections && (uint64_t)limits->connections < most ? (uint64_t)limits->connections : most;
}

/* --- addresses -------------------------------------------------------------------------------------------------- */

static struct house *find_house(struct gate *g, const struct address *a)
{
	struct address counted = address_counted(a);
	struct house *h;

	HASH_FIND(hh, g->houses, &counted, sizeof(counted), h);
	return h;
}

static struct house *house_for(struct gate *g, const struct address *a)
{
	struct house *h = find_house(g, a);

	if (!h) {
		h = mem_new(sizeof(*h));
		h->address = address_counted(a);
		HASH_ADD(hh, g->houses, address, sizeof(h->address), h);
	}
	return h;
}

static void leave_empty(struct gate *g, struct house *h)
{
	if (h->sockets || h->connections)
		return;
	HASH_DEL(g->houses, h);
	free(h);
}

/* --- sockets ---------------------------------------------------------------------------------------------------- */

bool gate_accept(struct gate *g, const struct conf_limits *limits, const struct address *a, bool is_trusted)
{
	uint64_t most = is_trusted || !limits->per_address ? UINT64_MAX : 2 * (uint64_t)limits->per_address;
	struct house *h;
	bool ok;

	pthread_mutex_lock(&g->lock);
	h = house_for(g, a);
	ok = g->sockets < g->sockets_most && h->sockets < most;
	if (ok) {
		g->sockets++;
		h->sockets++;
	} else {
		leave_empty(g, h);
	}
	pthread_mutex_unlock(&g->lock);
	return ok;
}

void gate_close(struct gate *g, const struct address *a)
{
	struct house *h;

	pthread_mutex_lock(&g->lock);
	h = find_house(g, a);
	assert(h && h->sockets && g->sockets);
	g->sockets--;
	h->sockets--;
	leave_empty(g, h);
	pthread_mutex_unlock(&g->lock);
}

/* --- connections ------------------------------------------------------------------------------------------------ */

static bool take_from_bucket(struct gate *g, int64_t per_second, int64_t now)
{
	if (!per_second)
		return true;
	if (g->empty_at < now - SECOND)
		g->empty_at = now - SECOND;
	if (now - g->empty_at < SECOND / per_second)
		return false;
	g->empty_at += SECOND / per_second;
	return true;
}

enum gate_verdict gate_enter(struct gate *g, const struct conf_limits *limits, const struct address *a, int64_t now)
{
	enum gate_verdict verdict = GATE_OPEN;
	struct house *h;

	pthread_mutex_lock(&g->lock);
	h = house_for(g, a);
	if (g->connections >= gate_connections(g, limits))
		verdict = GATE_FULL;
	else if (limits->per_address && h->connections >= (uint64_t)limits->per_address)
		verdict = GATE_ADDRESS;
	else if (!take_from_bucket(g, limits->handshakes_per_second, now))
		verdict = GATE_RATE;
	if (verdict == GATE_OPEN) {
		g->connections++;
		h->connections++;
	} else {
		leave_empty(g, h);
	}
	pthread_mutex_unlock(&g->lock);
	return verdict;
}

void gate_leave(struct gate *g, const struct address *a)
{
	struct house *h;

	pthread_mutex_lock(&g->lock);
	h = find_house(g, a);
	assert(h && h->connections && g->connections);
	g->connections--;
	h->connections--;
	leave_empty(g, h);
	pthread_mutex_unlock(&g->lock);
}
