#include "walpush/mem.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "walpush/fail.h"

static void *must(void *p, size_t n, size_t size)
{
	if (!p)
		fail_never("out of memory: %zu times %zu bytes were asked for", n, size);
	return p;
}

void *mem_new(size_t size)
{
	return must(calloc(1, size ? size : 1), 1, size);
}

void *mem_new_array(size_t n, size_t size)
{
	return must(calloc(n ? n : 1, size), n, size);
}

void *mem_resize(void *old, size_t n, size_t size)
{
	if (size && n > SIZE_MAX / size)
		must(NULL, n, size);
	return must(realloc(old, n ? n * size : 1), n, size);
}

bool mem_is_there(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p != MAP_FAILED && munmap(p, bytes) == 0;
}

char *mem_text(const char *text)
{
	return must(strdup(text), 1, strlen(text));
}

char *mem_text_of(struct slice s)
{
	return must(strndup(s.len ? s.at : "", s.len), 1, s.len);
}

void mem_copy_text(char *to, size_t cap, const char *from)
{
	size_t len = strnlen(from, cap - 1);

	memcpy(to, from, len);
	to[len] = '\0';
}
