/* tap parts: what the files of the tap share. No other layer includes it. Everything here belongs to the tap thread. */
#ifndef WALPUSH_TAP_PARTS_H
#define WALPUSH_TAP_PARTS_H

#include <event2/event.h>
#include <event2/listener.h>

#include "walpush/admit/admit.h"
#include "walpush/watch/admin.h"
#include "walpush/base/backoff.h"
#include "walpush/share/edition.h"
#include "walpush/base/flood.h"
#include "walpush/explain/explain.h"
#include "walpush/hub/hub.h"
#include "walpush/intake/intake.h"
#include "walpush/relay/relay.h"
#include "progress.h"
#include "publication_ask.h"
#include "reads_ask.h"
#include "walpush/rules/overlap.h"
#include "walpush/base/repeat.h"
#include "walpush/base/resolve.h"
#include "walpush/pg/source.h"
#include "walpush/pg/sqlpipe.h"
#include "walpush/tap/tap.h"
#include "walpush/watch/minute.h"
#include "walpush/watch/ledger.h"
#include "walpush/watch/trail.h"
#include "walpush/base/tries.h"
#include "walpush/pg/window.h"

/* An expression: how far the server's WAL is flushed, or replayed if the server is a standby. */
#define TAP_FLUSHED_SQL                                                                                                \
	"CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn()"                            \
	" ELSE pg_catalog.pg_current_wal_flush_lsn() END"

struct tap {
	struct admit_present now; /* what is in force: configuration, edition, rules, log */
	struct event_base *loop;
	struct resolve *names; /* of PostgreSQL and Redis */
	int exit_status;

	/* The replication stream, in the order of the data. */
	struct source *source;
	struct suspects *suspects; /* of all connections for queries */
	struct sqlpipe
		*sql;   /* snapshots that release rows, and the tap's own queries: nothing that a table's lock delays */
	struct asking { /* sessions for the queries of rows; one is used, the other one is the spare */
		struct tap *tap;
		const char *name;
		struct sqlpipe *sql;
	} asking[2];
	struct intake *intake;
	const struct way *way; /* from the intake's transactions to the logs */
	const struct tap_wires *wires;
	struct relay *relay;         /* of way_relay; otherwise NULL */
	char relay_epoch[EPOCH_MAX]; /* of the Redis stream that is read */
	struct window window;
	struct feed *feed; /* tap_feed.c */
	int64_t committed_at; /* µs of clock_us: the newest commit that the window knows; never goes back within a history */
	int64_t committed;     /* µs since 1970: the oldest commit since tap_feed_flush; 0: none is known */
	char epoch[EPOCH_MAX]; /* empty until streaming has begun once */
	lsn_t live;            /* the server's end of WAL when streaming began: what is below is a backlog */
	int64_t demanded_at;   /* µs: when the server last demanded a reply */
	bool is_live;
	bool has_event;                  /* the relay's entries since the last end of a transaction had a message */
	bool server_stops;               /* it demanded a reply twice: confirm all that is handled, hold nothing back */
	struct event *stop_limit;        /* when it fires, a replication stream that cannot go on is closed */
	struct login login;              /* of all sessions */
	struct anchor anchor;            /* holds while the replication stream runs */
	char stream_server[ANCHOR_TEXT]; /* of the connection that starts it */
	int64_t astray_at;               /* µs: when it was last started because of the anchor; 0: never */

	struct skip { /* tap_skip.c */
		struct tries tries;
		struct intake_place refused; /* what the intake refused; the replication stream ends because of it */
		struct intake_place place;   /* what is passed over, */
		struct fail why;             /* and the reason */
		lsn_t to; /* where streaming begins after it; without effect once it is handled. 0: none */
		enum { SKIP_NOTHING, SKIP_ASKS, SKIP_WATCHES } step; /* ASKS: before it passes over; WATCHES: after */
		bool has_refused;
		uint64_t running; /* SKIP_WATCHES: all transactions below this xmax must end. 0: not known yet */
		struct sqlpipe_query *query;
		struct event *again;
		struct repeat said;
		char statement[256]; /* for a person, to pass over the place if database.skip is false */
		uint64_t transactions;
		lsn_t last_to;
		int64_t last_at; /* µs since 1970 */
	} skip;
	struct progress progress;
	struct work *work; /* tap_progress.c */

