/*
 * intake parts: what the files of the intake share. Nobody else includes it. All of it belongs to the tap thread.
 *
 *   intake.c          the queue: receipt, the head's turn, flow control
 *   intake_visible.c  "visible first": which transactions a snapshot has seen
 *   intake_ask.c      the SQL that rows want answered
 *   intake_rows.c     a row that is the head, from its bytes to the messages of the transaction
 *   intake_skip.c     a row that cannot be handled
 *   intake_ddl.c      a transaction that says that DDL is a part of it
 */
#ifndef WALPUSH_INTAKE_PARTS_H
#define WALPUSH_INTAKE_PARTS_H

#include "walpush/change/decode.h"
#include "walpush/intake/intake.h"
#include "questions.h"
#include "walpush/base/repeat.h"
#include "walpush/change/row.h"
#include "walpush/pg/snapshot.h"
#include "walpush/pg/source.h"
#include "walpush/base/tries.h"

struct transaction { /* from its BEGIN's receipt until its COMMIT is handled */
	struct transaction *prev, *next;
	uint64_t number;
	uint32_t xid;
	lsn_t lsn, next_lsn;
	bool repeated; /* handled before a reconnect */
	bool wanted;   /* it has rows: it must be visible before they are handled */
	bool visible;
	bool is_ddl;         /* it says that DDL is a part of it */
	int64_t wanted_at;   /* µs */
	uint64_t questioned; /* rows whose sections asked something */
};

struct answers { /* of one section of a row; NULL: not asked */
	struct question *lookup, *data, *actor;
	bool left_out; /* neither lookup nor data was asked: there were too many */
};

struct record {
	struct record *next;
	char *bytes;
	struct slice text;
	uint64_t number;
	char kind; /* of wal2json's action: B C I U D T, or 0 */
	bool asked;
	bool skipped; /* `bytes` are gone; of schema and table, where they are known, `names` is all that is left */
	char *names;  /* each ended by a zero; NULL: not known */
	struct transaction *transaction;
	struct answers *answers; /* one a section; NULL: nothing was asked */
	size_t n_answers;
};

struct intake {
	struct event_base *loop;
	struct sqlpipe *sql;
	const struct intake_calls *calls;
	void *ctx;
	const struct rules *rules;
	uint64_t bulk;
	size_t record_bytes;
	struct tries tries; /* of records for which there is no memory */
	uint64_t n_skipped;
	lsn_t large; /* end of the last transaction that had a record over INTAKE_LARGE */

	struct record *head, **tail; /* a singly linked queue */
	struct record *ask_next;     /* the first that was not asked */
	size_t bytes;
	struct questions *questions; /* shared from one snapshot's asking to the next one's */
	bool paused, running, waiting_catalog;
	uint64_t n_records;
	lsn_t position;          /* a keepalive's, which waits for what is queued; 0: none */
	uint64_t catalog_covers; /* records up to this number were received before the catalog was read */
	const char *said_missing;

	/* Visible first. */
	struct transaction *receiving;    /* between BEGIN and COMMIT, at the queue's end */
	struct transaction *transactions; /* all that are not handled yet, in order */
	uint64_t n_transactions;
	unsigned n_unseen; /* wanted and not visible */
	struct sqlpipe_query *snapshot;
	uint64_t snapshot_covers; /* transactions up to this number were received before it was asked */
	struct snapshot seen;     /* the last one */
	int64_t seen_at;          /* µs; 0: there is none */
	unsigned fruitless;
	struct event *again;
	struct repeat trouble;

	struct {
		bool held;   /* nothing is handled until the owner has looked */
		bool wanted; /* the owner was told that the transaction at the head wants a look */
		lsn_t upto;  /* what the look that is under way covers: DDL of commits up to this one */
		lsn_t seen;  /* what earlier ones do */
	} look;

	/* The row at hand, and the transaction that it goes into. */
	struct decoder *decoder;
	struct row row;
	struct txn *txn;
	struct buf scratch;
};

/* --- intake.c --- */
void intake_record_free(struct record *r);
/* The stream cannot go on, because of the transaction `t`; NULL: because of something outside of any. */
void intake_break(struct intake *in, enum intake_broken kind, const struct transaction *t, const struct fail *why);
/* Handles what can be handled, and asks ahead. Called whenever something may have made the head ready; within itself it does nothing. */
void intake_run(struct intake *in);

/* --- intake_visible.c --- */
void intake_visible_init(struct intake *in);
void intake_visible_fini(struct intake *in);
/* The transaction has a row: sees to it that a snapshot tells when it may be handled. */
void intake_must_be_seen(struct intake *in, struct transaction *t);
/* Is it visible, or will the snapshot that is on its way tell? */
bool intake_may_ask(const struct intake *in, const struct transaction *t);
/* Also what was seen: the next stream may be another server's, with other xids. */
void intake_forget_snapshot(struct intake *in);

/* --- intake_ask.c --- */
/* What the row's sections want to know. Nothing of in->row is kept. */
void intake_ask_questions(struct intake *in, struct record *r, const struct change *change,
			  const struct rules_table *table);
/* For what waits behind the head, as far as INTAKE_ASKED and INTAKE_BYTES allow. */
void intake_ask_ahead(struct intake *in);
/* Also true when nothing was asked. */
bool intake_is_answered(const struct record *r);
void intake_drop_answers(struct record *r);

/* --- intake_skip.c --- */
/* Is the row too large, or is there no memory for it? Then only its name is kept. False: the stream broke, and `r` is gone. */
bool intake_fits(struct intake *in, struct record *r);
/* At its place among the others. */
void intake_skip_row(struct intake *in, const struct record *r);

/* --- intake_ddl.c --- */
/* A logical message, of the transaction that is being received, if of any. */
void intake_message(struct intake *in, struct slice text);
/* At its COMMIT: false, it has to wait for the owner's look. */
bool intake_is_looked_at(struct intake *in, const struct transaction *t);

/* --- intake_rows.c --- */
enum bound { BOUND, BOUND_NOT_LISTED, BOUND_NEW, BOUND_STALE, BOUND_CORRUPT };

/* Decodes the record into in->row, which points into the record. BOUND_STALE: the catalog does not fit the row. */
enum bound intake_bind_row(struct intake *in, const struct record *r, struct change *change,
			   const struct rules_table **table, struct fail *why);
/* True when the row is done with. */
bool intake_handle_row(struct intake *in, struct record *r);

#endif
