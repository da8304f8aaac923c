/*
 * tap_lanes: the connections for admit queries, each a lane of lanes.h.
 *
 * The first of database.admit-connections is always open, so that readiness knows whether there is one. The others are opened while questions wait,
 * one after the other, and closed when nothing was asked for IDLE_LIMIT. If one cannot be opened, the open ones are shared.
 */
#include <stdlib.h>

#include "parts.h"
#include "walpush/base/clock.h"
#include "walpush/base/mem.h"

#define IDLE_LIMIT 60000000 /* µs */

struct admit_lane {
	struct tap *t;
	unsigned n;
	struct sqlpipe *sql; /* NULL: not started yet */
	struct repeat said;  /* that it cannot be opened */
};

/* --- what admit calls ------------------------------------------------------------------------------------------- */

struct sqlpipe_query *tap_lanes_ask(void *ctx, unsigned lane, const struct admit_query *query, sqlpipe_done *done,
				    void *done_ctx)
{
	struct tap *t = ctx;

	return sqlpipe_ask(t->admit_lanes[lane].sql, query->name, query->sql, query->n_values, query->values, done,
			   done_ctx);
}

void tap_lanes_let_go(void *ctx, unsigned lane, struct sqlpipe_query *q)
{
	struct tap *t = ctx;

	sqlpipe_let_go(t->admit_lanes[lane].sql, q);
}

void tap_lanes_drop(void *ctx, unsigned lane)
{
	struct tap *t = ctx;

	sqlpipe_forget_all(t->admit_lanes[lane].sql);
}

static void say_shared(struct admit_lane *lane, const char *trouble)
{
	const struct tap *t = lane->t;
	struct admit_numbers n;
	unsigned times;
	enum log_level level = repeat_level(&lane->said, LOG_LEVEL_WARN, trouble, clock_us(), &times);

	admit_numbers(t->admissions, &n);
	log_write(level, "a connection for admissions cannot be opened, the open ones are shared",
		  LOG_FIELDS(log_n("open", n.open), log_n("most", n.most), log_s("error", trouble),
			     log_fix("raise max_connections or the role's CONNECTION LIMIT, or lower "
				     "database.admit-connections"),
			     log_n("times", times)));
}

void tap_lanes_open(void *ctx, unsigned lane)
{
	struct tap *t = ctx;
	struct admit_lane *one = &t->admit_lanes[lane];
	const char *trouble = sqlpipe_trouble(one->sql);

	if (trouble && lane > 0) /* sqlpipe logs what is wrong with the first one */
		say_shared(one, trouble);
	sqlpipe_open(one->sql);
}

bool tap_lanes_cancel(void *ctx, unsigned lane, int by)
{
	struct tap *t = ctx;

	return sqlpipe_cancel(t->admit_lanes[lane].sql, by < 0 ? t->sql : t->admit_lanes[by].sql);
}

/* --- life --------------------------------------------------------------------------------------------------------- */

static void on_state(void *ctx, bool up, const struct fail *why)
{
	struct admit_lane *lane = ctx;
	struct tap *t = lane->t;

	(void)why;
	if (up)
		metrics_count(t->counts, METRICS_CONNECTS, lane->n ? "admissions_on_demand" : "admissions");
	if (up && repeat_end(&lane->said))
		log_info("a connection for admissions can be opened again");
	admit_lane(t->admissions, lane->n, up);
}

void tap_lanes_start(struct tap *t)
{
	const struct conf_database *conf = &t->now.conf->database;
	struct admit_lane *lanes = t->admit_lanes;

	lanes[0].sql = sqlpipe_new(t->loop, t->names, "admissions", conf, t->suspects, on_state, &lanes[0]);
	for (unsigned i = 1; i < conf->admit_connections; i++)
		lanes[i].sql = sqlpipe_new_on_demand(t->loop, t->names, "admissions, on demand", conf, t->suspects,
						     IDLE_LIMIT, on_state, &lanes[i]);
	for (unsigned i = 0; i < conf->admit_connections; i++) {
		sqlpipe_anchor(lanes[i].sql, &t->anchor);
		sqlpipe_login(lanes[i].sql, &t->login);
	}
}

void tap_lanes_renew(struct tap *t)
{
	for (unsigned i = 0; i < t->now.conf->database.admit_connections; i++)
		sqlpipe_renew(t->admit_lanes[i].sql);
}

void tap_lanes_hurry(struct tap *t)
{
	for (unsigned i = 0; i < t->now.conf->database.admit_connections; i++)
		sqlpipe_hurry(t->admit_lanes[i].sql);
}

bool tap_lanes_is_up(const struct tap *t)
{
	struct admit_numbers n;

	admit_numbers(t->admissions, &n);
	return n.open > 0;
}

const char *tap_lanes_trouble(const struct tap *t)
{
	return sqlpipe_trouble(t->admit_lanes[0].sql);
}

unsigned tap_lanes_failed(const struct tap *t)
{
	unsigned n = 0;

	for (unsigned i = 0; i < t->now.conf->database.admit_connections; i++)
		n += sqlpipe_trouble(t->admit_lanes[i].sql) != NULL;
	return n;
}

void tap_lanes_init(struct tap *t)
{
	unsigned n = (unsigned)t->now.conf->database.admit_connections;

	t->admit_lanes = mem_new_array(n, sizeof(*t->admit_lanes));
	for (unsigned i = 0; i < n; i++)
		t->admit_lanes[i] = (struct admit_lane){ .t = t, .n = i };
}

void tap_lanes_fini(struct tap *t)
{
	for (unsigned i = 0; i < t->now.conf->database.admit_connections; i++)
		sqlpipe_free(t->admit_lanes[i].sql);
	free(t->admit_lanes);
}
