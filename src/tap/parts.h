/* tap parts: what the files of the tap share. Nobody else includes it. All of it belongs to the tap thread. */
#ifndef WALPUSH_TAP_PARTS_H
#define WALPUSH_TAP_PARTS_H

#include <event2/event.h>
#include <event2/listener.h>

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

#define EPOCH_MAX 48
/* An expression: how far the server's WAL is flushed, or on a standby replayed. */
#define TAP_FLUSHED_SQL                                                                                                \
	"CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn()"                            \
	" ELSE pg_catalog.pg_current_wal_flush_lsn() END"

struct admissions;

struct tap {
	const struct conf *conf;
	struct event_base *loop;
	struct resolve *names; /* of PostgreSQL and Redis */
	int exit_status;

	/* The stream, in the order of the data. */
	struct source *source;
	struct sqlpipe *sql; /* snapshots and lookups */
	struct intake *intake;
	struct relay *relay;         /* NULL: none; the intake's transactions are fed into the logs as they are */
	char relay_epoch[EPOCH_MAX]; /* of the stream in Redis that is read */
	struct window window;
	struct topiclog *log;
	struct event *flush; /* tells the hubs, once for all that one turn of the loop published */
	struct topic **news; /* topics that they have not been told of */
	size_t n_news, cap_news;
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
	struct { /* tap_progress.c */
		struct sqlpipe_query *query;
		int64_t asked; /* µs */
		bool is_idle;  /* nothing waited then */
		lsn_t end;     /* the server's end of WAL, as it told then */
		struct repeat said, said_stalled;
		bool is_at_work; /* the walsender, as last seen */
	} work;

	/* Rules: `plain`, the edition's, for paths and admissions, never bound; `rules` bound to the catalog of the moment. */
	struct edition *edition;
	const struct rules *plain;
	struct rules *rules;
	struct edition *rules_of; /* whose configuration `rules` were made from */
	struct catalog *catalog;
	struct retired { /* earlier ones, until no transaction points into them */
		struct retired *next;
		struct rules *rules;
		struct edition *rules_of;
		struct catalog *catalog;
	} * retired;
	unsigned n_editions;  /* so far */
	unsigned catalog_for; /* whose tables were asked for last */
	struct sqlpipe_query *catalog_query;
	struct event *catalog_again;
	struct reads *reads; /* what the admit queries of the catalog's edition read */
	size_t n_reads;
	unsigned reads_for;          /* the edition, as in n_editions */
	struct reads_ask *reads_ask; /* NULL: nobody asks at present */
	struct edition *reads_of;    /* about whose queries */
	struct backoff reads_backoff;
	struct buf reads_text; /* of `reads`: they are the same when they are asked for once more */
	enum reading { READING_FIRST, READING_AGAIN } reading;
	struct { /* tap_watch.c */
		struct sqlpipe *sql;
		struct sqlpipe_query *query;
		struct event *tick;
		char deciding[33], all[33]; /* digests */
		bool finds_out;             /* what decides has changed, and is not known yet */
		bool is_blind;              /* a table that decides has changes that the log does not hold */
		bool has_trigger;           /* that tells of DDL: see tap_ddl.c */
		bool renew;                 /* its own session is opened again, too */
		bool begins;                /* the next answer is what the others are compared with */
		struct repeat said, said_of_others;
	} watch;
	struct { /* tap_ddl.c */
		struct event *later;
		bool heard;    /* the stream brings the trigger's messages */
		int64_t began; /* µs: the last look; 0: there was none */
		enum ddl_look { DDL_NO_LOOK, DDL_LOOK_MESSAGE, DDL_LOOK_STREAM } look; /* under way, and why */
		char history[EPOCH_MAX]; /* whose positions the intake has looked at */
		struct repeat said;
	} ddl;
	struct repeat not_followed[REPEAT_TABLE], strangers[REPEAT_TABLE];
	struct buf add_tables, filter_tables;
	struct { /* the same as the stream was asked for last */
		struct buf add, filter;
		bool missed; /* it did not bring rows that it should have: the next one begins with a hole */
	} asked;
	struct buf secrets; /* the columns that look like secrets and are sent, as the log was told of them */

