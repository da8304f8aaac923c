/*
 * redisrefusal: what an error of Redis means.
 *
 * Pure. Some errors belong to the connection: its server has become a replica, or loads its data. The same name may
 * lead to another server meanwhile, so the connection must be made again. All other errors belong to the server or to
 * the command: another connection gets the same error.
 *
 * Errors inside a script are wrapped. Redis 6.2 adds text in front ("ERR Error running script (call to f_…):
 * @user_script:1: @user_script: 1: -READONLY You …"), Redis 7 and Valkey add text at the end ("READONLY You … script:
 * …, on @user_script:1.").
 */
#ifndef WALPUSH_REDISREFUSAL_H
#define WALPUSH_REDISREFUSAL_H

#include <stdbool.h>

#define REDISREFUSAL_WORDS 200

/* Redis' own words without the wrapping of a script, in printable ASCII, cut to fit. */
void redisrefusal_words(char out[REDISREFUSAL_WORDS], const char *error);
/* The connection that got this answer must be made again. */
bool redisrefusal_ends(const char *error);
/* The same for the first word of an answer to ROLE. An unknown role counts as one that takes writes. */
bool redisrefusal_role_ends(const char *role);
/* What to do about it; a literal. NULL: the error does not tell. */
const char *redisrefusal_fix(const char *error);

#endif
