/*
 * found: what the checks say of a walpush that serves, from one report to the next.
 *
 * A finding comes once and goes once, however often it is found in between: it is the same while its check and its text are, but for numbers. A
 * report in which a check was not looked at says nothing about its findings: they stay.
 *
 * Pure. At most FOUND_MOST findings are kept; those beyond are not told.
 */
#ifndef WALPUSH_FOUND_H
#define WALPUSH_FOUND_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FOUND_MOST 256

struct found {
	char *check, *text; /* the check's name, and one line */
	char *fix;          /* NULL: none */
	bool is_failure;    /* else a warning */
	bool stops;         /* nobody is admitted to the streams concerned */
	int64_t since;      /* s since 1970 */
	bool is_seen;       /* private */
};

struct found_set;

struct found_set *found_set_new(void);
void found_set_free(struct found_set *s);

typedef void found_told(void *ctx, const struct found *f, bool came);

/* Takes a report of `walpush check --json`. `told` hears of each finding that came or has gone. `now`: s since 1970. */
void found_take(struct found_set *s, const json_t *report, int64_t now, found_told *told, void *ctx);
/* Forgets all, and tells nobody. */
void found_clear(struct found_set *s);

size_t found_count(const struct found_set *s);
const struct found *found_at(const struct found_set *s, size_t i);

#endif
