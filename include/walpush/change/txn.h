/*
 * txn: one transaction, from rows to numbered messages.
 *
 * Pure. Rows are added in the order of changes. Each message gets the next index, whatever its groups, even if it has
 * none: numbers depend only on the rows, so they are the same in every decoding. Nothing leaves before txn_finish: a
 * transaction is published as a whole.
 *
 * Bounds. Rendered messages: limits.bytes. Above limits.bulk messages of one section for one group, or above
 * limits.bytes, the rest is counted and becomes one bulk message for each section and group. Counters take at most
 * limits.bytes too. Above that, and for rows with unknown groups (no old image, TRUNCATE), the section is marked: every
 * group that one of its templates could name must refetch. A lookup that failed or did not run marks the groups that
 * its templates could name, at the transaction's end; other groups get their messages. If the message itself has a place
 * for what a lookup or the actor's query did not say, every group of the section must refetch. Members: TXN_MEMBERS; above it,
 * everybody is a member.
 *
 * A message that uses {lookup.x} differs from row to row of the lookup, but all versions have one number. Each group
 * gets the version of the row that spelled it first, or of the first row if no row spelled it.
 */
#ifndef WALPUSH_TXN_H
#define WALPUSH_TXN_H

#include "walpush/change/route.h"

/* Users whose memberships one transaction changes. With more, it is as cheap to ask again about everybody. */
#define TXN_MEMBERS 1000

struct txn_limits {
	uint64_t bulk;
	size_t bytes;
	size_t row_bytes; /* a larger data object is left out of its message */
};

struct txn;

struct txn *txn_new(const struct txn_limits *limits);
void txn_free(struct txn *t);

/* `commit_time` is copied. */
void txn_begin(struct txn *t, lsn_t lsn, struct slice commit_time);
bool txn_is_open(const struct txn *t);
struct txn_answers {                  /* answers to the queries of the plan; NULL: none */
	const struct sqlrows *lookup; /* NULL with wants_lookup: the groups that it would have named are marked */
	const struct sqlrows *actor;
	const struct sqlrows *data; /* checked to be JSON */
	bool data_left_out;         /* the query did not run, because of a limit: the section is marked */
	bool lookup_is_late; /* the lookup may name receivers whom the message is not for: they get a bulk message in its place */
};

/* Returns the name of a column that a group or the message needs and the answers lack; NULL: none is missing. */
const char *txn_row(struct txn *t, const struct route_plan *plan, const struct txn_answers *answers);
/* Every group of this section must refetch. `reason` is a literal: "truncate", "unknown", "lookup". */
void txn_mark(struct txn *t, const struct rules_section *section, const char *reason);
/* The same for a table that is gone, and matched the pattern of this section: every group that a row of this schema could
 * be in. */
void txn_mark_gone(struct txn *t, const struct rules_section *section, const char *schema);
/* A membership of this user changed; NULL: the user is unknown, so it counts for everybody. */
void txn_add_member(struct txn *t, const char *user);
/*
 * A row of this section was skipped; NULL: the row is of an unknown table. The transaction then has no messages and no
 * marks, only txn_skipped, because the other messages may depend on the missing row. Its members stay.
 */
void txn_skip(struct txn *t, const struct rules_section *section);
/*
 * No more rows: bulk messages get their numbers. `is_half_told`: another decoding has published a part of the transaction, and what that left to its
 * end cannot be known, because it depended on answers. If a row asked anything, the rest is a txn_skipped.
 */
void txn_finish(struct txn *t, bool is_half_told);

struct txn_message { /* borrowed from the txn until the next txn_begin */
	struct event_id id;
	struct slice header; /* of the WebSocket frame */
	struct slice payload;
	const char *groups; /* n_groups names, each terminated by a zero */
	size_t n_groups;
	const struct rules_section *section;
	struct slice
		about; /* the section's name, the action (JSON-escaped), the key (JSON; empty for a bulk message), each ended by a zero */
	bool is_bulk;   /* it replaces other messages: its receivers must refetch */
	unsigned close; /* its receivers' connections are closed after it with this code; 0: they are not */
};

struct txn_marked {
	struct event_id id;
	const struct rules_section *section;
	const char *label; /* see rules_labelled */
	const char *reason;
	bool lookup_only; /* only groups of templates that name {lookup.x} */
};

/* The bulk messages in place of late ones are numbered from here, each by the first row that it stands for. So the numbers of the others do not
 * depend on what lookups answered. They are the last ones of a transaction. */
#define TXN_LATE_INDEX (UINT32_C(1) << 30)

/* One number for everything that a transaction with a skipped row sends, so that a client with several of its groups
 * receives it once. It is the highest number that a message may have: everything that an earlier decoding of the
 * transaction published is below it. */
#define TXN_SKIPPED_INDEX ((UINT32_C(1) << 31) - 1)

struct txn_skipped {
	struct event_id id;
	bool everything;                             /* every group */
	const struct rules_section *const *sections; /* every group that a template of these could name */
	size_t n_sections;
	/* The groups that the other rows name: n_groups pairs of texts, each ended by a zero. The first text is the
	 * code with which the receivers' connections are closed afterwards ("0": they are not), the second is the
	 * name. */
	struct slice groups;
	size_t n_groups;
};

/* A row wanted an answer, so other decodings of the transaction may make something else of it. */
bool txn_asks(const struct txn *t);
/* After txn_finish. False: no row was skipped. */
bool txn_skipped(const struct txn *t, struct txn_skipped *out);
/* The labels of `sections`, each ended by a zero. */
void txn_skipped_labels(const struct txn_skipped *skipped, struct buf *out);

struct txn_calls { /* each may keep its argument until the next txn_begin */
	void (*member)(void *ctx, lsn_t commit, const char *user); /* whose membership changed; NULL: everybody's */
	void (*message)(void *ctx, const struct txn_message *m);
	void (*mark)(void *ctx, const struct txn_marked *m);
	void (*skipped)(void *ctx, const struct txn_skipped *skipped);
};

/* After txn_finish. Calls everything in the order in which it must be published: first the members, then messages and
 * marks in the order of their ids, or the skipped one that replaces them all. False: there are neither messages nor
 * marks, whatever memberships change. */
bool txn_each(const struct txn *t, const struct txn_calls *calls, void *ctx);

/* Each member once. NULL means everybody, and then is the only one. Borrowed like messages. */
size_t txn_n_members(const struct txn *t);
const char *txn_member(const struct txn *t, size_t i);

lsn_t txn_lsn(const struct txn *t);
/* After txn_finish, in the order of ids. Messages and marks have separate lists. */
size_t txn_n_messages(const struct txn *t);
struct txn_message txn_message(const struct txn *t, size_t i);
size_t txn_n_marks(const struct txn *t);
/* When the transaction was committed by the database's clock, in µs since 1970; 0: unknown. */
int64_t txn_commit_us(const struct txn *t);
struct txn_marked txn_marked(const struct txn *t, size_t i);

#endif
