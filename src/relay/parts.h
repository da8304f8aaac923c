/* relay parts: what relay.c and relay_*.c share. All of it belongs to the tap thread. */
#ifndef WALPUSH_RELAY_PARTS_H
#define WALPUSH_RELAY_PARTS_H

#include "redislink.h"
#include "walpush/relay/relay.h"
#include "relay_stall.h"
#include "walpush/base/repeat.h"

struct queued { /* an entry on its way to Redis */
	struct queued *next;
	struct event_id id;
	lsn_t end;
	size_t size;  /* what it takes of RELAY_BYTES */
	int64_t came; /* µs */
	size_t n_fields;
	uint32_t lengths[RELAY_FIELDS_MAX];
	char bytes[]; /* the fields, one behind the other */
};

/*
 * The side of the holder of the slot.
 *
 *   unknown ──link up: ask──▶ tail known ──leads──▶ settled ──append accepted──▶ the tail moves
 *      ▲                          │                    │
 *      └─────── link lost, append refused ─────────────┘
 *
 * The queue is contiguous: it begins behind the tail, or at `from` before it was settled. [first, sent) is with Redis. An answer of an
 * earlier `generation` says nothing of the queue any more.
 */
struct relay_writer {
	struct redislink *link;
	bool leads, tail_known, tail_asked, settled;
	bool tail_resting; /* Redis said an error: not asked again before the next second */
	uint64_t generation;
	struct event_id tail; /* the last entry of the stream */
	lsn_t tail_end;       /* the last `end` in it */
	lsn_t safe;
	lsn_t from;           /* where decoding began */
	enum relay_hole hole; /* why, if that is behind the tail */
	struct queued *first, **last, *sent;
	size_t bytes;
	unsigned n_in_flight;
	struct event_id sent_last;   /* id of the newest with Redis; the tail when none is */
	struct event_id queued_last; /* id of the newest in the queue, or of the tail */
	lsn_t queued_end;            /* the last `end` in the queue, or in the stream */
	lsn_t end;                   /* of what was added, be it in the queue or known to be in the stream */
	lsn_t position;              /* waits to become an entry; 0: none */
	bool paused, waiting;        /* waiting: a WAIT is out, and stands for waited_end */
	lsn_t waited_end;
	struct event *gather, *flush;
	lsn_t trim;
	int64_t up_at;                  /* µs: when the link last came up */
	char words[REDISREFUSAL_WORDS]; /* what Redis said since it last acknowledged anything; "": nothing */
};

struct relay_reader {
	struct redislink *link;
	bool has_goal, is_current, is_synced, asked;
	struct event_id goal; /* the last entry when the stream was opened */
	struct event_id at;   /* the last entry read */
	lsn_t position;       /* the last `end` read */
	uint64_t generation;  /* of the stream: answers to questions about another are ignored */
	int64_t refused_at;   /* µs: since when every read is refused; 0: none was */
	char words[REDISREFUSAL_WORDS];
};

enum relay_question {
	RELAY_ASKS_APPEND,
	RELAY_ASKS_TAIL,
	RELAY_ASKS_LEAD,
	RELAY_ASKS_TRIM,
	RELAY_ASKS_WAIT,
	RELAY_ASKS_GOAL,
	RELAY_ASKS_READ,
	RELAY_ASKS_LEADER,
	RELAY_ASKS_LENGTH,
	RELAY_QUESTIONS
};

struct said { /* of one question: what Redis refuses again and again is logged rarely */
	struct repeat repeat;
	int64_t last; /* µs */
};

struct relay {
	struct event_base *loop;
	struct resolve *names;
	const struct conf_relay *conf;
	const struct relay_calls *calls;
	void *ctx;
	char *slot;
	char *key, *leader_key; /* NULL until relay_open */
	char *name;             /* of this process, for the leader's key */
	struct relay_writer w;
	struct relay_reader r;
	struct event *second;
	int64_t led_at; /* µs: when a leader was last seen; the time since which to look for one at first */
	bool is_led;
	uint64_t appended, read, refused, failovers;
	int64_t length; /* of the stream; -1: not known */
	char *leader;   /* its name, as last seen */
	struct said said[RELAY_QUESTIONS];
	char unready[512];
};

/* The answer of the tail script: {last id, last end or ""}. False: it is none. */
bool relay_take_tail(const redisReply *reply, struct event_id *tail, lsn_t *end);
/* Why it is none. */
const char *relay_tail_error(const redisReply *reply);
void relay_ask_tail(struct redislink *link, const char *key, redislink_done *done, void *ctx);
struct slice relay_append_script(void);
/* NULL: the answer is no error. */
const char *relay_error(const redisReply *reply);
/* Logs an error, once and then rarely. `words` receives what Redis said; NULL: it is not wanted. */
void relay_refused(struct relay *r, enum relay_question q, const char *error, char words[REDISREFUSAL_WORDS]);
/* For the answers of questions that nobody waits for. */
void relay_look_for_error(struct relay *r, enum relay_question q, const redisReply *reply);
/* `link` was lost: what Redis said to it concerns the other one too. */
void relay_lost(const struct redislink *link, struct redislink *other);
/* µs: the age of the oldest entry that Redis has not acknowledged; 0: there is none. */
int64_t relay_append_lag(const struct relay *r, int64_t now);

/* --- relay_queue.c --- */
void relay_queue_init(struct relay *r);
void relay_queue_fini(struct relay *r);
void relay_queue_drop_first(struct relay *r);
/* Tells the owner to pause, or to go on. */
void relay_queue_flow(struct relay *r);
/* In front of all others: what stands in the stream cannot be continued with what the slot still has. */
void relay_queue_begin(struct relay *r);
void relay_queue_empty(struct relay *r);

/* --- relay_append.c --- */
void relay_append_init(struct relay *r);
void relay_append_fini(struct relay *r);
/* What is with Redis may have been appended or not: its answers are not looked at. */
void relay_append_forget(struct relay *r);

/* --- relay_write.c --- */
/* Everything that commits before `end` was appended. */
void relay_writer_safe(struct relay *r, lsn_t end);
void relay_writer_ask_tail(struct relay *r);
/* An entry that was read is in the stream, whoever appended it: a replica that gets the slot begins where the stream ends. */
void relay_writer_saw(struct relay *r, const struct relay_entry *e);
void relay_writer_init(struct relay *r);
void relay_writer_fini(struct relay *r);
void relay_writer_second(struct relay *r);
/* Another stream: what is queued belongs to the old one. */
void relay_writer_reopen(struct relay *r);

/* --- relay_read.c --- */
void relay_reader_init(struct relay *r);
void relay_reader_fini(struct relay *r);
void relay_reader_reopen(struct relay *r);
void relay_reader_second(struct relay *r);

#endif
