/* tap parts: what the files of the tap share. Nobody else includes it. All of it belongs to the tap thread. */
#ifndef WALPUSH_TAP_PARTS_H
#define WALPUSH_TAP_PARTS_H

#include <event2/event.h>
#include <event2/listener.h>

#include "walpush/admit/admit.h"
#include "walpush/watch/admin.h"
#include "walpush/base/backoff.h"
#include "walpush/share/edition.h"
#include "walpush/base/flood.h"
#include "walpush/hub/hub.h"
#include "walpush/intake/intake.h"
#include "walpush/relay/relay.h"
#include "progress.h"
#include "reads_ask.h"
#include "walpush/base/repeat.h"
#include "walpush/base/resolve.h"
#include "walpush/pg/source.h"
#include "walpush/pg/sqlpipe.h"
#include "walpush/tap/tap.h"
#include "walpush/watch/trail.h"
#include "walpush/base/tries.h"
#include "walpush/pg/window.h"

/* An expression: how far the server's WAL is flushed, or on a standby replayed. */
#define TAP_FLUSHED_SQL                                                                                                \
	"CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn()"                            \
	" ELSE pg_catalog.pg_current_wal_flush_lsn() END"

struct tap {
	struct admit_present now; /* what is in force: configuration, edition, rules, log */
	struct event_base *loop;
	struct resolve *names; /* of PostgreSQL and Redis */
	int exit_status;

	/* The stream, in the order of the data. */
	struct source *source;
	struct sqlpipe *sql; /* snapshots and lookups */
	struct intake *intake;
	const struct way *way; /* from the intake's transactions to the logs */
	const struct tap_wires *wires;
	struct relay *relay;         /* of way_relay; else NULL */
	char relay_epoch[EPOCH_MAX]; /* of the stream in Redis that is read */
	struct window window;
	struct feed *feed; /* tap_feed.c */
	int64_t committed_at; /* µs of clock_us: the newest commit that the window knows; never goes back within a history */
	int64_t committed;     /* the oldest commit among the news, µs since 1970; 0: none is known */
	char epoch[EPOCH_MAX]; /* empty until the first stream began */
	lsn_t live;            /* the server's end when the stream began: before it, all is history */
	int64_t demanded_at;   /* µs: when the server last demanded a reply */
	bool is_live;
	bool has_event;           /* the relay's entries since the last end of a transaction held a message */
	bool server_stops;        /* it demanded twice: tell the true position, keep nothing back */
	struct event *stop_limit; /* then the connection is closed */

	struct skip { /* tap_skip.c */
		struct tries tries;
		struct intake_place refused; /* what the intake refused; it is why the stream ends next */
		struct intake_place place;   /* what is passed over, */
		struct fail why;             /* and for which reason */
		lsn_t to; /* where streaming begins behind it; of no more use once that is handled. 0: nowhere */
		enum { SKIP_NOTHING, SKIP_ASKS, SKIP_WATCHES } step; /* ASKS: before it passes over; WATCHES: behind */
		bool has_refused;
		uint64_t running; /* while it watches: an xmax, below which all have to end. 0: not known yet */
		struct sqlpipe_query *query;
		struct event *again;
		struct repeat said;
		char statement[256]; /* that would pass over it, where database.skip is false */
		uint64_t transactions;
		lsn_t last_to;
		int64_t last_at; /* µs since 1970 */
	} skip;
	struct progress progress;
	struct work *work; /* tap_progress.c */

	struct finding *finding; /* tap_catalog.c: what is found out of the database */
	unsigned n_editions;     /* so far */
	struct reads *reads;     /* what the admit queries of the catalog's edition read */
	size_t n_reads;
	unsigned reads_for;  /* the edition, as in n_editions */
	struct watch *watch; /* tap_watch.c */
	bool finds_out;      /* what decides has changed, and is not known yet */
	bool has_trigger;    /* that tells of DDL: see tap_ddl.c */
	struct ddl *ddl;     /* tap_ddl.c */
	enum ddl_look { DDL_NO_LOOK, DDL_LOOK_MESSAGE, DDL_LOOK_STREAM } ddl_look; /* under way, and why */
	bool ddl_heard; /* the stream brings the trigger's messages */
	struct buf add_tables, filter_tables;
	struct { /* the same as the stream was asked for last */
		struct buf add, filter;
		bool missed; /* it did not bring rows that it should have: the next one begins with a hole */
	} asked;

