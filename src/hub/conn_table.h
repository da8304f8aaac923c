/*
 * conn_table: what a connection does when something happens to it: a table of states × events. Pure.
 *
 * Every pair has its answer. What comes from outside, that is the library's callbacks and the client's messages, has one in every
 * state, because a peer's bytes can make the library call back in an order that nobody planned. CONN_NEVER stands only where
 * walpush itself would have to be wrong: a mail about an admission that no connection asked for, a message that was read in a
 * state that reads none.
 */
#ifndef WALPUSH_CONN_TABLE_H
#define WALPUSH_CONN_TABLE_H

/*
 *   UNBORN ─▶ NEW ─▶ WAIT_AUTH ─token▶ ADMITTING ─yes▶ OPEN
 *              │        │                 │              │
 *              │        ├──── we close ───┼──────────────┴──▶ CLOSING ─┐
 *              │        └── peer closes ──┴──────────────────▶ LEAVING ┤
 *              └───────────────── the library drops it ────────────────┴▶ GONE
 */
enum conn_state {
	CONN_UNBORN, /* the library's memory, zeroed: no upgrade was confirmed yet */
	CONN_NEW,    /* the upgrade is confirmed, its answer is not written */
	CONN_WAIT_AUTH,
	CONN_ADMITTING,
	CONN_OPEN,
	CONN_CLOSING, /* our close frame is due, or out and not answered */
	CONN_LEAVING, /* the peer's close frame came first, and is answered */
	CONN_GONE,    /* the hub has let go; the library may go on calling until it frees the memory */
	CONN_STATES
};

enum conn_event {
	/* the library's callbacks */
	CONN_ON_UPGRADE,
	CONN_ON_ESTABLISHED,
	CONN_ON_BYTES, /* a piece of a message */
	CONN_ON_PONG,
	CONN_ON_WRITABLE,
	CONN_ON_PEER_CLOSE,
	CONN_ON_TIMER, /* the one that is set when the library drops a connection */
	CONN_ON_DROP,
	CONN_ON_DESTROY,
	/* messages of the client */
	CONN_ON_AUTH,
	CONN_ON_PING,
	/* mails of the tap */
	CONN_ON_ADMITTED,
	CONN_ON_MOVED,
	CONN_ON_RENEWED,
	CONN_ON_LIMIT,
	CONN_ON_FROZEN,
	CONN_ON_REFUSED,
	CONN_ON_EMPTIED,
	CONN_ON_EDITION,
	/* ours: a rule that the client broke, a shutdown, a stream that is no more */
	CONN_ON_CLOSE,
	/* the clock's, found by the sweep */
	CONN_ON_LATE,    /* the deadline of a token, or of the answer to a close frame, has passed */
	CONN_ON_AGE,     /* listen.max-age */
	CONN_ON_STALL,   /* the socket takes nothing for limits.stall */
	CONN_ON_EXPIRY,  /* of the token */
	CONN_ON_SILENCE, /* a ping was not answered */
	CONN_ON_QUIET,   /* nothing came for listen.ping */
	CONN_EVENTS
};

enum conn_act {
	CONN_NEVER,   /* walpush is wrong: the process ends with a sentence */
	CONN_IGNORE,  /* it means nothing any more */
	CONN_HANG_UP, /* the TCP connection ends, without a word of ours */
	CONN_BEGIN,   /* read the request, join the hub */
	CONN_ARRIVE,  /* the upgrade is done: ask, or wait for a token */
	CONN_READ,
	CONN_HEAR, /* the peer is alive */
	CONN_WRITE,
	CONN_GOODBYE,   /* write the close frame that is due */
	CONN_LEAVE,     /* the peer goes: let everything go */
	CONN_PART,      /* the peer answers our close frame, or says its own before ours is out */
	CONN_END,       /* the library frees it soon: leave the hub */
	CONN_ASK,       /* verify the token, ask for admission */
	CONN_RENEW,     /* a token in place of the one before: judge it */
	CONN_REPLY,     /* a pong */
	CONN_ADMIT,     /* the seats of an admission are taken */
	CONN_MOVE,      /* other seats */
	CONN_TAKE,      /* the claims of a newer token, and with them perhaps other seats */
	CONN_GIVE_BACK, /* the tap is told that nobody takes these seats */
	CONN_LIMIT,     /* deliver no further, or again */
	CONN_FREEZE,
	CONN_LAST_WORD, /* deliver what is due, then close */
	CONN_RESTART,   /* cursors to where the logs begin again */
	CONN_FOLLOW,    /* to the edition in force */
	CONN_CLOSE,     /* a close frame with the event's code */
	CONN_GIVE_UP,   /* no token came: 4401 */
	CONN_EXPIRE,    /* 4401 */
	CONN_PROBE,     /* a ping */
	CONN_ACTS
};

/* Dies with a sentence where either is out of range. */
enum conn_act conn_table_act(enum conn_state state, enum conn_event event);
/* As logs and tests say them. */
const char *conn_table_state(enum conn_state state);
const char *conn_table_event(enum conn_event event);

#endif
