/*
 * admit: may this connection listen, and to which groups? The admit query is asked when the connection comes, when a membership of its user
 * changes, when its token is renewed with other claims, and as time passes.
 *
 * The place of a new connection is the published position at the moment of asking: whatever is published afterwards is delivered. That of
 * one asked again is the commit that changed the membership.
 *
 * No thread, no clock, no socket: whoever owns it feeds it with mails of the hubs, changes of membership and positions of the logs, in the
 * order of the replication stream, and answers its calls. All of it belongs to the owner's thread, the tap's.
 */
#ifndef WALPUSH_ADMIT_H
#define WALPUSH_ADMIT_H

#include <jansson.h>

#include "walpush/pg/sqlpipe.h"
#include "walpush/share/edition.h"

struct admissions;

/* What is in force at present. The owner keeps it current; admit reads it whenever it decides. */
struct admit_present {
	const struct conf *conf;
	struct edition *edition;
	const struct rules *plain; /* the edition's, never bound: paths and admit queries */
	struct rules *rules;       /* bound to the catalog of the moment; NULL: none yet */
	struct topiclog *log;
	const char *epoch; /* of the replication stream; "" before the first one */
	/* Another process may have told clients what commits below; then it numbered what a commit leaves to its end otherwise, perhaps. */
	lsn_t told_before;
	bool is_withheld; /* rows that decide do not come: nobody is admitted, and who is there is closed */
	bool has_mute;    /* a table that decides is mute: it has changes that the WAL does not hold */
	struct metrics_counts *counts;
	struct audit *audit;
};

enum admit_wake {
	ADMIT_SOON,        /* admissions_soon at the end of this turn of the loop */
	ADMIT_WHEN_READ,   /* admissions_read when all that has come by now was read */
	ADMIT_AFTER_A_TICK /* admissions_tick within ADMIT_TICK */
};

#define ADMIT_TICK 100000 /* µs */

struct admit_query {      /* borrowed for the call */
	const char *name; /* in the server's log */
	const char *sql;
	size_t n_values;
	const char *const *values; /* NULL is SQL NULL */
};

struct admit_calls {
	int64_t (*clock)(void *ctx); /* µs, and never goes back */
	/* The logs are being filled: what they hold is the present. */
	bool (*is_fed)(void *ctx);
	/* A client knows of this commit, which this process has not met: may it still come? It has waited for `waited` µs. */
	bool (*may_come)(void *ctx, lsn_t commit, int64_t waited);
	/* What was committed before that time lies below this position. */
	lsn_t (*before)(void *ctx, int64_t at);
	/* The mail is the hub's. The owner fills in what only it knows, `committed` of a limit. */
	void (*post)(void *ctx, unsigned hub, struct mail *mail);
	/* A connection of this hub listens to the topic from now on. */
	void (*hear)(void *ctx, struct topic *topic, unsigned hub);
	/* As sqlpipe_ask, on one of database.admit-connections connections, called lanes and counted from 0: one that is open by admit_lane. */
	struct sqlpipe_query *(*ask)(void *ctx, unsigned lane, const struct admit_query *query, sqlpipe_done *done,
				     void *done_ctx);
	/* As sqlpipe_let_go. */
	void (*let_go)(void *ctx, unsigned lane, struct sqlpipe_query *q);
	/* As sqlpipe_forget, for all queries of the lane. */
	void (*drop)(void *ctx, unsigned lane);
	/* Opens the lane, unless it has failed a moment ago. Called again and again while questions wait. */
	void (*open)(void *ctx, unsigned lane);
	/* Cancels what the lane runs: by the lane `by`, which is idle; -1: by another session of the same role. False: that is not possible now. */
	bool (*cancel)(void *ctx, unsigned lane, int by);
	/* Once, however often it is called before that. */
	void (*wake)(void *ctx, enum admit_wake when);
};

/* `present` and `calls` are borrowed until the end. */
struct admissions *admissions_new(const struct admit_present *present, const struct admit_calls *calls, void *ctx);
/* No mail is posted. */
void admissions_free(struct admissions *all);

/* --- mails of the hubs; what they own is taken over ----------------------------------------------------------------- */

void admit_came(struct admissions *all, struct mail *mail);
/* A token in place of the one before. */
void admit_renewed(struct admissions *all, struct mail *mail);
void admit_ended(struct admissions *all, const struct mail *mail);

/* --- the replication stream ------------------------------------------------------------------------------------------ */

/* The logs have moved, or the replication stream is live: some may have waited for that. */
void admit_reached(struct admissions *all);
/* A membership of this user changed in the transaction that commits at this LSN, and is not in the logs yet; NULL: of everybody. */
void admit_changed(struct admissions *all, lsn_t commit, const char *user);
/* The logs are others now, and begin at `floor`: everybody is asked about, and told to refetch for this reason (a literal). */
void admit_anew(struct admissions *all, lsn_t floor, const char *reason);
/* `present` has other streams, other times or another has_mute: how often each stream is asked about again as time passes. */
void admit_recheck(struct admissions *all);

/* --- the connections for its queries ----------------------------------------------------------------------------------- */

/* This lane has opened, or has closed: what it was asked is asked again over another lane. At first all are closed. */
void admit_lane(struct admissions *all, unsigned lane, bool is_up);

/* --- the loop: what was asked for by `wake` ---------------------------------------------------------------------------- */

void admissions_soon(struct admissions *all);
void admissions_read(struct admissions *all);
void admissions_tick(struct admissions *all);

/* --- what is known ------------------------------------------------------------------------------------------------------ */

/* How often a stream's connections are asked about as time passes, µs; 0: not at all. */
int64_t admit_rechecks(const struct admissions *all, uint64_t stream);
/* How many connections wait for a round, or for their turn. */
int admit_waiting(const struct admissions *all);
struct admit_numbers {
	unsigned open, most; /* lanes; `most`: database.admit-connections */
	unsigned waiting;    /* questions that wait for a lane; */
	unsigned slow;       /* and those of them that wait for the lane of the slow ones */
	uint64_t tokens;     /* good ones that came so far, of new connections and renewed */
	uint64_t cancelled;  /* queries so far, because nobody waited for them any more */
};
void admit_numbers(const struct admissions *all, struct admit_numbers *out);
/* The database has answered no admission for a minute, although several users tried (outage.h). */
bool admit_is_unanswered(const struct admissions *all);
/* A connection, for a person. */
struct admit_seen {
	const char *user; /* one pointer for all connections of a user, which come one after the other */
	const struct ticket *ticket;
	const char *stream; /* NULL: a reload has removed it */
	const char *state;  /* a literal: "open", "asks to listen", "held back", "is being closed" */
	struct topic *const *topics;
	size_t n_topics;
};

/* Calls `one` for each connection of the user; NULL: of everybody. */
void admit_each(const struct admissions *all, const char *user, void (*one)(void *ctx, const struct admit_seen *c),
		void *ctx);
/* For the admin port. */
json_t *admit_status(const struct admissions *all);

#endif
