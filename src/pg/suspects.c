#include "walpush/pg/suspects.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <utlist.h>

#include "walpush/base/buf.h"
#include "walpush/base/fail.h"
#include "walpush/base/mem.h"
#include "walpush/base/siphash.h"

#define NEVER INT64_MIN

/* Only an entry that was counted, or is suspected and may still be counted, is kept. */
struct suspect {
	uint64_t id;
	unsigned counted;
	int64_t counted_at;           /* µs: the last time */
	unsigned n_open;              /* suspicions that may still count */
	int64_t open[SUSPECTS_TIMES]; /* µs: when they arose, in order */
	bool is_said;                 /* it was given up */
};

struct suspects {
	struct siphash_key key;
	struct suspect at[SUSPECTS_MOST]; /* in the order in which they were suspected first */
	size_t n;
	int64_t crash; /* µs: when a session was last told 57P02; NEVER: none was */
	unsigned n_up;
	struct suspects_ear *ears;
	uint64_t given_up;
	char last[SUSPECTS_NAME_MAX];
};

/* --- life --------------------------------------------------------------------------------------------------------- */

struct suspects *suspects_new(void)
{
	struct suspects *s = mem_new(sizeof(*s));

	if (getrandom(&s->key, sizeof(s->key), 0) != (ssize_t)sizeof(s->key))
		fail_never("the system gives no random key");
	s->crash = NEVER;
	return s;
}

void suspects_free(struct suspects *s)
{
	free(s);
}

void suspects_listen(struct suspects *s, struct suspects_ear *ear)
{
	DL_APPEND(s->ears, ear);
}

void suspects_leave(struct suspects *s, struct suspects_ear *ear)
{
	DL_DELETE(s->ears, ear);
}

static void tell(struct suspects *s)
{
	struct suspects_ear *ear;

	DL_FOREACH(s->ears, ear)
		ear->changed(ear->ctx);
}

/* --- the digest --------------------------------------------------------------------------------------------------- */

/* A letter before each value distinguishes NULL from a text. Zeros end the texts; no text contains one. */
uint64_t suspects_id(const struct suspects *s, const char *sql, size_t n_values, const char *const *values)
{
	struct buf all = { 0 };
	uint64_t id;

	buf_add(&all, sql, strlen(sql) + 1);
	for (size_t i = 0; i < n_values; i++) {
		buf_add_char(&all, values[i] ? 'v' : 'n');
		if (values[i])
			buf_add(&all, values[i], strlen(values[i]) + 1);
	}
	id = siphash(&s->key, all.data, all.len);
	buf_fini(&all);
	return id;
}

/* --- entries ------------------------------------------------------------------------------------------------------ */

static bool is_near(int64_t a, int64_t b)
{
	return a != NEVER && b != NEVER && a - b <= SUSPECTS_NEAR && b - a <= SUSPECTS_NEAR;
}

static void drop_oldest_open(struct suspect *e)
{
	e->n_open--;
	memmove(&e->open[0], &e->open[1], e->n_open * sizeof(e->open[0]));
}

/* Forgets what no longer counts. True: nothing is left. */
static bool is_over(struct suspect *e, int64_t now)
{
	while (e->n_open && !is_near(e->open[0], now))
		drop_oldest_open(e);
	if (e->counted && now - e->counted_at >= SUSPECTS_KEPT) {
		e->counted = 0;
		e->is_said = false;
	}
	return !e->counted && !e->n_open;
}

static void drop_first(struct suspects *s)
{
	s->n--;
	memmove(&s->at[0], &s->at[1], s->n * sizeof(s->at[0]));
}

static void tidy(struct suspects *s, int64_t now)
{
	size_t kept = 0;

	for (size_t i = 0; i < s->n; i++)
		if (!is_over(&s->at[i], now))
			s->at[kept++] = s->at[i];
	s->n = kept;
}

static struct suspect *find(struct suspects *s, uint64_t id)
{
	for (size_t i = 0; i < s->n; i++)
		if (s->at[i].id == id)
			return &s->at[i];
	return NULL;
}

static struct suspect *entry_of(struct suspects *s, uint64_t id)
{
	struct suspect *e = find(s, id);

	if (e)
		return e;
	if (s->n == SUSPECTS_MOST)
		drop_first(s);
	e = &s->at[s->n++];
	*e = (struct suspect){ .id = id };
	return e;
}

static void count(struct suspect *e, unsigned times, int64_t now)
{
	e->counted += times;
	e->counted_at = now;
}

/* Beyond SUSPECTS_TIMES the newest suspicions matter, because the older ones are over first. */
static void open_one(struct suspect *e, int64_t now)
{
	if (e->n_open == SUSPECTS_TIMES)
		drop_oldest_open(e);
	e->open[e->n_open++] = now;
}

/* --- what happens ------------------------------------------------------------------------------------------------- */

void suspects_session(struct suspects *s, bool up)
{
	if (!up) {
		s->n_up--;
		return;
	}
	s->n_up++;
	tell(s);
}

void suspects_add(struct suspects *s, uint64_t id, int64_t now)
{
	struct suspect *e;

	tidy(s, now);
	e = entry_of(s, id);
	if (is_near(s->crash, now))
		count(e, 1, now);
	else
		open_one(e, now);
}

void suspects_crash(struct suspects *s, int64_t now)
{
	s->crash = now;
	tidy(s, now);
	for (size_t i = 0; i < s->n; i++) {
		if (s->at[i].n_open)
			count(&s->at[i], s->at[i].n_open, now);
		s->at[i].n_open = 0;
	}
	tell(s);
}

/* --- verdicts ----------------------------------------------------------------------------------------------------- */

bool suspects_is_empty(const struct suspects *s)
{
	return !s->n;
}

/* The session that asks is up itself. */
static bool has_witness(const struct suspects *s)
{
	return s->n_up > 1;
}

enum suspects_verdict suspects_judge(struct suspects *s, uint64_t id, int64_t since, int64_t now, int64_t *until)
{
	const struct suspect *e;

	tidy(s, now);
	e = find(s, id);
	if (!e || !e->counted)
		return SUSPECTS_SEND;
	if (e->counted >= SUSPECTS_TIMES)
		return SUSPECTS_GIVE_UP;
	if (e->n_open)
		*until = e->open[e->n_open - 1] + SUSPECTS_NEAR + 1;
	else if (!has_witness(s) && is_near(since, now))
		*until = since + SUSPECTS_NEAR + 1;
	else
		return SUSPECTS_SEND;
	return SUSPECTS_WAIT;
}

bool suspects_gave_up(struct suspects *s, uint64_t id, const char *name)
{
	struct suspect *e = find(s, id);

	if (!e || e->is_said)
		return false;
	e->is_said = true;
	s->given_up++;
	mem_copy_text(s->last, sizeof(s->last), name);
	return true;
}

uint64_t suspects_given_up(const struct suspects *s)
{
	return s->given_up;
}

const char *suspects_last(const struct suspects *s)
{
	return s->last;
}
