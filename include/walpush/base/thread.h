/*
 * thread: a thread of walpush. It takes no signals, which are the tap's, and its stack is the same whatever RLIMIT_STACK says.
 */
#ifndef WALPUSH_THREAD_H
#define WALPUSH_THREAD_H

#include <pthread.h>
#include <stdbool.h>

#include "walpush/base/fail.h"

/* On success the caller must join or detach *thread. Else `why` says what to raise. Any thread. */
bool thread_start(pthread_t *thread, void *(*run)(void *arg), void *arg, struct fail *why);

#endif
