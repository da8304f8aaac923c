/* ahead: sends the queries of the rows after the head of the queue, while the head waits. Private to the intake. Tap thread. */
#ifndef WALPUSH_AHEAD_H
#define WALPUSH_AHEAD_H

#include "queue.h"
#include "visible.h"

/* Asks as far as INTAKE_ASKED and INTAKE_BYTES allow, and only for transactions that are visible or that the next snapshot covers. `v`: of the
 * session for rows. */
void ahead_ask(struct queue *q, const struct visible *v, const struct asker *asker, struct bind *b);
/* A snapshot in the session for questions was answered, so the questions behind it are not yet. For transactions that it has not seen they are
 * void: they are dropped, and asked again. So an answer always comes after a snapshot in its session that has seen its transaction. */
void ahead_again(struct queue *q);

#endif
