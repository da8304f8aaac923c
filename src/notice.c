/*
 * notice: what the server says by itself. Hub thread.
 *
 * The logs are shared by all streams, and `resync` and bulk messages stand in them as the standard says them. A stream that has other
 * words for them, or none, gets those instead: such entries are tagged. So is a message that ends its readers' connections.
 */
#include "hub_impl.h"
#include "walpush/clock.h"
#include "walpush/resync.h"

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

static struct render_notice notice_of(const struct conn *c, struct event_id id)
{
	return (struct render_notice){
		.stream = stream_of(c),
		.value = value_of_ticket,
		.ctx = c->ticket,
		.epoch = c->hub->epoch,
		.id = id,
		.now = clock_wall_us(),
	};
}

void notice_hello(struct conn *c, struct event_id id, bool resumed)
{
	struct render_notice n = notice_of(c, id);
	struct buf hello = { 0 };

	n.resumed = resumed;
	render_hello(&n, &hello);
	conn_queue(c, buf_slice(&hello));
	buf_fini(&hello);
}

int notice_refetch(struct conn *c, const char *reason, struct event_id id)
{
	struct render_notice n = notice_of(c, id);
	struct buf message = { 0 };
	int result;

	if (n.stream->resync_closes) {
		conn_close(c, 1012);
		return 0;
	}
	n.reason = reason;
	render_refetch(&n, &message);
	result = deliver_text(c, buf_slice(&message));
	buf_fini(&message);
	return result;
}

int notice_tagged(struct conn *c, const struct run *run)
{
	const struct rules_stream *s = stream_of(c);
	int result;

	if (run->tag.kind == ENTRY_REFETCH)
		metrics_count(c->hub->counts, METRICS_RESYNCS, resync_name((enum resync_reason)run->tag.reason));
	if (run->tag.kind == ENTRY_REFETCH && (s->resync.n || s->resync_closes))
		result = notice_refetch(c, resync_name((enum resync_reason)run->tag.reason), run->first);
	else
		result = deliver_raw(c, run->bytes, run->len);
	/* Who was admitted behind it only reads it again. */
	if (result == 0 && run->tag.close && run->first.lsn >= c->admitted)
		conn_close(c, run->tag.close);
	return result;
}
