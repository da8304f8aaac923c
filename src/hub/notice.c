#include "notice.h"

#include "walpush/base/clock.h"
#include "walpush/base/resync.h"
#include "walpush/base/timetext.h"
#include "walpush/change/render.h"

static bool value_of_ticket(void *ctx, const struct tmpl_part *part, struct buf *out)
{
	const char *text = ticket_value(ctx, part->scope, part->text);

	if (text)
		buf_add_text(out, text);
	return text != NULL;
}

static const struct rules_stream *stream_of(const struct conn *c)
{
	return rules_stream(c->edition->rules, (size_t)c->stream);
}

/* Writes `epoch`; the notice borrows it. */
static struct render_notice notice_of(const struct conn *c, struct event_id id, char epoch[TICKET_EPOCH_MAX])
{
	ticket_epoch(c->ticket, c->hub->epoch, epoch);
	return (struct render_notice){
		.stream = stream_of(c),
		.value = value_of_ticket,
		.ctx = c->ticket,
		.epoch = epoch,
		.id = id,
		.now = clock_wall_us(),
	};
}

void notice_hello(struct conn *c, struct event_id id, bool resumed)
{
	char epoch[TICKET_EPOCH_MAX];
	struct render_notice n = notice_of(c, id, epoch);
	struct buf hello = { 0 };

	n.resumed = resumed;
	render_hello(&n, &hello);
	writer_queue(&c->out, 1, buf_slice(&hello));
	buf_fini(&hello);
}

void notice_auth_ok(struct conn *c, const char *epoch)
{
	struct buf message = { 0 };
	char until[TIMETEXT_MAX];

	buf_addf(&message, "{\"type\":\"auth_ok\",\"expires_at\":\"%s\"", timetext_s(until, c->expires));
	if (epoch)
		buf_addf(&message, ",\"epoch\":\"%s\"", epoch);
	buf_add_char(&message, '}');
	writer_queue(&c->out, 1, buf_slice(&message));
	buf_fini(&message);
}

int notice_refetch(struct conn *c, const char *reason, struct event_id id)
{
	char epoch[TICKET_EPOCH_MAX];
	struct render_notice n = notice_of(c, id, epoch);
	struct buf message = { 0 };
	int64_t now = clock_us();
	int result;

	if (n.stream->resync_closes) {
		conn_close_saying(c, 1012, "fetch again");
		return 0;
	}
	n.reason = reason;
	c->rest_until = (c->rest_until > now ? c->rest_until : now) + CONN_REST;
	if (c->rest_until > now + 2 * CONN_REST)
		c->rest_until =
			now + 2 * CONN_REST; /* a change of permission does not wait for it, so marks may come early */
	render_refetch(&n, &message);
	result = writer_text(&c->out, buf_slice(&message));
	buf_fini(&message);
	return result;
}

/* A bulk message is the same for every client, unless the stream has its own text for a resync, or closes in its place. */
static bool is_said_here(const struct rules_stream *s, const struct entry_tag *tag)
{
	return tag->kind == ENTRY_REFETCH && (tag->reason != RESYNC_BULK || s->resync.n || s->resync_closes);
}

int notice_tagged(struct conn *c, const struct run *run)
{
	int result;

	if (run->tag.kind == ENTRY_REFETCH)
		metrics_count(c->hub->counts, METRICS_RESYNCS, resync_name((enum resync_reason)run->tag.reason));
	if (is_said_here(stream_of(c), &run->tag))
		result = notice_refetch(c, resync_name((enum resync_reason)run->tag.reason), run->first);
	else
		result = writer_raw(&c->out, run->bytes, run->len);
	/* A connection that was admitted after the message reads it again, and stays. */
	if (result == 0 && run->tag.close && run->first.lsn >= c->admitted)
		conn_close_saying(c, run->tag.close, CONN_BY_A_CHANGE);
	return result;
}
