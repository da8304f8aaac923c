/*
 * admit_impl: what tap_admit.c, tap_ask.c, tap_turn.c and tap_member.c share: who listens, by whose leave, and up to where. All of it belongs to
 * the tap thread.
 */
#ifndef WALPUSH_ADMIT_IMPL_H
#define WALPUSH_ADMIT_IMPL_H

#include <uthash.h>

#include "parts.h"
#include "rounds.h"
#include "verdict.h"

/* Users of whom nobody listens any more, and whose last change of membership is still known. */
#define MEMBERS_REMEMBERED 4096
/* Questions that share one look at the WAL's position: a slow query among them delays no more than these. */
#define BATCH_QUESTIONS 32

/*
 * A connection whose token was verified, from then until its end, as the tap knows it.
 *
 *            asked                 yes                 log is there
 *   WAITING ───────▶ ASKED ───────────────▶ ANSWERED ───────────────▶ STANDING
 *      ▲               │ no, error, too late   │                          │
 *      │               ▼                       ▼                          │
 *      │             ended                 (hub: hello)                   │
 *      └────────────── a membership of its user changes ──────────────────┘
 *
 * Only STANDING hears what is new. To all others the hub has said nothing yet (!is_open), or delivers no further than where it was told
 * (is_limited).
 *
 * A newer token with other claims has a question of its own, and so a listener of its own (renewal), which no list but those of questions
 * knows. Until its yes the token in force holds; should that be answered with a no meanwhile, the connection is DENIED: it hears nothing,
 * and the newer token decides. So is one that was refused, until its hub says that it is gone: a newer token may be on its way.
 */
enum listener_state { LISTENER_WAITING, LISTENER_ASKED, LISTENER_ANSWERED, LISTENER_STANDING, LISTENER_DENIED };

struct listener {
	UT_hash_handle hh;
	struct listener_key {
		uint64_t connection;
		uint64_t hub;
	} key;
	struct admissions *all;
	struct member *member;
	struct listener *prev_of_user, *next_of_user;
	struct ticket *ticket;    /* a reference: of the token in force, or, before it is open, of the newest */
	struct listener *renewal; /* of the newest token, while another is in force; owned; NULL: none */
	struct listener *of;      /* of a renewal: its connection's; NULL: it is none */
	uint32_t number;          /* of the ticket's token; what its answer repeats */
	enum listener_state state;
	struct round_tries tries;
	bool is_apart; /* its hub goes by an older token, since it did not take what it was told of this one: only new seats help */
	bool is_open;      /* the hub was told that it is admitted */
	bool is_limited;   /* the hub was told of a commit from which on it delivers nothing */
	bool in_round;     /* which waits for its answer */
	bool has_since;    /* it said what it knows: below */
	const char *skips; /* the reason for which something is not delivered, and a resync is due; NULL: none */
	struct verdict verdict;
	lsn_t from;                             /* the place in the stream from where on its answer counts */
	lsn_t upto;                             /* up to where; while it is told */
	int64_t since_us;                       /* µs: without an answer since then */
	struct listener *prev_late, *next_late; /* those without an answer, by that time */
	struct listener **queue;                /* the one list below that it is in, or NULL */
	struct listener *prev, *next;
	struct ring *ring; /* STANDING since it was answered first */
	struct listener *prev_of_ring, *next_of_ring;
	int64_t checked;           /* µs: when it was last in its turn there */
	struct question *question; /* WAITING, and to be asked, or ASKED */
	struct batch *batch;       /* ANSWERED */
	struct answer *answer;     /* a reference; its groups are not taken yet */
	struct topic **topics;     /* those that the hub has subscribed, in the order of their addresses */
	size_t n_topics;

	/* What the client said it knows; of no use once it is open. */
	struct event_id since;
	char *epoch;
};

struct member { /* a user, however the memberships' column and the token's claim spell it: see user_key.h */
	UT_hash_handle hh;
	struct listener *listeners;
	unsigned n;
	lsn_t changed;              /* commit of the last change of a membership; 0: none is known */
	struct member *prev, *next; /* remembered though nobody listens, by when the last one left */
	char user[];
};