	struct finding *finding; /* tap_catalog.c: what is read of the database */
	unsigned n_editions;     /* so far */
	unsigned reads_for;      /* for this edition, as in n_editions */
	struct reads *reads;     /* what the admit queries of the catalog's edition read */
	size_t n_reads;
	struct overlap *overlap; /* of the edition in force; NULL: not known yet, as after a start or a reload */
	struct overlap_ask *overlap_ask; /* tap_overlap.c */
	struct watch *watch;             /* tap_watch.c */
	struct published {               /* tap_published.c: of a slot of pgoutput */
		bool is_pgoutput;
		uint32_t digest, names;
		struct buf lacks;     /* of pushed tables */
		struct buf matched;   /* tap_matched.c: as in publication_says */
		struct buf truncated; /* roots that were truncated of late, as leaves.h has them */
		size_t since;         /* where those since the last tap_published_rotate begin */
	} published;
	struct ddl *ddl; /* tap_ddl.c */
	/* Why a look is under way. */
	enum ddl_look { DDL_NO_LOOK, DDL_LOOK_MESSAGE, DDL_LOOK_STREAM } ddl_look;
	bool ddl_heard;   /* the replication stream brings the trigger's messages */
	bool finds_out;   /* what decides permission has changed, and is being read again */
	bool has_trigger; /* the database has the event trigger for DDL: see tap_ddl.c */
	struct buf add_tables, filter_tables;
	struct { /* the same, as the replication stream was last asked for */
		struct buf add, filter;
		bool missed;         /* it did not bring rows that it should bring: the next one begins with a hole */
		const char *restart; /* why it begins again once the Redis stream has the hole; NULL: it does not */
	} asked;

	/* Connections. */
	struct admissions *admissions;
	struct admit_events *admit_events; /* tap_admission.c */
	struct admit_lane *admit_lanes;    /* tap_lanes.c: database.admit-connections of them */
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

	struct slot_facts {            /* as the server last answered; tap_guard.c */
		int64_t at;            /* µs; 0: not known */
		double retained, safe; /* bytes; NAN: no limit */
		double rate;           /* bytes a second that the server wrote between the last two answers */
		lsn_t end;
		int64_t warned; /* µs: when the last warning was logged; 0: all is well */
		char wal_status[16];
	} slot;
	struct guard *guard;       /* tap_guard.c */
	struct findings *findings; /* tap_findings.c */
	struct minute tokens;      /* refused, of those that were judged */

	struct admin *admin;
	struct explaining *explaining; /* tap_explain.c */
	struct event *tick;
	struct event *sigterm, *sigint, *sighup;
	struct reload *reload; /* under way; NULL: none */
	unsigned hubs_gone;
	bool stopping;
	struct stop *stop; /* tap_stop.c */
};

/* --- calls from the parts to those above them --- */
/* tap.c wires them: reached → tap_stop_reached, released → tap_stop_released, watched → tap_catalog_watched, changed → tap_read_catalog,
 * found_out → tap_ddl_looked, looked → tap_stream_promoted. */
struct tap_wires {
	/* More is handled, or the replication stream is lost. */
	void (*reached)(struct tap *t);
	/* The source has ended in good order, and has released the slot. */
	void (*released)(struct tap *t);
	/* The first digest is known; later digests are compared with it. */
	void (*watched)(struct tap *t);
	/* The digest has changed. */
	void (*changed)(struct tap *t);
	/* What decides permission is known. */
	void (*found_out)(struct tap *t);
	/* The server was looked at: is it a standby? */
	void (*looked)(struct tap *t, bool is_standby);
};

