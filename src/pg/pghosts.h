/*
 * pghosts: the hosts of a connection string, and libpq's `hostaddr` for them.
 *
 * libpq blocks while it looks up names, unless it is given `hostaddr` too. `host` stays, because the server's certificate, ~/.pgpass and
 * Kerberos need it. So this file finds the names, the caller looks them up, and each host is repeated once for each of its addresses. libpq
 * tries the addresses in turn, with all its rules for a list of hosts (target_session_attrs, load_balance_hosts).
 *
 *   host=db1,/run/pg,db2 port=5432        host=db1,db1,/run/pg,db2 hostaddr=10.0.0.1,fd00::1,,10.0.0.2 port=5432,5432,5432,5432
 *
 * An address, a Unix socket and a host with a hostaddr need no lookup. If no host needs one, libpq gets the connection string alone. Pure,
 * except that libpq reads the environment (PGHOST and similar variables) and the service file to complete a connection string.
 */
#ifndef WALPUSH_PGHOSTS_H
#define WALPUSH_PGHOSTS_H

#include "walpush/base/buf.h"
#include "walpush/base/fail.h"
#include "walpush/base/resolve.h"

struct pghost {
	char *host, *hostaddr, *port; /* "": not given */
	bool is_name;                 /* must be looked up */
	struct resolve_answer answer; /* of a name; the caller fills it */
};

struct pghosts {
	struct pghost *at;
	size_t n;       /* 0: libpq looks up nothing, or reports an error */
	size_t n_names; /* how many must be looked up */
};

struct pghosts_lists { /* comma-separated, for libpq's keywords */
	struct buf host, hostaddr, port;
};

/* `url` must have passed pgurl_trouble, so that its hosts may be logged. */
void pghosts_read(const char *url, struct pghosts *out);
/* The same from values that libpq has completed. NULL and "" mean not given. */
void pghosts_parse(const char *host, const char *hostaddr, const char *port, struct pghosts *out);
void pghosts_fini(struct pghosts *h);

/* Makes the lists for libpq. False: no host resolves, and `why` names one of them. */
bool pghosts_lists(const struct pghosts *h, struct pghosts_lists *out, struct fail *why);
void pghosts_lists_fini(struct pghosts_lists *l);
/* The first host that does not resolve; NULL: all hosts resolve. */
const struct pghost *pghosts_missing(const struct pghosts *h);

#endif
