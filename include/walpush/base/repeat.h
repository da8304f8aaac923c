/*
 * repeat: what goes on being wrong is said once, and then now and again.
 *
 * One of these for each thing that can go wrong. The same text is news the first time, and again after REPEAT_EVERY together with how often
 * it happened meanwhile; in between it is for the debug level. Another text is always news.
 *
 * Lines that clients can cause, each another, are bounded by flood.h. One thread; times are passed in.
 */
#ifndef WALPUSH_REPEAT_H
#define WALPUSH_REPEAT_H

#include <string.h>

#include "walpush/base/log.h"
#include "walpush/base/mem.h"

#define REPEAT_EVERY 600000000 /* µs */

struct repeat {
	char text[256];  /* "": nothing is wrong */
	int64_t said;    /* µs */
	unsigned silent; /* times since then */
};

#define REPEAT_TABLE 8

/* Where many things of a kind can go wrong in turn: the one of the table for this text. Two may share one, and then both are said. */
static inline struct repeat *repeat_for(struct repeat table[REPEAT_TABLE], const char *text)
{
	unsigned hash = 0;

	for (; *text; text++)
		hash = hash * 31 + (unsigned char)*text;
	return &table[hash % REPEAT_TABLE];
}

/* True: something was wrong until now. */
static inline bool repeat_end(struct repeat *r)
{
	bool was = r->text[0];

	*r = (struct repeat){ 0 };
	return was;
}

/* The level at which to say it now. `times`: how often it happened since it was last said, this time included. */
static inline enum log_level repeat_level(struct repeat *r, enum log_level level, const char *text, int64_t now,
					  unsigned *times)
{
	bool same = r->text[0] && strncmp(r->text, text, sizeof(r->text) - 1) == 0;

	*times = same ? ++r->silent : 1;
	if (same && now - r->said < REPEAT_EVERY)
		return LOG_LEVEL_DEBUG;
	mem_copy_text(r->text, sizeof(r->text), text);
	r->said = now;
	r->silent = 0;
	return level;
}

#endif
