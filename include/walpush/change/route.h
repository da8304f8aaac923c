/*
 * route: from one row to its messages: which groups, which type, which action.
 *
 * Pure. For each section of the row's table, in the file's order:
 *   route_section     decides what the row means (op, action) and which SQL must be answered before it can be routed;
 *   route_messages    with the answers, gives at most two messages: for the groups left, then for the groups joined.
 * A message has one number, however many groups it has.
 *
 * The meaning of a change if the section has `when` (a value that PostgreSQL did not send counts as in `when`):
 *
 *     before \ after   in                        out
 *     in               updated                   deleted, key only, to the groups of the old row
 *     out              created                   nothing
 *
 * The action is one whose `on` names what happened to the row in PostgreSQL. So an UPDATE that brings a row into `when`
 * can be {"type":"request.created","action":"approved"}. In its condition, `becomes` needs a new value equal to the
 * text and an old value that differs, `was` needs the opposite, `changes` needs two values that differ. On INSERT
 * `becomes` looks only at the new value, on DELETE `was` looks only at the old one. With only-actions, a change without
 * an action is nothing. If the old value was not sent and the new one does not exclude an action, nobody can tell: the
 * message has the op's own name, and with only-actions the section's groups must refetch.
 *
 * An update that is `updated` and changed only columns of `quiet` is nothing either. Without the old value of another
 * column nobody can tell, so there is a message.
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
	bool wants_lookup;                 /* run section->lookup with route_param */
	bool wants_data;                   /* run section->data with route_param */
	bool wants_actor;                  /* run rules_actor with the id in actor_column (row_value) */
	int actor_column;                  /* -1: none */
	bool is_unknown;     /* with only-actions: the values sent do not tell whether an action holds. No message */
	bool lookup_unknown; /* a parameter of the lookup was not sent: the lookup cannot run */
};

/* False: the section has no message for this row. TRUNCATE is the caller's: a resync for all groups of the section. */
bool route_section(const struct rules_section *s, const struct row *row, struct route_plan *out);

/* The same for a row as it is, without a change: only what its groups need. False: the section does not count the row (`when`). */
bool route_standing(const struct rules_section *s, const struct row *row, struct route_plan *out);

/* The text of a lookup's parameter; false: NULL. */
bool route_param(const struct route_plan *plan, const struct tmpl_part *part, struct buf *out);

struct route_message {
	enum route_op op;
	const char *action; /* JSON-escaped */
	bool key_only;      /* a delete, or a move to other groups */
	struct groups groups;
};

struct route_result {
	struct route_message left; /* groups.n == 0: none */
	struct route_message joined;
	/* The row's groups cannot be computed (no old image): every group that one of the section's templates could
	 * spell (tmpl_could_spell) must refetch. `left` and `joined` still hold the known groups. */
	bool unknown;
};

/* Is there somebody who may have heard of the row before this change, and does not hear of it afterwards? It was deleted, left `when`, or moved to
 * other groups, as far as its columns name them. True too where an old value was not sent. */
bool route_takes_away(const struct rules_section *s, const struct row *row);

/* An UPDATE after which a query of the section that asks with the values before finds another row, or none: the key or a parameter changed, or that
 * is not known. */
bool route_gives_away(const struct rules_section *s, const struct row *row);

/* `lookup`: NULL if the plan wanted none. The result's buffers are reused from call to call; zero them before the
 * first. */
void route_messages(const struct route_plan *plan, const struct sqlrows *lookup, struct route_result *out);
/* The lookup has no answer. Removes from `left` each group that the lookup could have named: the row may not have left
 * it, and it must refetch anyway. */
void route_without_lookup(const struct route_plan *plan, struct route_result *r);
/* The groups that the lookup's rows name and the columns (r->joined, made without a lookup) do not. Removes them from `left`. `out` is cleared first.
 * r->unknown is set too if a template needs a value that was not sent. */
void route_looked_up(const struct route_plan *plan, const struct sqlrows *lookup, struct route_result *r,
		     struct groups *out);
void route_result_fini(struct route_result *r);

struct route_members { /* users whose permission a row changes; borrowed from the row */
	bool everybody;
	const struct column *users[2];
	size_t n; /* 0: no user's */
};

/* The user of the new row, and the user of the old row if the column changed. An UPDATE counts if the section lists no
 * columns, if one of them changed or cannot be compared, or if the user changed. A user that PostgreSQL did not send,
 * or NULL, means everybody. */
void route_membership(const struct rules_membership *m, const struct row *row, struct route_members *out);

#endif
