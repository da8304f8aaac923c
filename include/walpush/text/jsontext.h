/*
 * jsontext: the text inside JSON's quotes: where it ends, whether it is sound, what it says.
 *
 * Pure. Reads each byte once, and plain ASCII eight bytes at a time. Never reads past the slice.
 * Source: RFC 8259, section 7; Unicode 15, table 3-7.
 */
#ifndef WALPUSH_JSONTEXT_H
#define WALPUSH_JSONTEXT_H

#include "walpush/base/buf.h"
#include "walpush/base/slice.h"

enum jsontext_flaw {
	JSONTEXT_SOUND,
	JSONTEXT_OPEN,    /* the bytes end before the closing quote */
	JSONTEXT_CONTROL, /* a control character that JSON wants escaped */
	JSONTEXT_ESCAPE,  /* a backslash with something that is no escape behind it, or one of text that cannot be */
	JSONTEXT_UTF8     /* bytes that are not UTF-8 */
};

/*
 * `bytes` begin behind an opening quote. *len becomes the length of the body, which is where the closing quote stands;
 * or with a flaw, where the flaw begins. Stricter than JSON in two escapes that PostgreSQL's text cannot need: a lone
 * surrogate and \u0000 are flaws. So a body that was scanned unescapes to UTF-8 without a zero byte.
 */
enum jsontext_flaw jsontext_scan(struct slice bytes, size_t *len);

/*
 * Appends the body of a JSON string (no quotes) with its escapes undone: \uXXXX and surrogate pairs become UTF-8, a lone
 * surrogate becomes U+FFFD, \u0000 a zero byte. Everything that is not an escape is copied as it is. False: a malformed
 * escape; `out` then holds what came before it.
 */
bool jsontext_unescape(struct slice body, struct buf *out);

#endif
