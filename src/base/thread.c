#include "walpush/base/thread.h"

#include <signal.h>
#include <string.h>

/* Bytes. A TLS handshake uses less than 64 KiB; sanitizers use several times that. */
#define STACK_BYTES (2u << 20)

static int create(pthread_t *thread, void *(*run)(void *arg), void *arg)
{
	pthread_attr_t attr;
	int error = pthread_attr_init(&attr);

	if (error)
		return error;
	error = pthread_attr_setstacksize(&attr, STACK_BYTES);
	if (!error)
		error = pthread_create(thread, &attr, run, arg);
	pthread_attr_destroy(&attr);
	return error;
}

bool thread_start(pthread_t *thread, void *(*run)(void *arg), void *arg, struct fail *why)
{
	sigset_t all, before;
	int error;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	error = create(thread, run, arg);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return !error || fail_set(why,
				  "cannot start a thread: %s; raise the limit of processes (ulimit -u, TasksMax, a "
				  "container's pids limit) or of memory (ulimit -v, MemoryMax)",
				  strerror(error));
}
