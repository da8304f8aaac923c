/*
 * lanes: which of the connections for admit queries takes which question. Each of these connections is a lane; there are
 * database.admit-connections of them, and any of them may be closed.
 *
 *   - At most one question of a user is with the server at a time. So a user's slow questions never hold more than one lane, and what the user
 *     abandons is dropped here before it is sent.
 *   - An idle lane takes a batch of questions in one turn of the loop, and the WAL position after them. It takes no more until all of them are
 *     answered: a question that waits here can still go to another lane, one that was sent cannot.
 *   - How many questions are a batch follows from how quick the server is, because those behind a slow one wait for it, and the position behind all
 *     of them. At first it is one. It doubles, up to LANE_QUESTIONS, with each batch that was answered within LANES_QUICK_US, halves with each that
 *     took longer, and is one again when a batch takes longer than LANES_SLOW_US. What a slow pair takes says nothing of the others.
 *   - Questions of connections that a change of membership holds back go before the others, which are called newcomers. While newcomers wait, at
 *     most LANES_IN_A_ROW of the former go before one of the latter.
 *   - A pair of user and stream is slow for LANES_SLOW_FOR_US after each answer that took longer than LANES_SLOW_US. Questions of slow pairs go one
 *     after the other, over one lane, whichever is idle. While a lane runs a question for that long, it counts as this lane too. With a single
 *     open lane they go when nobody else waits.
 *   - Of several lanes that run slow questions all but one give way to others that wait: the question is cancelled, and waits for the slow lane. So a user
 *     whose slowness is not known yet holds a lane for LANES_SLOW_US. Where nothing was quick for LANES_QUICK_FOR_US the server itself is slow, and
 *     cancelled work would make it slower: then no lane gives way.
 *
 * Several users may wait for the answer of one question (same stream, same values). It counts as a question of the user who has waited longest. It
 * is sent once for all of them, so it holds one lane, however many they are. If that user leaves, the next one takes the place.
 *
 * Users and pairs are digests. Two that are equal by chance share a turn or a lane, and nothing else.
 *
 * Pure; times are passed in, in µs of a clock that does not go back. Bounds: LANES_SLOW_MOST slow pairs are known, of more the oldest is
 * forgotten. With the server are at most LANE_QUESTIONS questions and a few positions a lane. Those that wait are bounded by the connections.
 */
#ifndef WALPUSH_LANES_H
#define WALPUSH_LANES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LANES_MOST 16
#define LANE_QUESTIONS 32
#define LANES_IN_A_ROW 3
#define LANES_QUICK_US 100000
#define LANES_SLOW_US 500000
#define LANES_SLOW_FOR_US 30000000
#define LANES_SLOW_MOST 256
#define LANES_QUICK_FOR_US 5000000
/* A query that nobody wants is cancelled when it has run this long. Most end before that, and a cancel costs a query too. But when one had to be
 * cancelled, those that were sent behind it and are not wanted either are cancelled as soon as they run: they are likely to be as slow, and the
 * position waits behind all of them. */
#define LANES_CANCEL_US 100000

enum lanes_kind { LANES_CHANGE, LANES_NEWCOMER, LANES_POSITION };
enum lanes_list { LANES_CHANGES, LANES_NEWCOMERS, LANES_SLOW, LANES_LISTS };

/* A question, or the look at the WAL position after the questions of a lane. Embedded in what it stands for. Zeroed: it neither waits nor is sent. */
struct lanes_item {
	struct lanes_item *prev, *next;
	struct lanes_sent *sent; /* it is with the server */
	bool waits;              /* it is in `list` */
	enum lanes_list list;
	enum lanes_kind kind;
	uint64_t user, pair; /* of a question */
	void *of;            /* what it is embedded in; for the caller */
};

struct lanes_sent { /* a query that is with the server */
	struct lanes_sent *prev, *next;
	struct lanes *lanes;
	unsigned lane;
	struct lanes_item *item; /* NULL: nobody waits for the answer, and it is dropped */
	bool is_cancelled;
	void *query; /* for the caller */
};

