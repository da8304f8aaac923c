/*
 * login: after a refused login, one connection of the process tries for all of them, and more and more seldom.
 *
 * A person must mend what the server refuses: a password, a role, a line of pg_hba.conf. Until then each try is one more refused login, and some
 * servers ban an address after three of them. So only one session tries, first within LOGIN_FIRST and then up to LOGIN_MOST. When it passes, the
 * others follow at once. They also wait for the first login of the process.
 *
 * A refusal of the replication connection alone (no REPLICATION, no line for it) holds up nobody else, except for a wrong password.
 * Tap thread. Times are passed in, in µs of clock_us. Pure but for the random part of the waits.
 */
#ifndef WALPUSH_LOGIN_H
#define WALPUSH_LOGIN_H

#include <stdbool.h>
#include <stdint.h>

#include "walpush/base/fail.h"

#define LOGIN_FIRST 8000000 /* µs: the longest first wait after a refusal; the shortest is half of it */
#define LOGIN_MOST 60000000 /* µs: the longest wait of all */
#define LOGIN_AGAIN 1000000 /* µs: who waits for the one that tries asks again after this */

/* A session. Embedded; belongs to the caller. */
struct login_ear {
	struct login_ear *prev, *next;
	/* Somebody's login has passed. Must not call login_listen or login_leave. */
	void (*passed)(void *ctx);
	void *ctx;
};

struct login {        /* zeroed */
	bool is_open; /* the last login has passed: everybody may try */
	bool is_refused;
	int64_t wait;  /* µs: the last one */
	int64_t until; /* µs: nobody tries before */
	const struct login_ear *trying;
	struct login_ear *ears;
};

void login_listen(struct login *l, struct login_ear *ear);
void login_leave(struct login *l, struct login_ear *ear);
/* How long to wait before the session asks again, in µs. 0: it connects now, and tells how that ends. */
int64_t login_wait(struct login *l, const struct login_ear *ear, int64_t now);
void login_passed(struct login *l, const struct login_ear *ear);
/* How long to wait before the next try, in µs. 0: this is no refused login, or one that concerns this session alone; the wait is the caller's. */
int64_t login_failed(struct login *l, const struct login_ear *ear, const struct fail *why, bool is_replication,
		     int64_t now);
/* The configuration is read again, so it may pass now. */
void login_hurry(struct login *l);
/* Has a login passed, or been refused? */
bool login_is_known(const struct login *l);
/* Has the server refused the last login? */
bool login_is_refused(const struct login *l);

#endif