	/* Connections. */
	struct sqlpipe *admissions_sql;
	struct admissions *admissions;
	struct repeat admit_trouble[REPEAT_TABLE];
	struct evconnlistener *listener;
	struct event *listen_again;
	bool accept_fails; /* and it was said */
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
	unsigned n_hubs, next_hub;

	struct slot_facts {            /* as the server told last; tap_guard.c */
		int64_t at;            /* µs; 0: not known */
		double retained, safe; /* bytes; NAN: no limit */
		double rate;           /* bytes a second that the server wrote between the last two answers */
		lsn_t end;
		int64_t warned; /* µs; 0: all is well */
		char wal_status[16];
	} slot;
	struct sqlpipe_query *slot_query;
	struct event *guard;

	struct admin *admin;
	struct event *tick;
	struct event *sigterm, *sigint, *sighup;
	struct reload *reload; /* under way; NULL: none */
	unsigned hubs_gone;
	bool stopping;
	struct { /* tap_stop.c */
		enum stop_step { STOP_NOT, STOP_PUBLISHING, STOP_RELEASING, STOP_CLOSING } step;
		int64_t began;               /* µs */
		lsn_t end;                   /* what was committed when the stop began; 0: not known yet */
		struct sqlpipe_query *query; /* that asks for it */
		struct event *event;         /* the step is done, or has taken too long */
	} stop;
};

/* --- tap_stream.c: from the source to the feed --- */
extern const struct source_calls tap_source_calls;
extern const struct intake_calls tap_intake_calls;
void tap_stream_init(struct tap *t);
void tap_stream_fini(struct tap *t);
/* In 2 s the stream is closed, if it then cannot go on. */
void tap_limit_stream(struct tap *t);
/* Everything of commits below `upto` is in the logs. */
void tap_stream_reached(struct tap *t, lsn_t upto);
/* A transaction with messages, committed at `committed` (µs since 1970; 0: unknown), goes into the logs. */
void tap_count_transaction(struct tap *t, lsn_t lsn, int64_t committed);
/* When that was committed, in µs of clock_us, for the window. `committed` as above. */
int64_t tap_committed_at(struct tap *t, lsn_t lsn, int64_t committed);
/* Another history begins. */
void tap_window_begins(struct tap *t, lsn_t lsn);
/* Connects to the slot, as soon as there are rules and, with a relay, Redis. */
void tap_stream_go(struct tap *t);
/* Reads from the source or not, as intake and relay have room. */
void tap_pause_source(struct tap *t);
/* The logs are being filled, from the slot or from Redis. */
bool tap_is_fed(const struct tap *t);

/* --- tap_skip.c --- */
/* What the stream is about to end for. */
void tap_skip_at(struct tap *t, const struct intake_place *place);
/* It has ended, for something that may never pass. */
void tap_skip_lost(struct tap *t, const struct fail *why);
/* Streaming must not begin yet. */
bool tap_skip_asks(const struct tap *t);
/* Where streaming begins instead of at `handled`; 0: there. */
lsn_t tap_skip_start(const struct tap *t, lsn_t handled);
/* The transaction at that place was seen when streaming began behind it. */
bool tap_skip_is_known(const struct tap *t);
/* Behind a hole in which a transaction lies that is not known. */
void tap_skip_watch(struct tap *t);
void tap_skip_init(struct tap *t);
void tap_skip_fini(struct tap *t);

/* --- tap_progress.c: what moves, and for how long nothing has --- */
/* Once a second. */
void tap_progress_look(struct tap *t);
/* NULL: all is well; else why not, until the next call. */
const char *tap_progress_trouble(struct tap *t);
/* NULL, or what it waits for, although that is no trouble yet. */
const char *tap_progress_waits(const struct tap *t);
/* As the walsender told, or, where it does not reply, as the server told when it was asked about it. */
lsn_t tap_server_end(const struct tap *t);

