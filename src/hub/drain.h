/*
 * drain: how fast connections are closed when many must go, and in which order.
 *
 * The pace protects the process that takes over the clients: each client costs it a handshake and an admission. So the pace is a rate,
 * not a time: DRAIN_RATE a second, or faster if the last close would come after nine tenths of the time allowed. The last tenth is for
 * the answers. Ten clients are gone in a tenth of a second, however long the time allowed is.
 * Pure; times in µs.
 */
#ifndef WALPUSH_DRAIN_H
#define WALPUSH_DRAIN_H

#include <stddef.h>
#include <stdint.h>

#define DRAIN_RATE 100

/* How long n closes take if `most` is allowed. */
int64_t drain_span(uint64_t n, int64_t most);
/* When the close of number i (from 0) of n is due, counted from the beginning. */
int64_t drain_when(size_t i, size_t n, int64_t span);
/* Puts the ids in an order that depends only on the seed. */
void drain_shuffle(uint64_t *ids, size_t n, uint64_t seed);

#endif
