#include "ahead.h"

#include "walpush/intake/intake.h"

static bool asks_nothing(const struct record *r)
{
	return record_is_frame(r) || r->transaction->repeated || r->asked || r->is_skipped;
}

/* False: the record waits until it is the head, because only the head can have the catalog read, or because the log may have come on by then; or
 * for a snapshot. A corrupt record is also reported when it is the head. */
static bool ask_about(struct record *r, const struct asker *asker, struct bind *b)
{
	const struct rules_table *table = NULL;
	struct change change;
	struct fail why;

	switch (bind_row(b, r, &change, &table, &why)) {
	case BOUND:
		if (answers_in_vain(asker, b, &change, table))
			return false;
		r->asked = answers_ask(&r->answers, asker, b, &change, table, r->transaction);
		return r->asked;
	case BOUND_NEW:
	case BOUND_STALE:
		return false;
	case BOUND_NOT_LISTED:
	case BOUND_UNFIT:
	case BOUND_CORRUPT:
		break;
	}
	return true;
}

void ahead_ask(struct queue *q, const struct visible *v, const struct asker *asker, struct bind *b)
{
	while (q->ask_next && questions_open(asker->questions) < INTAKE_ASKED &&
	       questions_bytes(asker->questions) < INTAKE_BYTES) {
		struct record *r = q->ask_next;

		if (!asks_nothing(r) && (!visible_may_ask(v, r->transaction) || !ask_about(r, asker, b)))
			return;
		queue_asked(q, r);
	}
}

void ahead_again(struct queue *q)
{
	struct record *first = NULL;

	for (struct record *r = q->head; r && r != q->asked_end; r = r->next) {
		if (!r->asked || !r->answers.n || transaction_is_known(r->transaction))
			continue;
		answers_drop(&r->answers);
		r->asked = false;
		first = first ? first : r;
	}
	if (first)
		q->ask_next = first;
}
