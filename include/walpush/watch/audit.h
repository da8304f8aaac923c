/*
 * audit: who received which change, and who was admitted: one JSON object a line, in a file of its own.
 *
 *   {"time":"…Z","audit":"change","id":"0/16B3748-2","table":"requests","action":"approved","key":123,"groups":["…"],"receivers":3}
 *   {"time":"…Z","audit":"admitted","user":"7","peer":"10.0.0.1","stream":"requests","groups":["…"],"resumed":false}
 *   {"time":"…Z","audit":"refused","user":"7","peer":"10.0.0.1","code":4403,"reason":"forbidden"}
 *
 * A line has names, keys and numbers: never a row's data, a token or a query string.
 *
 * Any thread may write a line: audit copies the line into a buffer, and the audit's own thread writes the buffer into
 * the file. So the loops never wait for a disk. The buffer holds AUDIT_BYTES. If the buffer is full, new lines are lost
 * and counted, and the file says so as soon as it accepts lines again. The same holds for lines that the file did not
 * accept. The file holds whole lines only (auditfile.h). At the end everything in the buffer is written.
 */
#ifndef WALPUSH_AUDIT_H
#define WALPUSH_AUDIT_H

#include "walpush/base/address.h"
#include "walpush/base/event_id.h"
#include "walpush/base/fail.h"

#define AUDIT_BYTES (4u << 20)

struct audit;

struct audit_client {
	const char *user; /* NULL: not known yet */
	const struct address *peer;
	const char *stream; /* NULL: not known yet */
};

struct audit_change {
	struct event_id id;
	const char *table;  /* the section's name */
	const char *action; /* JSON-escaped */
	struct slice key;   /* JSON; empty: none */
	const char *groups; /* n_groups names, each terminated by a zero */
	size_t n_groups;
	uint64_t receivers;
};

struct audit *audit_new(void);
/* Writes the rest of the buffer. Call it after all threads that use `a` have ended. */
void audit_free(struct audit *a);

/* Can walpush append to this file? For a file that is used later. "-" is standard error. */
bool audit_check(const char *file, struct fail *why);
/* Writes to this file from now on. The same file is opened again too, for log rotation. NULL: off. Tap thread. */
bool audit_open(struct audit *a, const char *file, struct fail *why);

bool audit_is_on(const struct audit *a);
uint64_t audit_lost(const struct audit *a);

void audit_change(struct audit *a, const struct audit_change *change);
void audit_admitted(struct audit *a, const struct audit_client *client, const char *groups, size_t n_groups,
		    bool resumed);
/* what: "refused", "expired", "revoked". `code` 0: none; `reason` NULL: none. */
void audit_ended(struct audit *a, const char *what, const struct audit_client *client, unsigned code,
		 const char *reason);

#endif
