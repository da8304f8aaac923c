/*
 * group_name: the names of groups as a person reads and writes them.
 *
 * Inside, a value is in braces: "requests_unit_{5}" (tmpl.h), so that no two groups have one name. The configuration spells the same group
 * requests_unit_5. group_name_show gives this plain name if no other group of the configuration's templates would look like it; otherwise, and if
 * the value has an escape, the name stays as it is inside. group_name_find is the inverse: the groups that a text may mean.
 *
 * Pure. Templates that differ only in their placeholders' names count once.
 */
#ifndef WALPUSH_GROUP_NAME_H
#define WALPUSH_GROUP_NAME_H

#include "walpush/rules/rules.h"

struct group_names; /* the templates of the rules, each once */

/* The rules must outlive the names; they may be bound or not. */
struct group_names *group_names_new(const struct rules *r);
void group_names_free(struct group_names *names);

/* Appends the name of the group as a person reads it. */
void group_name_show(const struct group_names *names, struct slice group, struct buf *out);
/* Calls `one` with the name inside of each group that `text` may mean, in either spelling; at most `most` times. */
void group_name_find(const struct group_names *names, struct slice text, size_t most,
		     void (*one)(void *ctx, struct slice group), void *ctx);

#endif
