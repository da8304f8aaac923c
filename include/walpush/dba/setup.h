/*
 * setup: the script that a DBA runs, once, for one configuration: role, grants, replica identity, plugin, slot.
 *
 * Pure, and without a database: what depends on one, the script finds out where it runs. It may be run again. What it
 * grants is exactly what the queries of the configuration read, as PostgreSQL's own parser sees it. sql/setup.sql is this
 * script for the shipped sidecar.conf, and a test keeps it so.
 */
#ifndef WALPUSH_SETUP_H
#define WALPUSH_SETUP_H

#include "walpush/base/buf.h"
#include "walpush/rules/rules.h"

/* role: a default for the script's variable, as its slot is; NULL: walpush. */
void setup_script(const struct conf *conf, const struct rules *rules, const char *role, struct buf *out);

/* Another script, the same for every configuration: an event trigger that tells of DDL at its own commit. SQL alone, and one transaction. */
void setup_ddl(struct buf *out);

#endif
