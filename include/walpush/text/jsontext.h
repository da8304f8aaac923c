/*
 * jsontext: the body of a JSON string: where it ends, whether it is well-formed, and its text without escapes; and a number's end.
 *
 * Pure. Reads each byte once, and plain ASCII eight bytes at a time. Never reads past the slice.
 * Source: RFC 8259, sections 6 and 7; Unicode 15, table 3-7.
 */
#ifndef WALPUSH_JSONTEXT_H
#define WALPUSH_JSONTEXT_H

#include "walpush/base/buf.h"
#include "walpush/base/slice.h"

enum jsontext_flaw {
	JSONTEXT_SOUND,
	JSONTEXT_OPEN,    /* the bytes end before the closing quote */
	JSONTEXT_CONTROL, /* a control character, which JSON requires to be escaped */
	JSONTEXT_ESCAPE,  /* a backslash that begins no escape, or the escape of a character that is not allowed */
	JSONTEXT_UTF8     /* bytes that are not UTF-8 */
};

/*
 * `bytes` begin after an opening quote. *len becomes the length of the body, which is the offset of the closing quote; with a flaw, the offset
 * where the flaw begins. Stricter than JSON in two escapes that PostgreSQL's text cannot contain: a lone surrogate and \u0000 are flaws. So a
 * sound body unescapes to UTF-8 without a zero byte.
 */
enum jsontext_flaw jsontext_scan(struct slice bytes, size_t *len);

/* The number that `bytes` begin with, of any size. False: there is none, and *len is the offset where a digit is missing. */
bool jsontext_number(struct slice bytes, size_t *len);

/*
 * Appends the body of a JSON string, without quotes, and decodes its escapes: \uXXXX and surrogate pairs become UTF-8, a lone surrogate
 * becomes U+FFFD, \u0000 becomes a zero byte. Other bytes are copied unchanged. False: an escape is malformed; `out` then holds the text
 * before this escape.
 */
bool jsontext_unescape(struct slice body, struct buf *out);

#endif
