/*
 * queue: records in the order of commits, the oldest at the head. Private to the intake. Tap thread.
 *
 *   [BEGIN][row][row][COMMIT][BEGIN][row] …
 *     ▲                ▲
 *    head             ask_next: the questions of the rows before it are asked; those of some behind it too, up to asked_end;
 *                     read_next: what is before it is in the index of later.h
 *
 * The queue owns its records. Invariant: `ask_next` is a record of the queue, or NULL if no record is left to ask about. `asked_end` is the
 * same record or a later one, or NULL. `read_next` is a record of the queue, or NULL.
 */
#ifndef WALPUSH_QUEUE_H
#define WALPUSH_QUEUE_H

#include "record.h"

struct queue { /* zeroed: empty */
	struct record *head, *last;
	struct record *ask_next, *asked_end, *read_next;
	size_t bytes; /* the sum of record_cost */
};

void queue_push(struct queue *q, struct record *r);
/* Frees the head. */
void queue_pop(struct queue *q);
/* The questions of this record are asked. */
void queue_asked(struct queue *q, const struct record *r);

#endif
