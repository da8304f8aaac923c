/*
 * repeat: a trouble that continues is logged once, and then from time to time.
 *
 * There is one `struct repeat` for each thing that can go wrong. The same text is logged the first time, and again after REPEAT_EVERY with the
 * number of times since then. In between, the text has the debug level. A different text is always logged.
 *
 * flood.h limits the lines that clients can cause, which all differ. One thread; times are passed in.
 */
#ifndef WALPUSH_REPEAT_H
#define WALPUSH_REPEAT_H

#include <string.h>

#include "walpush/base/log.h"
#include "walpush/base/mem.h"

#define REPEAT_EVERY 600000000 /* µs */

struct repeat {
	char text[256];  /* "": nothing is wrong */
	unsigned key;    /* in a table: the hash of what it is about */
	int64_t said;    /* µs: when the text was last logged */
	unsigned silent; /* times since then */
};

#define REPEAT_TABLE 8

/* For many things of one kind: the entry of the table for the thing of this name. If two things share an entry, both are always logged. */
static inline struct repeat *repeat_for(struct repeat table[REPEAT_TABLE], const char *name)
{
	struct repeat *r;
	unsigned key = 0;

	for (; *name; name++)
		key = key * 31 + (unsigned char)*name;
	r = &table[key % REPEAT_TABLE];
	if (r->key != key)
		*r = (struct repeat){ .key = key };
	return r;
}

/* The trouble is over. True: there was one until now. */
static inline bool repeat_end(struct repeat *r)
{
	bool was = r->text[0];

	*r = (struct repeat){ 0 };
	return was;
}

/* The level at which to log the text now. `times`: how often it happened since the text was last logged, including now. */
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
