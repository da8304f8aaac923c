/*
 * setup: the script that a DBA runs, once, for one configuration: role, grants, replica identity, then for wal2json the list of allowed
 * plugins and for pgoutput the publication, and the slot.
 *
 * Pure, and needs no database: the script itself finds out what depends on the database where it runs. The script may be run
 * again. It grants exactly what the queries of the configuration read, as PostgreSQL's own parser sees them, and takes nothing away unless asked,
 * because another configuration may have the same role or publication. sql/setup.sql is the script of wal2json for the shipped sidecar.conf, and a
 * test compares them.
 */
#ifndef WALPUSH_SETUP_H
#define WALPUSH_SETUP_H

#include "walpush/base/buf.h"
#include "walpush/rules/rules.h"

#define SETUP_WAL2JSON "wal2json"
#define SETUP_PGOUTPUT "pgoutput"

struct setup_options {
	const char *
		role; /* the default of the script's variable `role`, as the configured slot is of `slot`; NULL: walpush */
	const char *plugin; /* one of the two above */
	bool row_filters;   /* rows that no section counts are not sent, where nothing can tell; pgoutput alone */
	bool moves;         /* a slot of the other plugin is moved to this one; else it is refused */
	bool revokes;       /* the default of the variable `revoke` */
	bool recreates;     /* the default of the variable `recreate_slot` */
};

void setup_script(const struct conf *conf, const struct rules *rules, const struct setup_options *options,
		  struct buf *out);

/* Another script, the same for every configuration: an event trigger that sends a message at the commit of DDL. Only SQL, in one transaction. */
void setup_ddl(struct buf *out);

#endif
