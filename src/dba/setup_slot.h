/*
 * setup_slot: the part of the DBA's script that makes the slot, or moves it from one plugin to the other (`walpush sql --switch`).
 *
 * PostgreSQL cannot change the plugin of a slot. So a move drops the slot and makes another one of the same name. It begins behind everything
 * that was committed before, so each client that comes back is told `resync` once, and no row that is committed later is missed.
 *
 * A slot that the server has given up can be read by nobody again. Dropping it loses nothing more, but it is somebody's decision: `recreate_slot`.
 *
 * Pure. The texts are for psql, and expect the variables `slot`, `failover` and for a move `publication`, and the search path SQLTEXT_OWN_PATH.
 */
#ifndef WALPUSH_SETUP_SLOT_H
#define WALPUSH_SETUP_SLOT_H

#include "walpush/base/buf.h"
#include "walpush/dba/setup.h"

/* Of a row `s` of pg_replication_slots: can it be read? `conflicting` exists since PostgreSQL 16, `invalidation_reason` since 17. */
#define SETUP_SLOT_IS_VALID                                                                                            \
	"(s.wal_status = 'lost' OR to_jsonb(s) ->> 'invalidation_reason' IS NOT NULL OR to_jsonb(s) ->> "              \
	"'conflicting' "                                                                                               \
	"= 'true') IS NOT TRUE"

/* Rows of the script's preconditions, each behind a UNION ALL: why there can be no slot as it is wanted. */
void setup_slot_refused(struct buf *out, const struct setup_options *options);
/* Expects `slot_missing`, `knows_failover` and `recreate_slot` besides. */
void setup_slot(struct buf *out, const struct setup_options *options);
/* The end: an error where the slot cannot be read and stayed so. */
void setup_slot_told(struct buf *out, const struct setup_options *options);

#endif
