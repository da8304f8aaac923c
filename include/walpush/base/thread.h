/*
 * thread: a thread of walpush. It receives no signals, because the tap handles them. RLIMIT_STACK does not change the size of its stack.
 */
#ifndef WALPUSH_THREAD_H
#define WALPUSH_THREAD_H

#include <pthread.h>
#include <stdbool.h>

#include "walpush/base/fail.h"

/* On success the caller must join or detach *thread. False: `why` says which limit to raise. Any thread. */
bool thread_start(pthread_t *thread, void *(*run)(void *arg), void *arg, struct fail *why);

#endif
