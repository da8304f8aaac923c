#include "walpush/admit/admit.h"

#include <stdlib.h>
#include <utlist.h>

#include "parts.h"
#include "walpush/base/mem.h"

void admit_came(struct admissions *all, struct mail *mail)
{
	struct listener *l = listener_new(all, mail);
	int64_t most = all->present->conf->limits.per_user;

	all->n_tokens++;
	if (most > 0 && l->member->n > most)
		listener_refuse(l, 4429, "user", "too many connections of this user");
	else if (!listener_stream(l))
		listener_refuse(l, 1012, "reload", "the stream has changed");
	else
		ask_about(l);
}

void admit_renewed(struct admissions *all, struct mail *mail)
{
	all->n_tokens++;
	renew_by(all, mail);
}

void admit_ended(struct admissions *all, const struct mail *mail)
{
	struct listener *l = listener_find(all, mail);

	if (l) /* NULL: it was refused with 4429 */
		listener_free(l);
}

void admit_reached(struct admissions *all)
{
	answer_reached(all);
	ask_all_waiting(all);
}

void admit_changed(struct admissions *all, lsn_t commit, const char *user)
{
	change_of(all, commit, user);
}

void admit_anew(struct admissions *all, lsn_t floor, const char *reason)
{
	change_anew(all, floor, reason);
}

void admit_recheck(struct admissions *all)
{
	ring_set_all(all);
}

/* New connections go first. */
void admissions_soon(struct admissions *all)
{
	send_due(all);
	if (turn_share(all))
		send_due(all);
}

void admit_lane(struct admissions *all, unsigned lane, bool is_up)
{
	send_lane(all, lane, is_up);
}

void admissions_read(struct admissions *all)
{
	turn_read(all);
}

void admissions_tick(struct admissions *all)
{
	int64_t now = admit_clock(all);

	answer_look(all, now);
	send_look(all, now);
	ask_the_failed(all);
	turn_look(all, now);
	if (all->unanswered || all->batches || lanes_is_busy(&all->lanes) || turn_waits(all))
		admit_wake(all, ADMIT_AFTER_A_TICK);
}

int64_t admit_rechecks(const struct admissions *all, uint64_t stream)
{
	return ring_every(all, stream);
}

int admit_waiting(const struct admissions *all)
{
	return turn_count(all);
}

void admit_numbers(const struct admissions *all, struct admit_numbers *out)
{
	out->open = lanes_open(&all->lanes);
	out->most = all->lanes.n;
	out->slow = lanes_slow_waiting(&all->lanes);
	out->waiting = lanes_waiting(&all->lanes) + out->slow;
	out->tokens = all->n_tokens;
	out->cancelled = all->n_cancelled;
}

bool admit_is_unanswered(const struct admissions *all)
{
	return outage_is(&all->outage, admit_clock(all));
}

static json_t *lanes_status(const struct admissions *all)
{
	struct admit_numbers n;

	admit_numbers(all, &n);
	return json_pack("{s:i, s:i, s:i, s:i, s:I}", "open", (int)n.open, "most", (int)n.most, "waiting",
			 (int)n.waiting, "slow", (int)n.slow, "cancelled", (json_int_t)n.cancelled);
}

json_t *admit_status(const struct admissions *all)
{
	const struct listener *l;
	const struct batch *b;
	int waiting = turn_count(all), unanswered = waiting, held = 0;

	DL_FOREACH2(all->unanswered, l, next_unanswered)
		unanswered++;
	DL_FOREACH(all->batches, b)
		DL_FOREACH(b->listeners, l)
			held += !l->waits_from;
	return json_pack("{s:i, s:i, s:i, s:I, s:I, s:I, s:i, s:o}", "connections", (int)HASH_COUNT(all->listeners),
			 "unanswered", unanswered, "held", held, "asked", (json_int_t)all->n_asked, "queries",
			 (json_int_t)all->n_queries, "rounds", (json_int_t)all->rounds.n, "waiting", waiting,
			 "database", lanes_status(all));
}

struct admissions *admissions_new(const struct admit_present *present, const struct admit_calls *calls, void *ctx)
{
	struct admissions *all = mem_new(sizeof(*all));

	all->present = present;
	all->calls = calls;
	all->ctx = ctx;
	send_init(all);
	answer_init(all);
	return all;
}

void admissions_free(struct admissions *all)
{
	struct listener *l, *next;

	HASH_ITER(hh, all->listeners, l, next)
		listener_free(l);
	send_fini(all);
	answer_fini(all);
	ring_fini(all);
	member_fini(all);
	free(all);
}
