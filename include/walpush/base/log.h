/*
 * log: one line an event on stderr, logfmt or JSON.
 *
 * Any thread. A line is written with one write(2), so lines never mix. Values are in named fields. Callers pass only LSNs, names, counts,
 * SQLSTATEs and peers: tokens, passwords and row data are never logged.
 *
 *   log_info("streaming", log_s("slot", slot), log_lsn("from", lsn));
 */
#ifndef WALPUSH_LOG_H
#define WALPUSH_LOG_H

#include <stddef.h>
#include <stdint.h>

#include "walpush/base/address.h"
#include "walpush/base/buf.h"
#include "walpush/base/event_id.h"
#include "walpush/base/fail.h"

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

struct log_field {
	const char *name;
	enum { LOG_FIELD_END, LOG_FIELD_TEXT, LOG_FIELD_NUMBER, LOG_FIELD_LSN, LOG_FIELD_MS } kind;
	const char *text;
	int64_t number;
};

#define log_s(field, value) ((struct log_field){ (field), LOG_FIELD_TEXT, (value), 0 })
/* What the operator must do. Lines have this text as `fix` and as `mend`, the name for older readers, until 1.0. */
#define log_fix(text) log_s("fix", (text)), log_s("mend", (text))
#define log_n(field, value) ((struct log_field){ (field), LOG_FIELD_NUMBER, NULL, (int64_t)(value) })
#define log_lsn(field, value) ((struct log_field){ (field), LOG_FIELD_LSN, NULL, (int64_t)(value) })
/* the text lives as long as the statement */
#define log_peer(address) log_s("peer", address_format((address), (char[ADDRESS_TEXT_MAX]){ "" }))
/* microseconds, printed as milliseconds */
#define log_ms(field, value) ((struct log_field){ (field), LOG_FIELD_MS, NULL, (int64_t)(value) })

#define LOG_FIELDS(...) ((const struct log_field[]){ __VA_ARGS__ __VA_OPT__(, ){ NULL, LOG_FIELD_END, NULL, 0 } })

#define log_error(message, ...) log_write(LOG_LEVEL_ERROR, (message), LOG_FIELDS(__VA_ARGS__))
#define log_warn(message, ...) log_write(LOG_LEVEL_WARN, (message), LOG_FIELDS(__VA_ARGS__))
#define log_info(message, ...) log_write(LOG_LEVEL_INFO, (message), LOG_FIELDS(__VA_ARGS__))
#define log_debug(message, ...) log_write(LOG_LEVEL_DEBUG, (message), LOG_FIELDS(__VA_ARGS__))

/* At any time. A line that is being written may still have the old format. Names as in the configuration; both must be valid. */
void log_setup(const char *level, const char *format);
bool log_enabled(enum log_level level);
void log_write(enum log_level level, const char *message, const struct log_field *fields);
/* The current time, as in every line: 2025-11-14T12:34:56.123Z */
void log_add_time(struct buf *out);

#endif
