/* pgvalue: maps a value as PostgreSQL prints it to the JSON that Django REST framework prints. Private to the render
 * module; pure. */
#ifndef WALPUSH_PGVALUE_H
#define WALPUSH_PGVALUE_H

#include <stdint.h>

#include "walpush/base/buf.h"
#include "walpush/text/pgtypes.h"

struct pgtext {
	struct slice text;
	bool escaped; /* as in a JSON string's body; false: as PostgreSQL's output function gave it */
};

/* A value that cannot be mapped is written as a string, as received. */
void pgvalue_scalar(struct pgtext value, uint32_t type, struct buf *out);
/* Arrays, ranges and hstore have quotes and backslashes of their own, inside those of JSON: `map` gets the text without
 * JSON's escapes. */
void pgvalue_composed(struct pgtext value, bool (*map)(struct slice text, uint32_t part, struct buf *out),
		      uint32_t part, struct buf *out);
/* The text as a JSON string. */
void pgvalue_string(struct pgtext value, struct buf *out);

/* These write nothing and return false if the text does not have the form that they map. The text of the last three has
 * no escapes. */
bool pgvalue_timestamp(struct slice text, bool with_zone, struct buf *out);
bool pgvalue_time(struct slice text, struct buf *out);
bool pgvalue_duration(struct slice text, struct buf *out);
/* "2025-11-14 12:34:56.123456+00" in µs since 1970. */
bool pgvalue_unix_us(struct slice text, int64_t *us);
/* As Python's isoformat() of the same moment in UTC: "2025-11-14T12:34:56.123456+00:00". */
bool pgvalue_utc(struct slice text, struct buf *out);
bool pgvalue_array(struct slice text, uint32_t element, struct buf *out);
bool pgvalue_range(struct slice text, uint32_t bound_type, struct buf *out);
/* An object of strings and nulls; `unused` gives it the same type as the two above. */
bool pgvalue_hstore(struct slice text, uint32_t unused, struct buf *out);

/* Strict RFC 8259, nesting bounded. */
bool pgvalue_is_json(struct slice text);
bool pgvalue_is_number(struct slice text);

#endif
