/*
 * Who hears what, whatever crosses what: a database, a log behind it, hubs that take their mails late, clients that come, end and come back, and
 * connections for the questions that are lost, found and slow, in an order made by chance. The truth is the memberships as they stood at each commit.
 *
 *   - Nobody hears a message of a commit at which they were no member of its unit.
 *   - Who is connected at the end has heard everything that they were a member for, from then until the end, since their hello or their last
 *     `resync`.
 *
 * ADMIT_MODEL_RUNS=100000 plays longer; a failure names the seed, and ADMIT_MODEL_SEED plays it alone.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "world.h"

#define USERS 4
#define UNITS 3
#define CLIENTS 6
#define COMMITS 60
#define STEPS 400
#define RUNS 3000
#define APART 10 /* bytes of WAL from a commit to the next */

struct client {
	bool is_here, is_open, was_resynced;
	unsigned user;
	uint64_t connection;
	lsn_t limit;
	struct seat seats[UNITS];
	size_t n_seats;
	bool knows;            /* something to come back with: */
	struct event_id since; /* the last that it heard, or was told to refetch up to */
	lsn_t owed_from;       /* messages of this commit and behind it are owed, if it was a member for them */
	bool heard[COMMITS + 1];
};

struct model {
	struct world w;
	uint32_t seed, chance;
	struct commit {
		enum { MESSAGE, OWN, EVERYBODY } kind;
		unsigned user, unit;
		bool is_member[USERS][UNITS]; /* with it */
	} commits[COMMITS + 1];               /* from 1 */
	unsigned made, logged;                /* those that a new snapshot sees, those that the log has met */
	unsigned lanes, cancels[LANES_MOST];  /* and those that have arrived */
	bool is_well;                         /* nothing fails, and no lane is lost */
	struct client clients[CLIENTS];
	uint64_t connections;
	uint64_t delivered, resyncs, refused;
};

static unsigned pick(struct model *m, unsigned n)
{
	m->chance = m->chance * 1664525 + 1013904223;
	return (m->chance >> 8) % n;
}

static lsn_t lsn_of(unsigned commit)
{
	return WORLD_FROM_START + (lsn_t)commit * APART;
}

static unsigned commit_of(lsn_t lsn)
{
	return (unsigned)((lsn - WORLD_FROM_START) / APART);
}

/* --- the database --------------------------------------------------------------------------------------------------- */

static void commit_something(struct model *m)
{
	struct commit *c;

	if (m->made == COMMITS)
		return;
	c = &m->commits[m->made + 1];
	*c = m->commits[m->made++];
	c->user = pick(m, USERS);
	c->unit = pick(m, UNITS);
	c->kind = pick(m, 10) < 6 ? MESSAGE : pick(m, 3) ? OWN : EVERYBODY;
	if (c->kind == MESSAGE)
		return;
	c->is_member[c->user][c->unit] = !c->is_member[c->user][c->unit];
}

static struct sqlrows *units_of(const struct model *m, unsigned user)
{
	char text[32] = "";

	for (unsigned u = 0; u < UNITS; u++)
		if (m->commits[m->made].is_member[user][u])
			snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%u", *text ? "," : "", u);
	return world_units(text);
}

/* The oldest of the lane whose answer is made, or is not; w.n_asked: there is none. */
static size_t first_of(const struct model *m, unsigned lane, bool is_made)
{
	for (size_t i = 0; i < m->w.n_asked; i++)
		if (m->w.asked[i]->lane == lane && m->w.asked[i]->is_made == is_made)
			return i;
	return m->w.n_asked;
}

static unsigned busy_lane(struct model *m, bool is_made)
{
	unsigned first = pick(m, m->lanes);

	for (unsigned i = 0; i < m->lanes; i++)
		if (first_of(m, (first + i) % m->lanes, is_made) < m->w.n_asked)
			return (first + i) % m->lanes;
	return first;
}