/* --- tap_stream.c: from the source to the way --- */
extern const struct source_calls tap_source_calls;
extern const struct intake_calls tap_intake_calls;
/* The anchor's call. */
void tap_stream_astray(void *ctx);
/* The stream's server says whether it is a standby. */
void tap_stream_promoted(struct tap *t, bool is_standby);
/* Are the logs being filled, from the slot or from Redis? */
bool tap_is_fed(const struct tap *t);

/* --- tap_flow.c: when the replication stream runs, pauses, and is given up --- */
/* After 2 s the replication stream is closed if it still cannot go on. */
void tap_flow_limit(struct tap *t);
/* Connects to the slot if there are rules and, with a relay, a connection to Redis. */
void tap_flow_go(struct tap *t);
/* Reads from the source while the intake and the relay have room, and pauses it otherwise. */
void tap_flow_pause(struct tap *t);
void tap_flow_init(struct tap *t);
void tap_flow_fini(struct tap *t);
/* The replication stream begins again, with other lists of tables. */
void tap_flow_restart(struct tap *t, const char *why);
/* The hole is in the Redis stream, or the replication stream has ended: tap_flow_restart waits no longer. */
void tap_flow_told(struct tap *t);
/* Drops what the replication stream has brought and what is not handled yet. It comes again. */
void tap_flow_forget(struct tap *t);

/* --- tap_reach.c: how far the logs are --- */
/* Everything of commits below `upto` is in the logs. */
void tap_reach_upto(struct tap *t, lsn_t upto);
/* A transaction with messages, committed at `committed` (µs since 1970; 0: unknown), goes into the logs. */
void tap_reach_count(struct tap *t, lsn_t lsn, int64_t committed);
/* The commit time in µs of clock_us, for the window. `committed` as above. */
int64_t tap_reach_committed_at(struct tap *t, lsn_t lsn, int64_t committed);
/* Another history begins. */
void tap_reach_begins(struct tap *t, lsn_t lsn);

/* --- tap_skip.c --- */
/* The replication stream is about to end because of this place. */
void tap_skip_at(struct tap *t, const struct intake_place *place);
/* The replication stream has ended, for a reason that may never go away. */
void tap_skip_lost(struct tap *t, const struct fail *why);
/* Streaming must not begin yet. */
static inline bool tap_skip_asks(const struct tap *t)
{
	return t->skip.step == SKIP_ASKS;
}
/* Where streaming begins; 0: at `handled`. */
lsn_t tap_skip_start(const struct tap *t, lsn_t handled);
/* A snapshot has seen the transaction that is passed over. False: the transaction is not known. */
bool tap_skip_is_known(const struct tap *t);
/* After a hole, if the transaction that is passed over is not known: waits until all that ran have ended, then resets the clients once more. */
void tap_skip_watch(struct tap *t);
void tap_skip_init(struct tap *t);
void tap_skip_fini(struct tap *t);

/* --- tap_progress.c: what moves, and for how long nothing has moved --- */
void tap_progress_init(struct tap *t);
void tap_progress_fini(struct tap *t);
/* Streaming begins: forgets the server's end of WAL, which is from before. */
void tap_progress_anew(struct tap *t);
/* Once a second. */
void tap_progress_look(struct tap *t);
/* NULL: all is well. Otherwise the reason, valid until the next call. */
const char *tap_progress_trouble(struct tap *t);
/* What the tap waits for, even if the wait is no trouble yet; NULL: nothing known. */
const char *tap_progress_waits(const struct tap *t);
/* The server's end of WAL as the walsender sent it. If the walsender does not reply: as the server answered the query about it. */
lsn_t tap_server_end(const struct tap *t);

/* --- way_direct.c, way_relay.c: from the intake's transactions to the logs, with and without a Redis stream between them --- */
struct way_start {
	const char *epoch;    /* of the replication stream that begins */
	lsn_t handled;        /* what open_epoch returned */
	lsn_t confirmed;      /* the slot's position */
	lsn_t server_end;     /* of WAL */
	lsn_t from;           /* where decoding begins, unless more is handled */
	enum relay_hole hole; /* why `from` is above `confirmed` */
};

