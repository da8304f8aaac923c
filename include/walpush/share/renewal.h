/*
 * renewal: what a new token does while another one is in force, or waits for its answer. Pure.
 *
 * Two places decide. The hub decides alone about a token with the same claims as before: it is in force at once, and
 * the tap is not asked. The tap is asked about all others, one after the other. It has one open question for the newest
 * token, besides the question of the token in force that a change of permission may cause. An answer under an older
 * token is void, because the newer one has left its question.
 *
 *     hub                                        tap
 *     same claims, none open ──▶ in force        claims in force                          ──▶ in force
 *     else ──▶ the tap                           claims that are asked about already      ──▶ waits with them
 *                                                others, or in force and no longer valid  ──▶ asked about
 */
#ifndef WALPUSH_RENEWAL_H
#define WALPUSH_RENEWAL_H

#include <stdbool.h>
#include <stdint.h>

#include "walpush/base/event_id.h"

/* --- the hub's part ------------------------------------------------------------------------------------------------ */

struct renewal_token {
	bool is_valid;     /* its signature, times and texts are valid */
	bool is_same_user; /* the same user as the connection's */
	bool has_claims;   /* all claims that the stream names, and each is a value */
	bool same_claims;  /* the same claims as the token in force */
	bool is_asked;     /* an earlier token still waits for its answer */
};

enum renewal_verdict {
	RENEWAL_AT_ONCE,    /* in force from now on */
	RENEWAL_ASKED,      /* the tap decides */
	RENEWAL_NO_TOKEN,   /* 4401, reason `token` */
	RENEWAL_NOT_THEIRS, /* the same: the token of another user */
	RENEWAL_NO_CLAIM    /* 4401, reason `claim` */
};

enum renewal_verdict renewal_judge(const struct renewal_token *t);

/* A mail from the tap about a connection is about one of its tokens, by number. */
enum renewal_word {
	RENEWAL_SAYS_WHICH, /* the token in force from now on, or that none is */
	RENEWAL_SAYS_ON     /* the token in force is valid for more than before */
};

/* True: the mail is void, as if it had not been sent. A newer token is on its way to the tap, or the token in force at
 * the tap was never in force here. */
bool renewal_is_void(enum renewal_word word, uint32_t number, uint32_t asked, uint32_t answered);
/* The limit after a mail: `held` is the old one, `told` the new one. A void mail can lower the limit, but never raises
 * it. */
lsn_t renewal_limit(bool is_void, lsn_t held, lsn_t told);

/* --- the tap's part ------------------------------------------------------------------------------------------------ */

enum renewal_state {
	RENEWAL_COMING, /* not admitted yet: the question of its token is open */
	RENEWAL_NONE,   /* a token is in force, and no other one is asked about */
	RENEWAL_OPEN,   /* a token is in force, while the question of a newer one is open */
	RENEWAL_DENIED, /* the token in force was answered with no, or the hub uses another one: only an answer helps */
	RENEWAL_STATES
};

enum renewal_claims {                       /* the claims of the new token */
		      RENEWAL_OF_THE_ASKED, /* the same as the newer token's, whose question is open */
		      RENEWAL_IN_FORCE, /* else: the same as those in force; while RENEWAL_COMING: as those asked about */
		      RENEWAL_OTHERS,
		      RENEWAL_CLAIMS
};

enum renewal_act {
	RENEWAL_NEVER,
	RENEWAL_TAKE, /* in force at once; the question of the earlier token is void */
	RENEWAL_JOIN, /* in force as soon as the open question is answered: it asks the same */
	RENEWAL_ASK   /* the question of the earlier token is void; a new question is asked */
};

/* Ends the process with a message if the pair is impossible. */
enum renewal_act renewal_act(enum renewal_state state, enum renewal_claims claims);

/* Must the client be sent a new epoch? A client's epoch changes with its claims. If its groups change too, `resync`
 * brings the epoch at its place; an earlier epoch would let the client resume without the resync. */
bool renewal_tells_epoch(bool same_claims, bool is_moved);

#endif
