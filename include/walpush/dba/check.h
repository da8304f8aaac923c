/*
 * check: looks at everything that must be right for walpush to work, and gives a fix for what is not.
 *
 * For the command: synchronous, on one thread. Changes nothing in the database.
 */
#ifndef WALPUSH_CHECK_H
#define WALPUSH_CHECK_H

#include <jansson.h>

#include "walpush/base/buf.h"
#include "walpush/conf/conf.h"
#include "walpush/rules/rules.h"

struct check;

enum check_where {
	CHECK_ALONE,
	CHECK_OFFLINE, /* only what the file shows: no server is connected to */
	CHECK_SERVING  /* beside a walpush that serves: without what its own connections show */
};

/* Both must outlive the check, which binds the rules. */
struct check *check_new(const struct conf *conf, struct rules *rules, enum check_where where);
void check_free(struct check *c);
void check_run(struct check *c);

size_t check_failures(const struct check *c);
size_t check_warnings(const struct check *c);
/* One line for each finding, then the totals. */
void check_print(const struct check *c, struct buf *out);
/* {"file", "offline", "failures", "warnings", "findings": [{"check", "state", "stops", "text", "fix": null | {"kind", "text"}, "mend": the same}]} */
json_t *check_json(const struct check *c);

#endif