	/* Connections. */
	struct sqlpipe *admissions_sql;
	struct admissions *admissions;
	struct admission *admission; /* tap_admission.c */
	struct gate *gate;
	struct hub_shared shared; /* what is the same in every edition */
	struct mailbox inbox;
	int wake_fd; /* an eventfd: the inbox has mails */
	struct mail *taken;
	size_t taken_cap;
	struct event *woken;
	struct hub **hubs;
	struct metrics *metrics;
	struct metrics_counts *counts; /* the tap's own */
	struct trail *trail;
	int64_t started; /* s since 1970 */
	unsigned n_hubs;
	struct accept *accept; /* tap_accept.c */

	struct slot_facts {            /* as the server told last; tap_guard.c */
		int64_t at;            /* µs; 0: not known */
		double retained, safe; /* bytes; NAN: no limit */
		double rate;           /* bytes a second that the server wrote between the last two answers */
		lsn_t end;
		int64_t warned; /* µs; 0: all is well */
		char wal_status[16];
	} slot;
	struct guard *guard; /* tap_guard.c */

	struct admin *admin;
	struct event *tick;
	struct event *sigterm, *sigint, *sighup;
	struct reload *reload; /* under way; NULL: none */
	unsigned hubs_gone;
	bool stopping;
	struct stop *stop; /* tap_stop.c */
};

/* --- what the parts tell the conductor, tap.c, which stands above them all --- */
struct tap_wires {
	/* Everything up to somewhere was handled, or the stream is lost. */
	void (*reached)(struct tap *t);
	/* The source has ended in good order, and with it our hold on the slot. */
	void (*released)(struct tap *t);
	/* The digest is known against which what is read now will be compared. */
	void (*watched)(struct tap *t);
	/* The digest is another one. */
	void (*changed)(struct tap *t);
	/* What decides permission is found out. */
	void (*found_out)(struct tap *t);
};

/* --- tap_stream.c: from the source to the way --- */
extern const struct source_calls tap_source_calls;
extern const struct intake_calls tap_intake_calls;
/* The logs are being filled, from the slot or from Redis. */
bool tap_is_fed(const struct tap *t);

/* --- tap_flow.c: when the stream runs, pauses, and is given up --- */
/* In 2 s the stream is closed, if it then cannot go on. */
void tap_flow_limit(struct tap *t);
/* Connects to the slot, as soon as there are rules and, with a relay, Redis. */
void tap_flow_go(struct tap *t);
/* Reads from the source or not, as intake and relay have room. */
void tap_flow_pause(struct tap *t);
void tap_flow_init(struct tap *t);
void tap_flow_fini(struct tap *t);
/* What a stream brought and is not handled yet: it comes again. */
void tap_flow_forget(struct tap *t);

/* --- tap_reach.c: how far the logs are --- */
/* Everything of commits below `upto` is in the logs. */
void tap_stream_reached(struct tap *t, lsn_t upto);
/* A transaction with messages, committed at `committed` (µs since 1970; 0: unknown), goes into the logs. */
void tap_count_transaction(struct tap *t, lsn_t lsn, int64_t committed);
/* When that was committed, in µs of clock_us, for the window. `committed` as above. */
int64_t tap_committed_at(struct tap *t, lsn_t lsn, int64_t committed);
/* Another history begins. */
void tap_window_begins(struct tap *t, lsn_t lsn);

/* --- tap_skip.c --- */
/* What the stream is about to end for. */
void tap_skip_at(struct tap *t, const struct intake_place *place);
/* It has ended, for something that may never pass. */
void tap_skip_lost(struct tap *t, const struct fail *why);
/* Streaming must not begin yet. */
static inline bool tap_skip_asks(const struct tap *t)
{
	return t->skip.step == SKIP_ASKS;
}
/* Where streaming begins instead of at `handled`; 0: there. */
lsn_t tap_skip_start(const struct tap *t, lsn_t handled);
/* The transaction at that place was seen when streaming began behind it. */
bool tap_skip_is_known(const struct tap *t);
/* Behind a hole in which a transaction lies that is not known. */
void tap_skip_watch(struct tap *t);
void tap_skip_init(struct tap *t);
void tap_skip_fini(struct tap *t);

/* --- tap_progress.c: what moves, and for how long nothing has --- */
void tap_progress_init(struct tap *t);
void tap_progress_fini(struct tap *t);
/* A stream begins: what the server told of its end was of before. */
void tap_progress_anew(struct tap *t);
/* Once a second. */
void tap_progress_look(struct tap *t);
/* NULL: all is well; else why not, until the next call. */
const char *tap_progress_trouble(struct tap *t);
/* NULL, or what it waits for, although that is no trouble yet. */
const char *tap_progress_waits(const struct tap *t);
/* As the walsender told, or, where it does not reply, as the server told when it was asked about it. */
lsn_t tap_server_end(const struct tap *t);

