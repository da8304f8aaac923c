/*
 * nametab: a hash table of named things, which grows by one slot at a time.
 *
 * A table that doubles moves all it holds at once: a million names stop their thread for half a second. This one is linear hashing: each
 * name that is added splits one slot, each that is removed joins two, so every call costs the same, and the table takes 8 bytes a name at
 * any size. Slots stand in blocks, so that growing copies none.
 *
 * The node is embedded in the thing, whose owner compares the names. Pure, apart from memory.
 */
#ifndef WALPUSH_NAMETAB_H
#define WALPUSH_NAMETAB_H

#include <stdint.h>

#include "walpush/base/slice.h"

struct nametab_node {
	struct nametab_node *next; /* in its slot; walk it from nametab_chain */
	uint32_t hash;
};

struct nametab {
	struct nametab_node ***blocks;
	size_t n_blocks, cap_blocks;
	size_t n; /* nodes, and slots */
};

uint32_t nametab_hash(struct slice name);
/* Where nodes of this hash stand, among others. */
struct nametab_node *nametab_chain(const struct nametab *tab, uint32_t hash);
/* The name must not be in it yet. */
void nametab_add(struct nametab *tab, struct nametab_node *node, uint32_t hash);
/* The node must be in it. When none is left, no memory is held. */
void nametab_remove(struct nametab *tab, struct nametab_node *node);
/* Slots 0 to n - 1 hold all nodes. */
struct nametab_node *nametab_slot(const struct nametab *tab, size_t i);
/* The nodes are their owners'. */
void nametab_fini(struct nametab *tab);
size_t nametab_bytes(const struct nametab *tab);

#endif
