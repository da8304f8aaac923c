#include "walpush/tap/tap.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include "parts.h"
#include "walpush/base/clock.h"
#include "walpush/base/fail.h"
#include "walpush/base/files.h"
#include "walpush/base/log.h"
#include "walpush/base/mem.h"
#include "walpush/base/memory.h"
#include "walpush/share/tls.h"

/* Bytes that must be free at the start: for buffers of the connections to the databases; and for each hub, for its stack and the tables of
 * libwebsockets. These tables also have a pointer for each open file. */
#define MEMORY_LEAST (24u << 20)
#define MEMORY_PER_HUB (4u << 20)
/* Another process has had the slot for this long: the connections are closed, so that the clients find that process. */
#define HELD_LIMIT 10000000 /* µs */

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
		admit_came(t->admissions, mail);
		return;
	case MAIL_RENEW:
		admit_renewed(t->admissions, mail);
		return;
	case MAIL_ENDED:
		admit_ended(t->admissions, mail);
		return;
	case MAIL_LEFT:
		topic_unsubscribe(t->now.log, mail->topic, mail->hub);
		return;
	case MAIL_TRACED:
		tap_explain_traced(t, mail);
		return;
	case MAIL_GONE:
		hub_is_gone(t);
		return;
	default:
		fail_never("the tap received a mail of kind %d", (int)mail->kind);
	}
}

/* EAGAIN means that the counter of the eventfd is full: then the tap has not read it, and is awake. Any thread. */
static void wake(void *ctx)
{
	static const uint64_t one = 1;
	const struct tap *t = ctx;

	if (write(t->wake_fd, &one, sizeof(one)) < 0 && errno != EAGAIN)
		fail_never("the tap cannot be woken: %s", strerror(errno));
}