/* The server takes the next question of the lane: it sees what is committed by now. Sometimes others have inserted WAL that nobody has flushed. */
static void execute_one(struct model *m, unsigned lane)
{
	size_t n = first_of(m, lane, false);
	lsn_t end = lsn_of(m->made) + 1;
	struct world_question *q;

	if (n == m->w.n_asked)
		return;
	q = m->w.asked[n];
	q->is_made = true;
	if (strcmp(q->statement, "position") == 0)
		q->rows = world_position(end, end + pick(m, 2) * pick(m, APART));
	else if (!m->is_well && pick(m, 30) == 0)
		q->sqlstate = pick(m, 2) ? "57014" : "55P03";
	else
		q->rows = units_of(m, (unsigned)strtoul(q->user, NULL, 10));
}

static void answer_one(struct model *m, unsigned lane)
{
	size_t n = first_of(m, lane, true);

	if (n < m->w.n_asked)
		world_answer_nth(&m->w, n, m->w.asked[n]->rows, m->w.asked[n]->sqlstate);
}

/* It ends what the lane runs, or comes too late. */
static void cancel_one(struct model *m, unsigned lane)
{
	size_t n = first_of(m, lane, false);

	if (m->cancels[lane] == m->w.cancelled[lane])
		return;
	m->cancels[lane]++;
	if (n == m->w.n_asked || first_of(m, lane, true) < m->w.n_asked)
		return;
	m->w.asked[n]->is_made = true;
	m->w.asked[n]->sqlstate = "57014";
}

static void lose_lane(struct model *m, unsigned lane)
{
	struct world_question *q;

	admit_lane(m->w.all, lane, false);
	m->cancels[lane] = m->w.cancelled[lane];
	for (size_t i = m->w.n_asked; i-- > 0;) {
		if (m->w.asked[i]->lane != lane)
			continue;
		q = world_take_question(&m->w, i);
		sqlrows_free(q->rows);
		world_free_question(q);
	}
}

/* --- the log ---------------------------------------------------------------------------------------------------------- */

static void log_one(struct model *m)
{
	const struct commit *c;
	char user[8];

	if (m->logged == m->made)
		return;
	c = &m->commits[++m->logged];
	snprintf(user, sizeof(user), "%u", c->user);
	if (c->kind == MESSAGE)
		world_message(&m->w, c->unit, lsn_of(m->logged));
	else
		admit_changed(m->w.all, lsn_of(m->logged), c->kind == OWN ? user : NULL);
	world_reach(&m->w, lsn_of(m->logged) + 1);
}

/* --- a hub ------------------------------------------------------------------------------------------------------------ */

static struct client *client_of(struct model *m, uint64_t connection)
{
	for (size_t i = 0; i < CLIENTS; i++)
		if (m->clients[i].is_here && m->clients[i].connection == connection)
			return &m->clients[i];
	return NULL;
}

static void leave_seats(struct model *m, struct client *c)
{
	for (size_t i = 0; i < c->n_seats; i++) {
		cursor_release(&c->seats[i].cursor);
		topic_unsubscribe(m->w.present.log, c->seats[i].topic, 0);
	}
	c->n_seats = 0;
}

static void take_seats(struct model *m, struct client *c, struct mail *mail)
{
	leave_seats(m, c);
	assert_true(mail->given.n_seats <= UNITS);
	memcpy(c->seats, mail->given.seats, mail->given.n_seats * sizeof(*mail->given.seats));
	c->n_seats = mail->given.n_seats;
	mail->given.n_seats = 0;
}

/* From there on everything is new to it; it fetches what was before. */
static void refetches(const struct model *m, struct client *c, struct event_id at)
{
	c->owed_from = at.lsn;
	for (unsigned i = 1; i <= m->made; i++)
		c->heard[i] = c->heard[i] && lsn_of(i) < at.lsn; /* it may hear those again */
	c->since = at;
	c->knows = true;
	c->was_resynced = true;
}

static void gone(struct model *m, struct client *c)
{
	leave_seats(m, c);
	world_end(&m->w, c->connection);
	c->is_here = c->is_open = false;
}

