/*
 * admit parts: what the files of admit share. No other layer includes it. Each file calls only those above it in this list:
 *
 *   rounds.c verdict.c lanes.c outage.c  what decides, pure
 *   member.c            users, and the last change of their memberships
 *   ring.c              connections that are asked again as time passes
 *   listener.c          a connection: its state, its lists, what its hub is told, its end
 *   seat.c              groups, and a place in the log of each
 *   ask.c               one query for all connections with the same stream and values
 *   send.c              the queries go to the server, each over the lane that lanes.c chooses
 *   turn.c              rounds: queries that wait for their turn
 *   again.c             asks again after a change of permission or a void answer
 *   answer.c            applies answers, once the logs have reached their position
 *   renew.c             renewed tokens
 *   change.c            changes of membership, in stream order
 *   seen.c              who is connected, for a person
 *   admit.c             the functions of admit.h
 */
#ifndef WALPUSH_ADMIT_PARTS_H
#define WALPUSH_ADMIT_PARTS_H

#include <uthash.h>

#include "lanes.h"
#include "outage.h"
#include "rounds.h"
#include "verdict.h"
#include "walpush/admit/admit.h"
#include "walpush/base/repeat.h"

/* Users without a connection whose last change of membership is still remembered. */
#define MEMBERS_REMEMBERED 4096

/*
 * A connection as the tap knows it, from the verified token until its end.
 *
 *            asked                 yes               logs are there
 *   WAITING ───────▶ ASKED ───────────────▶ ANSWERED ───────────────▶ STANDING
 *      ▲               │ no, error, too late   │                          │
 *      │               ▼                       ▼                          │
 *      │             ended                 (hub: hello)                   │
 *      └────────────── a membership of its user changes ──────────────────┘
 *
 * A STANDING connection receives new messages, and so does one that is asked because time passes. In every other case the hub has not sent the
 * hello yet (!is_open), or delivers nothing at or above a limit (is_limited). DENIED is not in the drawing: see below.
 *
 * A renewed token with other claims is a question of its own, so it has a listener of its own (`renewal`), which is only in the lists of
 * questions. The token in force holds until the answer is yes. If the token in force is answered with no meanwhile, the connection is DENIED:
 * it receives nothing, and the renewed token decides. A refused connection is DENIED too until its hub reports the end, because a newer
 * token may be on its way.
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
	struct ticket
		*ticket; /* a reference; of the token in force, or of the newest one before the connection is open */
	struct listener *renewal; /* the newest token, while another one is in force; owned; NULL: none */
	struct listener *of;      /* of a renewal: the listener of its connection; NULL: this is no renewal */
	uint32_t number;          /* of the ticket's token; mails to the hub repeat it */
	enum listener_state state;
	struct round_tries tries;
	bool is_apart; /* the hub has ignored a mail about this token and still uses an older one: only new seats help */
	bool is_open;  /* the hub was sent MAIL_ADMITTED */
	bool is_limited;   /* the hub was sent a limit: it delivers no commit at or above it */
	bool in_round;     /* the current round waits for its answer */
	bool has_since;    /* the client sent `since` and `epoch`, below */
	const char *skips; /* why something is skipped, so that a resync is due; NULL: nothing is */
	struct verdict verdict;
	lsn_t from;                                         /* its answer counts from this position on, */
	lsn_t upto;                                         /* and below this one; valid while the answer is applied */
	int64_t waits_from;                                 /* µs: since when it waits for an answer; 0: it does not */
	struct listener *prev_unanswered, *next_unanswered; /* in `unanswered`, by that time */
	struct listener **queue;                            /* the list that `prev` and `next` belong to, or NULL */
	struct listener *prev, *next;
	struct ring *ring; /* since its first answer */
	struct listener *prev_of_ring, *next_of_ring;
	int64_t checked;           /* µs: its last turn in the ring */
	struct question *question; /* WAITING for its query, or ASKED; listener_join sets it, listener_move clears it */
	struct batch *batch;       /* ANSWERED */
	struct answer *answer;     /* a reference, until its groups are taken */
	struct topic **topics;     /* the hub's subscriptions, sorted by address */
	size_t n_topics;

	/* What the client knows, as it says; used until the connection is open. */
	struct event_id since;
	char *epoch;
};

