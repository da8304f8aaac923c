/*
 * conn_table: what a connection does when something happens to it: a table of states × events. Pure.
 *
 * Every pair has an act. The library's callbacks never have CONN_NEVER, because a peer's bytes can make the library call back in an
 * unexpected order. CONN_NEVER marks only pairs that would be a bug of walpush: for example a mail about an admission that no
 * connection asked for, or a message that was read in a state that reads none.
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
	CONN_UNBORN, /* the library's memory, zeroed: no upgrade is confirmed yet */
	CONN_NEW,    /* the upgrade is confirmed, its answer is not written */
	CONN_WAIT_AUTH,
	CONN_ADMITTING,
	CONN_OPEN,
	CONN_CLOSING, /* our close frame is due, or is sent and not answered */
	CONN_LEAVING, /* the peer's close frame came first, and is answered */
	CONN_GONE,    /* it has left the hub; the library may call back until it frees the memory */
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
	CONN_ON_TIMER, /* set when the library drops a connection */
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
	CONN_ON_CHANGED,
	CONN_ON_REFUSED,
	CONN_ON_EMPTIED,
	CONN_ON_EDITION,
	/* ours: the client broke a rule, the process stops, or the stream is removed */
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
	CONN_NEVER,   /* a bug of walpush: the process dies with a message */
	CONN_IGNORE,  /* the event has no meaning any more */
	CONN_HANG_UP, /* the TCP connection ends without a close frame of ours */
	CONN_BEGIN,   /* read the request, join the hub */
	CONN_ARRIVE,  /* the upgrade is done: ask, or wait for a token */
	CONN_READ,
	CONN_HEAR, /* the peer is alive */
	CONN_WRITE,
	CONN_GOODBYE,   /* write the close frame that is due */
	CONN_LEAVE,     /* the peer closes first: answer, and release everything */
	CONN_PART,      /* the peer answers our close frame, or sends its own before ours is out */
	CONN_END,       /* the library frees it soon: leave the hub */
	CONN_ASK,       /* verify the token, ask for admission */
	CONN_RENEW,     /* judge a token that replaces the one before */
	CONN_REPLY,     /* a pong */
	CONN_ADMIT,     /* take the seats of the admission */
	CONN_MOVE,      /* take other seats */
	CONN_TAKE,      /* take the claims of a newer token, and other seats if the mail has them */
	CONN_GIVE_BACK, /* return these seats to the tap */
	CONN_LIMIT,     /* set or lift the limit */
	CONN_NOTE_CHANGE,
	CONN_LAST_WORD, /* deliver what is due, then close */
	CONN_RESTART,   /* move the cursors to where the logs begin again */
	CONN_FOLLOW,    /* go over to the edition in force */
	CONN_CLOSE,     /* a close frame with the event's code */
	CONN_GIVE_UP,   /* no token came: 4401 */
	CONN_EXPIRE,    /* 4401 */
	CONN_PROBE,     /* a ping */
	CONN_ACTS
};

/* Dies if either is out of range. */
enum conn_act conn_table_act(enum conn_state state, enum conn_event event);
/* The names in log lines and tests. */
const char *conn_table_state(enum conn_state state);
const char *conn_table_event(enum conn_event event);

#endif
