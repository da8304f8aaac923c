#include "walpush/base/nametab.h"

#include <assert.h>
#include <stdlib.h>
#include <uthash.h>

#include "walpush/base/mem.h"

#define BLOCK 128 /* slots */

uint32_t nametab_hash(struct slice name)
{
	uint32_t hash;

	HASH_JEN(name.at, name.len, hash);
	return hash;
}

static struct nametab_node **slot_at(const struct nametab *tab, size_t i)
{
	return &tab->blocks[i / BLOCK][i % BLOCK];
}

static size_t highest_bit(size_t n)
{
	return (size_t)1 << (63 - __builtin_clzll(n));
}

/* `high` is the highest bit of the number of slots. Slot i + high is split from slot i. Until slot i + high exists, its nodes are in slot i. */
static size_t slot_of(const struct nametab *tab, uint32_t hash)
{
	size_t high = highest_bit(tab->n), i = hash & (2 * high - 1);

	return i < tab->n ? i : i - high;
}

struct nametab_node *nametab_chain(const struct nametab *tab, uint32_t hash)
{
	return tab->n ? *slot_at(tab, slot_of(tab, hash)) : NULL;
}

struct nametab_node *nametab_slot(const struct nametab *tab, size_t i)
{
	return *slot_at(tab, i);
}

static void push(struct nametab *tab, struct nametab_node *node)
{
	struct nametab_node **slot = slot_at(tab, slot_of(tab, node->hash));

	node->next = *slot;
	*slot = node;
}

/* Moves the nodes of slot i to the slots where they belong now. */
static void empty_slot(struct nametab *tab, size_t i)
{
	struct nametab_node **slot = slot_at(tab, i), *node = *slot, *next;

	*slot = NULL;
	for (; node; node = next) {
		next = node->next;
		push(tab, node);
	}
}

static void add_block(struct nametab *tab)
{
	if (tab->n_blocks == tab->cap_blocks) {
		tab->cap_blocks = tab->cap_blocks ? 2 * tab->cap_blocks : 8;
		tab->blocks = mem_resize(tab->blocks, tab->cap_blocks, sizeof(*tab->blocks));
	}
	tab->blocks[tab->n_blocks++] = mem_new_array(BLOCK, sizeof(**tab->blocks));
}

static void add_slot(struct nametab *tab)
{
	size_t added = tab->n++;

	if (added == tab->n_blocks * BLOCK)
		add_block(tab);
	if (added > 0)
		empty_slot(tab, added - highest_bit(added));
}

static void remove_slot(struct nametab *tab)
{
	size_t removed = --tab->n;

	empty_slot(tab, removed);
	if (removed % BLOCK == 0)
		free(tab->blocks[--tab->n_blocks]);
	if (removed == 0)
		nametab_fini(tab);
}

void nametab_add(struct nametab *tab, struct nametab_node *node, uint32_t hash)
{
	node->hash = hash;
	add_slot(tab);
	push(tab, node);
}

void nametab_remove(struct nametab *tab, struct nametab_node *node)
{
	struct nametab_node **at = slot_at(tab, slot_of(tab, node->hash));

	while (*at != node) {
		assert(*at);
		at = &(*at)->next;
	}
	*at = node->next;
	remove_slot(tab);
}

size_t nametab_bytes(const struct nametab *tab)
{
	if (tab->n == 0)
		return 0;
	return mem_cost(tab->cap_blocks * sizeof(*tab->blocks)) +
	       tab->n_blocks * mem_cost(BLOCK * sizeof(**tab->blocks));
}

void nametab_fini(struct nametab *tab)
{
	while (tab->n_blocks)
		free(tab->blocks[--tab->n_blocks]);
	free(tab->blocks);
	*tab = (struct nametab){ 0 };
}
