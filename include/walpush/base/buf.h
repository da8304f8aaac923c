/*
 * buf: a growable run of bytes.
 *
 * Pure. One owner, one thread. An allocation that fails ends the process: the sidecar is restarted, and the slot keeps everything that
 * it has not confirmed.
 * Once anything was added, `data` ends with a zero byte that `len` does not count.
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
/* Room for `more` bytes after `len`; returns where they go. The caller adds to `len`. */
char *buf_reserve(struct buf *b, size_t more);
void buf_add(struct buf *b, const void *bytes, size_t n);
void buf_add_slice(struct buf *b, struct slice s);
void buf_add_text(struct buf *b, const char *text);
void buf_add_char(struct buf *b, char c);
void buf_add_u64(struct buf *b, uint64_t n);
void buf_addf(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* `bytes` as the body of a JSON string, without quotes. Only what JSON requires is escaped. Bytes that are not UTF-8 become U+FFFD. */
void buf_add_json(struct buf *b, struct slice bytes);
/* The bytes as a string that the caller frees. The buffer is empty afterwards. */
char *buf_steal(struct buf *b);

static inline struct slice buf_slice(const struct buf *b)
{
	return (struct slice){ b->data ? b->data : "", b->len };
}

#endif
