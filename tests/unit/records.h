/* records: reading tests/fixtures/wal2json for the tests of decode. Every record is handed out in a heap block of exactly
 * its length, so that AddressSanitizer sees a read past its end. */
#ifndef TEST_RECORDS_H
#define TEST_RECORDS_H

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#include "walpush/base/buf.h"
#include "walpush/base/mem.h"

#define RECORDS_DIR "tests/fixtures/wal2json/"

/* The whole file, terminated; false if there is none. */
static inline bool records_read(const char *path, struct buf *out)
{
	FILE *f = fopen(path, "rb");

	if (!f)
		return false;
	for (size_t n = 1; n;) {
		n = fread(buf_reserve(out, 4096), 1, 4096, f);
		out->len += n;
	}
	buf_add(out, "", 0);
	fclose(f);
	return true;
}

static inline struct slice records_exact(struct slice s)
{
	char *block = malloc(s.len); /* not mem_new: no byte more */

	memcpy(block, s.at, s.len);
	return (struct slice){ block, s.len };
}

static inline void records_free(struct slice s)
{
	free((char *)s.at);
}

/* Calls `each` for every line of the file, without its newline. Returns how many there were. */
static inline size_t records_lines(const char *path, void (*each)(struct slice record, void *ctx), void *ctx)
{
	struct buf text = { 0 };
	size_t n = 0;

	if (!records_read(path, &text))
		return 0;
	for (char *at = text.data, *end; (end = memchr(at, '\n', text.len - (size_t)(at - text.data))); at = end + 1) {
		struct slice record = records_exact((struct slice){ at, (size_t)(end - at) });

		each(record, ctx);
		records_free(record);
		n++;
	}
	buf_fini(&text);
	return n;
}

static inline int records_is_visible(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

/* Calls `each` with the stem ("numbers") of every file in a directory of the fixtures, in order. Returns how many. */
static inline size_t records_names(const char *directory, void (*each)(const char *stem, void *ctx), void *ctx)
{
	struct dirent **entries;
	int n = scandir(directory, &entries, records_is_visible, alphasort);

	for (int i = 0; i < n; i++) {
		*strrchr(entries[i]->d_name, '.') = '\0';
		each(entries[i]->d_name, ctx);
		free(entries[i]);
	}
	if (n >= 0)
		free(entries);
	return n > 0 ? (size_t)n : 0;
}

#endif
