/*
 * plugin: what the server's output plugin sends, whichever it is: records of wal2json (decode.h), or messages of pgoutput (pgoutput.h).
 *
 * A record of wal2json begins with '{', and no message of pgoutput does, so each tells by itself what it is. Pure; one thread a decoder.
 */
#ifndef WALPUSH_PLUGIN_H
#define WALPUSH_PLUGIN_H

#include "walpush/change/decode.h"
#include "walpush/change/pgoutput.h"

struct plugin_decoder {
	struct decoder *wal2json;
	struct pgoutput *pgoutput;
};

void plugin_decoder_init(struct plugin_decoder *d);
void plugin_decoder_fini(struct plugin_decoder *d);

/* What source_start says of the session's time zone, for the times of commits; "": UTC. False: it is malformed. */
bool plugin_decoder_zone(struct plugin_decoder *d, const char *zone);

/* The letter of its kind: B C I U D T M as wal2json names them, which are pgoutput's too; another letter is of no use to anybody but pgoutput
 * itself. 0: it begins differently; plugin_decode says how. */
char plugin_kind(struct slice record);
bool plugin_is_pgoutput(struct slice record);
/* `r`: of a row of pgoutput, else NULL. */
bool plugin_decode(struct plugin_decoder *d, const struct relation *r, struct slice record, struct change *out,
		   struct fail *why);
/* At most so many bytes are copied to decode the record. wal2json's stay where they are. */
size_t plugin_copy(struct slice record);
/* Gives back the memory of a large copy. What was decoded last is void. */
void plugin_decoder_rest(struct plugin_decoder *d);
/* The table of a row, without its values. False: unknown. */
bool plugin_table(const struct relation *r, struct slice record, struct slice *schema, struct slice *table);
/* As decode_is_ddl. */
bool plugin_is_ddl(struct slice record);

#endif
