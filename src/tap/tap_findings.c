/*
 * tap_findings: the checks of `walpush check`, made all the time: before the first client is accepted, behind a reload, when the catalog has changed,
 * and in each admin.check-interval. What they find is logged when it comes and when it goes, and stands in /status and in the metrics. A finding
 * stops nothing by itself: what must stop admissions (`stops`) is decided by the rules, in each replica (rules_stream, tap_published).
 *
 * With a relay, the replica that has the slot looks for all of them. Another one forgets what it found at its start.
 */
#include <stdlib.h>
#include <string.h>

#include "inspection.h"
#include "parts.h"
#include "walpush/base/clock.h"
#include "walpush/base/fail.h"
#include "walpush/base/log.h"
#include "walpush/base/mem.h"
#include "walpush/base/timetext.h"
#include "walpush/watch/found.h"

#define GAP 30000     /* ms from the beginning of one inspection to that of the next, unless check-interval is less */
#define PATIENCE 2000 /* ms: for so long clients are not accepted at the start */

struct findings {
	struct event *due, *patience;
	struct inspection *inspection; /* NULL: none is under way */
	struct found_set *found;
	struct repeat trouble;
	int64_t began; /* µs: the last inspection */
	int64_t at;    /* s since 1970: of the last report; 0: none yet */
	bool again;    /* the catalog has changed since the inspection began */
};

static int64_t interval_of(const struct tap *t)
{
	return t->now.conf->admin.check_interval;
}

static int64_t gap_of(const struct tap *t)
{
	return interval_of(t) < GAP ? interval_of(t) : GAP;
}

static void schedule(struct tap *t, int64_t ms)
{
	struct timeval wait = clock_timeval(ms * 1000);

	if (interval_of(t) && !t->stopping)
		event_add(t->findings->due, &wait);
}

/* --- what comes and goes ------------------------------------------------------------------------------------------- */

static void on_told(void *ctx, const struct found *f, bool came)
{
	(void)ctx;
	if (came)
		log_write(f->is_failure ? LOG_LEVEL_ERROR : LOG_LEVEL_WARN, "a check finds something",
			  LOG_FIELDS(log_s("check", f->check), log_s("found", f->text),
				     log_s("stops", f->stops ? "admissions" : "nothing"),
				     log_fix(f->fix ? f->fix : "")));
	else
		log_info("a check finds this no more", log_s("check", f->check), log_s("found", f->text));
}

static void say_trouble(struct findings *f, const struct fail *why)
{
	unsigned times;
	enum log_level level = repeat_level(&f->trouble, LOG_LEVEL_WARN, why->text, clock_us(), &times);

	log_write(level, "the checks could not be made", LOG_FIELDS(log_s("error", why->text), log_n("times", times)));
}

static void end(struct tap *t)
{
	struct findings *f = t->findings;

	tap_accept_begin(t);
	schedule(t, f->again ? gap_of(t) : interval_of(t));
	f->again = false;
}

static void on_report(void *ctx, const json_t *report, const struct fail *why)
{
	struct tap *t = ctx;
	struct findings *f = t->findings;

	f->inspection = NULL;
	if (report) {
		repeat_end(&f->trouble);
		f->at = clock_wall_us() / 1000000;
		found_take(f->found, report, f->at, on_told, t);
	} else {
		say_trouble(f, why);
	}
	end(t);
}

/* --- when ---------------------------------------------------------------------------------------------------------- */

static void inspect(struct tap *t)
{
	struct findings *f = t->findings;
	struct fail why = { 0 };

	f->began = clock_us();
	f->inspection = inspection_new(t->loop, t->now.conf, on_report, t, &why);
	if (f->inspection)
		return;
	say_trouble(f, &why);
	end(t);
}

static bool looks(const struct tap *t)
{
	return !t->way->is_shared || source_is_streaming(t->source);
}

/* Nothing is told: it may be there still, and the other replica says so. */
static void leave_to_other(struct tap *t)
{
	found_clear(t->findings->found);
	t->findings->at = 0;
	schedule(t, interval_of(t));
}

static void on_due(evutil_socket_t fd, short what, void *arg)
{
	struct tap *t = arg;

	(void)fd;
	(void)what;
	if (looks(t))
		inspect(t);
	else
		leave_to_other(t);
}

static void on_patience(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	tap_accept_begin(arg);
}

void tap_findings_changed(struct tap *t)
{
	struct findings *f = t->findings;
	int64_t since = (clock_us() - f->began) / 1000, gap = gap_of(t);

	f->again |= f->inspection != NULL;
	if (!f->inspection && f->began)
		schedule(t, since < gap ? gap - since : 0);
}

void tap_findings_reload(struct tap *t)
{
	struct findings *f = t->findings;

	inspection_cancel(f->inspection);
	f->inspection = NULL;
	event_del(f->due);
	if (interval_of(t))
		inspect(t);
	else
		found_clear(f->found);
}

void tap_findings_begin(struct tap *t)
{
	struct timeval patience = clock_timeval(PATIENCE * 1000);

	if (!interval_of(t)) {
		tap_accept_begin(t);
		return;
	}
	event_add(t->findings->patience, &patience);
	inspect(t);
}

/* --- what is shown --------------------------------------------------------------------------------------------------- */

void tap_findings_count(struct tap *t)
{
	const struct found_set *found = t->findings->found;

	metrics_found_clear(t->metrics);
	for (size_t i = 0; i < found_count(found); i++)
		metrics_found(t->metrics, found_at(found, i)->check,
			      found_at(found, i)->is_failure ? "failure" : "warning");
}

static json_t *json_of(const struct found *f)
{
	char since[TIMETEXT_MAX];

	return json_pack("{s:s, s:s, s:b, s:s, s:s?, s:s}", "check", f->check, "severity",
			 f->is_failure ? "failure" : "warning", "stops", f->stops, "text", f->text, "fix", f->fix,
			 "since", timetext_s(since, f->since));
}

static void add_those(json_t *all, const struct found_set *found, bool failures)
{
	for (size_t i = 0; i < found_count(found); i++)
		if (found_at(found, i)->is_failure == failures)
			json_array_append_new(all, json_of(found_at(found, i)));
}

json_t *tap_findings_status(const struct tap *t)
{
	json_t *all = json_array();

	add_those(all, t->findings->found, true);
	add_those(all, t->findings->found, false);
	return all;
}

int64_t tap_findings_at(const struct tap *t)
{
	return t->findings->at;
}

/* --- life ------------------------------------------------------------------------------------------------------------ */

void tap_findings_init(struct tap *t)
{
	t->findings = mem_new(sizeof(*t->findings));
	t->findings->found = found_set_new();
	t->findings->due = event_new(t->loop, -1, 0, on_due, t);
	t->findings->patience = event_new(t->loop, -1, 0, on_patience, t);
	if (!t->findings->due || !t->findings->patience)
		fail_never("libevent makes no timer for the checks");
}

void tap_findings_stop(struct tap *t)
{
	inspection_cancel(t->findings->inspection);
	t->findings->inspection = NULL;
	event_del(t->findings->due);
	event_del(t->findings->patience);
}

void tap_findings_fini(struct tap *t)
{
	tap_findings_stop(t);
	found_set_free(t->findings->found);
	event_free(t->findings->due);
	event_free(t->findings->patience);
	free(t->findings);
}
