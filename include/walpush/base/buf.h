/*
 * buf: a growable run of bytes.
 *
 * Pure. One owner, one thread. An allocation that fails ends the process: a sidecar that cannot get a
 * few bytes is restarted, and the slot holds what it had not confirmed.
 * `data` is always terminated by a zero that `len` does not count, once anything was added.
 */
#ifndef WALPUSH_BUF_H
#define WALPUSH_BUF_H

#include <stddef.h>
#include <stdint.h>

#include "walpush/base/slice.h"

struct buf {
	char *data;
	size_t len;
	size_t cap;
};

void buf_fini(struct buf *b);
/* Keeps the memory, forgets the bytes. */
void buf_clear(struct buf *b);
/* Room for `more` bytes behind len; returns where they go. The caller adds to len. */
char *buf_reserve(struct buf *b, size_t more);
void buf_add(struct buf *b, const void *bytes, size_t n);
void buf_add_slice(struct buf *b, struct slice s);
void buf_add_text(struct buf *b, const char *text);
void buf_add_char(struct buf *b, char c);
void buf_add_u64(struct buf *b, uint64_t n);
void buf_addf(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* `bytes` as the body of a JSON string (no quotes), escaped as JSON demands and no further.
 * Bytes that are not UTF-8 are replaced by U+FFFD. */
void buf_add_json(struct buf *b, struct slice bytes);
/* The bytes as a string of the caller's (free it); the buffer is empty afterwards. */
char *buf_steal(struct buf *b);

static inline struct slice buf_slice(const struct buf *b)
{
	return (struct slice){ b->data ? b->data : "", b->len };
}

#endif
