/* ahead: questions of the rows behind the head of the queue, which are asked while the head waits. Private to the intake. Tap thread. */
#ifndef WALPUSH_AHEAD_H
#define WALPUSH_AHEAD_H

#include "queue.h"
#include "visible.h"

/* As far as INTAKE_ASKED and INTAKE_BYTES allow, and as far as the snapshot that is on its way covers. */
void ahead_ask(struct queue *q, const struct visible *v, const struct asker *asker, struct bind *b);
/* The answers came from before their transactions were visible: they are asked for again. */
void ahead_again(struct queue *q);

#endif
