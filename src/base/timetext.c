#include "walpush/base/timetext.h"

#include <stdio.h>
#include <time.h>

#define SECOND INT64_C(1000000) /* µs */

/* `digits`: digits of the fraction that are written; 0: none. */
static const char *format(char out[TIMETEXT_MAX], int64_t seconds, int fraction, int digits)
{
	time_t t = (time_t)seconds;
	struct tm utc;
	size_t n;

	out[0] = '\0';
	if (!gmtime_r(&t, &utc))
		return out;
	n = strftime(out, TIMETEXT_MAX, "%Y-%m-%dT%H:%M:%S", &utc);
	if (digits)
		n += (size_t)snprintf(out + n, TIMETEXT_MAX - n, ".%0*d", digits, fraction);
	snprintf(out + n, TIMETEXT_MAX - n, "Z");
	return out;
}

/* Rounds down, also before 1970. */
static int64_t whole_seconds(int64_t us)
{
	return us / SECOND - (us % SECOND < 0);
}

const char *timetext_s(char out[TIMETEXT_MAX], int64_t seconds)
{
	return format(out, seconds, 0, 0);
}

const char *timetext_ms(char out[TIMETEXT_MAX], int64_t us)
{
	int64_t s = whole_seconds(us);

	return format(out, s, (int)(us - s * SECOND) / 1000, 3);
}

const char *timetext_us(char out[TIMETEXT_MAX], int64_t us)
{
	int64_t s = whole_seconds(us);

	return format(out, s, (int)(us - s * SECOND), 6);
}
