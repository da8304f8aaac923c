/*
 * relation: what pgoutput says of a table before its rows: names and types. It says it again when they have changed.
 *
 * relations_take keeps the newest of each table. Whoever keeps a row keeps a reference to the relation that was the newest when the row came.
 * Bound: the tables of which rows came since the stream began, and those of rows that are kept. Pure; one thread.
 */
#ifndef WALPUSH_RELATION_H
#define WALPUSH_RELATION_H

#include <stdint.h>

#include "walpush/base/fail.h"
#include "walpush/base/slice.h"

struct relation;  /* a table as a Relation message describes it; references are counted */
struct relations; /* of a replication stream, by OID */

struct relations *relations_new(void);
void relations_free(struct relations *rs);
/* Another stream: the server will say everything again. References stay valid. */
void relations_forget(struct relations *rs);
/* Is it a Relation message? */
bool relation_is_told(struct slice message);
/* A Relation message. */
bool relations_take(struct relations *rs, struct slice message, struct fail *why);
/* How many tables a message is about: a row has one, a TRUNCATE one or more, others have none. */
size_t relations_count(struct slice message);
/* A reference to the nth of them; the caller gives it back. NULL: the message is malformed, or no Relation message came before it. */
struct relation *relations_find(const struct relations *rs, struct slice message, size_t n, struct fail *why);
#define RELATION_TRUNCATE_BYTES 10
/* The TRUNCATE of the nth of its tables alone. relations_count has counted more than `n`. */
struct slice relations_truncate(struct slice message, size_t n, char out[RELATION_TRUNCATE_BYTES]);
void relation_unref(struct relation *r); /* NULL does nothing */
/* The bytes that it takes, the first time; 0 afterwards: the first row that refers to it counts for it. */
size_t relation_charge(struct relation *r);
/* Its names, with JSON escapes. They live as long as the relation. */
void relation_table(const struct relation *r, struct slice *schema, struct slice *table);

#endif
