/*
 * answers: what the sections of a row's table want to know before the row can become messages. Private to the intake. Tap thread.
 *
 * A record holds references to its questions (questions.h), which rows may share, until answers_drop.
 */
#ifndef WALPUSH_ANSWERS_H
#define WALPUSH_ANSWERS_H

#include "bind.h"
#include "questions.h"

struct answer { /* of one section; NULL: not asked */
	struct question *lookup, *data, *actor;
	bool left_out; /* neither lookup nor data was asked: there were too many */
};

struct answers {           /* zeroed: nothing was asked */
	struct answer *at; /* one a section */
	size_t n;
};

struct asker {
	struct questions *questions;
	uint64_t
		bulk; /* limits.bulk: so many sections of the rows of a transaction ask a lookup or data, and no more */
};

/* Of the row that `b` holds, of nothing where it is a TRUNCATE. `asking` counts for the row's transaction. Nothing of `b` is kept. */
void answers_ask(struct answers *answers, const struct asker *asker, struct bind *b, const struct change *change,
		 const struct rules_table *table, uint64_t *asking);
/* Also true when nothing was asked. */
bool answers_are_here(const struct answers *answers);
void answers_drop(struct answers *answers);

#endif
