/*
 * decode: one record of wal2json format 2 into a struct change, without copying a value.
 *
 * A strict scanner of exactly the shapes wal2json prints; whatever else comes is an error with its
 * byte offset, never a guess. Not jansson, because jansson refuses a whole document for one integer beyond
 * int64 and rounds reals, while a change must be passed on digit for digit.
 *
 * Every slice points into the record given to decode_record and lives as long as it. Column arrays belong to the
 * decoder and live until its next call. Pure; one thread a decoder. Cost: one pass over the bytes.
 *
 * Options it expects: format-version=2 include-types=false include-type-oids=true include-lsn=true
 * include-timestamp=true include-xids=true. `pk` and `origin` are accepted and passed over.
 *
 * What wal2json 2.5 and 2.6 print, and one would not guess: no white space at all; a column of a domain is a string
 * whatever its base type ("5", "t", "NaN", "\\x00ff"), because only built-in OIDs are told apart; OIDs from 2^31 on as
 * negative numbers; null for numbers that are NaN or infinite; bytes that are not UTF-8 in a message's content.
 * A value that was accepted is UTF-8 and holds no zero byte, its escapes undone.
 */
#ifndef WALPUSH_DECODE_H
#define WALPUSH_DECODE_H

#include "walpush/base/event_id.h"
#include "walpush/base/fail.h"
#include "walpush/base/slice.h"

enum change_kind {
	CHANGE_BEGIN,    /* B: xid, timestamp, lsn, nextlsn */
	CHANGE_COMMIT,   /* C: the same */
	CHANGE_INSERT,   /* I: schema, table, columns */
	CHANGE_UPDATE,   /* U: schema, table, columns; identity unless the table has none */
	CHANGE_DELETE,   /* D: schema, table, identity */
	CHANGE_TRUNCATE, /* T: schema, table */
	CHANGE_MESSAGE   /* M: nothing but the kind is set; see decode_is_ddl */
};

enum value_kind { VALUE_NULL, VALUE_BOOL, VALUE_NUMBER, VALUE_STRING };

struct column {
	struct slice name;  /* as printed between the quotes: JSON escapes and all */
	struct slice value; /* digits, true/false, or the body of the string with its JSON escapes; empty for null */
	uint32_t type;      /* OID of the type */
	enum value_kind kind;
};

struct change {
	enum change_kind kind;
	uint32_t xid;           /* low 32 bits; 0 where not printed */
	lsn_t lsn;              /* B, C: start of the commit record. Others: of the row */
	lsn_t next_lsn;         /* B, C: its end; what may be confirmed */
	struct slice timestamp; /* B, C: of the commit, "2025-11-14 12:34:56.123456+00" */
	struct slice schema;    /* with JSON escapes */
	struct slice table;
	const struct column *columns; /* the new row; an unchanged TOAST value is absent */
	size_t n_columns;
	const struct column *identity; /* the old row, or its key */
	size_t n_identity;
};

struct decoder; /* the column arrays, reused from record to record */

struct decoder *decoder_new(void);
void decoder_free(struct decoder *d);

bool decode_record(struct decoder *d, struct slice record, struct change *out, struct fail *why);

/* Of the messages by which an event trigger tells of DDL. No other messages are asked of the server. */
#define DECODE_DDL_PREFIX "walpush.ddl"

/* Nothing of a record needs to be looked at behind this for what follows: the longest names there are, escaped throughout, end before it. */
#define DECODE_HEAD_BYTES 1024

/* Whose row it is, from the first DECODE_HEAD_BYTES of a record that may be cut there. False: it cannot be told. */
bool decode_table(struct slice record, struct slice *schema, struct slice *table);

/* Is it such a message, and part of its transaction? As above; what the message says is not looked at. */
bool decode_is_ddl(struct slice record);

#endif
