/*
 * tap_ddl: what DDL does, at its place in the replication stream.
 *
 * The WAL has no records of DDL itself. An event trigger (`walpush sql --ddl`) adds a message to the transaction. At the commit of such a
 * transaction every connection is asked again, as for a change of membership without a user; with a relay, the other replicas read the message
 * as such a change. Before the transaction is published, what decides permission is read again, while the intake waits: later rows may be of
 * tables that the replication stream does not bring yet. If so, the replication stream begins again before the transaction, and brings these rows.
 *
 *   message ─▶ visible ─▶ look ─▶ all is read again ─▶ publish: every connection is asked again
 *                                       └─ other tables ─▶ the replication stream begins again ─▶ message ─▶ publish
 *
 * Any role may send such a message. A look covers everything that is visible when the look begins, and looks begin DDL_APART after each other.
 * So a flood of messages costs one look a second, and rows wait for this long.
 *
 * A replica that takes the slot over from another has not met the messages that the other one handled. So its replication stream begins with a
 * look, too.
 */
#include <stdlib.h>
#include <stdio.h>
#include <string.h>

#include "parts.h"
#include "walpush/base/clock.h"
#include "walpush/change/decode.h"
#include "walpush/base/fail.h"
#include "walpush/base/log.h"
#include "walpush/base/mem.h"

#define DDL_APART 1000000 /* µs */

struct ddl {
	struct event *later;
	int64_t began;           /* µs: the last look; 0: there was none */
	char history[EPOCH_MAX]; /* system and timeline of the positions that the intake has looked at */
	struct repeat said;
};

static void look(struct tap *t, enum ddl_look why)
{
	event_del(t->ddl->later);
	t->ddl_look = why;
	t->ddl->began = clock_us();
	metrics_add(t->counts, METRICS_DDL_LOOKS, 1);
	intake_looks(t->intake, why == DDL_LOOK_STREAM);
	tap_read_catalog(t);
}

static void look_by_message(struct tap *t)
{
	static const char text[] =
		"DDL was committed; everybody is asked, and what decides permission is looked at again";
	unsigned times;
	enum log_level level = repeat_level(&t->ddl->said, LOG_LEVEL_INFO, text, clock_us(), &times);

	log_write(level, text, LOG_FIELDS(log_lsn("published", topiclog_published(t->now.log)), log_n("times", times)));
	look(t, DDL_LOOK_MESSAGE);
}

static void on_later(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	look_by_message(arg);
}

void tap_ddl_look(struct tap *t)
{
	int64_t left = t->ddl->began ? t->ddl->began + DDL_APART - clock_us() : 0;
	struct timeval wait;

	if (left <= 0) {
		look_by_message(t);
		return;
	}
	wait = clock_timeval(left);
	event_add(t->ddl->later, &wait);
}

void tap_ddl_history(struct tap *t, const char *system_id, const char *timeline)
{
	char history[EPOCH_MAX];

	event_del(t->ddl->later); /* the message that asked for the look comes again */
	snprintf(history, sizeof(history), "%.20s-%.10s", system_id, timeline);
	if (strcmp(history, t->ddl->history) != 0)
		intake_forget_looks(t->intake);
	memcpy(t->ddl->history, history, sizeof(history));
}

void tap_ddl_streaming(struct tap *t)
{
	if (t->way->is_shared)
		look(t, DDL_LOOK_STREAM);
}

void tap_ddl_looked(struct tap *t)
{
	if (t->ddl_look == DDL_NO_LOOK)
		return;
	t->ddl_look = DDL_NO_LOOK;
	intake_looked(t->intake);
}

/* Without the trigger a message with this prefix is not for walpush. */
const char *tap_ddl_prefix(struct tap *t)
{
	t->ddl_heard = t->has_trigger;
	return t->ddl_heard ? DECODE_DDL_PREFIX : NULL;
}

void tap_ddl_init(struct tap *t)
{
	t->ddl = mem_new(sizeof(*t->ddl));
	t->ddl->later = event_new(t->loop, -1, 0, on_later, t);
	if (!t->ddl->later)
		fail_never("libevent makes no timer for looks");
}

void tap_ddl_fini(struct tap *t)
{
	event_free(t->ddl->later);
	free(t->ddl);
}
