/*
 * pghosts: the hosts of a connection string, and libpq's `hostaddr` for them.
 *
 * libpq looks names up while it connects, which blocks. It does not where `hostaddr` stands beside `host`; `host` stays, because the
 * server's certificate, ~/.pgpass and Kerberos go by it. So the names are found out here, somebody looks them up, and each host becomes
 * as many as it has addresses: libpq tries them in turn, with all that it does for a list of hosts (target_session_attrs,
 * load_balance_hosts).
 *
 *   host=db1,/run/pg,db2 port=5432        host=db1,db1,/run/pg,db2 hostaddr=10.0.0.1,fd00::1,,10.0.0.2 port=5432,5432,5432,5432
 *
 * An address, a Unix socket and a host that has its hostaddr need no lookup; if none of them does, libpq is given nothing.
 * Pure, but for what libpq itself reads to complete a connection string: the environment (PGHOST and the like) and the service file.
 */
#ifndef WALPUSH_PGHOSTS_H
#define WALPUSH_PGHOSTS_H

#include "walpush/base/buf.h"
#include "walpush/base/fail.h"
#include "walpush/base/resolve.h"

struct pghost {
	char *host, *hostaddr, *port; /* "" where none is given */
	bool is_name;                 /* must be looked up */
	struct resolve_answer answer; /* then this is filled in by the caller */
};

struct pghosts {
	struct pghost *at;
	size_t n;       /* 0: libpq looks nothing up, or has an error to report */
	size_t n_names; /* of those that must be looked up */
};

struct pghosts_lists { /* comma-separated, as libpq's keywords have them */
	struct buf host, hostaddr, port;
};

/* url: what pgurl_trouble has nothing against, so that its hosts may be logged. */
void pghosts_read(const char *url, struct pghosts *out);
/* The same of values that libpq has completed; NULL and "" are none. */
void pghosts_parse(const char *host, const char *hostaddr, const char *port, struct pghosts *out);
void pghosts_fini(struct pghosts *h);

/* False: no host is left, and `why` names one that does not resolve. */
bool pghosts_lists(const struct pghosts *h, struct pghosts_lists *out, struct fail *why);
void pghosts_lists_fini(struct pghosts_lists *l);
/* The first that does not resolve; NULL: all do. */
const struct pghost *pghosts_missing(const struct pghosts *h);

#endif
