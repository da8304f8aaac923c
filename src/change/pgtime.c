/* Times: from PostgreSQL's form with DateStyle ISO and IntervalStyle postgres to Python's isoformat(). */
#include "pgvalue.h"

#define DAY_US INT64_C(86400000000)
#define YEAR_1 INT64_C(-62135596800000000) /* µs since 1970: the beginning of Python's calendar */
#define HOURS_MAX INT64_C(2562047788)      /* this many hours are just below 2^63 µs */

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Does `text` begin like the pattern? '0' stands for a digit, any other character for itself. */
static bool looks_like(struct slice text, const char *pattern)
{
	size_t len = strlen(pattern);

	if (text.len < len)
		return false;
	for (size_t i = 0; i < len; i++)
		if (pattern[i] == '0' ? !is_digit(text.at[i]) : text.at[i] != pattern[i])
			return false;
	return true;
}

static struct slice behind(struct slice text, size_t n)
{
	return (struct slice){ text.at + n, text.len - n };
}

/* Length of ".123", 0 if there is none. PostgreSQL prints no fraction with more than six digits. */
static size_t fraction_length(struct slice text)
{
	size_t n = 1;

	if (text.len < 2 || text.at[0] != '.')
		return 0;
	while (n < text.len && is_digit(text.at[n]))
		n++;
	return n >= 2 && n <= 7 ? n : 0;
}

/* Python prints six digits or none. */
static void add_fraction(struct buf *out, struct slice fraction)
{
	static const char zeros[] = "000000";

	for (size_t i = 1; i < fraction.len; i++)
		if (fraction.at[i] != '0') {
			buf_add_slice(out, fraction);
			buf_add(out, zeros, 7 - fraction.len);
			return;
		}
}

/* "+00", "+05:30", and "+05:53:28", the local mean time of old dates. */
static bool is_zone(struct slice zone)
{
	if (zone.len == 0 || (zone.at[0] != '+' && zone.at[0] != '-'))
		return false;
	zone = behind(zone, 1);
	return (zone.len == 2 && looks_like(zone, "00")) || (zone.len == 5 && looks_like(zone, "00:00")) ||
	       (zone.len == 8 && looks_like(zone, "00:00:00"));
}

static void add_zone(struct buf *out, struct slice zone)
{
	if (slice_equal(zone, SLICE("+00")) || slice_equal(zone, SLICE("+00:00"))) {
		buf_add_char(out, 'Z');
		return;
	}
	buf_add_slice(out, zone);
	if (zone.len == 3)
		buf_add_text(out, ":00");
}

bool pgvalue_timestamp(struct slice text, bool with_zone, struct buf *out)
{
	struct slice fraction, zone;

	if (!looks_like(text, "0000-00-00 00:00:00"))
		return false;
	fraction = behind(text, 19);
	fraction.len = fraction_length(fraction);
	zone = behind(text, 19 + fraction.len);
	if (with_zone ? !is_zone(zone) : zone.len != 0)
		return false;
	buf_add(out, text.at, 10);
	buf_add_char(out, 'T');
	buf_add(out, text.at + 11, 8);
	add_fraction(out, fraction);
	if (with_zone)
		add_zone(out, zone);
	return true;
}

bool pgvalue_time(struct slice text, struct buf *out)
{
	struct slice fraction;

	if (!looks_like(text, "00:00:00"))
		return false;
	fraction = behind(text, 8);
	fraction.len = fraction_length(fraction);
	if (text.len != 8 + fraction.len)
		return false;
	buf_add(out, text.at, 8);
	add_fraction(out, fraction);
	return true;
}

/* At most 12 digits, so that no sum of an interval's parts overflows. */
static bool take_number(struct slice *text, int64_t *out)
{
	size_t n = 0;

	*out = 0;
	while (n < text->len && n < 12 && is_digit(text->at[n]))
		*out = *out * 10 + (text->at[n++] - '0');
	*text = behind(*text, n);
	return n > 0;
}

static bool take_sign(struct slice *text)
{
	bool negative = text->len && *text->at == '-';

	if (text->len && (*text->at == '-' || *text->at == '+'))
		*text = behind(*text, 1);
	return negative;
}

/* Takes "-3 days" and the blank after it; takes nothing if there are no days. */
static bool take_days(struct slice *text, int64_t *days)
{
	struct slice rest = *text;
	bool negative = take_sign(&rest);

	if (!take_number(&rest, days) || !looks_like(rest, " day")) {
		*days = 0;
		return true;
	}
	if (negative)
		*days = -*days;
	rest = behind(rest, 4);
	if (rest.len && *rest.at == 's')
		rest = behind(rest, 1);
	if (rest.len && *rest.at != ' ')
		return false;
	*text = behind(rest, rest.len ? 1 : 0);
	return rest.len != 1;
}

