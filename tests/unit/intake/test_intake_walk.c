/*
 * Random walks through what can happen in any order: receipt, visibility, the server's turn, answers, timers, limits, lost sessions, failures,
 * lost streams, looks.
 *
 * Each session of the walk answers in order, as of the moment at which it comes to a question, and as late as it likes. The sessions for
 * questions may even be behind that for rows, each by itself, as if they were on standbys. Lookups answer with the set of transactions that
 * their session sees. So the groups of a message show what its row's answer had seen, and these must hold:
 *
 *   - transactions are published in the order of commits, each once, whole;
 *   - none that has rows before it is visible to new sessions;
 *   - no answer counts that was computed before its row's transaction was visible;
 *   - DDL is published after a look that began when the transaction was visible;
 *   - content of a data query has not seen a later change of a membership, or a later transaction that deleted the row;
 *   - receivers by a lookup that reads the row have not seen a later transaction that changed it;
 *   - a row without its message has a mark or a bulk message, and only after something failed or took too long, or after such a change;
 *   - when all is visible and answered, all is published.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "heard.h"
#include "held.h"

#define WALKS 1500
#define STEPS 400
#define TRANSACTIONS 6
#define ROWS 3 /* limits.bulk of held.h: no more of them may ask */

struct planned { /* one transaction, its commit number the index and 1 */
	unsigned xid;
	char rows[ROWS + 1]; /* words of held.h; 'A' asks what all ask */
};

static struct walk {
	uint64_t random;
	struct planned plan[TRANSACTIONS];
	unsigned visible;    /* bits of transactions */
	unsigned sees;       /* the same, in the session for questions */
	unsigned at;         /* what is sent next: the transaction, */
	unsigned record;     /* and of it 0 the BEGIN, then rows, then the COMMIT */
	unsigned done;       /* published or handled */
	unsigned n_contents; /* rows with the answer of a data query */
	unsigned n_named;    /* rows that others change, with receivers by lookup */
	unsigned n_lost;
	bool has_failed; /* a lookup failed, or was given up: rows may have marks from now on */
	bool wants_look, is_looking;
	unsigned look_sees, looked; /* what the look under way sees; what ended looks saw */
} walk;

static unsigned chance(unsigned n)
{
	walk.random = walk.random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (unsigned)(walk.random >> 33) % n;
}

/* --- what must hold ---------------------------------------------------------------------------------------------- */

static bool has(const struct planned *p, const char *kinds)
{
	return strpbrk(p->rows, kinds) != NULL;
}

/* The data query shows the set of transactions that it has seen, as `x`. Rows of shows have the same key in all transactions. */
static void check_contents(const struct txn *t)
{
	for (size_t i = 0; i < txn_n_messages(t); i++) {
		struct txn_message m = txn_message(t, i);
		json_t *payload = json_loadb(m.payload.at, m.payload.len, 0, NULL);
		unsigned sees = (unsigned)json_integer_value(json_object_get(json_object_get(payload, "data"), "x"));

		for (unsigned k = walk.done + 1; k < TRANSACTIONS; k++)
			if (sees & 1u << k)
				assert_false(has(&walk.plan[k], "dD"));
		walk.n_contents += sees != 0;
		json_decref(payload);
	}
}

/* Rows of asks that are changed have key 1 in all transactions. */
static bool is_of_the_changed(const struct txn_message *m)
{
	json_t *payload = json_loadb(m->payload.at, m->payload.len, 0, NULL);
	bool is = json_integer_value(json_object_get(payload, "asks_id")) == 1;

	json_decref(payload);
	return is;
}