struct way {
	bool is_shared; /* all replicas feed their logs from what any of them publishes */
	/* Has another process given a part of this commit, which is about to be published, and not its end? */
	bool (*is_half_told)(const struct tap *t, lsn_t commit);
	void (*publish)(struct tap *t, const struct txn *txn, lsn_t next_lsn);
	/* Everything that commits below `next_lsn` is handled, and had no messages. */
	void (*position)(struct tap *t, lsn_t next_lsn);
	/* Streaming of this epoch is about to begin. Returns the position below which everything of the epoch is known to be handled. */
	lsn_t (*open_epoch)(struct tap *t, const char *epoch);
	/* Returns where decoding begins. */
	lsn_t (*start)(struct tap *t, const struct way_start *s);
	/* Rows were missed. True: the others are being told; the replication stream must go on to hold the slot until then. */
	bool (*miss)(struct tap *t);
	void (*streaming)(struct tap *t);
	/* The replication stream and the slot are lost: what is not handled comes again, perhaps at another replica. */
	void (*lost)(struct tap *t);
	/* Everything that commits below the result was given to the way. */
	lsn_t (*end)(const struct tap *t);
	/* Nothing above the result may be confirmed, even if the window allows it; LSN_MAX: only the window decides. */
	lsn_t (*safe)(const struct tap *t);
	/* The way cannot take more at present. */
	bool (*is_full)(const struct tap *t);
	bool (*is_up)(const struct tap *t);
	/* Everything that the way was given has left its queue. */
	bool (*is_empty)(const struct tap *t);
	bool (*is_fed)(const struct tap *t);
	/* µs: since when another process serves what our connections want, as far as is known; 0: none does. */
	int64_t (*elsewhere_since)(const struct tap *t);
	/* Once a second. Nothing below `confirmed` is needed any more. */
	void (*tick)(struct tap *t, lsn_t confirmed);
};

extern const struct way way_direct, way_relay;
/* Connects to Redis, and makes way_relay the way. */
void way_relay_begin(struct tap *t);

/* --- tap_findings.c: what is wrong, as `walpush check` says it --- */
/* Looks for the first time; then clients are accepted, after 2 s at the latest. */
void tap_findings_begin(struct tap *t);
/* The configuration in force is another one. */
void tap_findings_reload(struct tap *t);
/* The catalog has changed. */
void tap_findings_changed(struct tap *t);
/* Into the metrics. */
void tap_findings_count(struct tap *t);
/* A new array for /status. */
json_t *tap_findings_status(const struct tap *t);
/* When there was a report: s since 1970; 0: not yet. */
int64_t tap_findings_at(const struct tap *t);
void tap_findings_init(struct tap *t);
/* No look any more. */
void tap_findings_stop(struct tap *t);
void tap_findings_fini(struct tap *t);

/* --- tap_feed.c: into the logs. Arguments are borrowed for the call. --- */
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
	const char *section; /* its label: see rules_labelled */
	const char *reason;
	bool lookup_only; /* only its templates that name {lookup.x} */
};

struct feed_skipped { /* a row was skipped, as txn_skipped describes it */
	struct event_id id;
	bool everything;
	struct slice sections, closes; /* as relay_entry has them */
};

