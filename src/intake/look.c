#include "look.h"

#include <utlist.h>

enum look_says look_at_commit(struct look *l, const struct transaction *t)
{
	if (!t->is_ddl)
		return LOOK_GO_ON;
	if (!transaction_is_visible(t))
		return LOOK_WAIT;
	if (t->lsn <= l->seen)
		return LOOK_GO_ON;
	if (l->wanted)
		return LOOK_WAIT;
	l->wanted = true;
	return LOOK_ASK;
}

/* The last commit before the first transaction that is not visible and has DDL. The transaction that is still being received may get DDL later,
 * so it counts as one with DDL. */
static lsn_t covered(const struct look *l, const struct transaction *transactions, const struct transaction *receiving)
{
	const struct transaction *t;
	lsn_t upto = l->seen;

	DL_FOREACH(transactions, t) {
		if (!transaction_is_visible(t) && (t->is_ddl || t == receiving))
			break;
		upto = t->lsn;
	}
	return upto;
}

void look_begin(struct look *l, const struct transaction *transactions, const struct transaction *receiving, bool held)
{
	l->upto = covered(l, transactions, receiving);
	l->held = held;
}

void look_end(struct look *l)
{
	if (l->upto > l->seen)
		l->seen = l->upto;
	l->held = l->wanted = false;
}

void look_clear(struct look *l)
{
	l->wanted = false;
}

void look_forget(struct look *l)
{
	l->seen = l->upto = 0;
}
