/* tap_metrics: values that are read only when the metrics are asked for. */
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "parts.h"
#include "walpush/base/clock.h"
#include "walpush/base/file.h"

static double behind(lsn_t end, lsn_t position)
{
	return end > position ? (double)(end - position) : 0;
}

static void look_at_admissions(struct tap *t)
{
	struct admit_numbers n;

	admit_numbers(t->admissions, &n);
	metrics_gauge(t->metrics, METRICS_ADMIT_WAITING, 0, admit_waiting(t->admissions));
	metrics_gauge(t->metrics, METRICS_ADMIT_QUESTIONS, 0, n.waiting - n.slow);
	metrics_gauge(t->metrics, METRICS_ADMIT_QUESTIONS, 1, n.slow);
	metrics_gauge(t->metrics, METRICS_ADMIT_CONNECTIONS, 0, n.open);
	metrics_gauge(t->metrics, METRICS_ADMIT_CONNECTIONS, 1, tap_lanes_failed(t));
}

static void look_at_stream(struct tap *t)
{
	lsn_t end = tap_server_end(t), published = topiclog_published(t->now.log);
	int64_t now = clock_us();
	lsn_t confirmed = window_confirm(&t->window, now);

	metrics_gauge(t->metrics, METRICS_READY, 0, tap_trouble(t) == NULL);
	metrics_gauge(t->metrics, METRICS_STREAMING, 0, source_is_streaming(t->source));
	metrics_gauge(t->metrics, METRICS_BEHIND_BYTES, 0, behind(end, source_received(t->source)));
	metrics_gauge(t->metrics, METRICS_BEHIND_BYTES, 1, behind(end, published));
	metrics_gauge(t->metrics, METRICS_BEHIND_BYTES, 2, behind(end, confirmed));
	metrics_gauge(t->metrics, METRICS_REPLAY_HELD_BYTES, 0, behind(t->window.handled, confirmed));
	metrics_gauge(t->metrics, METRICS_REPLAY_HELD_SECONDS, 0, (double)window_held_us(&t->window, now) / 1e6);
	metrics_gauge(t->metrics, METRICS_INTAKE_BYTES, 0, (double)intake_bytes(t->intake));
	metrics_gauge(t->metrics, METRICS_QUERIES_LEFT_OUT, 0, intake_n_left_out(t->intake));
	metrics_gauge(t->metrics, METRICS_STALLED_SECONDS, 0, (double)progress_stalled(&t->progress, now) / 1e6);
	metrics_gauge(t->metrics, METRICS_ROWS_SKIPPED, 0, (double)intake_skipped(t->intake));
	metrics_gauge(t->metrics, METRICS_TRANSACTIONS_SKIPPED, 0, (double)t->skip.transactions);
	metrics_gauge(t->metrics, METRICS_QUERIES_GIVEN_UP, 0, (double)suspects_given_up(t->suspects));
	metrics_gauge(t->metrics, METRICS_LOG_BYTES, 0, (double)topiclog_bytes(t->now.log));
	metrics_gauge(t->metrics, METRICS_GROUPS, 0, (double)topiclog_count(t->now.log));
}

static void look_at_plugin(struct tap *t)
{
	static const char *const plugins[] = { "wal2json", "pgoutput" };
	const char *plugin = source_plugin(t->source);

	for (unsigned i = 0; i < sizeof(plugins) / sizeof(*plugins); i++)
		metrics_gauge(t->metrics, METRICS_SLOT_PLUGIN, i, plugin ? strcmp(plugin, plugins[i]) == 0 : NAN);
}

static void look_at_slot(struct tap *t)
{
	static const char *const statuses[] = { "reserved", "extended", "unreserved", "lost" };
	const struct slot_facts *slot = &t->slot;

	metrics_gauge(t->metrics, METRICS_SLOT_RETAINED, 0, slot->at ? slot->retained : NAN);
	metrics_gauge(t->metrics, METRICS_SLOT_SAFE, 0, slot->at ? slot->safe : NAN);
	for (unsigned i = 0; i < sizeof(statuses) / sizeof(*statuses); i++)
		metrics_gauge(t->metrics, METRICS_SLOT_STATUS, i,
			      slot->at ? strcmp(slot->wal_status, statuses[i]) == 0 : NAN);
}

