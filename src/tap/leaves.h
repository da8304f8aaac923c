/*
 * leaves: what happens to partitions alone, which a publication through their root does not tell.
 *
 * A list of leaves is "oid:file:root,…" in the order of OIDs; `root` is "schema.name" in hexadecimal, so that no name has a colon or a comma. A list of
 * roots has a comma behind each. Pure.
 */
#ifndef WALPUSH_LEAVES_H
#define WALPUSH_LEAVES_H

#include "walpush/base/buf.h"
#include "walpush/base/slice.h"

/* Appends the root of each leaf of `before` that is not in `now`, or has another file there; as one that nobody tells, if other leaves of it are as they
 * were. */
void leaves_compare(const char *before, const char *now, struct buf *roots);
/* Appends this root to such a list. */
void leaves_add_root(struct buf *roots, const char *schema, const char *name);
/* Is there a root that is not among those that were told? */
bool leaves_untold(struct slice roots, struct slice told);

#endif
