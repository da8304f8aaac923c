/*
 * timetext: a time as ISO 8601 in UTC, "2025-11-14T12:34:56Z". Pure; never the local time zone.
 *
 * All functions write to `out` and return `out`. The text is "" for a year that struct tm cannot hold.
 */
#ifndef WALPUSH_TIMETEXT_H
#define WALPUSH_TIMETEXT_H

#include <stdint.h>

#define TIMETEXT_MAX 48 /* bytes, with the zero */

/* Seconds since 1970. */
const char *timetext_s(char out[TIMETEXT_MAX], int64_t seconds);
/* µs since 1970, cut to milliseconds: "2025-11-14T12:34:56.123Z". */
const char *timetext_ms(char out[TIMETEXT_MAX], int64_t us);
/* µs since 1970: "2025-11-14T12:34:56.123456Z". */
const char *timetext_us(char out[TIMETEXT_MAX], int64_t us);

#endif
