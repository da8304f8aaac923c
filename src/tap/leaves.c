#include "leaves.h"

#include <stdlib.h>
#include <string.h>

#define SOME '!' /* before a root of which other leaves are as they were, so it was not truncated itself */

struct leaf {
	unsigned long oid, file;
	struct slice root;
};

static bool next_leaf(const char **at, struct leaf *leaf)
{
	char *end;

	if (!**at)
		return false;
	leaf->oid = strtoul(*at, &end, 10);
	leaf->file = strtoul(end + (*end == ':'), &end, 10);
	end += *end == ':';
	leaf->root = (struct slice){ end, strcspn(end, ",") };
	*at = end + leaf->root.len;
	*at += **at == ',';
	return true;
}

void leaves_add_root(struct buf *roots, const char *schema, const char *name)
{
	for (const char *c = schema; *c; c++)
		buf_addf(roots, "%02x", (unsigned char)*c);
	buf_addf(roots, "%02x", '.');
	for (const char *c = name; *c; c++)
		buf_addf(roots, "%02x", (unsigned char)*c);
	buf_add_char(roots, ',');
}

/* With its comma. */
static struct slice first_root(struct slice roots)
{
	const char *comma = roots.len ? memchr(roots.at, ',', roots.len) : NULL;

	return (struct slice){ roots.at, comma ? (size_t)(comma - roots.at) + 1 : roots.len };
}

static bool has_root(struct slice told, struct slice root)
{
	while (told.len) {
		struct slice one = first_root(told);

		if (slice_equal(one, root))
			return true;
		told = (struct slice){ told.at + one.len, told.len - one.len };
	}
	return false;
}

static void add_root(struct buf *roots, struct slice root)
{
	buf_add_slice(roots, root);
	buf_add_char(roots, ',');
}

/* Appends the roots of the leaves of `before` that are in `now` as they were, or of those that are not. */
static void add_roots(const char *before, const char *now, bool is_same, struct buf *roots)
{
	struct leaf leaf, other = { 0 };

	while (next_leaf(&before, &leaf)) {
		while (other.oid < leaf.oid && next_leaf(&now, &other))
			;
		if ((other.oid == leaf.oid && other.file == leaf.file) == is_same)
			add_root(roots, leaf.root);
	}
}

void leaves_compare(const char *before, const char *now, struct buf *roots)
{
	struct buf same = { 0 }, other = { 0 };
	struct slice left;

	add_roots(before, now, true, &same);
	add_roots(before, now, false, &other);
	for (left = buf_slice(&other); left.len;) {
		struct slice root = first_root(left);

		if (has_root(buf_slice(&same), root))
			buf_add_char(roots, SOME);
		buf_add_slice(roots, root);
		left = (struct slice){ left.at + root.len, left.len - root.len };
	}
	buf_fini(&same);
	buf_fini(&other);
}

bool leaves_untold(struct slice roots, struct slice told)
{
	while (roots.len) {
		struct slice root = first_root(roots);

		if (!has_root(told, root))
			return true;
		roots = (struct slice){ roots.at + root.len, roots.len - root.len };
	}
	return false;
}
