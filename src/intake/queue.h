/*
 * queue: records in the order of commits, the oldest at the head. Private to the intake. Tap thread.
 *
 *   [BEGIN][row][row][COMMIT][BEGIN][row] …
 *     ▲                ▲
 *    head             ask_next: what the rows before it want to know has been asked
 *
 * It owns its records. Invariant: `ask_next` is in the queue, at or behind the head, or NULL, where nothing is left to ask about.
 */
#ifndef WALPUSH_QUEUE_H
#define WALPUSH_QUEUE_H

#include "record.h"

struct queue { /* zeroed: empty */
	struct record *head, *last;
	struct record *ask_next;
	size_t bytes; /* record_cost of all */
};

void queue_push(struct queue *q, struct record *r);
/* Frees the head. */
void queue_pop(struct queue *q);
/* Nothing is left to ask about this record. */
void queue_asked(struct queue *q, const struct record *r);

#endif
