/*
 * route: from one row to its messages: which groups, which type, which action.
 *
 * Pure. For each section of the row's table, in the file's order:
 *   route_section     says what the row means (op, action) and which SQL must be answered before it can be routed;
 *   route_messages    with the answers, gives at most two messages: for the groups left, then for the groups joined.
 * A message is numbered once, whatever the number of its groups.
 *
 * What a change means where the section has `when` (a value that PostgreSQL did not send counts as in `when`):
 *
 *     before \ after   in                        out
 *     in               updated                   deleted, key only, to the groups of the old row
 *     out              created                   nothing
 *
 * An action is looked for among those whose `on` names what happened to the row in PostgreSQL, so an UPDATE that
 * brings a row into `when` can be {"type":"request.created","action":"approved"}. Of its condition, `becomes` asks
 * for a new value equal to the text and an old one that differs, `was` for the opposite, `changes` for two
 * values that differ. On INSERT `becomes` asks the new value alone, on DELETE `was` the old one. With only-actions a change without one is
 * nothing. Where the old value was not sent and the new one does not exclude an action, nobody can tell: the message has the op's own
 * name, and with only-actions the section's groups must refetch.
 *
 * An update that is `updated` and changed columns of `quiet` alone is nothing either. Without the old value of another
 * column nobody can tell, and the change is told.
 */
#ifndef WALPUSH_ROUTE_H
#define WALPUSH_ROUTE_H

#include "walpush/rules/groups.h"
#include "walpush/change/row.h"

enum route_op { ROUTE_CREATED, ROUTE_UPDATED, ROUTE_DELETED };

struct route_plan { /* filled by route_section; borrowed from rules and row */
	const struct rules_section *section;
	const struct row *row;
	enum route_op op;
	const struct rules_action *action; /* NULL: the op's own name */
	bool wants_lookup;                 /* ask section->lookup with route_param */
	bool wants_data;                   /* ask section->data, likewise */
	bool wants_actor;                  /* ask rules_actor with the id in actor_column (row_value) */
	int actor_column;                  /* -1: none */
	bool is_unknown;     /* with only-actions: whether it is one, the values sent do not tell. No message */
	bool lookup_unknown; /* a parameter of the lookup was not sent: it cannot be asked */
};

/* False: this section has nothing to say of this row. TRUNCATE is the caller's: resync for all the section's groups. */
bool route_section(const struct rules_section *s, const struct row *row, struct route_plan *out);

/* The text of a lookup's parameter; false: NULL. */
bool route_param(const struct route_plan *plan, const struct tmpl_part *part, struct buf *out);

struct route_message {
	enum route_op op;
	const char *action; /* JSON-escaped */
	bool key_only;      /* a delete, or a move away */
	struct groups groups;
};

struct route_result {
	struct route_message left; /* groups.n == 0: none */
	struct route_message joined;
	/* Groups that must refetch, because the row's groups cannot be computed (no old image): each is one of
	 * the section's templates with its literals, to be matched with tmpl_could_spell. What is known is in
	 * left and joined all the same. */
	bool unknown;
};

/* `lookup` NULL where the plan wanted none. The result's buffers are reused from call to call; zeroed before the
 * first. */
void route_messages(const struct route_plan *plan, const struct sqlrows *lookup, struct route_result *out);
/* The lookup has no answer: a group that it could have named may not have been left at all, and is told to refetch anyway. */
void route_without_lookup(const struct route_plan *plan, struct route_result *r);
void route_result_fini(struct route_result *r);

struct route_members { /* whose permission a row changes; borrowed from the row */
	bool everybody;
	const struct column *users[2];
	size_t n; /* 0: nobody's */
};

/* The user of the new row, and if the user's column changed that of the old one too. An UPDATE counts when the section lists no columns, when
 * one of them changed or cannot be compared, or when the user did. A user that PostgreSQL did not send, or NULL: everybody. */
void route_membership(const struct rules_membership *m, const struct row *row, struct route_members *out);

#endif
