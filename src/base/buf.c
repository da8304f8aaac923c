#include "walpush/base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "walpush/base/mem.h"
#include "walpush/base/utf8.h"

void buf_fini(struct buf *b)
{
	free(b->data);
	*b = (struct buf){ 0 };
}

void buf_clear(struct buf *b)
{
	b->len = 0;
	if (b->data)
		b->data[0] = '\0';
}

char *buf_reserve(struct buf *b, size_t more)
{
	size_t need = b->len + more + 1;

	if (need > b->cap) {
		size_t cap = b->cap ? b->cap : 64;

		while (cap < need)
			cap *= 2;
		b->data = mem_resize(b->data, cap, 1);
		b->cap = cap;
	}
	return b->data + b->len;
}

void buf_add(struct buf *b, const void *bytes, size_t n)
{
	char *to = buf_reserve(b, n);

	if (n)
		memcpy(to, bytes, n);
	b->len += n;
	b->data[b->len] = '\0';
}

void buf_add_slice(struct buf *b, struct slice s)
{
	buf_add(b, s.at, s.len);
}

void buf_add_text(struct buf *b, const char *text)
{
	buf_add(b, text, strlen(text));
}

void buf_add_char(struct buf *b, char c)
{
	buf_add(b, &c, 1);
}

void buf_add_u64(struct buf *b, uint64_t n)
{
	char digits[20];
	size_t at = sizeof(digits);

	do {
		digits[--at] = (char)('0' + n % 10);
		n /= 10;
	} while (n);
	buf_add(b, digits + at, sizeof(digits) - at);
}

void buf_addf(struct buf *b, const char *format, ...)
{
	va_list args, again;
	int n;

	va_start(args, format);
	va_copy(again, args);
	n = vsnprintf(NULL, 0, format, args);
	va_end(args);
	if (n > 0) {
		vsnprintf(buf_reserve(b, (size_t)n), (size_t)n + 1, format, again);
		b->len += (size_t)n;
	}
	va_end(again);
}

static void add_escaped(struct buf *b, unsigned char c)
{
	switch (c) {
	case '"':
		buf_add(b, "\\\"", 2);
		break;
	case '\\':
		buf_add(b, "\\\\", 2);
		break;
	case '\b':
		buf_add(b, "\\b", 2);
		break;
	case '\f':
		buf_add(b, "\\f", 2);
		break;
	case '\n':
		buf_add(b, "\\n", 2);
		break;
	case '\r':
		buf_add(b, "\\r", 2);
		break;
	case '\t':
		buf_add(b, "\\t", 2);
		break;
	default:
		buf_addf(b, "\\u%04x", c);
	}
}

void buf_add_json(struct buf *b, struct slice bytes)
{
	const unsigned char *s = (const unsigned char *)bytes.at;
	size_t plain = 0, at = 0;

	while (at < bytes.len) {
		size_t n = utf8_length(s + at, bytes.len - at);

		if (n && s[at] >= 0x20 && s[at] != '"' && s[at] != '\\') {
			at += n;
			continue;
		}
		buf_add(b, s + plain, at - plain);
		if (n)
			add_escaped(b, s[at]);
		else
			buf_add_text(b, "\xEF\xBF\xBD");
		plain = ++at;
	}
	buf_add(b, s + plain, at - plain);
}

char *buf_steal(struct buf *b)
{
	char *text;

	buf_reserve(b, 0)[0] = '\0';
	text = b->data;
	*b = (struct buf){ 0 };
	return text;
}