static void on_woken(evutil_socket_t fd, short what, void *arg)
{
	struct tap *t = arg;
	uint64_t count;
	size_t n;

	(void)what;
	if (read(fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
		fail_never("the tap cannot read its eventfd: %s", strerror(errno));
	n = mailbox_take(&t->inbox, &t->taken, &t->taken_cap);
	for (size_t i = 0; i < n; i++)
		take_mail(t, &t->taken[i]);
}

/* --- signals ------------------------------------------------------------------------------------------------------- */

static void on_signal(evutil_socket_t fd, short what, void *arg)
{
	struct tap *t = arg;

	(void)fd;
	(void)what;
	if (t->stopping)
		event_base_loopbreak(t->loop);
	else
		tap_stop(t);
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

/* After a large record the connection keeps a buffer of this size until it is renewed. */
static void renew_source(struct tap *t)
{
	lsn_t large = intake_large(t->intake);

	if (large && !t->stopping && t->window.handled >= large && t->way->safe(t) >= large)
		source_renew(t->source);
}

/* --- once a second -------------------------------------------------------------------------------------------------- */

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct tap *t = arg;
	int64_t now = clock_us(), down = t->way->elsewhere_since(t);

	(void)fd;
	(void)what;
	topiclog_tidy(t->now.log, now);
	tap_free_retired(t);
	memory_tick();
	tap_progress_look(t);
	renew_source(t);
	tap_sample(t);
	flood_tell();
	t->way->tick(t, window_confirm(&t->window, now));
	if (!t->stopping && down && now - down > HELD_LIMIT)
		tap_close_all(t, false);
}

/* --- life ------------------------------------------------------------------------------------------------------------ */

/* While the intake is full and no query can be answered, the replication socket is not read: a server that wants to stop would wait for
 * walpush for ever. So the replication stream is given up soon, and what is not published comes again. */
static void on_visibility_state(void *ctx, bool up, const struct fail *why)
{
	struct tap *t = ctx;

	(void)why;
	if (up)
		metrics_count(t->counts, METRICS_CONNECTS, "visibility");
	else
		tap_flow_limit(t);
}

static void on_asking_state(void *ctx, bool up, const struct fail *why)
{
	struct asking *a = ctx;

	(void)why;
	if (up)
		metrics_count(a->tap->counts, METRICS_CONNECTS, a->name);
	else
		intake_session_lost(a->tap->intake, a->sql);
}

static struct event *must_event(struct event_base *loop, evutil_socket_t fd, short what, event_callback_fn fn,
				void *arg)
{
	struct event *e = event_new(loop, fd, what, fn, arg);

	if (!e)
		fail_never("libevent makes no event for the tap");
	return e;
}

/* Before this call SIGTERM and SIGINT end the process at once, see cmd_run.c. */
static void listen_to_signals(struct tap *t)
{
	event_add(t->sigterm, NULL);
	event_add(t->sigint, NULL);
	event_add(t->sighup, NULL);
}

static void make_events(struct tap *t)
{
	t->woken = must_event(t->loop, t->wake_fd, EV_READ | EV_PERSIST, on_woken, t);
	t->tick = must_event(t->loop, -1, EV_PERSIST, on_tick, t);
	tap_accept_init(t);
	t->sigterm = must_event(t->loop, SIGTERM, EV_SIGNAL | EV_PERSIST, on_signal, t);
	t->sigint = must_event(t->loop, SIGINT, EV_SIGNAL | EV_PERSIST, on_signal, t);
	t->sighup = must_event(t->loop, SIGHUP, EV_SIGNAL | EV_PERSIST, on_sighup, t);
	event_add(t->woken, NULL);
	event_add(t->tick, &(struct timeval){ 1, 0 });
}

/* A hub that does not wake does not take MAIL_STOP either, and nothing that it uses can be freed while its thread runs. */
static _Noreturn void give_up(const struct fail *why)
{
	log_error("cannot start", log_s("error", why->text));
	_exit(EXIT_FAILURE);
}

static bool start_hubs(struct tap *t, struct fail *why)
{
	unsigned n = edition_hubs(t->now.conf);

	t->hubs = mem_new_array(n, sizeof(struct hub *));
	for (; t->n_hubs < n; t->n_hubs++) {
		t->hubs[t->n_hubs] = hub_new(t->n_hubs, t->now.edition, why);
		if (!t->hubs[t->n_hubs])
			return false;
	}
	/* One hub after the other: if a later hub fails, the earlier ones are known to wake, and take MAIL_STOP. */
	for (unsigned i = 0; i < n; i++) {
		if (!hub_start(t->hubs[i], why))
			return false;
		if (!hub_wakes(t->hubs[i], why))
			give_up(why);
	}
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

	/* A wait of a millisecond must take a millisecond. */
	if (!config || event_config_set_flag(config, EVENT_BASE_FLAG_PRECISE_TIMER) != 0)
		fail_never("libevent makes no configuration with precise timers");
	loop = event_base_new_with_config(config);
	event_config_free(config);
	if (!loop)
		fail_never("libevent makes no event loop: %s", strerror(errno));
	return loop;
}

static uint64_t file_limit(void)
{
	struct rlimit limit;

	return getrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur : 0;
}

/* Checked before anything is made: the libraries hang or crash if they get too little. */
static bool has_room(unsigned hubs, struct fail *why)
{
	uint64_t files = file_limit();
	size_t memory = MEMORY_LEAST + hubs * (MEMORY_PER_HUB + (size_t)files * sizeof(void *));

	if (!files_suffice(files, hubs, why))
		return false;
	return mem_is_there(memory) || fail_set(why,
						"there is too little memory: walpush with %u %s needs %zu MiB to "
						"start; raise the limit (ulimit -v, "
						"ulimit -d, LimitAS, LimitDATA)",
						hubs, hubs == 1 ? "thread" : "threads", memory >> 20);
}

static void catalog_changed(struct tap *t)
{
	tap_findings_changed(t);
	tap_read_catalog(t);
}

static const struct tap_wires wires = { tap_stop_reached, tap_stop_released, tap_catalog_watched,
					catalog_changed,  tap_ddl_looked,    tap_stream_promoted };

static void start_asking(struct tap *t)
{
	static const char *const names[] = { "lookups", "spare" };

	for (size_t i = 0; i < 2; i++) {
		struct asking *a = &t->asking[i];

		*a = (struct asking){ .tap = t, .name = names[i] };
		a->sql = sqlpipe_new(t->loop, t->names, a->name, &t->now.conf->database, t->suspects, on_asking_state,
				     a);
		sqlpipe_anchor(a->sql, &t->anchor);
		sqlpipe_login(a->sql, &t->login);
	}
}

/* Connections to the server, and what they feed. */
static void start_feeding(struct tap *t)
{
	const struct conf *conf = t->now.conf;
	struct sqlpipe *questions[2];

	t->sql = sqlpipe_new(t->loop, t->names, "visibility", &conf->database, t->suspects, on_visibility_state, t);
	sqlpipe_anchor(t->sql, &t->anchor);
	sqlpipe_login(t->sql, &t->login);
	start_asking(t);
	questions[0] = t->asking[0].sql;
	questions[1] = t->asking[1].sql;
	tap_lanes_start(t);
	tap_watch_start(t);
	tap_explain_start(t);
	t->intake = intake_new(t->loop, &conf->limits, t->sql, questions, t->counts, &tap_intake_calls, t);
	intake_async_commits(t->intake, conf->database.async_commits);
	t->source = source_new(t->loop, t->names, &conf->database, &tap_source_calls, t);
	source_login(t->source, &t->login);
	if (conf->relay.url)
		way_relay_begin(t);
}

static bool tap_start(struct tap *t, struct fail *why)
{
	const struct conf *conf = t->now.conf;

	if (!tap_supports(conf, why) || !audit_open(t->shared.audit, conf->audit_file, why))
		return false;
	tap_feed_init(t);
	tap_flow_init(t);
	t->shared.log = t->now.log;
	t->shared.n_hubs = edition_hubs(conf);
	t->gate = gate_new(file_limit(), edition_hubs(conf));
	t->shared.gate = t->gate;
	if (!tap_begin_tls(t, why))
		return false;
	t->now.edition = edition_new(&t->shared, conf, false, why);
	if (!t->now.edition)
		return false;
	t->now.plain = t->now.edition->rules;
	admit_recheck(t->admissions);
	t->admin = admin_new(t->loop, &conf->admin, &tap_admin_calls, t, why);
	if (!t->admin || !start_hubs(t, why) || !tap_listen(t, why))
		return false;
	start_feeding(t);
	tap_read_catalog(t);
	tap_findings_begin(t);
	listen_to_signals(t);
	return true;
}

struct tap *tap_new(const struct conf *conf, struct fail *why)
{
	struct tap *t;

	if (!has_room(edition_hubs(conf), why))
		return NULL;
	mem_set_relief(memory_relief);
	memory_guard();
	t = mem_new(sizeof(*t));
	t->now.conf = conf;
	t->loop = make_loop();
	t->names = resolve_new(t->loop, true);
	t->suspects = suspects_new();
	t->anchor = (struct anchor){ .astray = tap_stream_astray, .ctx = t };
	mailbox_init(&t->inbox, wake, t);
	t->started = clock_wall_us() / 1000000;
	t->trail = trail_new();
	t->shared.audit = audit_new();
	t->metrics = t->shared.metrics = metrics_new(edition_hubs(conf));
	t->counts = t->now.counts = metrics_of_tap(t->metrics);
	t->now.audit = t->shared.audit;
	t->way = &way_direct;
	t->wires = &wires;
	t->now.epoch = t->epoch;
	t->shared.to_tap = &t->inbox;
	t->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (t->wake_fd < 0)
		fail_never("no eventfd for the tap: %s", strerror(errno));
	make_events(t);
	tap_admission_init(t);
	tap_catalog_init(t);
	tap_overlap_init(t);
	tap_guard_init(t);
	tap_findings_init(t);
	tap_watch_init(t);
	tap_ddl_init(t);
	tap_skip_init(t);
	tap_progress_init(t);
	tap_stop_init(t);
	tap_explain_init(t);
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
		mail_fini(&t->taken[i]);
	free(t->taken);
	mailbox_fini(&t->inbox);
}

static void free_events(struct tap *t)
{
	struct event *all[] = { t->woken, t->tick, t->sigterm, t->sigint, t->sighup };

	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
		event_free(all[i]);
}

void tap_free(struct tap *t)
{
	stop_hubs(t);
	drop_mails(t);
	tap_reload_fini(t);
	tap_admission_fini(t);
	tap_accept_fini(t);
	tap_explain_fini(t);
	admin_free(t->admin);
	source_free(t->source);
	relay_free(t->relay);
	intake_free(t->intake);
	sqlpipe_free(t->sql);
	for (size_t i = 0; i < 2; i++)
		sqlpipe_free(t->asking[i].sql);
	if (t->now.log) {
		tap_flow_fini(t);
		tap_feed_fini(t);
	}
	tap_catalog_fini(t);
	tap_published_fini(t);
	tap_overlap_fini(t);
	tap_guard_fini(t);
	tap_findings_fini(t);
	tap_watch_fini(t);
	tap_ddl_fini(t);
	tap_skip_fini(t);
	tap_progress_fini(t);
	tap_stop_fini(t);
	suspects_free(t->suspects);
	edition_unref(t->now.edition);
	gate_free(t->gate);
	tls_unref(t->shared.identity);
	audit_free(t->shared.audit);
	trail_free(t->trail);
	metrics_free(t->metrics);
	free_events(t);
	resolve_free(t->names);
	close(t->wake_fd);
	event_base_free(t->loop);
	free(t);
}
