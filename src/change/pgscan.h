/* pgscan: the common syntax of arrays, ranges and hstore: quoted and plain texts, one after the other. Private to
 * change; pure. */
#ifndef WALPUSH_PGSCAN_H
#define WALPUSH_PGSCAN_H

#include "walpush/base/buf.h"

struct pgscan {
	struct slice left;
	uint32_t part;       /* OID of the elements, or of a range's bounds */
	char delimiter;      /* between elements */
	struct buf unquoted; /* of an element that had escapes */
};

/* The next byte; 0: no byte is left. */
char pgscan_peek(const struct pgscan *s);
void pgscan_skip(struct pgscan *s, size_t n);
/* Takes a quoted text; s->left is at its quote. Arrays escape with a backslash, ranges by doubling. False: the text
 * does not end. */
bool pgscan_quoted(struct pgscan *s, struct slice *out);
/* Takes a text up to one of the characters that end an unquoted text. False: it is empty. */
bool pgscan_plain(struct pgscan *s, const char *ends, struct slice *out);

#endif