struct member { /* a user; the table's spelling and the token's are one key, see user_key.h */
	UT_hash_handle hh;
	struct listener *listeners;
	unsigned n;
	uint64_t id;                /* a digest of `user`, for lanes.h */
	lsn_t changed;              /* commit of the last change of a membership; 0: none is known */
	struct member *prev, *next; /* in `remembered`, by the time when the last connection ended */
	char user[];
};

struct answer { /* of one query, shared by the listeners that asked it */
	unsigned refs;
	struct sqlrows *rows;
};

/*
 * One stream's admit query with one set of values. While the query runs, a listener that needs the same answer waits for the next query,
 * because an answer does not know later commits.
 */
struct question {
	UT_hash_handle hh;
	struct admissions *all;
	struct edition *edition; /* the stream's; a reference */
	const struct rules_stream *stream;
	struct lanes_item item;    /* it waits for a lane (item.waits), or its query runs (item.sent) */
	struct batch *batch;       /* that of the query */
	struct listener *asked;    /* listeners that wait for its answer */
	struct listener *for_next; /* listeners that wait for the next query */
	/* That prev_due and next_due belong to. */
	enum question_list { IN_NO_LIST, IN_DUE, IN_TURN, IN_SLOW_TURN, IN_FAILED } list;
	bool in_share;  /* the current share waits for it */
	bool is_urgent; /* a listener of for_next does not wait for its turn */
	bool of_turn;   /* of the query that runs: it was not urgent */
	struct question *prev_due, *next_due;
	char **values; /* point into the key */
	size_t key_len;
	char key[]; /* the stream's identity, then each parameter: 1 and its text, or 0 */
};

/*
 * The queries that one lane takes in one turn of the loop. An answer may know commits that the logs have not reached yet. So the WAL position
 * is read after the queries on the same connection: every commit that a query saw is below this position, `need`. Until the logs reach `need`, a change of membership may appear that the answer has
 * already seen; what lies before that change is not delivered.
 *
 * A commit is flushed before it is visible, so the flush position would be enough, except with synchronous_commit = off: such a commit is
 * visible up to three times wal_writer_delay before it is flushed. So `need` is the insert position. If nobody flushes that far, `need`
 * becomes the flush position after that time. On a standby a commit is visible before it counts as replayed: see position.h.
 */
#define NEED_UNKNOWN LSN_MAX
struct batch {
	struct admissions *all;
	struct batch *prev, *next;
	unsigned lane;
	unsigned n_left;        /* its questions without an answer */
	struct lanes_item item; /* the look at the position, while it is with the server */
	lsn_t need;             /* NEED_UNKNOWN: not known yet */
	int64_t settled_at;     /* µs: when the flush position is read again; 0: never */
	struct listener *listeners;
};

/* The connections of one stream that are asked again as time passes, the least recently asked first. */
struct ring {
	UT_hash_handle hh;
	uint64_t stream; /* its identity */
	int64_t every;   /* µs; 0: they are not asked again */
	struct recheck pace;
	struct listener *listeners;
	size_t n;
};

struct admissions {
	const struct admit_present *present;
	const struct admit_calls *calls;
	void *ctx;
	struct listener *listeners;
	uint64_t n_tokens;

	/* member.c */
	struct member *members;
	struct member *remembered;
	unsigned n_remembered;
	lsn_t everybody_changed; /* for changes before this commit every user counts as changed */

	/* ask.c */
	struct listener *unasked; /* the logs are not filled yet, or not as far as the client knows */
	struct question *questions;
	struct question *due; /* they join the queue for a lane at the end of this turn, or are freed */
	uint64_t n_asked;

	/* send.c */
	struct lanes lanes;
	struct batch *taking[LANES_MOST]; /* of this turn, by lane; NULL: none yet */
	struct batch *batches;
	struct question *failed; /* asked again at the next tick */
	size_t n_out;            /* queries that run and are waited for */
	uint64_t n_queries, n_cancelled;
	sqlpipe_done *on_done; /* answer.c's */

	/* turn.c */
	struct rounds rounds;
	struct listener *awaiting;  /* for the next round */
	struct question *turn;      /* they run in shares; new connections go first */
	struct question *slow_turn; /* of slow pairs: one after the other */
	struct share share;
	bool reads_first; /* a round has begun, and runs no query before admissions_read */
	struct ring *rings;