/* --- way_direct.c, way_relay.c: from the intake's transactions to the logs, with and without a Redis stream between them --- */
struct way_start {
	const char *epoch;    /* of the stream that begins */
	lsn_t handled;        /* what open_epoch answered */
	lsn_t confirmed;      /* the slot's position */
	lsn_t server_end;     /* of WAL */
	lsn_t from;           /* where decoding begins, unless more was handled */
	enum relay_hole hole; /* why that lies behind `confirmed` */
};

struct way {
	bool is_shared; /* other replicas feed their logs from what this one publishes, and this one from what they do */
	void (*publish)(struct tap *t, const struct txn *txn, lsn_t next_lsn);
	/* Everything that commits before it is handled, and had nothing to say. */
	void (*handled)(struct tap *t, lsn_t next_lsn);
	/* A stream of this epoch is about to begin: up to where everything of it is known to be handled already. */
	lsn_t (*open_epoch)(struct tap *t, const char *epoch);
	/* Where decoding begins. */
	lsn_t (*start)(struct tap *t, const struct way_start *s);
	void (*streaming)(struct tap *t);
	/* The stream is lost, and with it the slot: what was not handled comes again, perhaps at another replica. */
	void (*lost)(struct tap *t);
	/* Everything that commits before it was given to the way. */
	lsn_t (*end)(const struct tap *t);
	/* Nothing behind it may be confirmed, whatever the window says; LSN_MAX: the window alone decides. */
	lsn_t (*safe)(const struct tap *t);
	/* No more can be taken at present. */
	bool (*is_full)(const struct tap *t);
	bool (*is_up)(const struct tap *t);
	/* Nothing is on its way. */
	bool (*is_empty)(const struct tap *t);
	bool (*is_fed)(const struct tap *t);
	/* µs: since when another process has what our connections want, as far as we know; 0: not. */
	int64_t (*elsewhere_since)(const struct tap *t);
	/* Once a second; before `confirmed` nobody needs anything. */
	void (*tick)(struct tap *t, lsn_t confirmed);
};

extern const struct way way_direct, way_relay;
/* Connects to Redis, and takes that way. */
void way_relay_begin(struct tap *t);

/* --- tap_feed.c: into the topic logs. What is borrowed is so for the call. --- */
struct feed_message {
	struct event_id id;
	struct slice header; /* of the WebSocket frame */
	struct slice payload;
	const char *groups; /* n_groups names, each terminated by a zero */
	size_t n_groups;
	struct entry_tag tag;
	struct slice about; /* as txn_message has it; for metrics, audit log and status page */
};

struct feed_mark { /* every group that a template of this section could name must refetch */
	struct event_id id;
	const char *section;
	const char *reason;
	bool lookup_only; /* those of its templates alone that name {lookup.x} */
};

struct feed_skipped { /* a row was stepped over: what txn_skipped says */
	struct event_id id;
	bool everything;
	struct slice sections, closes; /* as relay_entry has them */
};

/* A membership of this user changed in the transaction that commits at this LSN; NULL: of everybody. */
void tap_feed_membership(struct tap *t, lsn_t commit, const char *user);
/* Of a message that closes its receivers' connections with this code (0: no), or stands for others. */
struct entry_tag tap_feed_tag(uint16_t close, bool bulk);
/* `now` in µs of clock_us, one for the whole transaction. */
void tap_feed_message(struct tap *t, const struct feed_message *m, int64_t now);
void tap_feed_mark(struct tap *t, const struct feed_mark *mark, int64_t now);
/* False, and nothing is done: there is no such section. */
bool tap_feed_skipped(struct tap *t, const struct feed_skipped *skipped, int64_t now);
/* Everything of commits below `upto` is fed, and may be delivered. */
void tap_feed_position(struct tap *t, lsn_t upto);
/* Another history begins at `floor`; but for the first time everybody is told to refetch, for this reason (a literal). */
void tap_feed_anew(struct tap *t, const char *epoch, lsn_t floor, const char *reason);
/* A connection of this hub listens to the topic from now on. */
void tap_feed_hear(struct tap *t, struct topic *topic, unsigned hub);
/* Tells the hubs of what was fed, now rather than at the end of this turn of the loop. */
void tap_feed_flush(struct tap *t);
void tap_feed_init(struct tap *t);
void tap_feed_fini(struct tap *t);
void tap_tell_hubs(struct tap *t, const struct mail *mail);

/* --- tap_accept.c --- */
/* `threads`: of hubs, for the log. */
bool tap_listen(struct tap *t, unsigned threads, struct fail *why);
void tap_stop_listening(struct tap *t);
void tap_accept_init(struct tap *t);
void tap_accept_fini(struct tap *t);

/* --- tap_tls.c --- */
/* Before the hubs are made. */
bool tap_begin_tls(struct tap *t, struct fail *why);
/* A certificate that cannot be used changes nothing. */
void tap_reload_certificate(struct tap *t);

