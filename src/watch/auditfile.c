#include "auditfile.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* Bytes from the end where a torn line may begin: one write made it. */
#define TORN_MOST (8 << 20)
/* The beginning of all our lines. A torn line that begins otherwise is not ours, and stays. */
#define LINE_BEGIN "{\"time\":\""

int auditfile_open(const char *name)
{
	const int flags = O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY;
	int fd;

	if (strcmp(name, "-") == 0)
		return STDERR_FILENO;
	/* Read access, to look at the end of the file. A process that may only write can still append. */
	fd = open(name, O_RDWR | flags, 0640);
	return fd < 0 && errno == EACCES ? open(name, O_WRONLY | flags, 0640) : fd;
}

void auditfile_close(int fd)
{
	if (fd > STDERR_FILENO)
		close(fd);
}

void auditfile_take(struct auditfile *f, int fd)
{
	auditfile_close(f->fd);
	*f = (struct auditfile){ .fd = fd };
}

/* --- the end of the file ------------------------------------------------------------------------------------------- */

/* Where the last line begins, if it has no end. Returns `size` if it has one, or the file is empty; -1: unknown. */
static off_t torn_from(int fd, off_t size)
{
	char block[4096];

	for (off_t end = size; size - end <= TORN_MOST;) {
		size_t n = end < (off_t)sizeof(block) ? (size_t)end : sizeof(block);
		const char *newline;

		if (n == 0)
			return 0;
		if (pread(fd, block, n, end - (off_t)n) != (ssize_t)n)
			return -1;
		newline = memrchr(block, '\n', n);
		if (newline)
			return end - (off_t)n + (newline - block) + 1;
		end -= (off_t)n;
	}
	return -1;
}

static bool is_ours(int fd, off_t from, off_t size)
{
	char begin[sizeof(LINE_BEGIN) - 1];
	size_t n = size - from < (off_t)sizeof(begin) ? (size_t)(size - from) : sizeof(begin);

	return pread(fd, begin, n, from) == (ssize_t)n && memcmp(begin, LINE_BEGIN, n) == 0;
}

static size_t cut_tail(struct auditfile *f, off_t size)
{
	off_t from = torn_from(f->fd, size);

	if (from == size)
		return 0;
	f->torn = from < 0 || !is_ours(f->fd, from, size) || ftruncate(f->fd, from) != 0;
	return f->torn ? 0 : (size_t)(size - from);
}

size_t auditfile_hold(struct auditfile *f)
{
	struct stat s;

	if (f->is_held || f->fd <= STDERR_FILENO || fstat(f->fd, &s) != 0 || !S_ISREG(s.st_mode) ||
	    flock(f->fd, LOCK_EX | LOCK_NB) != 0)
		return 0;
	f->is_held = true;
	/* The size again, now that nobody else writes to the file. */
	return fstat(f->fd, &s) == 0 && s.st_size ? cut_tail(f, s.st_size) : 0;
}

/* --- writing ------------------------------------------------------------------------------------------------------- */

/* Returns how many bytes were written. A batch is one write(2), unless that write falls short. */
static size_t write_out(struct auditfile *f, const char *bytes, size_t len)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = write(f->fd, bytes + done, len - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			f->error = n ? errno : ENOSPC;
			break;
		}
		done += (size_t)n;
	}
	return done;
}

/* Cuts the last `n` bytes, which this process has just written, if nothing follows them. */
static bool take_back(const struct auditfile *f, size_t n)
{
	off_t at = f->is_held ? lseek(f->fd, 0, SEEK_CUR) : -1;
	struct stat s;

	return at >= (off_t)n && fstat(f->fd, &s) == 0 && s.st_size == at && ftruncate(f->fd, at - (off_t)n) == 0;
}

size_t auditfile_write(struct auditfile *f, const char *bytes, size_t len)
{
	const char *newline;
	size_t done, whole;

	if (f->torn && write_out(f, "\n", 1) != 1)
		return 0;
	f->torn = false;
	done = write_out(f, bytes, len);
	newline = done ? memrchr(bytes, '\n', done) : NULL;
	whole = newline ? (size_t)(newline - bytes) + 1 : 0;
	f->torn = done > whole && !take_back(f, done - whole);
	return whole;
}
