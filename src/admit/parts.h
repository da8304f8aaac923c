/*
 * admit parts: what the files of admit share: who listens, by whose leave, and up to where. Nobody else includes it. Each file calls those
 * above it in this list, and none below:
 *
 *   rounds.c verdict.c  what decides, pure
 *   member.c            users, and since when their memberships are as they are now
 *   ring.c              who is asked again as time passes
 *   listener.c          a connection: its state, its lists, what its hub is told, its end
 *   seat.c              groups, and a place in the log of each
 *   ask.c               one question for all who want to know the same
 *   turn.c              rounds, and what is asked in its turn
 *   again.c             permission has changed, or an answer is void
 *   answer.c            what becomes of those who asked; until the log is there
 *   renew.c             a token in place of the one before
 *   change.c            a change of membership, at its place in the stream
 *   admit.c             what the owner calls
 */
#ifndef WALPUSH_ADMIT_PARTS_H
#define WALPUSH_ADMIT_PARTS_H

#include <uthash.h>

#include "rounds.h"
#include "verdict.h"
#include "walpush/admit/admit.h"
#include "walpush/base/repeat.h"

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
	const struct admit_present *now;
	const struct admit_calls *calls;
	void *ctx;
	struct listener *listeners;

	/* member.c */
	struct member *members;
	struct member *remembered;
	unsigned n_remembered;
	lsn_t everybody_changed; /* no user's memberships are known before this commit */

	/* ask.c */
	struct listener *unasked; /* the stream is not live, or not where their client is */
	struct question *questions;
	struct question *due; /* to be asked at the end of this turn */
	struct batch *batch;  /* of this turn; NULL: none yet */
	struct batch *batches;
	size_t n_out; /* questions with the server */
	uint64_t n_asked, n_queries;
	sqlpipe_done *on_answer, *on_position; /* of answer.c: for a question, and for the batch behind it */

	/* turn.c */
	struct rounds rounds;
	struct listener *awaiting; /* the next round */
	struct question *turn;     /* to be asked in shares, when nobody comes */
	struct share share;
	bool reads_first; /* a round has begun, and asks nothing yet */
	struct ring *rings;

	/* answer.c */
	struct listener *late; /* those without an answer, longest first */
	struct repeat trouble[REPEAT_TABLE];
};

static inline int64_t admit_clock(const struct admissions *all)
{
	return all->calls->clock(all->ctx);
}

static inline bool admit_is_fed(const struct admissions *all)
{
	return all->calls->is_fed(all->ctx);
}

static inline void admit_wake(const struct admissions *all, enum admit_wake when)
{
	all->calls->wake(all->ctx, when);
}

/* The fields of a log line about a connection. */
#define WHO(l)                                                                                                         \
	log_n("hub", (int64_t)(l)->key.hub), log_n("connection", (int64_t)(l)->key.connection),                        \
		log_peer(&(l)->ticket->peer), log_s("user", (l)->ticket->user)

/* --- member.c --- */
/* Made when missing. */
struct member *member_of(struct admissions *all, const char *user);
void member_join(struct member *m, struct listener *l);
void member_leave(struct listener *l);
/* Since this commit the user's memberships are as they are now, as far as the log has met them. */
lsn_t member_unchanged_since(const struct listener *l);
/* Time, or what the log does not tell of, has taken its permission: should it come back, what lies between is not told. */
void member_lost(const struct listener *l);
/* A membership of this user changed. NULL: nobody listens, and the user is remembered. */
struct member *member_changed(struct admissions *all, const char *user, lsn_t commit);
void member_all_changed(struct admissions *all, lsn_t commit);
/* The log is another one, beginning at `floor`. */
void member_forget_all(struct admissions *all, lsn_t floor);
void member_fini(struct admissions *all);

/* --- ring.c --- */
/* Its answer was taken; in an interval it is asked about again. */
void ring_stand(struct listener *l);
void ring_leave(struct listener *l);
/* As `now` has it. */
void ring_set_all(struct admissions *all);
/* µs; 0: its connections are not asked about as time passes. */
int64_t ring_every(const struct admissions *all, uint64_t stream);
bool ring_waits(const struct admissions *all);
void ring_fini(struct admissions *all);

