#include "walpush/base/fails.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "walpush/base/mem.h"

/* Makes room at the place of the line. NULL: all that are kept are of earlier lines. */
static struct fail *place_of(struct fails *all, unsigned line)
{
	size_t at = all->n;

	if (!all->at)
		all->at = mem_new_array(FAILS_MOST, sizeof(*all->at));
	while (at > 0 && all->at[at - 1].line > line)
		at--;
	if (at == FAILS_MOST) {
		all->more++;
		return NULL;
	}
	if (all->n == FAILS_MOST) {
		all->more++;
		all->n--;
	}
	memmove(&all->at[at + 1], &all->at[at], (all->n - at) * sizeof(all->at[0]));
	all->n++;
	return &all->at[at];
}

bool fails_add(struct fails *all, const char *file, unsigned line, const char *format, ...)
{
	struct fail *to = place_of(all, line);
	char text[sizeof(to->text)];
	va_list args;

	if (!to)
		return false;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	fail_in_file(to, file, line, "%s", text);
	return false;
}

void fails_fini(struct fails *all)
{
	free(all->at);
	*all = (struct fails){ 0 };
}

bool fails_end(struct fails *all, struct fail *out)
{
	size_t others = all->n + all->more - 1;

	if (!all->n)
		return true;
	*out = all->at[0];
	if (others)
		fail_at_line(out, all->at[0].line, "%.420s; and %zu more error%s: walpush check lists them",
			     all->at[0].text, others, others == 1 ? "" : "s");
	fails_fini(all);
	return false;
}
