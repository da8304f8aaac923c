#include "walpush/base/mem.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "walpush/base/fail.h"

static mem_more *more;

void mem_set_relief(mem_more *relief)
{
	more = relief;
}

static void *must(void *p, size_t size)
{
	if (!p)
		fail_never("out of memory: %zu bytes are not to be had", size);
	return p;
}

static bool relief(void)
{
	return more && more();
}

static size_t product(size_t n, size_t size)
{
	if (size && n > SIZE_MAX / size)
		fail_never("out of memory: %zu times %zu bytes are more than there can be", n, size);
	return n && size ? n * size : 1;
}

void *mem_new(size_t size)
{
	return mem_new_array(1, size);
}

void *mem_new_array(size_t n, size_t size)
{
	size_t all = product(n, size);
	void *p = calloc(1, all);

	if (!p && relief())
		p = calloc(1, all);
	return must(p, all);
}

void *mem_resize(void *old, size_t n, size_t size)
{
	size_t all = product(n, size);
	void *p = realloc(old, all);

	if (!p && relief())
		p = realloc(old, all);
	return must(p, all);
}

size_t mem_cost(size_t size)
{
	return size <= 24 ? 32 : (size + 8 + 15) / 16 * 16;
}

bool mem_is_there(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p != MAP_FAILED && munmap(p, bytes) == 0;
}

char *mem_text(const char *text)
{
	return mem_text_of(slice_of(text));
}

char *mem_text_of(struct slice s)
{
	char *text = mem_new(s.len + 1);

	if (s.len)
		memcpy(text, s.at, strnlen(s.at, s.len));
	return text;
}

void mem_copy_text(char *to, size_t cap, const char *from)
{
	size_t len = strnlen(from, cap - 1);

	memcpy(to, from, len);
	to[len] = '\0';
}
