#include "walpush/watch/audit.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "auditfile.h"
#include "walpush/base/buf.h"
#include "walpush/base/log.h"
#include "walpush/base/mem.h"
#include "walpush/base/thread.h"

struct audit {
	atomic_bool is_on;
	_Atomic uint64_t lost;
	pthread_mutex_t lock; /* protects the members below; held only to copy */
	pthread_cond_t changed;
	struct buf waiting;
	uint64_t lost_since; /* lines lost since the file last accepted lines */
	bool opened;         /* audit_open was called: `next` follows the lines that wait now */
	int next;            /* the next file; -1: off */
	bool stops;
	/* Only for the writer thread. */
	pthread_t writer;
	bool has_writer;
	struct auditfile file;
	bool in_trouble;
};

/* --- the writer ---------------------------------------------------------------------------------------------------- */

static uint64_t lines_in(const char *bytes, size_t len)
{
	uint64_t n = 0;

	for (const char *at = bytes; (at = memchr(at, '\n', len - (size_t)(at - bytes))); at++)
		n++;
	return n;
}

static void add_time(struct buf *line)
{
	buf_add_text(line, "{\"time\":\"");
	log_add_time(line);
	buf_add_text(line, "\",\"audit\":");
}

static bool say_lost(struct audit *a, uint64_t lost)
{
	struct buf line = { 0 };
	bool said;

	add_time(&line);
	buf_addf(&line, "\"lost\",\"lines\":%" PRIu64 "}\n", lost);
	said = auditfile_write(&a->file, line.data, line.len) == line.len;
	buf_fini(&line);
	return said;
}

/* Takes the file's lock. After a crash the file may end with a torn line, which is cut and counts as lost. */
static uint64_t hold_file(struct audit *a)
{
	size_t cut = auditfile_hold(&a->file);

	if (!cut)
		return 0;
	log_warn("the audit log ended in the middle of a line, which is cut", log_n("bytes", cut));
	atomic_fetch_add_explicit(&a->lost, 1, memory_order_relaxed);
	return 1;
}

/* Lines that were not written count as lost. */
static void write_lines(struct audit *a, const struct buf *lines, uint64_t lost)
{
	size_t done = 0;
	uint64_t missing;

	if (a->file.fd >= 0) {
		lost += hold_file(a);
		if (!lost || say_lost(a, lost)) {
			done = auditfile_write(&a->file, lines->data, lines->len);
			lost = 0;
		}
	}
	if (done == lines->len) {
		a->in_trouble = false;
		return;
	}
	if (!a->in_trouble)
		log_error("the audit log cannot be written; lines are lost", log_s("error", strerror(a->file.error)),
			  log_fix("make room, or send SIGHUP to open it anew"));
	a->in_trouble = true;
	missing = lines_in(lines->data + done, lines->len - done);
	atomic_fetch_add_explicit(&a->lost, missing, memory_order_relaxed);
	pthread_mutex_lock(&a->lock);
	a->lost_since += lost + missing;
	pthread_mutex_unlock(&a->lock);
}

static void go_on_in(struct audit *a, int fd)
{
	uint64_t cut;

	auditfile_take(&a->file, fd);
	a->in_trouble = false;
	cut = hold_file(a);
	pthread_mutex_lock(&a->lock);
	a->lost_since += cut;
	pthread_mutex_unlock(&a->lock);
}

static void *write_all(void *arg)
{
	struct audit *a = arg;
	struct buf lines = { 0 };

	pthread_mutex_lock(&a->lock);
	while (!a->stops || a->waiting.len) {
		struct buf taken = a->waiting;
		uint64_t lost = a->lost_since;
		bool opened = a->opened;
		int next = a->next;

		if (!taken.len && !opened) {
			pthread_cond_wait(&a->changed, &a->lock);
			continue;
		}
		a->waiting = lines;
		a->lost_since = taken.len ? 0 : lost;
		a->opened = false;
		pthread_mutex_unlock(&a->lock);
		lines = taken;
		if (opened && a->file.fd < 0)
			go_on_in(a, next);
		if (lines.len)
			write_lines(a, &lines, lost);
		buf_clear(&lines);
		if (opened && a->file.fd != next)
			go_on_in(a, next);
		pthread_mutex_lock(&a->lock);
	}
	pthread_mutex_unlock(&a->lock);
	buf_fini(&lines);
	return NULL;
}

static bool start_writer(struct audit *a, struct fail *why)
{
	a->has_writer = a->has_writer || thread_start(&a->writer, write_all, a, why);
	return a->has_writer;
}

/* --- life ---------------------------------------------------------------------------------------------------------- */

struct audit *audit_new(void)
{
	struct audit *a = mem_new(sizeof(*a));

	atomic_init(&a->is_on, false);
	atomic_init(&a->lost, 0);
	pthread_mutex_init(&a->lock, NULL);
	pthread_cond_init(&a->changed, NULL);
	a->file = AUDITFILE_NONE;
	a->next = -1;
	return a;
}