/* A membership of this user changed in the transaction that commits at this LSN; NULL: of every user. */
void tap_feed_membership(struct tap *t, lsn_t commit, const char *user);
/* The tag of a message that closes its receivers' connections with this code (0: no), or that stands for many changes (`bulk`). */
struct entry_tag tap_feed_tag(uint16_t close, bool bulk);
/* `now` in µs of clock_us, one for the whole transaction. */
void tap_feed_message(struct tap *t, const struct feed_message *m, int64_t now);
void tap_feed_mark(struct tap *t, const struct feed_mark *mark, int64_t now);
/* False: there is no such section, and nothing is done. */
bool tap_feed_skipped(struct tap *t, const struct feed_skipped *skipped, int64_t now);
/* Everything of commits below `upto` is fed, and may be delivered. */
void tap_feed_position(struct tap *t, lsn_t upto);
/* Another history begins at `floor`. Every client must refetch for this reason (a literal), except at the first call. */
void tap_feed_anew(struct tap *t, const char *epoch, lsn_t floor, const char *reason);
/* A connection of this hub has a subscription in this log from now on. */
void tap_feed_hear(struct tap *t, struct topic *topic, unsigned hub);
/* Posts MAIL_DIRTY for what was fed now, not at the end of this turn of the loop. */
void tap_feed_flush(struct tap *t);
void tap_feed_init(struct tap *t);
void tap_feed_fini(struct tap *t);
void tap_tell_hubs(struct tap *t, const struct mail *mail);

/* --- tap_accept.c --- */
bool tap_listen(struct tap *t, struct fail *why);
/* Accepts connections, which the kernel makes since tap_listen. Again: nothing. */
void tap_accept_begin(struct tap *t);
void tap_stop_listening(struct tap *t);
void tap_accept_init(struct tap *t);
void tap_accept_fini(struct tap *t);

/* --- tap_tls.c --- */
/* Before the hubs are made. */
bool tap_begin_tls(struct tap *t, struct fail *why);
/* A certificate that cannot be used changes nothing. */
void tap_reload_certificate(struct tap *t);

/* --- tap_trouble.c --- */
/* NULL: ready. Otherwise the reason. */
const char *tap_trouble(struct tap *t);

/* --- tap_status.c --- */
extern const struct admin_calls tap_admin_calls;

/* --- tap_explain.c: why somebody receives something, or not --- */
/* Of struct admin_calls. */
void tap_explain_ask(void *ctx, struct slice query, struct admin_reply *reply);
/* A message is in the logs. */
void tap_explain_note(struct tap *t, int64_t at, const struct audit_change *change);
/* A hub's answer. */
void tap_explain_traced(struct tap *t, const struct mail *mail);
/* The rules in force change: the question that is being answered is asked about others. */
void tap_explain_forget(struct tap *t);
void tap_explain_init(struct tap *t);
/* Its connection to the database, which is opened when something is asked. */
void tap_explain_start(struct tap *t);
/* Before the admin port is freed. */
void tap_explain_fini(struct tap *t);

/* --- tap_known.c: what this process knows of users, groups and messages, without a database --- */
/* {"open", "shown": [{"stream", "values", "peer", "state", "groups"}]} */
json_t *tap_known_connections(const struct tap *t, const struct group_names *names, const char *user);
/* {"connections", "users", "shown", "groups": [{"group", "connections"}]}: who listens to these groups. */
json_t *tap_known_receivers(const struct tap *t, const struct group_names *names, const struct groups *groups);
/* {"id", "table", "action", "key", "groups", "group_count", "published", "receivers"} */
json_t *tap_known_event(const struct group_names *names, const struct ledger_event *e);
/* {"asked": "find", "text", "connections", "groups", "events"} */
json_t *tap_known_find(const struct tap *t, const struct group_names *names, const struct ledger *ledger,
		       const char *text);
/* Microseconds since 1970 as text, to the millisecond; 0: null. */
json_t *tap_known_time(int64_t us);

/* --- tap_metrics.c --- */
void tap_metrics(void *ctx, struct buf *out);
/* Once a second, for the trail. */
void tap_sample(struct tap *t);

/* --- tap_stop.c: the end of the process --- */
/* Begins to stop. The loop ends when everything has stopped. */
void tap_stop(struct tap *t);
/* More is handled, or the replication stream is lost. */
void tap_stop_reached(struct tap *t);
/* The source has ended, and has released the slot. */
void tap_stop_released(struct tap *t);
/* Closes every connection, because another process serves the clients; `final`: because the process stops. */
void tap_close_all(struct tap *t, bool final);
void tap_stop_init(struct tap *t);
void tap_stop_fini(struct tap *t);

