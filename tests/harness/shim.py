"""A library that stands before the C library's in a process: what it does with a call, it does to walpush."""

import subprocess

# Threads but the first are the hubs, and one that writes files.
BEFORE_A_MUTEX = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

static void before(void)
{
%s
}

int pthread_mutex_lock(pthread_mutex_t *mutex)
{
	static int (*real)(pthread_mutex_t *);

	if (!real)
		real = (int (*)(pthread_mutex_t *))dlsym(RTLD_NEXT, "pthread_mutex_lock");
	if (syscall(SYS_gettid) != getpid())
		before();
	return real(mutex);
}
"""


def build_shim(directory, source):
    """The environment in which a process has it. A sanitizer's library must be the first, so there it cannot be had."""
    (directory / "shim.c").write_text(source)
    library = directory / "shim.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, directory / "shim.c", "-ldl"], check=True)
    return {"LD_PRELOAD": str(library)}


def build_before_a_mutex(directory, statements):
    """Every thread but the first runs these before it takes a mutex: a hub takes one to read its mailbox, and to tell the tap."""
    return build_shim(directory, BEFORE_A_MUTEX % statements)
