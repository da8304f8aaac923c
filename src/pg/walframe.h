/*
 * walframe: the messages inside CopyData on a replication connection.
 *
 * The server sends 'w' (XLogData) and 'k' (keepalive); walpush sends 'r' (standby status update). Integers are big-endian; times are
 * microseconds since 2000-01-01 UTC. Pure; slices point into the input.
 * Source: PostgreSQL documentation, "Streaming Replication Protocol".
 */
#ifndef WALPUSH_WALFRAME_H
#define WALPUSH_WALFRAME_H

#include "walpush/base/event_id.h"
#include "walpush/base/fail.h"

enum walframe_kind { WALFRAME_DATA, WALFRAME_KEEPALIVE };

struct walframe {
	enum walframe_kind kind;
	lsn_t start;          /* data: where the WAL of the payload begins */
	lsn_t end;            /* the server's end of WAL */
	int64_t sent_at;      /* the server's clock */
	bool reply_demanded;  /* keepalive */
	struct slice payload; /* data */
};

#define WALFRAME_STATUS_SIZE 34

bool walframe_parse(struct slice bytes, struct walframe *out, struct fail *why);
/* `now` in the unit of sent_at. written ≥ flushed = applied. The slot is confirmed up to `flushed`. */
void walframe_status(char out[WALFRAME_STATUS_SIZE], lsn_t written, lsn_t flushed, int64_t now, bool demand_reply);

#endif