/* --- tap_reload.c --- */
/* False: the configuration asks for a feature that does not exist yet, or its URL of Redis is wrong. */
bool tap_supports(const struct conf *conf, struct fail *why);
void tap_reload(struct tap *t);
void tap_reopen_audit(struct tap *t);
/* Gives up a reload that is under way. */
void tap_reload_fini(struct tap *t);

/* --- tap_guard.c --- */
/* Seconds until the slot is lost, at the present rate; NAN: no end is in sight. */
double tap_guard_seconds_left(const struct slot_facts *slot);
/* Asks now, not at the next round. */
void tap_guard_now(struct tap *t);
void tap_guard_init(struct tap *t);
void tap_guard_fini(struct tap *t);

/* --- tap_rules.c --- */
/* Makes rules that are not bound yet. NULL: `why` as from rules_new. */
struct rules *tap_rules_new(const struct conf *conf, const struct reads *reads, struct fail *why);
/* NULL: an error in the rows. `relations` as in data.relations. */
struct catalog *tap_rules_catalog(const struct sqlrows *rows, bool relations, struct fail *why);
/* Asks for the rows of catalog_query about the tables of these rules. */
struct sqlpipe_query *tap_rules_ask(struct sqlpipe *sql, const struct rules *rules, sqlpipe_done *done, void *ctx);
/* Literals of text[]: the tables of the rules, those of them that decide permission, and the patterns. */
void tap_rules_watched(const struct tap *t, struct buf *tables, struct buf *deciding, struct buf *patterns);

/* --- tap_overlap.c: which queries read a common table --- */
/* NULL: not known yet. The indexes are those of the queries of `now.plain`, and of all rules of the same configuration. Valid until the loop
 * goes on. */
const struct overlap *tap_overlap(const struct tap *t);
/* Asks the server; the answer comes into force by itself. */
void tap_overlap_go(struct tap *t);
/* Asks nothing until the next tap_overlap_go. What is known stays in force. */
void tap_overlap_pause(struct tap *t);
/* Another edition is in force. */
void tap_overlap_forget(struct tap *t);
void tap_overlap_init(struct tap *t);
void tap_overlap_fini(struct tap *t);

/* --- tap_published.c: what the slot's publication sends --- */
/* It was found to lack this. The replication stream may begin again. */
void tap_published_take(struct tap *t, const struct publication_says *says);
/* Rows of a pushed table were missed: everybody must refetch. */
void tap_published_missed(struct tap *t, const char *why);
/* A transaction is published: which tables does it truncate? */
void tap_published_note(struct tap *t, const struct txn *txn);
/* What was noted before the last call is forgotten. */
void tap_published_rotate(struct tap *t);
void tap_published_fini(struct tap *t);

/* --- tap_matched.c: schemas that a pattern matches, and a publication may not send yet --- */
/* `is_known`: the answer before this one is known. Says once which tables are not sent yet; the groups of one that is sent
 * from now on refetch. True: one is not sent any more. */
bool tap_matched_take(struct tap *t, const struct publication_says *says, bool is_known);
/* Is a table of these bound rules in another schema than in the rules in force? pgoutput of PostgreSQL 13 to 15 does not say so, and sends the rows
 * of a renamed schema under its former name, until the replication stream begins again. Its groups refetch, because rows may have come so. */
bool tap_matched_moved(struct tap *t, const struct rules *rules);

/* --- tap_watch.c --- */
/* What decides permission is another set: asks for its digest, then calls tap_catalog_watched. */
void tap_watch_begin(struct tap *t);
/* Compares the digest from now on. */
void tap_watch_go(struct tap *t);
/* Compares nothing until the next tap_watch_begin. */
void tap_watch_pause(struct tap *t);
/* Forgets the digest: the next one is compared with nothing. */
void tap_watch_forget(struct tap *t);
void tap_watch_init(struct tap *t);
void tap_watch_start(struct tap *t);
/* The watch's session: no row, no admission waits for it, so what may wait for a table's lock goes here too. */
struct sqlpipe *tap_watch_sql(const struct tap *t);
void tap_watch_fini(struct tap *t);

