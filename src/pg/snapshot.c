#include "walpush/pg/snapshot.h"

#include <stdlib.h>

#include "walpush/base/mem.h"

struct cursor {
	struct slice text;
	size_t at;
	struct fail *why;
};

static bool expected(const struct cursor *c, const char *what)
{
	return fail_at_offset(c->why, c->at, "snapshot, offset %zu: expected %s", c->at, what);
}

static bool take(struct cursor *c, char byte)
{
	if (c->at == c->text.len || c->text.at[c->at] != byte)
		return false;
	c->at++;
	return true;
}

/* A 64-bit transaction id, as PostgreSQL prints it: no sign, no leading zero; 0 is not an id. */
static bool take_id(struct cursor *c, uint64_t *out)
{
	size_t start = c->at;
	uint64_t n = 0;

	for (; c->at < c->text.len && c->text.at[c->at] >= '0' && c->text.at[c->at] <= '9'; c->at++) {
		unsigned digit = (unsigned)(c->text.at[c->at] - '0');

		if (n > (UINT64_MAX - digit) / 10) {
			c->at = start;
			return expected(c, "a transaction id of 64 bits");
		}
		n = n * 10 + digit;
	}
	if (n == 0 || c->text.at[start] == '0') {
		c->at = start;
		return expected(c, "a transaction id");
	}
	*out = n;
	return true;
}

static bool take_running(struct cursor *c, struct snapshot *s)
{
	size_t cap = 0;

	do {
		size_t start = c->at;
		uint64_t id;

		if (!take_id(c, &id))
			return false;
		if (id >= s->xmax || id < s->xmin || (s->n_running && id <= s->running[s->n_running - 1])) {
			c->at = start;
			return expected(c, "the running ids in ascending order between xmin and xmax");
		}
		if (s->n_running == cap) {
			cap = cap ? cap * 2 : 16;
			s->running = mem_resize(s->running, cap, sizeof(*s->running));
		}
		s->running[s->n_running++] = id;
	} while (take(c, ','));
	return true;
}

static bool take_snapshot(struct cursor *c, struct snapshot *s)
{
	if (!take_id(c, &s->xmin))
		return false;
	if (!take(c, ':'))
		return expected(c, "':' behind xmin");
	if (!take_id(c, &s->xmax))
		return false;
	if (s->xmax < s->xmin)
		return expected(c, "xmax not before xmin");
	if (!take(c, ':'))
		return expected(c, "':' behind xmax");
	if (c->at < c->text.len && !take_running(c, s))
		return false;
	return c->at == c->text.len || expected(c, "',' or the end");
}

bool snapshot_parse(struct slice text, struct snapshot *out, struct fail *why)
{
	struct cursor c = { text, 0, why };
	struct snapshot s = { 0 };

	if (!take_snapshot(&c, &s)) {
		snapshot_fini(&s);
		return false;
	}
	snapshot_fini(out);
	*out = s;
	return true;
}

void snapshot_fini(struct snapshot *s)
{
	free(s->running);
	*s = (struct snapshot){ 0 };
}

/* The 64-bit id with these low 32 bits that is nearest to xmax: at most 2^31 below xmax, or less than 2^31 above it. */
static uint64_t widen(uint64_t xmax, uint32_t xid)
{
	return xmax + (uint64_t)(int64_t)(int32_t)(xid - (uint32_t)xmax);
}

static bool is_running(const struct snapshot *s, uint64_t id)
{
	size_t low = 0, high = s->n_running;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (s->running[middle] == id)
			return true;
		if (s->running[middle] < id)
			low = middle + 1;
		else
			high = middle;
	}
	return false;
}

bool snapshot_sees(const struct snapshot *s, uint32_t xid)
{
	uint64_t id = widen(s->xmax, xid);

	return id < s->xmax && !is_running(s, id);
}
