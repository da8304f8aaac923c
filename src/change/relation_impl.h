/* relation_impl: what is in a relation, for pgoutput.c. */
#ifndef WALPUSH_RELATION_IMPL_H
#define WALPUSH_RELATION_IMPL_H

#include <uthash.h>

#include "walpush/base/buf.h"
#include "walpush/change/relation.h"

struct relation_column {   /* a column of a relation */
	struct slice name; /* with JSON escapes; points into the relation's names */
	uint32_t type;
	bool in_key;
};

struct relation {
	UT_hash_handle hh;
	uint32_t oid;
	unsigned refs;
	bool is_charged;
	struct buf names;
	struct slice schema, table; /* as the columns' names */
	size_t n_columns;
	struct relation_column *columns;
};

#endif
