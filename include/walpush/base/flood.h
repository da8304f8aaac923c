/*
 * flood: limits the log lines that others can cause.
 *
 * A client, a peer that reaches a port, and a caller of the admin port can cause as many lines as they like. Each place in the source that
 * writes such a line is a kind. In any second the process writes at most FLOOD_LINES lines of a kind. It counts the rest, and flood_tell
 * writes the count in one line. The debug level has no limit: its user wants every line.
 *
 *   flood_info("token refused", log_peer(&peer), log_s("reason", why));
 *
 * Any thread: one lock for all kinds, held for a comparison. Memory: one static struct a kind. A line that log.level suppresses is not counted.
 */
#ifndef WALPUSH_FLOOD_H
#define WALPUSH_FLOOD_H

#include "walpush/base/clock.h"
#include "walpush/base/log.h"

#define FLOOD_LINES 20
#define FLOOD_SPAN 1000000 /* µs */

struct flood { /* one kind; static; the lock protects it */
	const char *message;
	int64_t said[FLOOD_LINES]; /* µs: when the last lines were written; said[next] is the oldest. 0: no line yet */
	unsigned next;
	uint64_t left_out; /* lines, since the last flood_tell */
	enum log_level level;
	bool is_known; /* in the list of kinds */
	struct flood *following;
};

/* May a line be written at this time (µs, of clock_us)? If not, the line is counted. Pure except for `f`. */
bool flood_takes(struct flood *f, int64_t now);
/* The same with the lock, and with `f` in the list of kinds for flood_tell. The debug level is always allowed. */
bool flood_allows(struct flood *f, enum log_level level, int64_t now);
/* Writes one line for each kind that has left out lines since the last call. */
void flood_tell(void);

#define flood_log(at, text, ...)                                                                                       \
	do {                                                                                                           \
		static struct flood flood_here = { .message = (text) };                                                \
		if (log_enabled(at) && flood_allows(&flood_here, (at), clock_us()))                                    \
			log_write((at), (text), LOG_FIELDS(__VA_ARGS__));                                              \
	} while (0)

#define flood_info(text, ...) flood_log(LOG_LEVEL_INFO, text, __VA_ARGS__)
#define flood_warn(text, ...) flood_log(LOG_LEVEL_WARN, text, __VA_ARGS__)
#define flood_error(text, ...) flood_log(LOG_LEVEL_ERROR, text, __VA_ARGS__)

#endif
