/*
 * setup_standby: the part of the DBA's script that refuses to run on a standby, and says what to run where.
 *
 * Nothing can be written there: role, grants, replica identities and publication come from the primary, with the WAL. Only a slot is a server's own.
 *
 * Pure. For psql; expects the variable `slot`.
 */
#ifndef WALPUSH_SETUP_STANDBY_H
#define WALPUSH_SETUP_STANDBY_H

#include "walpush/base/buf.h"
#include "walpush/dba/setup.h"

/* A row of the script's preconditions, behind a UNION ALL; it has the lowest rank, for nothing else matters there. */
void setup_standby_refused(struct buf *out, const struct setup_options *options);

#endif