/* --- tap_ddl.c: what DDL does, at its place in the replication stream --- */
/* A message is the reason for the look under way: every connection is asked again at the commit of this message, whatever the look finds. */
static inline bool tap_ddl_asks(const struct tap *t)
{
	return t->ddl_look == DDL_LOOK_MESSAGE;
}
/* The intake asks for a look. */
void tap_ddl_look(struct tap *t);
/* Streaming is about to begin, from this system and timeline. */
void tap_ddl_history(struct tap *t, const char *system_id, const char *timeline);
/* Streaming has begun. */
void tap_ddl_streaming(struct tap *t);
/* The look is done: what decides permission was read again. */
void tap_ddl_looked(struct tap *t);
/* The prefix of the messages that the replication stream must bring; NULL: none, because there is no event trigger. */
const char *tap_ddl_prefix(struct tap *t);
void tap_ddl_init(struct tap *t);
void tap_ddl_fini(struct tap *t);

/* --- tap_catalog.c --- */
/* Reads the catalog, binds a new set of rules to it, gives it to the intake and starts the source. */
void tap_read_catalog(struct tap *t);
/* Takes over both. If the new rules give other results than the rules in force, the replication stream begins again after what is handled. */
void tap_take_rules(struct tap *t, struct rules *rules, struct catalog *catalog);
/* Are the rules in force made from the configuration in force? Not between a reload and the next catalog. */
bool tap_rules_are_current(const struct tap *t);
/* The first digest is known; later digests are compared with it. */
void tap_catalog_watched(struct tap *t);
/* Logs admit queries that the server refuses, because no client is admitted by them, and admit queries with a time that the server computes only
 * once. */
void tap_say_refused(const struct rules *rules, const struct reads *reads);
void tap_free_retired(struct tap *t);
/* Takes over `rules` and `catalog`, made from the edition in force. Keeps the rules before them as long as a transaction may point into them. */
void tap_use_rules(struct tap *t, struct rules *rules, struct catalog *catalog);
void tap_catalog_init(struct tap *t);
void tap_catalog_fini(struct tap *t);

/* --- tap_lanes.c: the connections for admit queries --- */
/* Those of struct admit_calls; `ctx` is the tap. */
struct sqlpipe_query *tap_lanes_ask(void *ctx, unsigned lane, const struct admit_query *query, sqlpipe_done *done,
				    void *done_ctx);
void tap_lanes_let_go(void *ctx, unsigned lane, struct sqlpipe_query *q);
void tap_lanes_drop(void *ctx, unsigned lane);
void tap_lanes_open(void *ctx, unsigned lane);
bool tap_lanes_cancel(void *ctx, unsigned lane, int by);
/* Opens the first connection; it stays open. */
void tap_lanes_start(struct tap *t);
/* As sqlpipe_renew and sqlpipe_hurry, for all of them. */
void tap_lanes_renew(struct tap *t);
void tap_lanes_hurry(struct tap *t);
/* At least one is open. */
bool tap_lanes_is_up(const struct tap *t);
/* As sqlpipe_trouble, of the first one. */
const char *tap_lanes_trouble(const struct tap *t);
/* How many could not be opened when they were last wanted. */
unsigned tap_lanes_failed(const struct tap *t);
/* Before the admissions. */
void tap_lanes_init(struct tap *t);
/* After the admissions. */
void tap_lanes_fini(struct tap *t);

/* --- tap_admission.c: what admit asks of the tap --- */
/* Before the hubs are made. `now` has no edition and no log yet. */
void tap_admission_init(struct tap *t);
void tap_admission_fini(struct tap *t);

#endif