/* A name marks where a value stands in it, so its number does not begin where the literal ends. */
static void check_groups(const struct txn *t, unsigned bit)
{
	for (size_t i = 0; i < txn_n_messages(t); i++) {
		struct txn_message m = txn_message(t, i);
		unsigned long sees;

		if (!m.n_groups || strncmp(m.groups, "a_", 2) != 0 || m.is_bulk)
			continue;
		sees = strtoul(strpbrk(m.groups, "0123456789"), NULL, 10);
		assert_true(sees & bit);
		if (!is_of_the_changed(&m))
			continue;
		for (unsigned k = walk.done + 1; k < TRANSACTIONS; k++)
			if (sees & 1u << k && held.reads_itself)
				assert_false(has(&walk.plan[k], "Q"));
		walk.n_named++;
	}
}

static bool has_bulk(const struct txn *t)
{
	for (size_t i = 0; i < txn_n_messages(t); i++)
		if (txn_message(t, i).is_bulk)
			return true;
	return false;
}

static void on_publish(void *ctx, const struct txn *t, lsn_t next_lsn)
{
	const struct planned *p = &walk.plan[walk.done];
	unsigned bit = 1u << walk.done;
	size_t rows = 0;

	(void)ctx;
	assert_int_equal(txn_lsn(t) >> 8, walk.done + 1);
	assert_int_equal(next_lsn, txn_lsn(t) + 0x40);
	assert_true(walk.visible & bit);
	for (const char *c = p->rows; *c; c++)
		rows += strchr("paAhDQ", *c) != NULL;
	if (txn_n_messages(t) != rows)
		assert_true((walk.has_failed || has(p, "Q")) && txn_n_messages(t) < rows &&
			    (txn_n_marks(t) || has_bulk(t)));
	check_groups(t, bit);
	check_contents(t);
	assert_int_equal(txn_n_members(t) > 0, has(p, "md"));
	if (has(p, "m"))
		assert_true(walk.looked & bit);
	walk.done++;
}

static void on_handled(void *ctx, lsn_t next_lsn)
{
	(void)ctx;
	assert_int_equal(next_lsn >> 8, walk.done + 1);
	assert_false(has(&walk.plan[walk.done], "paAmhdDQ"));
	if (has(&walk.plan[walk.done], "u"))
		assert_true(walk.visible & 1u << walk.done);
	walk.done++;
}

static void on_look(void *ctx)
{
	(void)ctx;
	walk.wants_look = true;
}

static void on_broken(void *ctx, enum intake_broken kind, const struct intake_place *place, const struct fail *why)
{
	(void)ctx;
	(void)kind;
	(void)place;
	fail_msg("broken: %s", why->text);
}

/* The log comes by itself. */
static void on_hear(void *ctx)
{
	(void)ctx;
}

static const struct intake_calls calls = { held_half_told, on_publish, on_handled,   held_pause, held_stale,   on_look,
					   on_broken,      on_hear,    held_overlap, held_reads, held_promoted };

/* --- steps ------------------------------------------------------------------------------------------------------- */

static bool send_next(void)
{
	const struct planned *p = &walk.plan[walk.at];
	char word[16];

	if (walk.at == TRANSACTIONS)
		return false;
	if (walk.record == 0)
		snprintf(word, sizeof(word), "B%u@%u", p->xid, walk.at + 1);
	else if (walk.record > strlen(p->rows))
		strcpy(word, "C");
	else if (p->rows[walk.record - 1] == 'A')
		strcpy(word, "a1");
	else if (strchr("hDQ", p->rows[walk.record - 1]))
		snprintf(word, sizeof(word), "%c1", p->rows[walk.record - 1]);
	else
		snprintf(word, sizeof(word), "%c%u", p->rows[walk.record - 1], 10 + walk.at);
	if (walk.record++ > strlen(p->rows)) {
		walk.record = 0;
		walk.at++;
	}
	held_event(word);
	return true;
}

static bool show_one(void)
{
	unsigned i = chance(TRANSACTIONS);

	walk.visible |= 1u << i;
	return true;
}

static bool catch_up(void)
{
	walk.sees |= walk.visible & chance(1u << TRANSACTIONS);
	return true;
}

static void on_replace(void *at)
{
	held_replace(at);
	walk.sees = walk.visible & chance(1u << TRANSACTIONS);
}