struct answer { /* of one query, shared by all who asked it */
	unsigned refs;
	struct sqlrows *rows;
};

/*
 * One stream's query with one set of parameters. While it is with the server, who wants to know the same waits for the next one: an
 * answer says nothing of what was committed after it.
 */
struct question {
	UT_hash_handle hh;
	struct admissions *all;
	struct edition *edition; /* the stream's; a reference */
	const struct rules_stream *stream;
	struct sqlpipe_query *query; /* NULL: not with the server */
	struct batch *batch;         /* that of the query */
	struct listener *asked;      /* wait for its answer */
	struct listener *next;       /* for that of the next */
	bool is_due, in_turn;        /* in one of these lists */
	bool in_share;               /* with the server as one of it */
	struct question *prev_due, *next_due;
	char **values; /* point into the key */
	size_t key_len;
	char key[]; /* the stream's identity, then each parameter: 1 and its text, or 0 */
};

/*
 * An answer knows of commits that the log has yet to meet. How far, is asked behind the queries on the same connection: every commit that
 * one of them saw lies below that position, `need`. Until the log is there, a change of membership may turn up that the answer has
 * seen; then what lies before it is not delivered.
 *
 * A commit is flushed before it is visible, so `flush` would do, were it not for synchronous_commit = off: that is visible up to
 * three times wal_writer_delay before it is flushed. So `need` is where WAL was inserted, or, should nobody flush that, where
 * it was flushed to after such a time.
 */
#define NEED_UNKNOWN LSN_MAX
struct batch {
	struct admissions *all;
	struct batch *prev, *next;
	struct sqlpipe_query *query;
	unsigned n_questions;
	lsn_t need;         /* NEED_UNKNOWN: not known yet */
	int64_t settled_at; /* µs: then look again how far it is flushed; 0: no need to */
	struct listener *listeners;
};

/* Those of one stream who are asked again as time passes, the longest unasked first. */
struct ring {
	UT_hash_handle hh;
	uint64_t stream; /* its identity */
	int64_t every;   /* µs; 0: nobody is */
	struct recheck pace;
	struct listener *listeners;
	size_t n;
};

struct admissions {
	struct tap *tap;
	struct listener *listeners;
	struct member *members;
	struct member *remembered;
	unsigned n_remembered;
	lsn_t everybody_changed;  /* no user's memberships are known before this commit */
	struct listener *unasked; /* the stream is not live, or not where their client is */
	struct question *questions;
	struct question *due; /* to be asked at the end of this turn */
	struct rounds rounds;
	struct listener *awaiting; /* the next round */
	struct question *turn;     /* to be asked in shares, when nobody comes */
	struct share share;
	size_t n_out; /* questions with the server */
	struct ring *rings;
	struct batch *batch; /* of this turn; NULL: none yet */
	struct batch *batches;
	struct listener *late; /* those without an answer, longest first */
	struct event *ask;
	struct event *queued; /* pending: a round has begun, and asks nothing yet */
	struct event *limit;
	uint64_t n_asked, n_queries;
};