static void look_at_relay(struct tap *t)
{
	struct relay_numbers n = { 0 };
	bool is = t->relay != NULL;

	if (is)
		relay_numbers(t->relay, &n);
	metrics_gauge(t->metrics, METRICS_RELAY_UP, 0, is ? relay_is_up(t->relay) : NAN);
	metrics_gauge(t->metrics, METRICS_RELAY_LEADS, 0, is ? n.leads : NAN);
	metrics_gauge(t->metrics, METRICS_RELAY_LEADERSHIPS, 0, is ? (double)n.failovers : NAN);
	metrics_gauge(t->metrics, METRICS_RELAY_STREAM_ENTRIES, 0,
		      is && n.stream_entries >= 0 ? (double)n.stream_entries : NAN);
	metrics_gauge(t->metrics, METRICS_RELAY_QUEUED_BYTES, 0, is ? (double)n.queued_bytes : NAN);
	metrics_gauge(t->metrics, METRICS_RELAY_APPEND_LAG, 0, is ? (double)n.append_lag / 1e6 : NAN);
	metrics_gauge(t->metrics, METRICS_RELAY_APPENDED, 0, is ? (double)n.appended : NAN);
	metrics_gauge(t->metrics, METRICS_RELAY_READ, 0, is ? (double)n.read : NAN);
	metrics_gauge(t->metrics, METRICS_RELAY_REFUSED, 0, is ? (double)n.refused : NAN);
}

/* Counts fields of /proc/self/stat after the command's name. The gauge stays NAN if there is no such file. */
static void look_at_start(struct tap *t)
{
	char text[1024], *at;
	unsigned long long ticks = 0;
	struct timespec up, wall;

	file_read_short("/proc/self/stat", text, sizeof(text));
	at = strrchr(text, ')');
	for (unsigned field = 2; at && field < 22; field++)
		at = strchr(at + 1, ' ');
	if (!at || sscanf(at, "%llu", &ticks) != 1)
		return;
	clock_gettime(CLOCK_BOOTTIME, &up);
	clock_gettime(CLOCK_REALTIME, &wall);
	metrics_gauge(t->metrics, METRICS_START, 0,
		      (double)(wall.tv_sec - up.tv_sec) + (double)ticks / (double)sysconf(_SC_CLK_TCK));
}

static double resident_bytes(void)
{
	unsigned long long size, resident;
	FILE *f = fopen("/proc/self/statm", "re");
	bool ok = f && fscanf(f, "%llu %llu", &size, &resident) == 2;

	if (f)
		fclose(f);
	return ok ? (double)resident * (double)sysconf(_SC_PAGESIZE) : NAN;
}

/* Does not count the descriptor of `dir`. */
static double open_files(void)
{
	DIR *dir = opendir("/proc/self/fd");
	struct dirent *entry;
	double n = -1;

	if (!dir)
		return NAN;
	while ((entry = readdir(dir)))
		n += entry->d_name[0] != '.';
	closedir(dir);
	return n;
}

static void look_at_process(struct tap *t)
{
	struct rlimit files;
	struct rusage used;

	metrics_gauge(t->metrics, METRICS_RSS, 0, resident_bytes());
	metrics_gauge(t->metrics, METRICS_FDS, 0, open_files());
	if (getrlimit(RLIMIT_NOFILE, &files) == 0)
		metrics_gauge(t->metrics, METRICS_MAX_FDS, 0, (double)files.rlim_cur);
	if (getrusage(RUSAGE_SELF, &used) == 0)
		metrics_gauge(t->metrics, METRICS_CPU, 0,
			      (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
				      (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6);
	look_at_start(t);
}

static void look_at_tokens(struct tap *t)
{
	uint64_t refused = metrics_named(t->metrics, METRICS_REFUSALS, "token");
	struct admit_numbers n;

	admit_numbers(t->admissions, &n);
	minute_take(&t->tokens, refused, refused + n.tokens);
}

void tap_sample(struct tap *t)
{
	look_at_tokens(t);
	trail_tick(t->trail, t->metrics, behind(tap_server_end(t), topiclog_published(t->now.log)));
}

void tap_metrics(void *ctx, struct buf *out)
{
	struct tap *t = ctx;

	look_at_stream(t);
	look_at_admissions(t);
	look_at_slot(t);
	look_at_plugin(t);
	look_at_relay(t);
	look_at_process(t);
	tap_findings_count(t);
	metrics_set(t->counts, METRICS_UNRESOLVED, (int64_t)resolve_failures(t->names));
	metrics_set(t->counts, METRICS_AUDIT_LOST, (int64_t)audit_lost(t->shared.audit));
	metrics_render(t->metrics, out);
}
