/* secret: is a text that somebody sent the secret that is configured? Pure. */
#ifndef WALPUSH_SECRET_H
#define WALPUSH_SECRET_H

#include "walpush/base/slice.h"

/* How long the comparison takes depends on the length of `given` alone, so nobody can find the secret byte by byte. An empty secret equals
 * nothing. */
bool secret_equal(struct slice given, struct slice secret);

#endif
