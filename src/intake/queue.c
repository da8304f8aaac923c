#include "queue.h"

void queue_push(struct queue *q, struct record *r)
{
	if (q->last)
		q->last->next = r;
	else
		q->head = r;
	q->last = r;
	if (!q->ask_next)
		q->ask_next = r;
	if (!q->asked_end)
		q->asked_end = r;
	if (!q->read_next)
		q->read_next = r;
	q->bytes += record_cost(r);
}

void queue_asked(struct queue *q, const struct record *r)
{
	if (q->ask_next == r)
		q->ask_next = r->next;
	if (q->asked_end == r)
		q->asked_end = r->next;
}

void queue_pop(struct queue *q)
{
	struct record *r = q->head;

	queue_asked(q, r);
	if (q->read_next == r)
		q->read_next = r->next;
	q->head = r->next;
	if (!q->head)
		q->last = NULL;
	q->bytes -= record_cost(r);
	record_free(r);
}
