/* pgvalue: a value as PostgreSQL prints it becomes the JSON that Django REST framework prints. Private to the
 * render module; pure. */
#ifndef WALPUSH_PGVALUE_H
#define WALPUSH_PGVALUE_H

#include <stdint.h>

#include "walpush/buf.h"

/* OIDs of built-in types never change. Source: pg_type.dat. */
enum {
	PG_BOOL = 16,
	PG_BYTEA = 17,
	PG_INT8 = 20,
	PG_INT2 = 21,
	PG_INT4 = 23,
	PG_OID = 26,
	PG_JSON = 114,
	PG_BOX = 603,
	PG_FLOAT4 = 700,
	PG_FLOAT8 = 701,
	PG_DATE = 1082,
	PG_TIME = 1083,
	PG_TIMESTAMP = 1114,
	PG_TIMESTAMPTZ = 1184,
	PG_INTERVAL = 1186,
	PG_NUMERIC = 1700,
	PG_JSONB = 3802,
	PG_INT4RANGE = 3904,
	PG_NUMRANGE = 3906,
	PG_TSRANGE = 3908,
	PG_TSTZRANGE = 3910,
	PG_DATERANGE = 3912,
	PG_INT8RANGE = 3926,
};

struct pgtext {
	struct slice text;
	bool escaped; /* as in a JSON string's body; else as PostgreSQL's output function gave it */
};

/* What cannot be mapped is written as a string, as received. */
void pgvalue_scalar(struct pgtext value, uint32_t type, struct buf *out);
/* The text as a JSON string. */
void pgvalue_string(struct pgtext value, struct buf *out);

/* These write nothing and return false where the text is not of the form that they map. Of the last three the text
 * is without escapes. */
bool pgvalue_timestamp(struct slice text, bool with_zone, struct buf *out);
bool pgvalue_time(struct slice text, struct buf *out);
bool pgvalue_duration(struct slice text, struct buf *out);
/* "2025-11-14 12:34:56.123456+00" in µs since 1970. */
bool pgvalue_unix_us(struct slice text, int64_t *us);
/* As Python's isoformat() of the same moment in UTC: "2025-11-14T12:34:56.123456+00:00". */
bool pgvalue_utc(struct slice text, struct buf *out);
bool pgvalue_array(struct slice text, uint32_t element, struct buf *out);
bool pgvalue_range(struct slice text, uint32_t bound_type, struct buf *out);
/* An object of strings and nulls; `unused` lets it stand beside the two. */
bool pgvalue_hstore(struct slice text, uint32_t unused, struct buf *out);

/* Strict RFC 8259, nesting bounded. */
bool pgvalue_is_json(struct slice text);
bool pgvalue_is_number(struct slice text);

#endif