void audit_free(struct audit *a)
{
	if (!a)
		return;
	pthread_mutex_lock(&a->lock);
	a->stops = true;
	pthread_cond_signal(&a->changed);
	pthread_mutex_unlock(&a->lock);
	if (a->has_writer)
		pthread_join(a->writer, NULL);
	auditfile_take(&a->file, -1);
	if (a->opened)
		auditfile_close(a->next);
	buf_fini(&a->waiting);
	pthread_cond_destroy(&a->changed);
	pthread_mutex_destroy(&a->lock);
	free(a);
}

static int open_file(const char *file, struct fail *why)
{
	int fd = auditfile_open(file);

	if (fd < 0)
		fail_set(why, "audit.file: %s: %s; it must be a file that walpush may append to", file,
			 strerror(errno));
	return fd;
}

bool audit_check(const char *file, struct fail *why)
{
	int fd = file ? open_file(file, why) : STDERR_FILENO;

	auditfile_close(fd);
	return fd >= 0;
}

bool audit_open(struct audit *a, const char *file, struct fail *why)
{
	int fd = file ? open_file(file, why) : -1;

	if (file && (fd < 0 || !start_writer(a, why))) {
		auditfile_close(fd);
		return false;
	}
	pthread_mutex_lock(&a->lock);
	if (a->opened)
		auditfile_close(a->next); /* nothing was written there yet */
	a->opened = true;
	a->next = fd;
	pthread_cond_signal(&a->changed);
	pthread_mutex_unlock(&a->lock);
	atomic_store_explicit(&a->is_on, fd >= 0, memory_order_relaxed);
	return true;
}

bool audit_is_on(const struct audit *a)
{
	return atomic_load_explicit(&a->is_on, memory_order_relaxed);
}

uint64_t audit_lost(const struct audit *a)
{
	return atomic_load_explicit(&a->lost, memory_order_relaxed);
}

/* --- lines --------------------------------------------------------------------------------------------------------- */

static void add_line(struct audit *a, struct buf *line)
{
	buf_add_text(line, "}\n");
	pthread_mutex_lock(&a->lock);
	if (a->waiting.len + line->len > AUDIT_BYTES) {
		a->lost_since++;
		atomic_fetch_add_explicit(&a->lost, 1, memory_order_relaxed);
	} else {
		if (!a->waiting.len)
			pthread_cond_signal(&a->changed);
		buf_add(&a->waiting, line->data, line->len);
	}
	pthread_mutex_unlock(&a->lock);
	buf_fini(line);
}

static void add_text(struct buf *line, const char *name, const char *text)
{
	buf_addf(line, ",\"%s\":", name);
	if (!text) {
		buf_add_text(line, "null");
		return;
	}
	buf_add_char(line, '"');
	buf_add_json(line, slice_of(text));
	buf_add_char(line, '"');
}

static void add_groups(struct buf *line, const char *groups, size_t n)
{
	buf_add_text(line, ",\"groups\":[");
	for (size_t i = 0; i < n; i++, groups += strlen(groups) + 1) {
		buf_add_text(line, i ? ",\"" : "\"");
		buf_add_json(line, slice_of(groups));
		buf_add_char(line, '"');
	}
	buf_add_char(line, ']');
}

static void add_client(struct buf *line, const char *what, const struct audit_client *client)
{
	char peer[ADDRESS_TEXT_MAX];

	add_time(line);
	buf_addf(line, "\"%s\"", what);
	add_text(line, "user", client->user);
	add_text(line, "peer", address_format(client->peer, peer));
	add_text(line, "stream", client->stream);
}

void audit_change(struct audit *a, const struct audit_change *change)
{
	struct buf line = { 0 };
	char id[EVENT_ID_TEXT_MAX];

	if (!audit_is_on(a))
		return;
	event_id_format(id, change->id);
	add_time(&line);
	buf_addf(&line, "\"change\",\"id\":\"%s\"", id);
	add_text(&line, "table", change->table);
	buf_addf(&line, ",\"action\":\"%s\",\"key\":", change->action);
	buf_add_slice(&line, change->key.len ? change->key : SLICE("null"));
	add_groups(&line, change->groups, change->n_groups);
	buf_addf(&line, ",\"receivers\":%" PRIu64, change->receivers);
	add_line(a, &line);
}

void audit_admitted(struct audit *a, const struct audit_client *client, const char *groups, size_t n_groups,
		    bool resumed)
{
	struct buf line = { 0 };

	if (!audit_is_on(a))
		return;
	add_client(&line, "admitted", client);
	add_groups(&line, groups, n_groups);
	buf_addf(&line, ",\"resumed\":%s", resumed ? "true" : "false");
	add_line(a, &line);
}

void audit_ended(struct audit *a, const char *what, const struct audit_client *client, unsigned code,
		 const char *reason)
{
	struct buf line = { 0 };

	if (!audit_is_on(a))
		return;
	add_client(&line, what, client);
	if (code)
		buf_addf(&line, ",\"code\":%u", code);
	if (reason)
		add_text(&line, "reason", reason);
	add_line(a, &line);
}
