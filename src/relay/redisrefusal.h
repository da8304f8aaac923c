/*
 * redisrefusal: what an error of Redis says.
 *
 * Pure. Some errors belong to the connection: the server behind it has become a replica, or loads its data. The same name may lead to
 * another server meanwhile, so the connection must be made anew. All others belong to the server or to the command: another connection
 * is told the same.
 *
 * Errors inside of a script are wrapped, by Redis 6.2 in front ("ERR Error running script (call to f_…): @user_script:1: @user_script: 1:
 * -READONLY You …"), by Redis 7 and Valkey behind ("READONLY You … script: …, on @user_script:1.").
 */
#ifndef WALPUSH_REDISREFUSAL_H
#define WALPUSH_REDISREFUSAL_H

#include <stdbool.h>

#define REDISREFUSAL_WORDS 200

/* Redis' own words without the wrapping of a script, in printable ASCII, cut where they do not fit. */
void redisrefusal_words(char out[REDISREFUSAL_WORDS], const char *error);
/* The connection that was answered so must be made anew. */
bool redisrefusal_ends(const char *error);
/* The same for the first word of an answer to ROLE. A role that is not known here may take writes. */
bool redisrefusal_role_ends(const char *role);
/* What to do about it; a literal. NULL: the error does not tell. */
const char *redisrefusal_fix(const char *error);

#endif
