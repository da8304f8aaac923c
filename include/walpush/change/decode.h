/*
 * decode: one record of wal2json format 2 into a struct change, without copying a value.
 *
 * A strict scanner for exactly the shapes that wal2json prints. Everything else is an error with its byte offset, never
 * a guess. It is not jansson, because jansson refuses a whole document for one integer beyond int64 and rounds reals,
 * while a change must be passed on digit for digit.
 *
 * Every slice points into the record given to decode_record and lives as long as the record. Column arrays belong to
 * the decoder and live until its next call. Pure; one thread a decoder. Cost: one pass over the bytes.
 *
 * Options that it expects: format-version=2 include-types=false include-type-oids=true include-lsn=true
 * include-timestamp=true include-xids=true. `pk` and `origin` are accepted and ignored.
 *
 * wal2json 2.5 and 2.6 print some things that a reader would not guess: no white space at all; a column of a domain is
 * a string whatever its base type ("5", "t", "NaN", "\\x00ff"), because wal2json only knows built-in OIDs; OIDs from
 * 2^31 on as negative numbers; null for numbers that are NaN or infinite; bytes that are not UTF-8 in a message's
 * content. An accepted value is UTF-8 and has no zero byte after its escapes are undone.
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
	CHANGE_MESSAGE   /* M: only the kind is set; see decode_is_ddl */
};

enum value_kind { VALUE_NULL, VALUE_BOOL, VALUE_NUMBER, VALUE_STRING };

struct column {
	struct slice name;  /* as printed between the quotes, with JSON escapes */
	struct slice value; /* digits, true/false, or the body of the string with its JSON escapes; empty for null */
	uint32_t type;      /* OID of the type */
	enum value_kind kind;
};

struct change {
	enum change_kind kind;
	uint32_t xid;           /* low 32 bits; 0: not printed */
	lsn_t lsn;              /* B, C: start of the commit record. Others: of the row */
	lsn_t next_lsn;         /* B, C: its end; the position that may be confirmed */
	struct slice timestamp; /* B, C: of the commit, "2025-11-14 12:34:56.123456+00" */
	struct slice schema;    /* with JSON escapes */
	struct slice table;
	const struct column *columns; /* the new row; an unchanged TOAST value is absent */
	size_t n_columns;
	const struct column *identity; /* the old row, or its key */
	size_t n_identity;
	bool leaves_out_stored; /* generated columns may be absent, changed or not */
};

/* In the text of the error if a column has no type: the option include-type-oids does nothing in older versions. All rows are so. */
#define DECODE_TOO_OLD "\"typeoid\" in a column, which wal2json before 2.5 does not print"

#define DECODE_COLUMNS 1600 /* of a table at most: PostgreSQL's MaxHeapAttributeNumber */

struct decoder; /* the column arrays, reused from record to record */

struct decoder *decoder_new(void);
void decoder_free(struct decoder *d);

bool decode_record(struct decoder *d, struct slice record, struct change *out, struct fail *why);

/* The prefix of the messages by which an event trigger reports DDL. The server is asked for no other messages. */
#define DECODE_DDL_PREFIX "walpush.ddl"

/* decode_table and decode_is_ddl need only this many bytes of a record: even the longest names, with every byte
 * escaped, end before. */
#define DECODE_HEAD_BYTES 1024

/* The table of a row, from the first DECODE_HEAD_BYTES of a record that may be cut there. False: unknown. */
bool decode_table(struct slice record, struct slice *schema, struct slice *table);

/* Is the record a message about DDL, and part of its transaction? The record may be cut as above; the message's content
 * is ignored. */
bool decode_is_ddl(struct slice record);

#endif