struct lane {
	bool is_up;
	bool is_taking;   /* it was idle when this turn of the loop began, and has been sent a question since then */
	bool is_slow;     /* it runs a question of a slow pair, until it is idle again */
	bool is_clearing; /* a query was cancelled since it was idle */
	struct lanes_sent *sent; /* the oldest first: that one runs */
	unsigned n;
	int64_t since; /* µs: when that one began to run */
	int64_t began; /* µs: when it was sent the first question of its batch; 0: it has no question */
};

struct lanes {
	unsigned n;
	struct lane lane[LANES_MOST];
	unsigned batch; /* questions; 0 means 1 */
	struct lanes_item *waiting[LANES_LISTS];
	unsigned n_waiting[LANES_LISTS];
	int64_t quick_at;  /* µs: when a question was last answered within LANES_SLOW_US */
	unsigned in_a_row; /* questions of LANES_CHANGES sent since the last newcomer, while newcomers waited */
	struct lanes_pair {
		uint64_t pair;
		int64_t until; /* µs; 0: this entry is free */
	} slow[LANES_SLOW_MOST];
	void *owner; /* for the caller */
};

/* Nothing is sent any more; what waits is the caller's. */
void lanes_fini(struct lanes *l);
void lanes_up(struct lanes *l, unsigned lane, bool is_up, int64_t now);

/* The question waits for a lane; its kind, user and pair are set. True: the pair is slow. */
bool lanes_wait(struct lanes *l, struct lanes_item *i, int64_t now);
/* It does not wait any more. If it was sent, its answer is dropped. */
void lanes_leave(struct lanes *l, struct lanes_item *i);
/* The question to send next, and where to; NULL: none can be sent now. */
struct lanes_item *lanes_next(const struct lanes *l, unsigned *lane);
/* It is sent. The result is freed by lanes_done, or by lanes_clear. */
struct lanes_sent *lanes_send(struct lanes *l, struct lanes_item *i, unsigned lane, int64_t now);
/* The lane takes no more in this turn. False: it has taken nothing. */
bool lanes_seal(struct lanes *l, unsigned lane);
/* It is answered. Returns what was sent; NULL: the answer is dropped. */
struct lanes_item *lanes_done(struct lanes *l, struct lanes_sent *s, int64_t now);
/* The lane has lost its connection: what it was sent is forgotten. */
void lanes_clear(struct lanes *l, unsigned lane);

/* The question that the lane runs, if its batch takes too long: others must not wait behind it. If the question itself does, its pair and the lane
 * are slow from now on. NULL: all is well. */
struct lanes_sent *lanes_late(struct lanes *l, unsigned lane, int64_t now);
/* What the lane runs is slow, and others wait for it while another lane runs such a question too, and no lane is left to be opened. */
bool lanes_gives_way(const struct lanes *l, unsigned lane, int64_t now);
/* The query that has run long enough to be worth a cancel, and was not cancelled yet; NULL: none. */
struct lanes_sent *lanes_running(const struct lanes *l, unsigned lane, int64_t now);
/* A cancel for this query is on its way. */
void lanes_cancelled(struct lanes *l, struct lanes_sent *s);
/* A lane that is closed; -1: none. Always the first one, so a lane that cannot be opened is tried alone. */
int lanes_closed(const struct lanes *l);
/* The same, if it would be sent a question if it were open. */
int lanes_to_open(const struct lanes *l);
/* A lane on which a query does not wait behind a slow one; -1: none. */
int lanes_spare(const struct lanes *l);
/* An idle lane, to cancel by it what another lane runs; -1: none. */
int lanes_canceller(const struct lanes *l);
/* A question of a slow pair would go to the next lane that is idle: none waits, and none runs. */
bool lanes_slow_is_free(const struct lanes *l);
/* Something is with the server. */
bool lanes_is_busy(const struct lanes *l);
unsigned lanes_open(const struct lanes *l);
/* Questions that wait; those of slow pairs apart. */
unsigned lanes_waiting(const struct lanes *l);
unsigned lanes_slow_waiting(const struct lanes *l);

#endif