/* "-04:05:06.789", with hours of any length, to the end of the text. */
static bool take_clock(struct slice text, int64_t *us)
{
	bool negative = take_sign(&text);
	int64_t hours, fraction = 0;
	size_t n;

	if (!take_number(&text, &hours) || hours >= HOURS_MAX || !looks_like(text, ":00:00"))
		return false;
	*us = ((hours * 60 + (text.at[1] - '0') * 10 + (text.at[2] - '0')) * 60 + (text.at[4] - '0') * 10 +
	       (text.at[5] - '0')) *
	      1000000;
	text = behind(text, 6);
	n = fraction_length(text);
	if (n != text.len)
		return false;
	for (size_t i = 1; i < 7 && n; i++)
		fraction = fraction * 10 + (i < n ? text.at[i] - '0' : 0);
	*us += fraction;
	if (negative)
		*us = -*us;
	return true;
}

static void add_padded(struct buf *out, int64_t n, size_t digits)
{
	char text[6];

	for (size_t i = digits; i-- > 0; n /= 10)
		text[i] = (char)('0' + n % 10);
	buf_add(out, text, digits);
}

/* "04:05:06.789000", as Python prints it. */
static void add_clock(int64_t us, struct buf *out)
{
	add_padded(out, us / 3600000000, 2);
	buf_add_char(out, ':');
	add_padded(out, us / 60000000 % 60, 2);
	buf_add_char(out, ':');
	add_padded(out, us / 1000000 % 60, 2);
	if (us % 1000000) {
		buf_add_char(out, '.');
		add_padded(out, us % 1000000, 6);
	}
}

/*
 * Django's duration_string, "[-]D HH:MM:SS[.ffffff]": as in a timedelta, only the days have a sign, and the rest is
 * added to them. Years and months have no fixed length, and are not mapped.
 */
bool pgvalue_duration(struct slice text, struct buf *out)
{
	int64_t days, us = 0;

	if (text.len == 0 || !take_days(&text, &days) || (text.len && !take_clock(text, &us)))
		return false;
	days += us / DAY_US;
	us %= DAY_US;
	if (us < 0) {
		us += DAY_US;
		days--;
	}
	if (days < 0)
		buf_add_char(out, '-');
	if (days) {
		buf_add_u64(out, (uint64_t)(days < 0 ? -days : days));
		buf_add_char(out, ' ');
	}
	add_clock(us, out);
	return true;
}

static int64_t two_digits(const char *at)
{
	return (at[0] - '0') * 10 + (at[1] - '0');
}

static int64_t zone_seconds(struct slice zone)
{
	int64_t minutes = two_digits(zone.at + 1) * 60 + (zone.len > 3 ? two_digits(zone.at + 4) : 0);
	int64_t seconds = minutes * 60 + (zone.len > 6 ? two_digits(zone.at + 7) : 0);

	return *zone.at == '-' ? -seconds : seconds;
}

/* Days since 1970 in the Gregorian calendar. Years begin in March here, so that the leap day is the last day. */
static int64_t days_since_1970(int64_t year, int64_t month, int64_t day)
{
	int64_t y = month > 2 ? year : year - 1, m = month > 2 ? month - 3 : month + 9;

	return y * 365 + y / 4 - y / 100 + y / 400 + (m * 153 + 2) / 5 + day - 1 - 719468;
}

bool pgvalue_unix_us(struct slice text, int64_t *us)
{
	struct slice fraction, zone;
	int64_t days, parts = 0;

	if (!looks_like(text, "0000-00-00 00:00:00"))
		return false;
	fraction = zone = behind(text, 19);
	fraction.len = fraction_length(fraction);
	zone = behind(zone, fraction.len);
	if (!is_zone(zone))
		return false;
	for (size_t i = 1; i < 7 && fraction.len; i++)
		parts = parts * 10 + (i < fraction.len ? fraction.at[i] - '0' : 0);
	days = days_since_1970(two_digits(text.at) * 100 + two_digits(text.at + 2), two_digits(text.at + 5),
			       two_digits(text.at + 8));
	*us = (((days * 24 + two_digits(text.at + 11)) * 60 + two_digits(text.at + 14)) * 60 +
	       two_digits(text.at + 17) - zone_seconds(zone)) *
		      1000000 +
	      parts;
	return true;
}

/* The inverse of days_since_1970, for years from 0 on. */
static void civil_date(int64_t days, int64_t *year, int64_t *month, int64_t *day)
{
	int64_t era, of_era, of_year, m;

	days += 719468; /* since 1 March of the year 0; 400 years have 146097 days */
	era = days / 146097;
	days %= 146097;
	of_era = (days - days / 1460 + days / 36524 - days / 146096) / 365;
	of_year = days - (365 * of_era + of_era / 4 - of_era / 100);
	m = (5 * of_year + 2) / 153;
	*day = of_year - (153 * m + 2) / 5 + 1;
	*month = m < 10 ? m + 3 : m - 9;
	*year = era * 400 + of_era + (*month <= 2);
}

bool pgvalue_utc(struct slice text, struct buf *out)
{
	int64_t us, days, year, month, day;

	if (!pgvalue_unix_us(text, &us) || us < YEAR_1)
		return false;
	days = us / DAY_US - (us % DAY_US < 0);
	us -= days * DAY_US;
	civil_date(days, &year, &month, &day);
	if (year > 9999)
		return false;
	add_padded(out, year, 4);
	buf_add_char(out, '-');
	add_padded(out, month, 2);
	buf_add_char(out, '-');
	add_padded(out, day, 2);
	buf_add_char(out, 'T');
	add_clock(us, out);
	buf_add_text(out, "+00:00");
	return true;
}
