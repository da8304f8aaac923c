#include "walpush/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool read_all(int fd, size_t max, struct buf *out, const char **problem)
{
	for (;;) {
		ssize_t n = read(fd, buf_reserve(out, 4096), 4096);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			*problem = strerror(errno);
			return false;
		}
		if (n == 0)
			return true;
		out->len += (size_t)n;
		out->data[out->len] = '\0';
		if (out->len > max) {
			*problem = "it is too large";
			return false;
		}
	}
}

bool file_read(const char *path, size_t max, struct buf *out, const char **problem)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	bool ok = false;

	if (fd < 0 || fstat(fd, &st) < 0)
		*problem = strerror(errno);
	else if (S_ISDIR(st.st_mode))
		*problem = "it is a directory";
	else
		ok = read_all(fd, max, out, problem);
	if (fd >= 0)
		close(fd);
	return ok;
}

ssize_t file_read_short(const char *path, char *out, size_t cap)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	out[0] = '\0';
	if (fd < 0)
		return -1;
	n = read(fd, out, cap - 1);
	close(fd);
	if (n < 0)
		n = 0;
	out[n] = '\0';
	return n;
}