static void take_mail(struct model *m, struct mail *mail)
{
	struct client *c = client_of(m, mail->connection);

	switch (c ? mail->kind : MAIL_STOP) {
	case MAIL_ADMITTED:
		take_seats(m, c, mail);
		c->is_open = true;
		c->limit = mail->given.limit;
		m->resyncs += mail->given.resync;
		if (!mail->given.resumed)
			refetches(m, c, mail->given.id);
		break;
	case MAIL_MOVED:
		take_seats(m, c, mail);
		c->limit = mail->given.limit;
		m->resyncs++;
		refetches(m, c, mail->given.id);
		break;
	case MAIL_LIMIT:
		c->limit = mail->limit;
		break;
	case MAIL_REFUSED:
		m->refused++;
		gone(m, c);
		break;
	case MAIL_CHANGED:
	default:
		break;
	}
	world_drop_mail(&m->w, mail);
}

/* What cursors of several groups give, in no order between them; what was heard counts. */
static void hear(struct model *m, struct client *c, struct seat *seat, lsn_t published)
{
	struct run run;

	while (cursor_run(&seat->cursor, published, (struct event_id){ c->limit, 0 }, 1, &run) == CURSOR_HAS_RUN) {
		unsigned commit = commit_of(run.first.lsn);
		const struct commit *what = &m->commits[commit];

		if (!what->is_member[c->user][what->unit])
			fail_msg("seed %u: user %u hears commit %u of unit %u", m->seed, c->user, commit, what->unit);
		if (c->heard[commit])
			fail_msg("seed %u: user %u hears commit %u twice", m->seed, c->user, commit);
		c->heard[commit] = true;
		m->delivered++;
		if (event_id_compare(run.last, c->since) > 0)
			c->since = run.last;
		cursor_advance(&seat->cursor, run.entries);
	}
}

/* The position first, then the mails, then what is due. */
static void hub_turn(struct model *m)
{
	lsn_t published = topiclog_published(m->w.present.log);
	size_t n = m->w.n_mails;
	struct mail mails[WORLD_MOST];

	memcpy(mails, m->w.mails, n * sizeof(*mails));
	m->w.n_mails = 0;
	for (size_t i = 0; i < n; i++)
		take_mail(m, &mails[i]);
	for (size_t i = 0; i < CLIENTS; i++)
		for (size_t k = 0; k < m->clients[i].n_seats; k++)
			hear(m, &m->clients[i], &m->clients[i].seats[k], published);
}

/* --- clients ---------------------------------------------------------------------------------------------------------- */

static void come(struct model *m, struct client *c)
{
	char user[8];
	bool resumes = c->knows && pick(m, 4);

	if (!resumes) {
		c->user = pick(m, USERS);
		c->knows = false;
		memset(c->heard, 0, sizeof(c->heard));
	}
	snprintf(user, sizeof(user), "%u", c->user);
	c->is_here = true;
	c->is_open = false;
	c->connection = ++m->connections;
	c->limit = 0;
	world_come(&m->w, c->connection, world_ticket(&m->w, user, "r"), resumes ? &c->since : NULL);
}

static void come_or_go(struct model *m)
{
	struct client *c = &m->clients[pick(m, CLIENTS)];

	if (!c->is_here)
		come(m, c);
	else if (pick(m, 3) == 0)
		gone(m, c);
}

/* --- a run ------------------------------------------------------------------------------------------------------------ */

static void step(struct model *m)
{
	switch (pick(m, 18)) {
	case 0:
	case 1:
		commit_something(m);
		return;
	case 2:
	case 3:
		log_one(m);
		return;
	case 4:
		come_or_go(m);
		return;
	case 5:
	case 6:
		hub_turn(m);
		return;
	case 7:
	case 8:
		execute_one(m, busy_lane(m, false));
		return;
	case 9:
	case 10:
		answer_one(m, busy_lane(m, true));
		return;
	case 11:
		world_pass(&m->w, pick(m, 3) * 100000);
		return;
	case 12:
		if (pick(m, 8) == 0)
			lose_lane(m, pick(m, m->lanes));
		else
			world_lanes(&m->w, m->lanes);
		return;
	case 13:
		cancel_one(m, pick(m, m->lanes));
		return;
	default:
		if (m->w.wanted[ADMIT_WHEN_READ] && pick(m, 2)) {
			m->w.wanted[ADMIT_WHEN_READ] = false;
			admissions_read(m->w.all);
		} else if (m->w.wanted[ADMIT_SOON]) {
			m->w.wanted[ADMIT_SOON] = false;
			admissions_soon(m->w.all);
		}
		return;
	}
}