	/* answer.c */
	struct listener *unanswered; /* listeners without an answer, the longest first */
	struct repeat trouble[REPEAT_TABLE];
	struct outage outage;
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
		log_peer(&(l)->ticket->peer), log_s("user", (l)->ticket->user),                                        \
		log_s("stream", listener_stream_name(l)), log_s("path", (l)->ticket->path)

/* --- member.c --- */
/* Never NULL: it is made when it is missing. */
struct member *member_of(struct admissions *all, const char *user);
/* NULL: nothing is known of this user. */
const struct member *member_find(const struct admissions *all, const char *user);
void member_join(struct member *m, struct listener *l);
void member_leave(struct listener *l);
/* The last commit in the logs that changed the user's memberships. */
lsn_t member_unchanged_since(const struct listener *l);
/* The user lost the permission without a change in the WAL, for example by time. A client that comes back cannot resume over this point. */
void member_lost(const struct listener *l);
/* A membership of this user changed. NULL: the user has no connection, and is remembered. */
struct member *member_changed(struct admissions *all, const char *user, lsn_t commit);
void member_all_changed(struct admissions *all, lsn_t commit);
/* Another history begins at `floor`. */
void member_forget_all(struct admissions *all, lsn_t floor);
void member_fini(struct admissions *all);

/* --- ring.c --- */
/* Its answer was applied: to the end of the ring. */
void ring_stand(struct listener *l);
void ring_leave(struct listener *l);
/* Reads the intervals from `present`. */
void ring_set_all(struct admissions *all);
/* µs; 0: connections of this stream are not asked again as time passes. */
int64_t ring_every(const struct admissions *all, uint64_t stream);
bool ring_waits(const struct admissions *all);
void ring_fini(struct admissions *all);

/* --- listener.c --- */
/* Takes over the mail's ticket. */
struct listener *listener_new(struct admissions *all, struct mail *mail);
struct listener *listener_new_renewal(struct listener *of);
void listener_free(struct listener *l);
/* NULL does nothing. */
void listener_free_renewal(struct listener *renewal);
/* NULL: it was refused for limits.per-user, or has ended. */
struct listener *listener_find(struct admissions *all, const struct mail *mail);
/* NULL: a reload has removed the stream; the hubs close its connections. */
const struct rules_stream *listener_stream(const struct listener *l);
/* "": there is none any more. */
const char *listener_stream_name(const struct listener *l);
void listener_to(struct listener *l, enum listener_state next);
/* Leaves its list and its question, and joins this list; NULL: none. */
void listener_move(struct listener *l, struct listener **queue);
/* The same for one of the question's lists. */
void listener_join(struct listener *l, struct question *q, struct listener **queue);
/* limits.admit-timeout runs from the first of several calls on, until listener_not_late. */
void listener_may_be_late(struct listener *l);
void listener_not_late(struct listener *l);
/* It was answered, or has ended: no round waits for it. */
void listener_left_round(struct listener *l);
/* Not in answer.c, because every listener holds a reference. NULL does nothing. */
void answer_unref(struct answer *a);
void listener_forget_answer(struct listener *l);
/* Drops its question and its answer. It is STANDING afterwards. */
void listener_leave_question(struct listener *l);
void listener_post(const struct listener *l, struct mail *mail);
/* `result`: as METRICS_ADMISSIONS spells it. */
void listener_count(const struct listener *l, const char *result);
struct audit_client listener_client(const struct listener *l);
/* Its hub delivers no commit at or above this one; LSN_MAX: everything. */
void listener_limit(struct listener *l, lsn_t limit);
/* Its hub delivers nothing of this commit but a message that closes the connection. */
void listener_note_change(const struct listener *l, lsn_t commit);
/* `why`: a value of METRICS_REFUSALS. A renewal, and a listener refused with 4429, is freed. */
void listener_refuse(struct listener *l, unsigned code, const char *why, const char *reason);
/* The database has failed to answer. */
void listener_unanswered(struct listener *l, const char *why, const char *reason);
/* Its hub was sent MAIL_REFUSED. */
bool listener_is_told(const struct listener *l);

/* --- seat.c --- */
/* Sends MAIL_ADMITTED with a seat in the log of each group of the answer. on_hold: nothing is delivered until a later limit. */
void seat_admit(struct listener *l, bool on_hold);
/* Before a yes is applied: sets l->skips if its groups have a message that the answer does not cover. */
void seat_note_skips(struct listener *l);
/* Applies a yes to an open connection: lifts the limit, or moves it to other groups with a resync if the groups differ or something is skipped. */
void seat_go_on(struct listener *l);
/* The renewed token is in force; the seats stay. */
void seat_renewed(const struct listener *l);
/* Applies the yes of a renewal, and frees the renewal. */
void seat_take_over(struct listener *renewal);

/* --- ask.c --- */
/* Runs the admit query as soon as possible. limits.admit-timeout runs from now on. */
void ask_about(struct listener *l);
/* The same for a listener whose query was taken back. */
void ask_once_more(struct listener *l);
/* The listeners in `unasked` whose query can run now. */
void ask_all_waiting(struct admissions *all);
/* At the end of this turn of the loop it waits for a lane, or is freed if no listener waits for it. */
void ask_now(struct question *q);
/* The query runs in a share, or at once if another listener needs it at once. */
void ask_in_turn(struct listener *l);
/* Makes all that is due wait for a lane. */
void ask_take_due(struct admissions *all);
/* The share and the round do not wait for it. */
void ask_leave_share(struct question *q);
/* It waits for a lane, and its pair is slow. The same; and unless it is urgent, it waits for its turn again while other slow ones wait. */
void ask_give_way(struct question *q);
/* It has given way, and is the next in turn. */
void ask_in_turn_again(struct question *q);
/* It failed, for a reason that may pass: the query runs again, from the next tick on. */
void ask_later(struct question *q);
/* Those that failed are due. */
void ask_the_failed(struct admissions *all);
/* No listener may wait for it. */
void ask_free(struct question *q);

/* --- send.c --- */
/* Sends what is due, as far as the lanes take it. */
void send_due(struct admissions *all);
/* The connection of this lane has opened or closed. */
void send_lane(struct admissions *all, unsigned lane, bool is_up);
/* Once a tick: what runs for too long, and what nobody waits for any more. */
void send_look(struct admissions *all, int64_t now);
/* Reads the WAL position of this batch, over b->lane. */
void send_position(struct batch *b);
void send_drop_batch(struct batch *b);
/* Its query does not run any more. */
void send_back(struct question *q);
/* A pair has become slow: its questions may be among those that wait. */
void send_slow_give_way(struct admissions *all);
void send_init(struct admissions *all);
/* After the listeners are freed. */
void send_fini(struct admissions *all);

/* --- turn.c --- */
/* It waits for the next round. */
void turn_wait(struct listener *l);
/* Its answer was void: it joins the current round again. False: it must wait for the next round, or needs none. */
bool turn_again(struct listener *l);
/* Begins a round, or makes the next share due. False: nothing is due. */
bool turn_share(struct admissions *all);
/* What arrived while a round was queued has been read. */
void turn_read(struct admissions *all);
void turn_look(struct admissions *all, int64_t now);
bool turn_waits(const struct admissions *all);
/* Connections that wait for a round or for their turn. */
int turn_count(const struct admissions *all);

/* --- again.c: the listener may be freed afterwards --- */
/* After a change of permission or a void answer, while no query runs for it: asks at once, or waits for a round. */
void again_ask(struct listener *l);
/* Drops the answer that it has or waits for, and asks again. */
void again_void(struct listener *l);

/* --- answer.c --- */
/* The logs have moved. */
void answer_reached(struct admissions *all);
/* Every change of membership below this commit is known. The commit itself is not applied yet. */
void answer_passed(struct admissions *all, lsn_t commit);
/* Once a tick. */
void answer_look(struct admissions *all, int64_t now);
void answer_init(struct admissions *all);
void answer_fini(struct admissions *all);

/* --- renew.c --- */
void renew_by(struct admissions *all, struct mail *mail);
/* After a change of permission: asks again about the renewal. NULL does nothing. */
void renew_ask_again(struct listener *renewal);

/* --- change.c --- */
void change_of(struct admissions *all, lsn_t commit, const char *user);
void change_anew(struct admissions *all, lsn_t floor, const char *reason);

#endif
