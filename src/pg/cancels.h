/*
 * cancels: pg_cancel_backend ends whatever the session runs when the signal arrives, which may be the successor of the query that was meant. Private
 * to the layer. Pure; times are passed in, in µs.
 *
 * So a session notes each cancel that was asked for. A query that ends with 57014 (query_canceled) takes one of them. If the query was not meant, it
 * is asked again, once for each cancel.
 *
 * A statement_timeout says 57014 too, and only its text differs, in the server's language. The difference is the time: the timeout does not end a
 * query before it has run for that long. So a 57014 after that time counts as the timeout. The client sees the turn of a query begin a little after
 * the server does; so the timeout may look as if it came too early, and if a cancel is noted the query runs once more. That costs time, and nothing
 * else.
 *
 * A cancel may hit nothing, because the session has nothing to do when it arrives. So it is forgotten after a while: by then the session that was
 * asked for it has answered or counts as dead. Otherwise later cancels of an administrator would be undone.
 */
#ifndef WALPUSH_CANCELS_H
#define WALPUSH_CANCELS_H

#include <stdbool.h>
#include <stdint.h>

struct cancels {
	unsigned n;    /* that have hit nothing */
	int64_t until; /* µs: when all of them are forgotten */
};

static inline void cancels_add(struct cancels *c, int64_t now, int64_t patience)
{
	if (now >= c->until)
		c->n = 0;
	c->n++;
	c->until = now + patience;
}

/* A query has ended with 57014, after it ran for this long. True: another one was meant, so it is asked again. */
static inline bool cancels_hit(struct cancels *c, bool is_meant, int64_t ran, int64_t statement_timeout, int64_t now)
{
	if (!c->n || now >= c->until || ran >= statement_timeout)
		return false;
	c->n--;
	return !is_meant;
}

#endif
