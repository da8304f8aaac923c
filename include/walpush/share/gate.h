/*
 * gate: how many may be inside, of one address and in all, and how many may enter in a second.
 *
 * Two things are counted: sockets, from the accept to the close, and connections, those of them that became a WebSocket. Shared by the
 * threads behind one mutex, held for a look-up. Memory: an entry for each address that has a socket. No clock of its own.
 */
#ifndef WALPUSH_GATE_H
#define WALPUSH_GATE_H

#include "walpush/base/address.h"
#include "walpush/conf/conf.h"

struct gate;

enum gate_verdict { GATE_OPEN, GATE_FULL, GATE_ADDRESS, GATE_RATE };

/* `files`: the limit of open files. Some are kept back for the database, the admin port, and `threads` of hubs. */
struct gate *gate_new(uint64_t files, unsigned threads);
void gate_free(struct gate *g);
/* What limits.connections comes to: never more than the limit of open files allows. */
uint64_t gate_connections(const struct gate *g, const struct conf_limits *limits);

/*
 * A socket was accepted: may it stay? It may where files are left, and while its address, unless that is `trusted`'s, has no more than
 * twice the sockets that it may have connections: some are still about to be told that they are too many. What was let in must be let
 * out with the same address.
 */
bool gate_accept(struct gate *g, const struct conf_limits *limits, const struct address *a, bool is_trusted);
void gate_close(struct gate *g, const struct address *a);

/* A handshake, of the client behind the proxies. `now` in µs. What entered must leave, with the same address. */
enum gate_verdict gate_enter(struct gate *g, const struct conf_limits *limits, const struct address *a, int64_t now);
void gate_leave(struct gate *g, const struct address *a);

#endif
