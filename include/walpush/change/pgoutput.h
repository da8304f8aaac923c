/*
 * pgoutput: a message of PostgreSQL's logical replication protocol, version 1, into a struct change as decode.h makes it of wal2json's records.
 *
 * A row has only the OID of its table and the values; names and types are its relation's (relation.h).
 *
 * Strict: every length is looked at before the bytes behind it are, and everything that the protocol does not say is an error with its byte
 * offset. Values become what wal2json prints: a domain is a string whatever its base type, a bytea loses its "\x", a number that is NaN or
 * infinite is null. Slices point into the message or into the relation. Only a text with characters that JSON must escape is copied; it belongs
 * to the decoder until its next call or pgoutput_rest.
 *
 * Differences to wal2json: only BEGIN has an xid, and it has no end (next_lsn is 0); a row has no LSN; the time of a commit is in UTC unless
 * pgoutput_zone says otherwise. Pure; one
 * thread a decoder.
 */
#ifndef WALPUSH_PGOUTPUT_H
#define WALPUSH_PGOUTPUT_H

#include "walpush/change/decode.h"
#include "walpush/change/relation.h"

struct pgoutput; /* the column arrays, reused from message to message */

struct pgoutput *pgoutput_new(void);
void pgoutput_free(struct pgoutput *d);

/* As plugin_decoder_zone. */
bool pgoutput_zone(struct pgoutput *d, const char *zone);

/* BEGIN, COMMIT, INSERT, UPDATE, DELETE, TRUNCATE, or a message. `r`: of a row or TRUNCATE, else NULL. An UPDATE without an old row leaves its
 * identity unchanged, and has that of the new row. */
bool pgoutput_decode(struct pgoutput *d, const struct relation *r, struct slice message, struct change *out,
		     struct fail *why);

/* As plugin_copy and plugin_decoder_rest. */
size_t pgoutput_copy(struct slice message);
void pgoutput_rest(struct pgoutput *d);

/* As decode_is_ddl. */
bool pgoutput_is_ddl(struct slice message);

#endif
