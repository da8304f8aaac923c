#include "inspection.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "walpush/base/buf.h"
#include "walpush/base/mem.h"

#define LIMIT_S 60
#define REPORT_MOST (1u << 20) /* bytes */
#define PROGRAM "/proc/self/exe"

struct inspection {
	pid_t pid;
	int output;
	struct event *readable; /* fires at LIMIT_S too */
	struct buf text;
	inspection_done *done;
	void *ctx;
};

/* --- the process -------------------------------------------------------------------------------------------------- */

static bool write_all(int fd, const char *at, size_t left)
{
	while (left) {
		ssize_t n = write(fd, at, left);

		if (n < 0 && errno != EINTR)
			return false;
		at += n > 0 ? n : 0;
		left -= n > 0 ? (size_t)n : 0;
	}
	return true;
}

/* A file that has no name. -1: none can be made. */
static int file_of(const char *text)
{
	int fd = memfd_create("sidecar.conf", MFD_CLOEXEC);

	if (fd >= 0 && write_all(fd, text, strlen(text)))
		return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

/* The hubs' threads block signals, and the tap handles some: the process begins with neither. It keeps no file of this one. */
static int spawn(pid_t *pid, const char *name, int file, int output)
{
	const char *const words[] = { "walpush", "check", "--json", "--serving", "-c", name, NULL };
	posix_spawn_file_actions_t files;
	posix_spawnattr_t how;
	sigset_t none, all;
	int error;

	sigemptyset(&none);
	sigfillset(&all);
	posix_spawnattr_init(&how);
	posix_spawnattr_setflags(&how, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	posix_spawnattr_setsigmask(&how, &none);
	posix_spawnattr_setsigdefault(&how, &all);
	posix_spawn_file_actions_init(&files);
	posix_spawn_file_actions_adddup2(&files, file, STDIN_FILENO);
	posix_spawn_file_actions_adddup2(&files, output, STDOUT_FILENO);
	posix_spawn_file_actions_addopen(&files, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
	posix_spawn_file_actions_addclosefrom_np(&files, STDERR_FILENO + 1);
	error = posix_spawn(pid, PROGRAM, &files, &how, (char *const *)(uintptr_t)words, environ);
	posix_spawn_file_actions_destroy(&files);
	posix_spawnattr_destroy(&how);
	return error;
}

/* Both descriptors must be above those of the process: dup2 onto itself would keep O_CLOEXEC, and onto the other one would lose it. */
static int moved_up(int fd)
{
	int up = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);

	close(fd);
	return up;
}

static int open_output(int *other)
{
	int both[2];

	if (pipe2(both, O_CLOEXEC) < 0)
		return -1;
	*other = moved_up(both[1]);
	fcntl(both[0], F_SETFL, O_NONBLOCK);
	return both[0];
}

static bool begin(struct inspection *i, const struct conf *conf, struct fail *why)
{
	int file = file_of(conf->text), other = -1, error;

	file = file < 0 ? -1 : moved_up(file);
	i->output = file < 0 ? -1 : open_output(&other);
	error = i->output < 0 || other < 0 ? errno : spawn(&i->pid, conf->file, file, other);
	if (file >= 0)
		close(file);
	if (other >= 0)
		close(other);
	return !error || fail_set(why, "no process for the checks: %s", strerror(error));
}

/* --- its report ---------------------------------------------------------------------------------------------------- */

void inspection_cancel(struct inspection *i)
{
	if (!i)
		return;
	if (i->readable)
		event_free(i->readable);
	if (i->output >= 0)
		close(i->output);
	if (i->pid > 0) {
		kill(i->pid, SIGKILL);
		waitpid(i->pid, NULL, 0);
	}
	buf_fini(&i->text);
	free(i);
}

static void finish(struct inspection *i, const char *error)
{
	json_t *report = error || !i->text.len ? NULL : json_loadb(i->text.data, i->text.len, 0, NULL);
	inspection_done *done = i->done;
	void *ctx = i->ctx;
	struct fail why = { 0 };

	if (!report)
		fail_set(&why, "%s", error ? error : "the process of the checks ended without a report");
	inspection_cancel(i);
	done(ctx, report, &why);
	json_decref(report);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct inspection *i = arg;
	ssize_t n = 0;

	if (what & EV_TIMEOUT) {
		finish(i, "the checks took over a minute");
		return;
	}
	while ((n = read(fd, buf_reserve(&i->text, 4096), 4096)) > 0 && i->text.len < REPORT_MOST)
		i->text.len += (size_t)n;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	finish(i, n > 0 ? "the report of the checks is too long" : NULL);
}

struct inspection *inspection_new(struct event_base *loop, const struct conf *conf, inspection_done *done, void *ctx,
				  struct fail *why)
{
	struct inspection *i = mem_new(sizeof(*i));

	*i = (struct inspection){ .output = -1, .done = done, .ctx = ctx };
	if (!begin(i, conf, why)) {
		inspection_cancel(i);
		return NULL;
	}
	i->readable = event_new(loop, i->output, EV_READ | EV_PERSIST, on_readable, i);
	if (!i->readable)
		fail_never("libevent makes no event for the checks");
	event_add(i->readable, &(struct timeval){ LIMIT_S, 0 });
	return i;
}
