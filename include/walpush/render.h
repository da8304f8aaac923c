/*
 * render: the JSON a subscriber receives, and its WebSocket frame.
 *
 * Pure. `data` is what Django REST framework's ModelSerializer prints for the row (docs/protocol.md). Values that
 * need no change are copied as received, digit for digit; wal2json's string escapes are valid JSON and are kept.
 */
#ifndef WALPUSH_RENDER_H
#define WALPUSH_RENDER_H

#include "walpush/event_id.h"
#include "walpush/route.h"

/* The standard message. `actor` is the name for updated_by; NULL: null. `commit_time` is the B record's timestamp.
 * `row_bytes`: a data object larger than this becomes null, with "truncated":true; 0: no bound. */
void render_message(const struct route_plan *plan, const struct route_message *message, const char *actor,
		    struct slice commit_time, struct event_id id, size_t row_bytes, struct buf *out);

/* {"type":"request.bulk","action":"bulk","count":N,"id":…} */
void render_bulk(const struct rules_section *s, uint64_t count, struct event_id id, struct buf *out);

/* {"type":"connection_established",…}; resumed adds "resumed":true */
void render_hello(const char *stream, const char *epoch, struct event_id id, bool resumed, struct buf *out);
/* {"type":"resync","reason":…,"id":…,"epoch":…} */
void render_resync(const char *reason, const char *epoch, struct event_id id, struct buf *out);

/* One value as DRF prints it: type is the column's OID in the catalog, element that of an array. NULL pointer: null. */
void render_value(const struct column *value, uint32_t type, uint32_t element, struct buf *out);
/* "2025-11-14 12:34:56.123456+00" → 2025-11-14T12:34:56.123456Z, without quotes. */
void render_timestamp(struct slice pg, struct buf *out);

/* The header of an unmasked text frame of this payload length; returns its length, 2, 4 or 10. */
#define FRAME_HEADER_MAX 10
size_t frame_header(char out[FRAME_HEADER_MAX], uint64_t payload);

#endif
