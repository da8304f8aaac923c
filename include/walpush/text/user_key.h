/*
 * user_key: one text for all spellings of an integer or a UUID that PostgreSQL accepts, so that a token's claim and a row's value are the
 * same user if the database considers them equal: "6FA459EA…" and "{6fa459ea…}", 7, "007" and " +7".
 *
 * Two texts that PostgreSQL considers equal as int2, int4, int8, uuid or text have the same key, also if only one of these types considers
 * them equal. The admit query may then run for a user for whom it was not necessary. A text that is neither an integer nor a UUID is its own key.
 *
 * Pure.
 */
#ifndef WALPUSH_USER_KEY_H
#define WALPUSH_USER_KEY_H

#include "walpush/base/buf.h"

/* Appends the key to `out`. */
void user_key(const char *text, struct buf *out);

#endif
