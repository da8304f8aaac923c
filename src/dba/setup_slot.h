/*
 * setup_slot: the part of the DBA's script that makes the slot, or moves it from one plugin to the other (`walpush sql --switch`).
 *
 * PostgreSQL cannot change the plugin of a slot. So a move drops the slot and makes another one of the same name. It begins behind everything
 * that was committed before, so each client that comes back is told `resync` once, and no row that is committed later is missed.
 *
 * Pure. The texts are for psql, and expect the variables `slot`, `failover` and for a move `publication`, and the search path SQLTEXT_OWN_PATH.
 */
#ifndef WALPUSH_SETUP_SLOT_H
#define WALPUSH_SETUP_SLOT_H

#include "walpush/base/buf.h"
#include "walpush/dba/setup.h"

/* Rows of the script's preconditions, each behind a UNION ALL: why there can be no slot as it is wanted. */
void setup_slot_refused(struct buf *out, const struct setup_options *options);
/* Expects `slot_missing` and `knows_failover` besides. */
void setup_slot(struct buf *out, const struct setup_options *options);

#endif
