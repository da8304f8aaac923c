/*
 * nametab: a hash table of named things, which grows by one slot at a time.
 *
 * A table that doubles moves all its nodes at once: with a million names this stops the thread for half a second. This table uses linear
 * hashing: each added name splits one slot, and each removed name joins two. So every call costs the same, and the table takes 8 bytes a name
 * at any size. Slots are in blocks, so growing copies no slot.
 *
 * The node is embedded in the named thing. The owner of the thing compares the names. Pure except for memory.
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
	size_t n; /* nodes; there are as many slots */
};

uint32_t nametab_hash(struct slice name);
/* The list that contains the nodes with this hash, and others. */
struct nametab_node *nametab_chain(const struct nametab *tab, uint32_t hash);
/* The name must not be in the table yet. */
void nametab_add(struct nametab *tab, struct nametab_node *node, uint32_t hash);
/* The node must be in the table. A table without nodes holds no memory. */
void nametab_remove(struct nametab *tab, struct nametab_node *node);
/* Slots 0 to n - 1 hold all nodes. */
struct nametab_node *nametab_slot(const struct nametab *tab, size_t i);
/* Frees the table. The nodes belong to their owners. */
void nametab_fini(struct nametab *tab);
size_t nametab_bytes(const struct nametab *tab);

#endif
