#include "pgvalue.h"

#include "walpush/rules/catalog.h"
#include "walpush/text/jsontext.h"

/* Most values take this way, so the bytes are copied at once. */
static void add_received(struct slice body, struct buf *out)
{
	char *to = buf_reserve(out, body.len + 2);

	*to++ = '"';
	if (body.len)
		memcpy(to, body.at, body.len);
	to += body.len;
	*to++ = '"';
	*to = '\0';
	out->len += body.len + 2;
}

void pgvalue_string(struct pgtext value, struct buf *out)
{
	if (value.escaped) {
		add_received(value.text, out);
		return;
	}
	buf_add_char(out, '"');
	buf_add_json(out, value.text);
	buf_add_char(out, '"');
}

/* Values of domains come as strings, so a bool of a domain is t or f. */
static void add_bool(struct pgtext v, struct buf *out)
{
	if (slice_equal(v.text, SLICE("t")) || slice_equal(v.text, SLICE("true")))
		buf_add_text(out, "true");
	else if (slice_equal(v.text, SLICE("f")) || slice_equal(v.text, SLICE("false")))
		buf_add_text(out, "false");
	else
		pgvalue_string(v, out);
}

static bool is_not_finite(struct slice text)
{
	return slice_equal(text, SLICE("NaN")) || slice_equal(text, SLICE("Infinity")) ||
	       slice_equal(text, SLICE("-Infinity"));
}

static void add_number(struct pgtext v, struct buf *out)
{
	if (is_not_finite(v.text))
		buf_add_text(out, "null"); /* as wal2json does if it knows the type */
	else if (pgvalue_is_number(v.text))
		buf_add_slice(out, v.text);
	else
		pgvalue_string(v, out);
}

/* Writes the text of `map` between quotes, or the string as received if `map` returns false. */
static void add_mapped(struct pgtext v, bool (*map)(struct slice text, struct buf *out), struct buf *out)
{
	size_t start = out->len;

	buf_add_char(out, '"');
	if (map(v.text, out)) {
		buf_add_char(out, '"');
		return;
	}
	out->len = start;
	pgvalue_string(v, out);
}

static bool map_timestamptz(struct slice text, struct buf *out)
{
	return pgvalue_timestamp(text, true, out);
}

static bool map_timestamp(struct slice text, struct buf *out)
{
	return pgvalue_timestamp(text, false, out);
}

static int hex_digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The next `n` bytes of hexadecimal, n at most 3, as a number shifted to three bytes. False: not hexadecimal. */
static bool take_bytes(const char *hex, size_t n, uint32_t *out)
{
	*out = 0;
	for (size_t i = 0; i < 6; i++) {
		int digit = i < 2 * n ? hex_digit(hex[i]) : 0;

		if (digit < 0)
			return false;
		*out = *out << 4 | (uint32_t)digit;
	}
	return true;
}

static bool map_bytea(struct slice hex, struct buf *out)
{
	static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	size_t start = out->len;

	if (hex.len % 2)
		return false;
	buf_reserve(out, hex.len / 6 * 4 + 4);
	for (size_t at = 0; at < hex.len; at += 6) {
		size_t n = hex.len - at < 6 ? (hex.len - at) / 2 : 3;
		uint32_t bytes;
		char four[4];

		if (!take_bytes(hex.at + at, n, &bytes)) {
			out->len = start;
			return false;
		}
		for (size_t i = 0; i < 4; i++)
			four[i] = i <= n ? letters[bytes >> (18 - 6 * i) & 63] : '=';
		buf_add(out, four, 4);
	}
	return true;
}

/* wal2json omits the \x of a bytea, but not of a domain over bytea; arrays have it too. */
static void add_bytea(struct pgtext v, struct buf *out)
{
	struct slice hex = v.text;
	size_t prefix = v.escaped ? 3 : 2;

	if (hex.len >= prefix && memcmp(hex.at, v.escaped ? "\\\\x" : "\\x", prefix) == 0) {
		hex.at += prefix;
		hex.len -= prefix;
	}
	add_mapped((struct pgtext){ hex, v.escaped }, map_bytea, out);
}

/* Without quotes, byte for byte. The check rejects values that would break the message. */
static void add_json(struct pgtext v, struct buf *out)
{
	size_t start = out->len;
	bool ok = true;

	if (v.escaped)
		ok = jsontext_unescape(v.text, out);
	else
		buf_add_slice(out, v.text);
	if (ok && pgvalue_is_json((struct slice){ out->data + start, out->len - start }))
		return;
	out->len = start;
	pgvalue_string(v, out);
}

/* The type of a range's bounds; 0: no built-in range type. */
static uint32_t bound_type(uint32_t type)
{
	switch (type) {
	case PG_INT4RANGE:
		return PG_INT4;
	case PG_INT8RANGE:
		return PG_INT8;
	case PG_NUMRANGE:
		return PG_NUMERIC;
	case PG_TSRANGE:
		return PG_TIMESTAMP;
	case PG_TSTZRANGE:
		return PG_TIMESTAMPTZ;
	case PG_DATERANGE:
		return PG_DATE;
	default:
		return 0;
	}
}

void pgvalue_composed(struct pgtext v, bool (*map)(struct slice, uint32_t, struct buf *), uint32_t part,
		      struct buf *out)
{
	struct pgtext plain = { v.text, false };
	struct buf unescaped = { 0 };

	if (v.escaped && memchr(v.text.at, '\\', v.text.len)) {
		jsontext_unescape(v.text, &unescaped);
		plain.text = buf_slice(&unescaped);
	}
	if (!map(plain.text, part, out))
		pgvalue_string(v, out);
	buf_fini(&unescaped);
}

void pgvalue_scalar(struct pgtext v, uint32_t type, struct buf *out)
{
	switch (type) {
	case PG_BOOL:
		add_bool(v, out);
		break;
	case PG_INT2:
	case PG_INT4:
	case PG_INT8:
	case PG_OID:
	case PG_FLOAT4:
	case PG_FLOAT8:
		add_number(v, out);
		break;
	case PG_TIMESTAMPTZ:
		add_mapped(v, map_timestamptz, out);
		break;
	case PG_TIMESTAMP:
		add_mapped(v, map_timestamp, out);
		break;
	case PG_TIME:
		add_mapped(v, pgvalue_time, out);
		break;
	case PG_INTERVAL:
		add_mapped(v, pgvalue_duration, out);
		break;
	case PG_BYTEA:
		add_bytea(v, out);
		break;
	case PG_JSON:
	case PG_JSONB:
		add_json(v, out);
		break;
	case CATALOG_HSTORE:
		pgvalue_composed(v, pgvalue_hstore, 0, out);
		break;
	default:
		if (bound_type(type))
			pgvalue_composed(v, pgvalue_range, bound_type(type), out);
		else
			pgvalue_string(v, out);
	}
}
