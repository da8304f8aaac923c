/*
 * files: how many open files the process needs, and how many of them clients cannot use.
 *
 * Pure. Every open file is in one of three shares: the process's own files, the files of the hubs' loops, and the clients' sockets.
 */
#ifndef WALPUSH_FILES_H
#define WALPUSH_FILES_H

#include <stdbool.h>
#include <stdint.h>

#include "walpush/base/fail.h"

/* There must be room for at least so many sockets of clients. */
#define FILES_CLIENTS_LEAST 16

/* Files of the process and of its hubs' loops: databases, Redis, admin port, logs, the files of a reload, wake-ups. */
uint64_t files_kept(unsigned hubs);
/* Is a limit of `files` enough? False: `why` names the limit, the need and the fix. */
bool files_suffice(uint64_t files, unsigned hubs, struct fail *why);

#endif