/* --- tap_trouble.c --- */
/* NULL: ready; else why not. */
const char *tap_trouble(struct tap *t);

/* --- tap_status.c --- */
extern const struct admin_calls tap_admin_calls;

/* --- tap_metrics.c --- */
void tap_metrics(void *ctx, struct buf *out);
/* Once a second, for the trail. */
void tap_sample(struct tap *t);

/* --- tap_stop.c: the end of the process --- */
/* Begins it. The loop ends when it is done. */
void tap_stop(struct tap *t);
/* Something was handled, or the stream is lost. */
void tap_stop_reached(struct tap *t);
/* The source has ended, and with it our hold on the slot. */
void tap_stop_released(struct tap *t);
/* Every connection, because it is served elsewhere; final: because the process stops. */
void tap_close_all(struct tap *t, bool final);
void tap_stop_init(struct tap *t);
void tap_stop_fini(struct tap *t);

/* --- tap_reload.c --- */
/* False: it asks for what is not there yet. */
bool tap_supports(const struct conf *conf, struct fail *why);
void tap_reload(struct tap *t);
void tap_reopen_audit(struct tap *t);
/* What is under way is given up. */
void tap_reload_fini(struct tap *t);

/* --- tap_guard.c --- */
/* NAN: not in sight. */
double tap_guard_seconds_left(const struct slot_facts *slot);
/* Asks now rather than at the next round. */
void tap_guard_now(struct tap *t);
void tap_guard_init(struct tap *t);
void tap_guard_fini(struct tap *t);

/* --- tap_rules.c --- */
/* Not bound yet. NULL: `why`, as rules_new. */
struct rules *tap_rules_new(const struct conf *conf, const struct reads *reads, struct fail *why);
/* NULL: an error in the rows. `relations` as in data.relations. */
struct catalog *tap_rules_catalog(const struct sqlrows *rows, bool relations, struct fail *why);
/* Literals of text[]: the tables of the rules, and those of them that decide permission. */
void tap_rules_watched(const struct tap *t, struct buf *tables, struct buf *deciding);

/* --- tap_watch.c --- */
/* Another set of what decides permission: asks for its digest, then tap_catalog_watched. */
void tap_watch_begin(struct tap *t);
/* From now on it is compared. */
void tap_watch_go(struct tap *t);
/* Until the next tap_watch_begin nothing is compared. */
void tap_watch_pause(struct tap *t);
/* What comes next is compared with nothing. */
void tap_watch_forget(struct tap *t);
void tap_watch_init(struct tap *t);
void tap_watch_start(struct tap *t);
void tap_watch_fini(struct tap *t);

/* --- tap_ddl.c: what DDL does, at its place in the stream --- */
/* A message is why it is looked: whatever is found, everybody is asked at the commit of that message. */
static inline bool tap_ddl_asks(const struct tap *t)
{
	return t->ddl_look == DDL_LOOK_MESSAGE;
}
/* The intake's wish. */
void tap_ddl_look(struct tap *t);
/* A stream is about to begin: of this system and timeline. */
void tap_ddl_history(struct tap *t, const char *system_id, const char *timeline);
/* It has begun. */
void tap_ddl_streaming(struct tap *t);
/* All is found out anew. */
void tap_ddl_looked(struct tap *t);
/* For a stream that begins; NULL: no message is wanted, because there is no event trigger. */
const char *tap_ddl_prefix(struct tap *t);
void tap_ddl_init(struct tap *t);
void tap_ddl_fini(struct tap *t);

/* --- tap_catalog.c --- */
/* Reads the catalog, binds a new set of rules to it, gives it to the intake and starts the source. */
void tap_read_catalog(struct tap *t);
/* Takes over both. If they make something else of the stream than those in force, it begins again behind what was handled. */
void tap_take_rules(struct tap *t, struct rules *rules, struct catalog *catalog);
/* The digest is known against which what is read now will be compared. */
void tap_catalog_watched(struct tap *t);
/* What the server says to an admit query now it would say to everybody who comes. And a time that it has computed stays what it is. */
void tap_say_refused(const struct rules *rules, const struct reads *reads);
void tap_free_retired(struct tap *t);
/* Takes over `rules` and `catalog`, made from the edition in force. The rules before them are kept as long as a transaction may point into them. */
void tap_use_rules(struct tap *t, struct rules *rules, struct catalog *catalog);
void tap_catalog_init(struct tap *t);
void tap_catalog_fini(struct tap *t);

/* --- tap_admission.c: what admit asks of the tap --- */
/* Once there are an edition and a log. */
void tap_admission_init(struct tap *t);
void tap_admission_fini(struct tap *t);

#endif
