/*
 * relay_script: the scripts that Redis runs for the relay, and what they answer.
 *
 * Redis runs a script as one step. So the append script can compare the stream's end with the end that its caller expects, and append, and
 * nobody comes between the two.
 *
 * The state of an answer is in the answer alone: nothing here keeps anything.
 */
#ifndef WALPUSH_RELAY_SCRIPT_H
#define WALPUSH_RELAY_SCRIPT_H

#include "redislink.h"
#include "walpush/base/event_id.h"

/*
 * EVAL script 1 KEY TAIL then for each entry its id, the number of its arguments, and these: names and values. The integer 1: all entries are
 * appended. An array: none is, because the stream ends elsewhere; it is the answer of the tail script.
 */
struct slice relay_script_append(void);
/* Asks where the stream of this key ends. Only while the link is up. */
void relay_script_ask_tail(struct redislink *link, const char *key, redislink_done *done, void *ctx);
/* The answer: {last id, last `end` or ""}. False: the answer is none. The last id is the last that was given, also of an entry that is gone. */
bool relay_script_take_tail(const redisReply *reply, struct event_id *tail, lsn_t *end);
/* Why the answer is none. */
const char *relay_script_tail_error(const redisReply *reply);

#endif