/* --- tap_relay.c --- */
void tap_relay_start(struct tap *t);
void tap_relay_publish(struct tap *t, const struct txn *txn, lsn_t next_lsn);

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

/* --- tap_status.c --- */
extern const struct admin_calls tap_admin_calls;
/* NULL: ready; else why not. */
const char *tap_trouble(struct tap *t);

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
/* The intake's wish. */
void tap_ddl_look(struct tap *t);
/* A stream is about to begin: of this system and timeline. */
void tap_ddl_history(struct tap *t, const char *system_id, const char *timeline);
/* It has begun. */
void tap_ddl_streaming(struct tap *t);
/* All is found out anew. */
void tap_ddl_looked(struct tap *t);
/* A message is why it is looked: whatever is found, everybody is asked at the commit of that message. */
/* For a stream that begins; NULL: no message is wanted, because there is no event trigger. */
const char *tap_ddl_prefix(struct tap *t);
bool tap_ddl_asks(const struct tap *t);
void tap_ddl_init(struct tap *t);
void tap_ddl_fini(struct tap *t);

/* --- tap_catalog.c --- */
/* Reads the catalog, binds a new set of rules to it, gives it to the intake and starts the source. */
void tap_read_catalog(struct tap *t);
/* Not bound yet. NULL: `why`, as rules_new. */
struct rules *tap_rules_new(const struct conf *conf, const struct reads *reads, struct fail *why);
/* Takes over both. If they make something else of the stream than those in force, it begins again behind what was handled. */
void tap_take_rules(struct tap *t, struct rules *rules, struct catalog *catalog);
/* The digest is known against which what is read now will be compared. */
void tap_catalog_watched(struct tap *t);
/* What the server says to an admit query now it would say to everybody who comes. And a time that it has computed stays what it is. */
void tap_say_refused(const struct rules *rules, const struct reads *reads);
/* Literals of text[]: the tables of the rules, and those of them that decide permission. */
void tap_catalog_watches(const struct tap *t, struct buf *tables, struct buf *deciding);
void tap_free_retired(struct tap *t);
/* NULL: an error in the rows. `relations` as in data.relations. */
struct catalog *tap_catalog_from(const struct sqlrows *rows, bool relations, struct fail *why);
/* Takes over `rules` and `catalog`, made from the edition in force. The rules before them are kept as long as a transaction may point into them. */
void tap_use_rules(struct tap *t, struct rules *rules, struct catalog *catalog);
void tap_catalog_init(struct tap *t);
void tap_catalog_fini(struct tap *t);

/* --- tap_admit.c, tap_renew.c, tap_ask.c, tap_turn.c, tap_member.c --- */
void tap_admit(struct tap *t, struct mail *mail);
void tap_admit_ended(struct tap *t, const struct mail *mail);
void tap_renew(struct tap *t, struct mail *mail);
/* The log has moved, or the stream is live: some may have waited for that. */
void tap_admit_reached(struct tap *t);
/* A membership of this user changed in the transaction that commits at this LSN, and is not in the logs yet; NULL: of everybody. */
void tap_member_changed(struct tap *t, lsn_t commit, const char *user);
/* The logs are others now, and begin at `floor`: everybody is asked about, and told to refetch for this reason (a literal). */
void tap_member_anew(struct tap *t, lsn_t floor, const char *reason);
/* Asks about each connection of this stream again within so many µs, at a moment of its own, and it hears on meanwhile; 0: no more. */
void tap_recheck(struct tap *t, uint64_t stream, int64_t every);
/* The same for all streams, as the configuration in force says. */
void tap_recheck_all(struct tap *t);
/* How often its connections are asked about as time passes, µs; 0: not at all. */
int64_t tap_rechecks(const struct tap *t, uint64_t stream);
/* How many connections wait for a round, or for their turn. */
int tap_admit_waiting(const struct tap *t);
json_t *tap_admit_status(const struct tap *t);
void tap_admit_init(struct tap *t);
void tap_admit_fini(struct tap *t);

#endif