/* Everything that is under way arrives. */
static void settle(struct model *m)
{
	m->is_well = true;
	admit_lane(m->w.all, 0, true);
	for (unsigned i = 0; i < 300; i++) {
		while (m->logged < m->made)
			log_one(m);
		world_turn(&m->w);
		for (unsigned k = 0; k < WORLD_MOST; k++) {
			execute_one(m, k % m->lanes);
			answer_one(m, k % m->lanes);
		}
		hub_turn(m);
		world_reach(&m->w, lsn_of(m->logged) + APART);
		world_pass(&m->w, 100000);
	}
	hub_turn(m);
}

/* Who lost the permission again is not owed what it was good for: perhaps no answer has ever known of it. */
static bool is_owed(const struct model *m, const struct client *c, unsigned commit)
{
	unsigned unit = m->commits[commit].unit;

	if (m->commits[commit].kind != MESSAGE || lsn_of(commit) < c->owed_from)
		return false;
	for (unsigned i = commit; i <= m->made; i++)
		if (!m->commits[i].is_member[c->user][unit])
			return false;
	return true;
}

static void judge(const struct model *m, const struct client *c)
{
	if (!c->is_here)
		return;
	if (!c->is_open || c->limit != LSN_MAX)
		fail_msg("seed %u: user %u waits for ever", m->seed, c->user);
	for (unsigned i = 1; i <= m->made; i++)
		if (is_owed(m, c, i) && !c->heard[i])
			fail_msg("seed %u: user %u has not heard commit %u of unit %u, behind %u", m->seed, c->user, i,
				 m->commits[i].unit, commit_of(c->owed_from));
}

static void play(uint32_t seed, bool with_changes, struct model *totals)
{
	static struct model m;

	memset(&m, 0, sizeof(m));
	m.seed = m.chance = seed;
	world_open(&m.w, WORLD_MEMBERSHIP);
	m.lanes = (unsigned)m.w.m.conf->database.admit_connections;
	for (unsigned u = 0; u < USERS; u++)
		for (unsigned k = 0; k < UNITS; k++)
			m.commits[0].is_member[u][k] = pick(&m, 4) > 0;
	if (!with_changes)
		memset(m.commits[0].is_member, true, sizeof(m.commits[0].is_member));
	for (unsigned i = 0; i < STEPS; i++)
		step(&m);
	settle(&m);
	for (size_t i = 0; i < CLIENTS; i++)
		judge(&m, &m.clients[i]);
	totals->delivered += m.delivered;
	totals->resyncs += m.resyncs;
	totals->refused += m.refused;
	for (size_t i = 0; i < CLIENTS; i++)
		leave_seats(&m, &m.clients[i]);
	for (unsigned i = 0; i < m.lanes; i++)
		lose_lane(&m, i);
	world_close(&m.w);
}

static void nobody_hears_more_or_less(void **state)
{
	const char *one = getenv("ADMIT_MODEL_SEED"), *runs = getenv("ADMIT_MODEL_RUNS");
	static struct model totals;
	uint32_t n = runs ? (uint32_t)strtoul(runs, NULL, 10) : RUNS;

	(void)state;
	if (one) {
		play((uint32_t)strtoul(one, NULL, 10), true, &totals);
		return;
	}
	for (uint32_t seed = 1; seed <= n; seed++)
		play(seed, true, &totals);
	printf("%u runs: %llu delivered, %llu resyncs, %llu refused\n", n, (unsigned long long)totals.delivered,
	       (unsigned long long)totals.resyncs, (unsigned long long)totals.refused);
	assert_true(totals.delivered > 8 * n);
	assert_true(totals.refused > n / 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nobody_hears_more_or_less),
	};

	log_setup("error", "logfmt");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
