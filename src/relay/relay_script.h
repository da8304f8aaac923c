/*
 * relay_script: the scripts that Redis runs for the relay, and their answers.
 *
 * Redis runs a script as one step. So the append script can compare the end of the Redis stream with the end that its
 * caller expects, and append, and no other writer comes between the two.
 *
 * All state is in the answers: this module keeps none.
 */
#ifndef WALPUSH_RELAY_SCRIPT_H
#define WALPUSH_RELAY_SCRIPT_H

#include "redislink.h"
#include "walpush/base/event_id.h"

/*
 * EVAL script 1 KEY TAIL, then for each entry its id, the number of its arguments, and the arguments: names and values.
 * The integer 1: all entries are appended. An array: no entry is appended, because the Redis stream ends elsewhere; the
 * array is the answer of the tail script.
 */
struct slice relay_script_append(void);
/* Asks where the Redis stream of this key ends. Only while the link is up. */
void relay_script_ask_tail(struct redislink *link, const char *key, redislink_done *done, void *ctx);
/* Reads the answer: {last id, last `end` or ""}. False: it is no such answer. The last id is the last one given, even
 * if its entry is gone. */
bool relay_script_take_tail(const redisReply *reply, struct event_id *tail, lsn_t *end);
/* Why it is no such answer. */
const char *relay_script_tail_error(const redisReply *reply);

#endif
