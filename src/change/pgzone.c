#include "pgzone.h"

#include <errno.h>
#include <stdlib.h>

#include "walpush/base/mem.h"

#define OFFSET_MOST (24 * 3600)

void pgzone_fini(struct pgzone *zone)
{
	free(zone->changes);
	*zone = (struct pgzone){ 0 };
}

static bool read_number(const char **text, char end, int64_t *out)
{
	char *behind;

	errno = 0;
	*out = strtoll(*text, &behind, 10);
	if (errno || behind == *text || (*behind != end && *behind))
		return false;
	*text = *behind ? behind + 1 : behind;
	return true;
}

static bool read_change(const char **text, struct pgzone_change *out)
{
	int64_t offset;

	if (!read_number(text, ' ', &out->at) || !**text || !read_number(text, ',', &offset))
		return false;
	out->offset = (int32_t)offset;
	return offset >= -OFFSET_MOST && offset <= OFFSET_MOST;
}

bool pgzone_read(struct pgzone *zone, const char *text)
{
	pgzone_fini(zone);
	while (*text) {
		struct pgzone_change change;

		if (!read_change(&text, &change) || (zone->n && change.at <= zone->changes[zone->n - 1].at)) {
			pgzone_fini(zone);
			return false;
		}
		zone->changes = mem_resize(zone->changes, zone->n + 1, sizeof(*zone->changes));
		zone->changes[zone->n++] = change;
	}
	return true;
}

int32_t pgzone_offset(const struct pgzone *zone, int64_t at)
{
	size_t i = zone->n;

	while (i > 1 && zone->changes[i - 1].at > at)
		i--;
	return i ? zone->changes[i - 1].offset : 0;
}
