#include "walpush/share/edition.h"

#include <stdlib.h>
#include <unistd.h>

#include "walpush/base/mem.h"

#define THREADS_DEFAULT_MOST 4

struct edition *edition_new(const struct hub_shared *world, const struct conf *conf, bool owned, struct fail *why)
{
	struct edition *e = mem_new(sizeof(*e));

	atomic_init(&e->refs, 1);
	e->shared = *world;
	e->owned = owned ? (struct conf *)conf : NULL;
	e->rules = rules_new(conf, why);
	e->keys = e->rules ? token_keys_new(&conf->jwt, why) : NULL;
	if (!e->keys) {
		edition_unref(e);
		return NULL;
	}
	e->stream_labels = mem_new_array(conf->n_streams, sizeof(unsigned));
	for (size_t i = 0; i < conf->n_streams; i++)
		e->stream_labels[i] = metrics_stream(world->metrics, conf->streams[i].name);
	e->shared.conf = conf;
	e->shared.rules = e->rules;
	e->shared.keys = e->keys;
	e->shared.stream_labels = e->stream_labels;
	return e;
}

struct edition *edition_ref(const struct edition *e)
{
	struct edition *mine = (struct edition *)e;

	atomic_fetch_add_explicit(&mine->refs, 1, memory_order_relaxed);
	return mine;
}

void edition_unref(const struct edition *e)
{
	struct edition *mine = (struct edition *)e;

	if (!mine || atomic_fetch_sub_explicit(&mine->refs, 1, memory_order_acq_rel) != 1)
		return;
	rules_free(mine->rules);
	token_keys_free(mine->keys);
	free(mine->stream_labels);
	conf_free(mine->owned);
	free(mine);
}

unsigned edition_hubs(const struct conf *conf)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);

	if (conf->listen.threads > 0)
		return (unsigned)conf->listen.threads < HUBS_MAX ? (unsigned)conf->listen.threads : HUBS_MAX;
	return cores < 1 ? 1 : cores > THREADS_DEFAULT_MOST ? THREADS_DEFAULT_MOST : (unsigned)cores;
}
