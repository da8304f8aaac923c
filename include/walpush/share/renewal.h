/*
 * renewal: what a token does that comes while another one is in force, or waits for its answer. Pure.
 *
 * Two places decide. The hub judges the token by itself: one with the same claims as before is in force at once, and nobody is asked. The
 * tap is asked about all others, one after the other, and has one question open for the newest token, beside that of the one in
 * force, should a change of permission ask about it. An answer under an older token is void, because the newer one has left its question.
 *
 *     hub                                        tap
 *     same claims, none open ──▶ in force        claims in force                          ──▶ in force
 *     else ──▶ the tap                           claims that are asked about already      ──▶ waits with them
 *                                                others, or in force and no good any more ──▶ asked about
 */
#ifndef WALPUSH_RENEWAL_H
#define WALPUSH_RENEWAL_H

#include <stdbool.h>
#include <stdint.h>

#include "walpush/base/event_id.h"

/* --- the hub's part ------------------------------------------------------------------------------------------------ */

struct renewal_token {
	bool is_valid;     /* by its signature, times and texts */
	bool is_same_user; /* as that of the connection */
	bool has_claims;   /* all that the stream names, and each is a value */
	bool same_claims;  /* as the token in force */
	bool is_asked;     /* a token before it still waits for its answer */
};

enum renewal_verdict {
	RENEWAL_AT_ONCE,    /* in force from now on */
	RENEWAL_ASKED,      /* the tap decides */
	RENEWAL_NO_TOKEN,   /* 4401, reason `token` */
	RENEWAL_NOT_THEIRS, /* the same: of another user */
	RENEWAL_NO_CLAIM    /* 4401, reason `claim` */
};

enum renewal_verdict renewal_judge(const struct renewal_token *t);

/* What the tap says about a connection is said about one of its tokens, by number. */
enum renewal_word {
	RENEWAL_SAYS_WHICH, /* the token that is in force from now on, or that none is */
	RENEWAL_SAYS_ON     /* the one in force is good for more than before */
};

/* A newer token is on its way to the tap, or what was in force for the tap never was so here: as if it had not been said. */
bool renewal_is_void(enum renewal_word word, uint32_t number, uint32_t asked, uint32_t answered);
/* Of a limit, where nothing is delivered further than `held` and `told` is the new one: what is void takes away all the same, and gives
 * nothing. */
lsn_t renewal_limit(bool is_void, lsn_t held, lsn_t told);

/* --- the tap's part ------------------------------------------------------------------------------------------------ */

enum renewal_state {
	RENEWAL_COMING, /* not admitted yet: the question of its token is open */
	RENEWAL_NONE,   /* a token is in force, and no other is asked about */
	RENEWAL_OPEN,   /* a token is in force, while the question of a newer one is open */
	RENEWAL_DENIED, /* the one in force was answered with a no, or is not the one that the hub goes by: only an answer helps */
	RENEWAL_STATES
};

enum renewal_claims {                       /* those of the token that comes */
		      RENEWAL_OF_THE_ASKED, /* the same as those of the newer token whose question is open */
		      RENEWAL_IN_FORCE, /* else: the same as those in force; of a connection that is coming: as those asked about */
		      RENEWAL_OTHERS,
		      RENEWAL_CLAIMS
};

enum renewal_act {
	RENEWAL_NEVER,
	RENEWAL_TAKE, /* in force at once; the question of the token before it is void */
	RENEWAL_JOIN, /* in force once the question that is open is answered: it asks what this token would */
	RENEWAL_ASK   /* the question of the token before it is void; its own is asked */
};

/* Dies with a sentence where a pair cannot be. */
enum renewal_act renewal_act(enum renewal_state state, enum renewal_claims claims);

/* The epoch of a client changes with its claims. Where its groups change too, `resync` says so at its place, and saying it earlier would
 * let the client resume without that. */
bool renewal_tells_epoch(bool same_claims, bool is_moved);

#endif
