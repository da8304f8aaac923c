/*
 * setup_variables: the variables of the DBA's script (`psql -v NAME=VALUE`): their defaults, and what is refused before anything is changed.
 *
 * A variable may be empty, as where a shell's variable was not set (-v role="$ROLE"): it counts as one that is not given. Only an empty `slot`
 * means something of its own: that no slot is made. Values are data, whatever characters they have.
 *
 * Pure. The texts are for psql.
 */
#ifndef WALPUSH_SETUP_VARIABLES_H
#define WALPUSH_SETUP_VARIABLES_H

#include "walpush/base/buf.h"
#include "walpush/conf/conf.h"
#include "walpush/dba/setup.h"

/* Sets `slot`, `role`, `password` with `has_password`, `failover`, `replicas`, `revoke`, `recreate_slot` and, where the script has one,
 * `publication`; and the search path SQLTEXT_OWN_PATH. Names are cut to the server's 63 bytes, as the server cuts them. */
void setup_variables(struct buf *out, const struct conf *conf, const struct setup_options *options);
/* Rows of the script's preconditions, each behind a UNION ALL: values that are none. Until they have run, nothing casts a value. */
void setup_variables_refused(struct buf *out);

#endif