static char *snapshot_text(unsigned sees)
{
	struct buf text = { 0 }, running = { 0 };
	unsigned xmin = 100, xmax = 100;

	buf_add_text(&running, "");
	for (unsigned xid = xmax; xid-- > 0;)
		for (unsigned i = 0; i < TRANSACTIONS; i++)
			if (walk.plan[i].xid == xid && !(sees & 1u << i))
				xmin = xid;
	for (unsigned xid = xmin; xid < xmax; xid++)
		for (unsigned i = 0; i < TRANSACTIONS; i++)
			if (walk.plan[i].xid == xid && !(sees & 1u << i))
				buf_addf(&running, "%s%u", running.len ? "," : "", xid);
	buf_addf(&text, "%u:%u:%s", xmin, xmax, running.data);
	buf_fini(&running);
	return buf_steal(&text);
}

/* Whatever is visible is flushed. */
static char *position_text(void)
{
	struct buf text = { 0 };
	unsigned flushed = 0;

	for (unsigned i = 0; i < TRANSACTIONS; i++)
		if (walk.visible & 1u << i)
			flushed = i + 1;
	buf_addf(&text, "f%u", flushed);
	return buf_steal(&text);
}

static char *data_text(void)
{
	struct buf text = { 0 };

	if (!chance(40)) {
		walk.has_failed = true;
		return mem_text("!42501");
	}
	buf_addf(&text, "{\"x\":%u}", walk.sees);
	return buf_steal(&text);
}

static char *lookup_text(void)
{
	static const char *const failures[] = { "!55P03", "!57014", "!42501" };
	struct buf text = { 0 };

	if (!chance(40)) {
		walk.has_failed = true;
		return mem_text(failures[chance(3)]);
	}
	buf_addf(&text, "%u", walk.sees);
	return buf_steal(&text);
}

/* The oldest question of this session that the server has, or has not, come to. */
static struct held_question *oldest(enum outside_session session, bool is_served)
{
	for (size_t i = 0; i < held.n_questions; i++) {
		struct held_question *q = held.questions[i];

		if (q->session == session && (is_served || !q->state))
			return is_served && !q->state ? NULL : q;
	}
	return NULL;
}

static bool serve_in(enum outside_session session)
{
	struct held_question *q = oldest(session, false);

	if (!q)
		return false;
	if (q->is_snapshot)
		q->state =
			chance(60) ? snapshot_text(session == OUTSIDE_ROWS ? walk.visible : walk.sees) : mem_text("!");
	else
		q->state = q->is_position ? position_text() : q->is_data ? data_text() : lookup_text();
	return true;
}

static bool answer_in(enum outside_session session)
{
	struct held_question *q = oldest(session, true);
	char *text;

	if (!q)
		return false;
	text = mem_text(q->state);
	if (q->is_position)
		held_answer_position(text);
	else
		held_answer_in(session, q->is_snapshot, text);
	free(text);
	return true;
}

static bool serve(void)
{
	return serve_in(chance(OUTSIDE_SPARE + 1));
}

static bool answer(void)
{
	return answer_in(chance(OUTSIDE_SPARE + 1));
}

static bool fire(void)
{
	return held_fire(chance(2) ? OUTSIDE_TIMER_ROWS : OUTSIDE_TIMER_QUESTIONS);
}

/* limits.answer, or the wait before a probe. */
static bool fire_late(void)
{
	if (chance(8))
		return false;
	walk.has_failed = true;
	return held_fire(chance(2) ? OUTSIDE_TIMER_ANSWER : OUTSIDE_TIMER_PROBE);
}

static bool fire_heard(void)
{
	if (!chance(8)) {
		held.now += HEARD_PATIENCE;
		walk.has_failed = true; /* what is answered now was slow */
	}
	return held_fire(OUTSIDE_TIMER_HEARD);
}

static bool lose_session(void)
{
	if (chance(16))
		return false;
	intake_session_lost(held.intake, NULL);
	return true;
}

