/*
 * setup_publication: the part of the DBA's script that only a slot of pgoutput needs: the publication of this configuration's tables, and
 * replica identities that fit it.
 *
 * A publication changes the application: PostgreSQL refuses an UPDATE or DELETE of a published table without a replica identity. So the
 * script looks at this first, and changes nothing where a statement of the application would fail, now or in a partition that is made later.
 *
 * Pure. Both texts are for psql, and expect the temporary table walpush_found of the script (schema, name, columns), the variables `slot` and
 * `publication`, and the search path SQLTEXT_OWN_PATH.
 */
#ifndef WALPUSH_SETUP_PUBLICATION_H
#define WALPUSH_SETUP_PUBLICATION_H

#include "walpush/base/buf.h"
#include "walpush/rules/rules.h"

/* Makes the temporary table walpush_published (oid), refuses what cannot be published, and alters the replica identities. */
void setup_published(struct buf *out, const struct rules *r);
/* Makes the publication of walpush_published, or alters it, and drops the temporary tables. */
void setup_publication(struct buf *out);

#endif
