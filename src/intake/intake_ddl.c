/* intake_ddl: transactions that say that DDL is a part of them. */
#include <utlist.h>

#include "parts.h"

/* However many there are in one transaction, they cost a look at their first bytes each. */
void intake_message(struct intake *in, struct slice text)
{
	struct transaction *t = in->receiving;

	if (!t)
		return;
	if (text.len > INTAKE_LARGE)
		in->large = t->next_lsn;
	if (t->repeated || !decode_is_ddl(text))
		return;
	t->is_ddl = true;
	intake_must_be_seen(in, t);
}

bool intake_is_looked_at(struct intake *in, const struct transaction *t)
{
	if (!t->is_ddl)
		return true;
	if (!t->visible)
		return false;
	if (t->lsn <= in->look.seen)
		return true;
	if (!in->look.wanted) {
		in->look.wanted = true;
		in->calls->look(in->ctx);
	}
	return false;
}

/* Of those behind the head as many as are visible. What is still being received may have more to say. */
static lsn_t covered(const struct intake *in)
{
	const struct transaction *t;
	lsn_t upto = in->look.seen;

	DL_FOREACH(in->transactions, t) {
		if (!t->visible && (t->is_ddl || t == in->receiving))
			break;
		upto = t->lsn;
	}
	return upto;
}

void intake_looks(struct intake *in, bool held)
{
	in->look.upto = covered(in);
	in->look.held = held;
}

void intake_looked(struct intake *in)
{
	if (in->look.upto > in->look.seen)
		in->look.seen = in->look.upto;
	in->look.held = in->look.wanted = false;
	intake_run(in);
}

void intake_forget_looks(struct intake *in)
{
	in->look.seen = in->look.upto = 0;
}
