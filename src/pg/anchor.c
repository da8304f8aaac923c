#include "walpush/pg/anchor.h"

#include <string.h>
#include <utlist.h>

#include "walpush/base/mem.h"

void anchor_listen(struct anchor *a, struct anchor_ear *ear)
{
	DL_APPEND(a->ears, ear);
}

void anchor_leave(struct anchor *a, struct anchor_ear *ear)
{
	DL_DELETE(a->ears, ear);
}

void anchor_set(struct anchor *a, const char *server)
{
	struct anchor_ear *ear;

	if (strncmp(a->server, server, sizeof(a->server) - 1) == 0)
		return;
	mem_copy_text(a->server, sizeof(a->server), server);
	DL_FOREACH(a->ears, ear)
		ear->moved(ear->ctx);
}

bool anchor_holds(const struct anchor *a, const char *server)
{
	return !*a->server || !*server || strcmp(a->server, server) == 0;
}

/* ANCHOR_SQL ends with pg_is_in_recovery, as format() prints it. */
bool anchor_is_standby(const char *server)
{
	size_t len = strlen(server);

	return len > 0 && server[len - 1] == 't';
}

void anchor_astray(struct anchor *a)
{
	a->astray(a->ctx);
}