/* --- tap_admit.c: who is admitted, and to what --- */
/* NULL: a reload has done away with it; its connections are closed by their hubs. */
const struct rules_stream *listener_stream(const struct listener *l);
/* To the answer's groups, at its place in the stream; on hold nothing behind that is delivered yet. */
void listener_admit(struct listener *l, bool on_hold);
/* Before the yes is taken: does anything stand in its groups that it skips, so that a resync is due? */
void listener_skips(struct listener *l);
/* It may hear again: what waited for it, or, if it skips something or its groups are others, a resync and what comes behind it. */
void listener_go_on(struct listener *l);
/* `why`: as the metric's row spells it. A renewal, and one that is one too many, is gone afterwards. */
void listener_refuse(struct listener *l, unsigned code, const char *why, const char *reason);
void listener_limit(struct listener *l, lsn_t limit);
/* The commit may have a last word for it, though it hears nothing else. */
void listener_frozen(const struct listener *l, lsn_t commit);
void listener_to(struct listener *l, enum listener_state next);
/* Out of the list that it is in and into this one, which may be NULL. */
void listener_move(struct listener *l, struct listener **queue);
/* Ask admit, as soon as it can be asked. It is without an answer from now on, if it was not before. */
void listener_ask(struct listener *l);
/* Permission has changed, or an answer is void, and no question is out: asks at once, or in the next round. It may be gone afterwards. */
void listener_again(struct listener *l);
/* All that can be asked now and could not before. */
void listeners_ask(struct admissions *all);
/* NULL: it was one too many, or is gone. */
struct listener *listener_find(struct admissions *all, const struct mail *mail);
/* The renewal's yes has come, and the log is there. The renewal is gone afterwards. */
void listener_take_over(struct listener *renewal);
/* A renewed token is in force with the seats that the connection has. */
void listener_renewed(const struct listener *l);
/* It was refused, and its hub was told. */
bool listener_is_told(const struct listener *l);
/* What it waits for is void. It stands where it is. */
void listener_leave_question(struct listener *l);

/* --- tap_renew.c: a token in place of the one before --- */
/* Permission has changed: what was answered, or would be, counts no more. NULL: there is no renewal. */
void renewal_ask_again(struct listener *renewal);
/* NULL does nothing. */
void renewal_free(struct listener *renewal);

/* --- tap_ask.c: asking the database, and waiting for the log --- */
void ask_join(struct listener *l);
/* At the end of this turn of the loop. */
void ask_now(struct question *q);
/* In a share, when its turn comes; at once should somebody ask the same. */
void ask_in_turn(struct listener *l);
/* What it was answered, or would be, does not count. It may be gone afterwards. */
void ask_void(struct listener *l);
/* Everything below this commit, which is no part of the log yet, has been told. */
void ask_passed(struct admissions *all, lsn_t commit);
/* Looks at the clock for as long as something waits. */
void ask_tick(struct admissions *all);
void listener_forget_answer(struct listener *l);
/* Whether limits.admit-timeout runs; it does so from the first call on. */
void listener_may_be_late(struct listener *l);
void listener_not_late(struct listener *l);
/* The log has moved. */
void ask_reached(struct admissions *all);
void ask_init(struct admissions *all);
void ask_fini(struct admissions *all);

/* --- tap_turn.c: what is asked in its turn: rounds, and what is asked again as time passes --- */
/* It hears nothing from its change on, and is asked about in the next round. */
void turn_wait(struct listener *l);
/* Its answer is void: it is asked again in the same round. False: it has to wait for the next, or need not wait for one. */
bool turn_again(struct listener *l);
/* It was asked about, or is gone: no round waits for it. */
void turn_done(struct listener *l);
/* What may be asked now: is made due. False: nothing. */
bool turn_share(struct admissions *all);
/* Its answer was taken; in an interval it is asked about again. */
void turn_stand(struct listener *l);
void turn_leave(struct listener *l);
void turn_look(struct admissions *all, int64_t now);
bool turn_waits(const struct admissions *all);
void turn_init(struct admissions *all);
void turn_fini(struct admissions *all);

/* --- tap_member.c: users, and what changes for them --- */
/* Made when missing. */
struct member *member_of(struct admissions *all, const char *user);
void member_join(struct member *m, struct listener *l);
void member_leave(struct listener *l);
/* Since this commit the user's memberships are as they are now, as far as the log has met them. */
lsn_t member_unchanged_since(const struct listener *l);
/* Time, or what the log does not tell of, has taken its permission: should it come back, what lies between is not told. */
void member_lost(const struct listener *l);
/* The log is another one, beginning at `floor`. */
void member_forget_all(struct admissions *all, lsn_t floor);
void member_fini(struct admissions *all);

#endif