static bool look(void)
{
	if (!walk.is_looking && walk.wants_look) {
		walk.is_looking = true;
		walk.look_sees = walk.visible;
		intake_looks(held.intake, chance(2));
	} else if (walk.is_looking) {
		walk.is_looking = walk.wants_look = false;
		walk.looked |= walk.look_sees;
		intake_looked(held.intake);
	} else {
		return false;
	}
	return true;
}

/* The stream begins again at the first that is not handled, or some before it. */
static bool lose(void)
{
	if (walk.n_lost == 2)
		return false;
	walk.n_lost++;
	intake_clear(held.intake);
	walk.wants_look = walk.is_looking; /* the intake asks once more; a look under way goes on */
	walk.at = walk.done ? walk.done - chance(walk.done + 1) : 0;
	walk.record = 0;
	held.handled = (walk.done << 8) + 1;
	return true;
}

static bool step(void)
{
	static bool (*const steps[])(void) = { send_next, send_next, show_one, serve,        serve,
					       serve,     answer,    answer,   answer,       fire,
					       look,      fire_late, catch_up, lose_session, fire_heard };
	unsigned i = chance(sizeof(steps) / sizeof(*steps) * 4 + 1);

	return i == sizeof(steps) / sizeof(*steps) * 4 ? lose() : steps[i / 4]();
}

/* --- walks ------------------------------------------------------------------------------------------------------- */

/* xids in any order: who begins first need not commit first. */
static void draw_plan(void)
{
	for (unsigned i = 0; i < TRANSACTIONS; i++) {
		struct planned *p = &walk.plan[i];
		size_t n = chance(ROWS + 1);

		do {
			p->xid = 10 + chance(50);
			for (unsigned k = 0; k < i; k++)
				if (walk.plan[k].xid == p->xid)
					p->xid = 0;
		} while (!p->xid);
		for (size_t k = 0; k < n; k++)
			p->rows[k] = "ppaaAAumhhhdDQQ"[chance(15)];
		p->rows[n] = '\0';
	}
}

static bool finish_sessions(void)
{
	bool any = false;

	for (unsigned session = 0; session <= OUTSIDE_SPARE; session++)
		any |= answer_in(session) | serve_in(session);
	return any;
}

static void finish(void)
{
	walk.n_lost = 2;
	walk.visible = (1u << TRANSACTIONS) - 1;
	for (unsigned i = 0; i < 10 * STEPS && walk.done < TRANSACTIONS; i++) {
		walk.sees = walk.visible; /* another session may have taken the place of the one before */
		if (!(send_next() | look() | finish_sessions()))
			held_fire(i % 2 ? OUTSIDE_TIMER_ROWS : OUTSIDE_TIMER_QUESTIONS);
	}
	assert_int_equal(walk.done, TRANSACTIONS);
	assert_true(intake_is_idle(held.intake));
}

static void walk_once(unsigned seed)
{
	walk = (struct walk){ .random = seed };
	held.is_shared = chance(2);
	held.reads_itself = chance(2);
	draw_plan();
	for (unsigned i = 0; i < STEPS && walk.done < TRANSACTIONS; i++)
		step();
	finish();
}

static int open_walk(void **state)
{
	held_open(state);
	held.outside.replace = on_replace;
	intake_free(held.intake);
	held.intake =
		intake_new_in(&held.outside, &held.rules.conf->limits, metrics_of_tap(held.metrics), &calls, NULL);
	intake_rules(held.intake, held.rules.rules);
	return 0;
}

static void whatever_comes_first_the_order_holds(void **state)
{
	unsigned n_contents = 0, n_named = 0;

	for (unsigned seed = 1; seed <= WALKS; seed++) {
		walk_once(seed);
		n_contents += walk.n_contents;
		n_named += walk.n_named;
		held_close(state);
		open_walk(state);
	}
	assert_true(n_contents > WALKS / 4 && n_named > WALKS / 16); /* not all of them are left out */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(whatever_comes_first_the_order_holds, open_walk, held_close),
	};

	return HELD_RUN(tests);
}
