/*
 * relay_append: sends the queue's entries to Redis in batches. Several batches are under way at a time.
 *
 * A batch names the entry that must be the last one of the Redis stream. If another writer was faster, the batch is
 * refused, and so is each batch after it: no hole can form. Entries that were refused, or not answered, stay in the
 * queue; the owner finds out where the Redis stream ends, and sends them again.
 *
 * Each batch ends with one verdict. Tap thread.
 */
#ifndef WALPUSH_RELAY_APPEND_H
#define WALPUSH_RELAY_APPEND_H

#include "redislink.h"
#include "relay_queue.h"

struct relay_append;

struct relay_verdict {
	enum {
		RELAY_VOID,      /* no answer, or one from before relay_append_forget: says nothing about the queue */
		RELAY_APPENDED,  /* the batch is in the Redis stream, and no longer in the queue */
		RELAY_ELSEWHERE, /* the Redis stream ends elsewhere: another replica appended */
		RELAY_ERROR      /* Redis cannot take the batch */
	} kind;
	bool lost;            /* there is no answer, because the connection is lost */
	const char *error;    /* of RELAY_ERROR */
	size_t n;             /* of RELAY_APPENDED: the number of entries */
	struct event_id tail; /* of RELAY_APPENDED: where the Redis stream ends now */
	lsn_t end;            /* the last `end` of the batch; 0: it has none */
};

typedef void relay_append_done(void *ctx, const struct relay_verdict *v);

/* `queue` and `link` are borrowed. The link may be freed earlier: then it has answered all commands. */
struct relay_append *relay_append_new(struct relay_queue *queue, struct redislink *link, relay_append_done *done,
				      void *ctx);
void relay_append_free(struct relay_append *a);

/* Sends batches until `most` are under way or the queue has no more. If no batch is under way, `tail` is the end of the
 * Redis stream. */
void relay_append_send(struct relay_append *a, const char *key, struct event_id tail, unsigned most);
/* Nobody knows whether the entries that were sent are appended: their answers are ignored, and the whole queue is sent
 * again. */
void relay_append_forget(struct relay_append *a);
/* A batch has no answer yet, forgotten or not. */
bool relay_append_is_busy(const struct relay_append *a);

/* Bounds of one call of the append script. */
#define RELAY_BATCH_ENTRIES 200
#define RELAY_BATCH_BYTES 262144

#endif
