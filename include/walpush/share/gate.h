/*
 * gate: limits how many may be inside, for each address and in all, and how many may enter in a second.
 *
 * It counts sockets, from accept to close, and connections: sockets that became a WebSocket. The threads share it
 * behind one mutex, held for a look-up. Memory: one entry for each address that has a socket. No clock of its own.
 */
#ifndef WALPUSH_GATE_H
#define WALPUSH_GATE_H

#include "walpush/base/address.h"
#include "walpush/conf/conf.h"

struct gate;

enum gate_verdict { GATE_OPEN, GATE_FULL, GATE_ADDRESS, GATE_RATE };

/* `files`: the limit of open files. Some are reserved for the database, the admin port, and `threads` hub threads. */
struct gate *gate_new(uint64_t files, unsigned threads);
void gate_free(struct gate *g);
/* The effective limits.connections: never more than the limit of open files allows. */
uint64_t gate_connections(const struct gate *g, const struct conf_limits *limits);

/*
 * A socket was accepted: may it stay? Yes, if files are left and its address has fewer than twice the sockets that it
 * may have connections, because some sockets still wait for the refusal that they are too many. An address with
 * `is_trusted` has no such limit. Call gate_close with the same address for each socket that may stay.
 */
bool gate_accept(struct gate *g, const struct conf_limits *limits, const struct address *a, bool is_trusted);
void gate_close(struct gate *g, const struct address *a);

/* A handshake of the client behind the proxies. `now` in µs. Call gate_leave with the same address for each one that
 * entered. */
enum gate_verdict gate_enter(struct gate *g, const struct conf_limits *limits, const struct address *a, int64_t now);
void gate_leave(struct gate *g, const struct address *a);

#endif
