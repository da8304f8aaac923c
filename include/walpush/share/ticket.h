/*
 * ticket: what a connection asked for, once its token was verified: the stream, the user, and the values that its admit
 * query and groups need. Immutable and shared by reference count between a connection's hub and the tap. A ticket holds
 * claims, never the token.
 */
#ifndef WALPUSH_TICKET_H
#define WALPUSH_TICKET_H

#include <stdatomic.h>

#include "walpush/base/address.h"
#include "walpush/rules/groups.h"
#include "walpush/token/token.h"

/* Bytes of the epoch that a client receives, with the zero: up to 47 bytes of the common epoch, and a digest of the
 * client's claims. */
#define TICKET_EPOCH_MAX 65
/* Of the epoch of the stream alone. */
#define EPOCH_MAX 48

struct ticket {
	atomic_uint refs;
	uint64_t stream;     /* its identity in the rules */
	struct address peer; /* for the log */
	int64_t expires;     /* s since 1970: of its token */
	uint64_t claims;     /* a digest of the claims among the values */
	size_t n_values;
	struct ticket_value {
		enum tmpl_scope scope; /* TMPL_PATH or TMPL_TOKEN */
		const char *name;
		const char *text; /* a claim's is never NULL */
	} * values;
	char *user;
	const char *path; /* as the log shows it: shown.h */
	char store[];     /* names and texts */
};

/* Takes every {path.x} and {token.x} of the stream. The arguments are not needed afterwards. NULL: a claim that the
 * stream names is absent, null, an array or an object; then *missing is its name, borrowed from the stream. Otherwise
 * *missing is NULL. */
struct ticket *ticket_new(const struct rules_stream *s, const struct path_values *path, const struct token *token,
			  const struct address *peer, const char **missing);
/* The same path and peer with the claims of another token. `s` is the ticket's stream. */
struct ticket *ticket_renewed(const struct ticket *t, const struct rules_stream *s, const struct token *token,
			      const char **missing);
/* Does the stream see the same claims in both tickets? Then an answer of `admit` for one holds for the other. */
bool ticket_same_claims(const struct ticket *a, const struct ticket *b);
struct ticket *ticket_ref(struct ticket *t);
void ticket_unref(struct ticket *t);
/* NULL: the rules no longer have this stream; the ticket's connection must be made again. */
const struct rules_stream *ticket_stream(const struct ticket *t, const struct rules *r);
/* NULL: there is no such value. */
const char *ticket_value(const struct ticket *t, enum tmpl_scope scope, const char *name);
/* The epoch as this client receives it: a history received under other claims cannot be continued with these. */
void ticket_epoch(const struct ticket *t, const char *epoch, char out[TICKET_EPOCH_MAX]);
/* Is `said` the epoch of ticket_epoch? */
bool ticket_knows_epoch(const struct ticket *t, const char *epoch, const char *said);
/* The parameters of the stream's admit query; `out` has room for its n_refs. */
void ticket_params(const struct ticket *t, const struct rules_stream *s, const char **out);
void ticket_groups(const struct ticket *t, const struct rules_stream *s, const struct sqlrows *admit,
		   struct groups *out);

#endif
