/* ahead: sends the queries of the rows after the head of the queue, while the head waits. Private to the intake. Tap thread. */
#ifndef WALPUSH_AHEAD_H
#define WALPUSH_AHEAD_H

#include "queue.h"
#include "visible.h"

/* Asks as far as INTAKE_ASKED and INTAKE_BYTES allow, and only for transactions that are visible or that the next snapshot covers. */
void ahead_ask(struct queue *q, const struct visible *v, const struct asker *asker, struct bind *b);
/* Some answers may be older than the moment when their transactions became visible: they are dropped, and asked for again. */
void ahead_again(struct queue *q);

#endif
