/*
 * files: how many open files the process needs, and how many of them are kept from the clients.
 *
 * Pure. Every file of the process is in one of three shares: its own, those of the hubs' loops, and the clients' sockets.
 */
#ifndef WALPUSH_FILES_H
#define WALPUSH_FILES_H

#include <stdbool.h>
#include <stdint.h>

#include "walpush/base/fail.h"

/* Sockets of clients that there must be room for. */
#define FILES_CLIENTS_LEAST 16

/* What the process and the loops of its hubs use: databases, Redis, admin port, logs, the files of a reload, wake-ups. */
uint64_t files_kept(unsigned hubs);
/* Is a limit of `files` enough to work? Else `why` names limit, need and fix. */
bool files_suffice(uint64_t files, unsigned hubs, struct fail *why);

#endif
