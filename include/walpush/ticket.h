/*
 * ticket: what a connection asked for, once its token was verified: the stream, the user, and the values that its admit query and
 * groups need. Immutable and shared by reference count between a connection's hub and the tap. It holds claims, never the token.
 */
#ifndef WALPUSH_TICKET_H
#define WALPUSH_TICKET_H

#include <stdatomic.h>

#include "walpush/address.h"
#include "walpush/route.h"
#include "walpush/token.h"

struct ticket {
	atomic_uint refs;
	uint64_t stream;     /* its identity in the rules */
	struct address peer; /* for the log */
	size_t n_values;
	struct ticket_value {
		enum tmpl_scope scope; /* TMPL_PATH or TMPL_TOKEN */
		const char *name;
		const char *text; /* NULL: the token has no such claim */
	} * values;
	char *user;
	char store[]; /* names and texts */
};

/* Every {path.x} and {token.x} of the stream. Nothing of the arguments is needed afterwards. */
struct ticket *ticket_new(const struct rules_stream *s, const struct path_values *path, const struct token *token,
			  const struct address *peer);
struct ticket *ticket_ref(struct ticket *t);
void ticket_unref(struct ticket *t);
/* NULL: the rules have no such stream any more; who holds the ticket must connect anew. */
const struct rules_stream *ticket_stream(const struct ticket *t, const struct rules *r);
/* NULL: not there. */
const char *ticket_value(const struct ticket *t, enum tmpl_scope scope, const char *name);
/* The parameters of the stream's admit query; `out` has room for its n_refs. */
void ticket_params(const struct ticket *t, const struct rules_stream *s, const char **out);
void ticket_groups(const struct ticket *t, const struct rules_stream *s, const struct sqlrows *admit,
		   struct route_groups *out);

#endif
