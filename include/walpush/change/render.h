/*
 * render: the JSON that a subscriber receives, and its WebSocket frame.
 *
 * Pure. `data` is what Django REST framework's ModelSerializer prints for the row (docs/protocol.md). Values that need
 * no change are copied as received, digit for digit; wal2json's string escapes are valid JSON and are kept.
 */
#ifndef WALPUSH_RENDER_H
#define WALPUSH_RENDER_H

#include "walpush/base/event_id.h"
#include "walpush/change/route.h"

struct render_input {                 /* what a message contains besides its row */
	const struct sqlrows *lookup; /* NULL: none */
	size_t lookup_row;            /* the row for {lookup.x} */
	const struct sqlrows *actor;  /* its first value is the name for updated_by; NULL, or no row: null */
	const struct sqlrows *data;   /* its first value is the JSON of `data`; else null, or the section's `columns` */
	struct slice commit_time;     /* the B record's timestamp */
	struct event_id id;
	size_t row_bytes; /* a larger `data`, or a template's value that makes the message longer, becomes null ("truncated":true); 0: no bound */
};

/* The standard message, or the message of the section's template. */
void render_message(const struct route_plan *plan, const struct route_message *message, const struct render_input *in,
		    struct buf *out);
/* The primary key's value as in a message: an array if the key has several columns; null if there is no key, or the
 * section withholds a column of it. */
void render_key(const struct route_plan *plan, const struct route_message *message, struct buf *out);
/* A column that the section's template names and the answers lack; NULL: none is missing. */
const char *render_missing(const struct rules_section *s, const struct render_input *in);

/* {"type":"request.bulk","action":"bulk","count":N,"id":…} */
void render_bulk(const struct rules_section *s, uint64_t count, struct event_id id, struct buf *out);

struct render_notice { /* a message of the server's own */
	const struct rules_stream *stream;
	tmpl_value_fn *value; /* answers {path.x} and {token.x} */
	void *ctx;
	const char *epoch;
	struct event_id id;
	const char *reason; /* of a resync */
	bool resumed;       /* of a hello */
	int64_t now;        /* µs since 1970 */
};

/* {"type":"connection_established",…}, or the stream's `hello`; resumed adds "resumed":true */
void render_hello(const struct render_notice *n, struct buf *out);
/* The stream's `resync`, or the standard resync. */
void render_refetch(const struct render_notice *n, struct buf *out);
/* {"type":"resync","reason":…,"id":…,"epoch":…} */
void render_resync(const char *reason, const char *epoch, struct event_id id, struct buf *out);

/* One value as DRF prints it. `type`: the column's OID in the catalog, `element`: that of an array. NULL pointer:
 * null. */
void render_value(const struct column *value, uint32_t type, uint32_t element, struct buf *out);
/* The same for a query's answer; a missing row or column is null. Arrays are strings as PostgreSQL prints them. */
void render_sql_value(const struct sqlrows *rows, size_t row, const char *column, struct buf *out);
/* Is the text strictly JSON? */
bool render_is_json(const char *text);
/* "2025-11-14 12:34:56.123456+00" → 2025-11-14T12:34:56.123456Z, without quotes. */
void render_timestamp(struct slice pg, struct buf *out);

/* The header of an unmasked text frame with this payload length; returns the header's length, 2, 4 or 10. */
#define FRAME_HEADER_MAX 10
size_t render_frame_header(char out[FRAME_HEADER_MAX], uint64_t payload);

#endif
