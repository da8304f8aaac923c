/*
 * ledger: the last LEDGER_EVENTS messages: which row, which groups, how many receivers, when. For /explain.
 *
 * Two rings of fixed size, 480 KB and 2 MiB, which take memory as they fill. The cost of a message is the copy of its names, however many
 * receivers it has; nothing is kept for a connection. No row data: table, action, key (as the audit log has it) and names of groups, up to
 * LEDGER_TEXT bytes together. Names that are too long, and names whose bytes were needed for newer ones, are missing; the numbers stay. One
 * thread. Times are passed in.
 */
#ifndef WALPUSH_LEDGER_H
#define WALPUSH_LEDGER_H

#include "walpush/watch/audit.h"

#define LEDGER_EVENTS 10000
#define LEDGER_TEXT 1024

struct ledger;

struct ledger_event { /* texts are borrowed until the next ledger_add */
	struct event_id id;
	int64_t at; /* µs since 1970 */
	uint64_t receivers;
	size_t n_groups;
	bool has_texts; /* false: nothing of the following is known any more */
	const char *table, *action, *key;
	const char *groups; /* n_kept names, each terminated by a zero */
	size_t n_kept;
};

struct ledger *ledger_new(void);
void ledger_free(struct ledger *l);
void ledger_add(struct ledger *l, int64_t at, const struct audit_change *change);
/* 0 is the newest. False: there are not so many. */
bool ledger_at(const struct ledger *l, size_t i, struct ledger_event *out);
bool ledger_find(const struct ledger *l, struct event_id id, struct ledger_event *out);

#endif
