#include "walpush/tap.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include "tap_impl.h"
#include "walpush/clock.h"
#include "walpush/log.h"
#include "walpush/mem.h"
#include "walpush/tls.h"

#define THREADS_DEFAULT_MOST 4
/* Another process has had the slot for so long: the connections go where the stream is. */
#define HELD_LIMIT 10000000 /* µs */
/* Beyond limits.drain, for the last close frames. */
#define DRAIN_GRACE 2000000 /* µs */

static unsigned hubs_wanted(const struct conf *conf)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);

	if (conf->listen.threads > 0)
		return (unsigned)conf->listen.threads < HUBS_MAX ? (unsigned)conf->listen.threads : HUBS_MAX;
	return cores < 1 ? 1 : cores > THREADS_DEFAULT_MOST ? THREADS_DEFAULT_MOST : (unsigned)cores;
}

/* --- mails of the hubs -------------------------------------------------------------------------------------------- */

static void hub_is_gone(struct tap *t)
{
	if (++t->hubs_gone == t->n_hubs)
		event_base_loopbreak(t->loop);
}

static void take_mail(struct tap *t, struct mail *mail)
{
	switch (mail->kind) {
	case MAIL_ADMIT:
		tap_admit(t, mail);
		return;
	case MAIL_ENDED:
		tap_admit_ended(t, mail);
		return;
	case MAIL_LEFT:
		topic_unsubscribe(mail->topic, mail->hub);
		return;
	case MAIL_GONE:
		hub_is_gone(t);
		return;
	default:
		abort();
	}
}

