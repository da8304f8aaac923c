/* pgmessage: builds a message of the replication protocol, integer by integer. */
#ifndef TEST_PGMESSAGE_H
#define TEST_PGMESSAGE_H

#include <string.h>

#include "walpush/base/buf.h"

static struct buf message;

static inline void put(uint64_t n, unsigned bytes)
{
	while (bytes--)
		buf_add_char(&message, (char)(n >> 8 * bytes));
}

static inline void put_string(const char *text)
{
	buf_add(&message, text, strlen(text) + 1);
}

static inline void start(char kind)
{
	buf_clear(&message);
	buf_add_char(&message, kind);
}

/* NULL: a null. */
static inline void put_value(const char *text)
{
	buf_add_char(&message, text ? 't' : 'n');
	if (!text)
		return;
	put(strlen(text), 4);
	buf_add_text(&message, text);
}

#endif
