#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "parts.h"

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

bool conf_file_read(const char *path, size_t max, struct buf *out, const char **problem)
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
