/*
 * suspects: questions that may have ended their server process.
 *
 * A question can end its server process: it needs more memory than there is, or meets a bug. PostgreSQL then ends all sessions and recovers, for
 * every application. If such a question were sent again after each loss, the server would never come back. So a question is sent once more, and
 * then no more for SUSPECTS_KEPT.
 *
 *   its connection ends without a word of the server ─▶ suspected
 *   suspected, and another session is told 57P02 within SUSPECTS_NEAR, before or after ─▶ counted
 *   counted twice ─▶ given up: it is answered with an error instead of being sent
 *
 * 57P02 (crash_shutdown) is what PostgreSQL tells the other sessions when a server process has crashed. A network that is cut, a proxy that stops,
 * and a server that shuts down or loses its machine tell nobody 57P02, so they never count, however often they happen. A session that is told why it
 * ends is not the one that crashed: its question is never suspected.
 *
 * Once counted, a question is held back as long as it is not decided whether it may be sent: until another session is up, which would be told of a
 * crash; and, if it was suspected again, until SUSPECTS_NEAR after that. Both waits end after SUSPECTS_NEAR.
 *
 * A question is its text and its values; only their digest is kept, because values are row data. The digest has 64 bits under a random key, so a
 * collision cannot be made on purpose. If there were one, the other question would fail too, as any question may: nobody would be shown more for it.
 *
 * One object for all connections of the process. At most SUSPECTS_MOST questions are kept; beyond that the one that was suspected first is
 * forgotten, and may be sent twice again. Tap thread. Pure, except that the key is random; times are passed in, in µs of clock_us.
 */
#ifndef WALPUSH_SUSPECTS_H
#define WALPUSH_SUSPECTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SUSPECTS_KEPT INT64_C(600000000) /* µs after it was counted last */
#define SUSPECTS_NEAR 5000000            /* µs between a connection's end and what another session is told of it */
#define SUSPECTS_TIMES 2                 /* as often a question may end its server process */
#define SUSPECTS_MOST 256
#define SUSPECTS_NAME_MAX 96

enum suspects_verdict { SUSPECTS_SEND, SUSPECTS_WAIT, SUSPECTS_GIVE_UP };

struct suspects;

/* Who is called when a verdict may have changed. Embedded; belongs to the caller. */
struct suspects_ear {
	struct suspects_ear *prev, *next;
	void (*changed)(void *ctx); /* must not call suspects */
	void *ctx;
};

struct suspects *suspects_new(void);
/* All ears have left. NULL is allowed. */
void suspects_free(struct suspects *s);
void suspects_listen(struct suspects *s, struct suspects_ear *ear);
void suspects_leave(struct suspects *s, struct suspects_ear *ear);

/* The digest of a question. A NULL value is SQL NULL. */
uint64_t suspects_id(const struct suspects *s, const char *sql, size_t n_values, const char *const *values);

/* A session is up, or is no longer up. */
void suspects_session(struct suspects *s, bool up);
/* A session ended without a word of the server, and this was its oldest question without an answer. */
void suspects_add(struct suspects *s, uint64_t id, int64_t now);
/* A session was told 57P02. */
void suspects_crash(struct suspects *s, int64_t now);
/* True: every verdict is SUSPECTS_SEND, so no digest is needed. */
bool suspects_is_empty(const struct suspects *s);
/* May it be sent in a session that has been up since then? SUSPECTS_WAIT: not before `*until`, unless an ear is called. */
enum suspects_verdict suspects_judge(struct suspects *s, uint64_t id, int64_t since, int64_t now, int64_t *until);
/* It is answered with an error. True: for the first time since it was counted. `name`: the query's, for those who look. */
bool suspects_gave_up(struct suspects *s, uint64_t id, const char *name);

/* How many questions were given up so far, and the query of the last one; "": none was. */
uint64_t suspects_given_up(const struct suspects *s);
const char *suspects_last(const struct suspects *s);

#endif
