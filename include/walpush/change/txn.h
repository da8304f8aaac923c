/*
 * txn: one transaction on its way from rows to numbered messages.
 *
 * Pure. Rows are added in the order of changes; each message gets the next index, whatever its groups, and be it none: numbers
 * depend on the rows alone, so they are the same in every decoding. Nothing leaves before txn_finish: a transaction is published
 * whole.
 *
 * Bounds. Rendered messages: limits.bytes. Beyond limits.bulk messages of one section for one group, or the bytes, the rest is
 * counted and becomes one bulk message a section and group. Counters take at most limits.bytes too; past that, and for rows whose
 * groups are not known (no old image, TRUNCATE), the section is marked: every group that one of its templates could name must
 * refetch. A lookup that failed or was left out marks those that its templates could name, at the transaction's end; the others get
 * their messages. Members: TXN_MEMBERS; beyond it, everybody is one.
 *
 * A message that speaks of {lookup.x} is one for each row, all of one number: each group gets it of the row that spelled it first,
 * and of the first row where none did.
 */
#ifndef WALPUSH_TXN_H
#define WALPUSH_TXN_H

#include "walpush/change/route.h"

/* Users whose memberships one transaction changes. More of them are asked at once as cheaply as one by one. */
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
struct txn_answers {                  /* to what the plan wanted; NULL: none */
	const struct sqlrows *lookup; /* NULL with wants_lookup: the groups that it would have named are marked */
	const struct sqlrows *actor;
	const struct sqlrows *data; /* checked to be JSON */
	bool data_left_out;         /* it was not asked, past the limit: the section is marked */
};

/* Returns the name of a column that a group or the message wants and the answers lack; NULL: all is well. */
const char *txn_row(struct txn *t, const struct route_plan *plan, const struct txn_answers *answers);
/* Every group of this section must refetch. `reason` is a literal: "truncate", "unknown", "lookup". */
void txn_mark(struct txn *t, const struct rules_section *section, const char *reason);
/* A membership of this user changed; NULL: of a user that is not known, so of everybody. */
void txn_add_member(struct txn *t, const char *user);
/*
 * A row of this section was stepped over; NULL: of a table that is not known. The transaction then has no messages and no marks of its own
 * but txn_skipped, because what the others say may hang on the row that is missing. Its members stay.
 */
void txn_skip(struct txn *t, const struct rules_section *section);
/* No more rows: bulk messages get their numbers. */
void txn_finish(struct txn *t);

struct txn_message { /* borrowed from the txn until the next txn_begin */
	struct event_id id;
	struct slice header; /* of the WebSocket frame */
	struct slice payload;
	const char *groups; /* n_groups names, each terminated by a zero */
	size_t n_groups;
	const struct rules_section *section;
	struct slice
		about; /* the section's name, the action (JSON-escaped), the key (JSON; nothing for a bulk message), each ended
			     * by a zero */
	bool is_bulk;   /* it stands for others: its receivers must refetch */
	unsigned close; /* its receivers' connections are closed behind it with this code; 0: no */
};

struct txn_marked {
	struct event_id id;
	const struct rules_section *section;
	const char *reason;
	bool lookup_only; /* those of its templates alone that name {lookup.x} */
};

/* One number for all that a transaction with a row stepped over has to say, so that who hears several of its groups is told once. It is
 * the highest that a message may have: whatever an earlier decoding of the transaction published stands before it. */
#define TXN_SKIPPED_INDEX ((UINT32_C(1) << 31) - 1)

struct txn_skipped {
	struct event_id id;
	bool everything;                             /* every group there is */
	const struct rules_section *const *sections; /* every group that a template of these could name */
	size_t n_sections;
	/* Those that the other rows name: n_groups pairs of texts, each ended by a zero: the code with which the receivers' connections are
	 * closed behind it ("0": they are not), and the name. */
	struct slice groups;
	size_t n_groups;
};

/* After txn_finish. False: no row was stepped over. */
bool txn_skipped(const struct txn *t, struct txn_skipped *out);
/* The names of its sections, each ended by a zero. */
void txn_skipped_names(const struct txn_skipped *skipped, struct buf *out);

struct txn_calls { /* each may keep what it is given until the next txn_begin */
	void (*member)(void *ctx, lsn_t commit, const char *user); /* whose membership changed; NULL: everybody's */
	void (*message)(void *ctx, const struct txn_message *m);
	void (*mark)(void *ctx, const struct txn_marked *m);
	void (*skipped)(void *ctx, const struct txn_skipped *skipped);
};

/* After txn_finish. All that it says, in the order in which it has to be told: whose permission it changes, then messages and marks in the order
 * of their ids, or what stands for them all. False: it has neither messages nor marks, whatever it changes. */
bool txn_each(const struct txn *t, const struct txn_calls *calls, void *ctx);

/* Each once; NULL, which then is the only one: everybody. Borrowed as messages are. */
size_t txn_n_members(const struct txn *t);
const char *txn_member(const struct txn *t, size_t i);

lsn_t txn_lsn(const struct txn *t);
/* After txn_finish, in the order of ids, messages and marks apart. */
size_t txn_n_messages(const struct txn *t);
struct txn_message txn_message(const struct txn *t, size_t i);
size_t txn_n_marks(const struct txn *t);
/* When it was committed by the database's clock, in µs since 1970; 0: it cannot be told. */
int64_t txn_commit_us(const struct txn *t);
struct txn_marked txn_marked(const struct txn *t, size_t i);

#endif