static void on_woken(evutil_socket_t fd, short what, void *arg)
{
	struct tap *t = arg;
	uint64_t count;
	size_t n;

	(void)what;
	if (read(fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
		abort();
	n = mailbox_take(&t->inbox, &t->taken, &t->taken_cap);
	for (size_t i = 0; i < n; i++)
		take_mail(t, &t->taken[i]);
}

/* --- stopping ------------------------------------------------------------------------------------------------------ */

static void close_all(struct tap *t, unsigned code, bool final)
{
	struct mail mail = { .kind = MAIL_CLOSE, .code = code, .wait = t->conf->limits.drain * 1000, .final = final };

	tap_tell_hubs(t, &mail);
}

static void on_drained(evutil_socket_t fd, short what, void *arg)
{
	struct tap *t = arg;

	(void)fd;
	(void)what;
	log_warn("some clients did not take their leave in time");
	event_base_loopbreak(t->loop);
}

/* The slot is let go at once, so that a successor can stream while our clients move over. */
static void begin_to_stop(struct tap *t)
{
	struct timeval limit = clock_timeval(t->conf->limits.drain * 1000 + DRAIN_GRACE);

	t->stopping = true;
	log_info("stopping", log_ms("drain_ms", t->conf->limits.drain * 1000), log_lsn("handled", t->window.handled));
	tap_stop_listening(t);
	source_stop(t->source);
	close_all(t, 1012, true);
	event_add(t->drained, &limit);
}

static void on_signal(evutil_socket_t fd, short what, void *arg)
{
	struct tap *t = arg;

	(void)fd;
	(void)what;
	if (t->stopping)
		event_base_loopbreak(t->loop);
	else
		begin_to_stop(t);
}

static void on_sighup(evutil_socket_t fd, short what, void *arg)
{
	struct tap *t = arg;

	(void)fd;
	(void)what;
	if (t->stopping)
		return;
	tap_reopen_audit(t);
	tap_reload_certificate(t);
	tap_reload(t);
}

/* µs: since when another process has what our connections want, as far as we know; 0: not. */
static int64_t served_elsewhere_since(const struct tap *t)
{
	if (t->relay)
		return relay_leaderless_since(t->relay);
	return source_is_held_by_other(t->source) ? source_down_since(t->source) : 0;
}

/* --- once a second -------------------------------------------------------------------------------------------------- */

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct tap *t = arg;
	int64_t now = clock_us(), down = served_elsewhere_since(t);

	(void)fd;
	(void)what;
	topiclog_tidy(t->log, now);
	tap_free_retired(t);
	tap_sample(t);
	flood_tell();
	if (t->relay)
		relay_trim(t->relay, window_confirm(&t->window, now));
	if (!t->stopping && down && now - down > HELD_LIMIT)
		close_all(t, 1012, false);
}

/* --- life ------------------------------------------------------------------------------------------------------------ */

/* While the intake is full and no question can be answered, the replication socket is not read: a server that wants to stop would wait
 * for us without end. So the stream is given up soon, and what was not published comes again. */
static void on_lookups_state(void *ctx, bool up, const struct fail *why)
{
	struct tap *t = ctx;

	(void)why;
	if (up)
		metrics_count(t->counts, METRICS_CONNECTS, "lookups");
	else
		tap_limit_stream(t);
}

static void on_admissions_state(void *ctx, bool up, const struct fail *why)
{
	struct tap *t = ctx;

	(void)why;
	if (up)
		metrics_count(t->counts, METRICS_CONNECTS, "admissions");
}

static struct event *must_event(struct event_base *loop, evutil_socket_t fd, short what, event_callback_fn fn,
				void *arg)
{
	struct event *e = event_new(loop, fd, what, fn, arg);

	if (!e)
		abort();
	return e;
}

static void make_events(struct tap *t)
{
	t->woken = must_event(t->loop, t->shared.wake_tap, EV_READ | EV_PERSIST, on_woken, t);
	t->tick = must_event(t->loop, -1, EV_PERSIST, on_tick, t);
	t->drained = must_event(t->loop, -1, 0, on_drained, t);
	tap_accept_init(t);
	t->sigterm = must_event(t->loop, SIGTERM, EV_SIGNAL | EV_PERSIST, on_signal, t);
	t->sigint = must_event(t->loop, SIGINT, EV_SIGNAL | EV_PERSIST, on_signal, t);
	t->sighup = must_event(t->loop, SIGHUP, EV_SIGNAL | EV_PERSIST, on_sighup, t);
	event_add(t->woken, NULL);
	event_add(t->tick, &(struct timeval){ 1, 0 });
	event_add(t->sigterm, NULL);
	event_add(t->sigint, NULL);
	event_add(t->sighup, NULL);
}

static bool start_hubs(struct tap *t, struct fail *why)
{
	unsigned n = hubs_wanted(t->conf);

	t->hubs = mem_new_array(n, sizeof(struct hub *));
	for (; t->n_hubs < n; t->n_hubs++) {
		t->hubs[t->n_hubs] = hub_new(t->n_hubs, t->edition, why);
		if (!t->hubs[t->n_hubs])
			return false;
	}
	for (unsigned i = 0; i < n; i++)
		if (!hub_start(t->hubs[i], why))
			return false;
	return true;
}

static void stop_hubs(struct tap *t)
{
	struct mail stop = { .kind = MAIL_STOP };

	tap_tell_hubs(t, &stop);
	for (unsigned i = 0; i < t->n_hubs; i++)
		hub_free(t->hubs[i]);
	free(t->hubs);
}

static struct event_base *make_loop(void)
{
	struct event_config *config = event_config_new();
	struct event_base *loop;

	/* Waits of a millisecond are meant as such. */
	if (!config || event_config_set_flag(config, EVENT_BASE_FLAG_PRECISE_TIMER) != 0)
		abort();
	loop = event_base_new_with_config(config);
	event_config_free(config);
	if (!loop)
		abort();
	return loop;
}

static uint64_t file_limit(void)
{
	struct rlimit limit;

	return getrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur : 0;
}

static bool tap_start(struct tap *t, struct fail *why)
{
	const struct conf *conf = t->conf;

	if (!tap_supports(conf, why) || !audit_open(t->shared.audit, conf->audit_file, why))
		return false;
	tap_feed_init(t);
	tap_stream_init(t);
	t->shared.log = t->log;
	t->gate = gate_new(file_limit(), hubs_wanted(conf));
	t->shared.gate = t->gate;
	if (!tap_begin_tls(t, why))
		return false;
	t->edition = edition_new(&t->shared, conf, false, why);
	if (!t->edition)
		return false;
	t->plain = t->edition->rules;
	t->admin = admin_new(t->loop, &conf->admin, &tap_admin_calls, t, why);
	if (!t->admin || !tap_listen(t, hubs_wanted(conf), why) || !start_hubs(t, why))
		return false;
	t->sql = sqlpipe_new(t->loop, "lookups", &conf->database, on_lookups_state, t);
	t->admissions_sql = sqlpipe_new(t->loop, "admissions", &conf->database, on_admissions_state, t);
	t->intake = intake_new(t->loop, &conf->limits, t->sql, t->counts, &tap_intake_calls, t);
	t->source = source_new(t->loop, &conf->database, &tap_source_calls, t);
	tap_relay_start(t);
	tap_read_catalog(t);
	return true;
}

struct tap *tap_new(const struct conf *conf, struct fail *why)
{
	struct tap *t = mem_new(sizeof(*t));

	signal(SIGPIPE, SIG_IGN);
	t->conf = conf;
	t->loop = make_loop();
	mailbox_init(&t->inbox);
	t->started = clock_wall_us() / 1000000;
	t->trail = trail_new();
	t->shared.audit = audit_new();
	t->metrics = t->shared.metrics = metrics_new(hubs_wanted(conf));
	t->counts = metrics_of_tap(t->metrics);
	t->shared.to_tap = &t->inbox;
	t->shared.wake_tap = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (t->shared.wake_tap < 0)
		abort();
	make_events(t);
	tap_admit_init(t);
	tap_catalog_init(t);
	tap_guard_init(t);
	if (tap_start(t, why))
		return t;
	tap_free(t);
	return NULL;
}

int tap_run(struct tap *t)
{
	event_base_dispatch(t->loop);
	flood_tell();
	return t->exit_status;
}

static void drop_mails(struct tap *t)
{
	size_t n = mailbox_take(&t->inbox, &t->taken, &t->taken_cap);

	for (size_t i = 0; i < n; i++)
		ticket_unref(t->taken[i].ticket);
	free(t->taken);
	mailbox_fini(&t->inbox);
}

static void free_events(struct tap *t)
{
	struct event *all[] = { t->woken, t->tick, t->drained, t->sigterm, t->sigint, t->sighup };

	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
		event_free(all[i]);
}

void tap_free(struct tap *t)
{
	stop_hubs(t);
	drop_mails(t);
	tap_reload_fini(t);
	tap_admit_fini(t);
	tap_accept_fini(t);
	admin_free(t->admin);
	source_free(t->source);
	relay_free(t->relay);
	intake_free(t->intake);
	sqlpipe_free(t->sql);
	sqlpipe_free(t->admissions_sql);
	if (t->log) {
		tap_stream_fini(t);
		tap_feed_fini(t);
	}
	tap_catalog_fini(t);
	tap_guard_fini(t);
	edition_unref(t->edition);
	gate_free(t->gate);
	tls_unref(t->shared.identity);
	audit_free(t->shared.audit);
	trail_free(t->trail);
	metrics_free(t->metrics);
	free_events(t);
	close(t->shared.wake_tap);
	event_base_free(t->loop);
	free(t);
}
