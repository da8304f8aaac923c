/*
 * relay_append: the queue's entries go to Redis in batches, several of which are under way at a time.
 *
 * A batch names the entry that must be the stream's last one. So a batch that another writer forestalled is refused, and so is each batch
 * behind it: no hole can form. What was refused, or not answered, stays in the queue; the owner finds out where the stream ends, and sends again.
 *
 * Each batch ends in one verdict. Tap thread.
 */
#ifndef WALPUSH_RELAY_APPEND_H
#define WALPUSH_RELAY_APPEND_H

#include "redislink.h"
#include "relay_queue.h"

struct relay_append;

struct relay_verdict {
	enum {
		RELAY_VOID,     /* no answer, or one from before relay_append_forget: it says nothing about the queue */
		RELAY_APPENDED, /* the batch is in the stream, and dropped from the queue */
		RELAY_ELSEWHERE, /* the stream ends elsewhere: another replica appended */
		RELAY_ERROR      /* Redis cannot take the batch */
	} kind;
	bool lost;            /* there is no answer, because the connection is gone */
	const char *error;    /* of RELAY_ERROR */
	size_t n;             /* of RELAY_APPENDED: so many entries */
	struct event_id tail; /* of RELAY_APPENDED: where the stream ends now */
	lsn_t end;            /* the last `end` of the batch; 0: it has none */
};

typedef void relay_append_done(void *ctx, const struct relay_verdict *v);

/* `queue` and `link` are borrowed. The link may be freed earlier: then it has told all that it knew. */
struct relay_append *relay_append_new(struct relay_queue *queue, struct redislink *link, relay_append_done *done,
				      void *ctx);
void relay_append_free(struct relay_append *a);

/* Sends batches until `most` are under way or the queue has no more. The stream ends with `tail` if none is under way. */
void relay_append_send(struct relay_append *a, const char *key, struct event_id tail, unsigned most);
/* Entries that are with Redis may be appended or not: their answers are not looked at, and all of the queue is to be sent again. */
void relay_append_forget(struct relay_append *a);
/* A batch has no answer yet, be it forgotten or not. */
bool relay_append_is_busy(const struct relay_append *a);

/* One call of the append script takes at most so much. */
#define RELAY_BATCH_ENTRIES 200
#define RELAY_BATCH_BYTES 262144

#endif