/* --- listener.c --- */
/* The mail's ticket is the listener's. */
struct listener *listener_new(struct admissions *all, struct mail *mail);
struct listener *listener_new_renewal(struct listener *of);
void listener_free(struct listener *l);
/* NULL does nothing. */
void listener_free_renewal(struct listener *renewal);
/* NULL: it was one too many, or is gone. */
struct listener *listener_find(struct admissions *all, const struct mail *mail);
/* NULL: a reload has done away with it; its connections are closed by their hubs. */
const struct rules_stream *listener_stream(const struct listener *l);
void listener_to(struct listener *l, enum listener_state next);
/* Out of the list that it is in and into this one, which may be NULL. */
void listener_move(struct listener *l, struct listener **queue);
/* Whether limits.admit-timeout runs; it does so from the first call on. */
void listener_may_be_late(struct listener *l);
void listener_not_late(struct listener *l);
/* It was asked about, or is gone: no round waits for it. */
void listener_left_round(struct listener *l);
/* NULL does nothing. */
void answer_unref(struct answer *a);
void listener_forget_answer(struct listener *l);
/* What it waits for is void. It stands where it is. */
void listener_leave_question(struct listener *l);
void listener_post(const struct listener *l, struct mail *mail);
/* `result`: as METRICS_ADMISSIONS spells it. */
void listener_count(const struct listener *l, const char *result);
struct audit_client listener_client(const struct listener *l);
/* Its hub delivers nothing of commits at or above this one; LSN_MAX: everything. */
void listener_limit(struct listener *l, lsn_t limit);
/* The commit may have a last word for it, though it hears nothing else. */
void listener_frozen(const struct listener *l, lsn_t commit);
/* `why`: as the metric's row spells it. A renewal, and one that is one too many, is gone afterwards. */
void listener_refuse(struct listener *l, unsigned code, const char *why, const char *reason);
/* It was refused, and its hub was told. */
bool listener_is_told(const struct listener *l);

/* --- seat.c --- */
/* To the answer's groups, at its place in the stream; on hold nothing behind that is delivered yet. */
void seat_admit(struct listener *l, bool on_hold);
/* Before the yes is taken: does anything stand in its groups that it skips, so that a resync is due? */
void seat_skips(struct listener *l);
/* It may hear again: what waited for it, or, if it skips something or its groups are others, a resync and what comes behind it. */
void seat_go_on(struct listener *l);
/* A renewed token is in force with the seats that the connection has. */
void seat_renewed(const struct listener *l);
/* The renewal's yes has come, and the log is there. The renewal is gone afterwards. */
void seat_take_over(struct listener *renewal);

/* --- ask.c --- */
/* One row: how far the WAL is flushed, how far it is inserted, and wal_writer_delay in µs. */
extern const char ask_position_sql[];
/* Ask admit, as soon as it can be asked. It is without an answer from now on, if it was not before. */
void ask_about(struct listener *l);
/* All that can be asked now and could not before. */
void ask_all_waiting(struct admissions *all);
/* At the end of this turn of the loop. */
void ask_now(struct question *q);
/* In a share, when its turn comes; at once should somebody ask the same. */
void ask_in_turn(struct listener *l);
void ask_send_due(struct admissions *all);
/* Nobody waits for it. */
void ask_free(struct question *q);

/* --- turn.c --- */
/* It hears nothing from its change on, and is asked about in the next round. */
void turn_wait(struct listener *l);
/* Its answer is void: it is asked again in the same round. False: it has to wait for the next, or need not wait for one. */
bool turn_again(struct listener *l);
/* What may be asked now: is made due. False: nothing. */
bool turn_share(struct admissions *all);
/* What came while a round was queued has been read. */
void turn_read(struct admissions *all);
void turn_look(struct admissions *all, int64_t now);
bool turn_waits(const struct admissions *all);
/* How many connections wait for a round, or for their turn. */
int turn_count(const struct admissions *all);

/* --- again.c: it may be gone afterwards --- */
/* Permission has changed, or an answer is void, and no question is out: asks at once, or in the next round. */
void again_ask(struct listener *l);
/* What it was answered, or would be, does not count. */
void again_void(struct listener *l);

/* --- answer.c --- */
/* The log has moved. */
void answer_reached(struct admissions *all);
/* Everything below this commit, which is no part of the log yet, has been told. */
void answer_passed(struct admissions *all, lsn_t commit);
/* Once a tick. */
void answer_look(struct admissions *all, int64_t now);
void answer_init(struct admissions *all);
void answer_fini(struct admissions *all);

/* --- renew.c --- */
void renew_by(struct admissions *all, struct mail *mail);
/* Permission has changed: what was answered, or would be, counts no more. NULL: there is no renewal. */
void renew_ask_again(struct listener *renewal);

/* --- change.c --- */
void change_of(struct admissions *all, lsn_t commit, const char *user);
void change_anew(struct admissions *all, lsn_t floor, const char *reason);

#endif
