/*
 * user_key: one text for all the ways in which PostgreSQL reads one integer or one UUID, so that a token's claim and a row's value are the
 * same user where the database says so: "6FA459EA…" and "{6fa459ea…}", 7, "007" and " +7".
 *
 * Two texts that are equal to PostgreSQL as int2, int4, int8, uuid or text have one key. Texts that only one of these types takes for equal
 * have one key too: then somebody is asked who need not have been. Whatever is neither integer nor UUID is its own key.
 *
 * Pure.
 */
#ifndef WALPUSH_USER_KEY_H
#define WALPUSH_USER_KEY_H

#include "walpush/base/buf.h"

/* Added to `out`. */
void user_key(const char *text, struct buf *out);

#endif
