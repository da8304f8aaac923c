/* Messages of the server's own, in the standard form or by the stream's templates. */

#include "walpush/change/render.h"
#include "walpush/base/timetext.h"

static void add_quoted(const char *text, struct buf *out)
{
	buf_add_char(out, '"');
	buf_add_json(out, slice_of(text));
	buf_add_char(out, '"');
}

static void add_id(struct event_id id, struct buf *out)
{
	char text[EVENT_ID_TEXT_MAX];

	event_id_format(text, id);
	add_quoted(text, out);
}

/* --- the standard messages --------------------------------------------------------------------------------------- */

static void standard_hello(const struct render_notice *n, struct buf *out)
{
	buf_add_text(out, "{\"type\":\"connection_established\",\"stream\":");
	add_quoted(n->stream->conf->name, out);
	buf_add_text(out, ",\"epoch\":");
	add_quoted(n->epoch, out);
	buf_add_text(out, ",\"id\":");
	add_id(n->id, out);
	buf_add_text(out, n->resumed ? ",\"resumed\":true}" : "}");
}

void render_resync(const char *reason, const char *epoch, struct event_id id, struct buf *out)
{
	buf_add_text(out, "{\"type\":\"resync\",\"reason\":");
	add_quoted(reason, out);
	buf_add_text(out, ",\"id\":");
	add_id(id, out);
	buf_add_text(out, ",\"epoch\":");
	add_quoted(epoch, out);
	buf_add_char(out, '}');
}

/* --- templates --------------------------------------------------------------------------------------------------- */

/* As in the messages: "2025-11-14T12:34:56.123456Z". */
static void add_time(int64_t us, struct buf *out)
{
	char text[TIMETEXT_MAX];

	buf_addf(out, "\"%s\"", timetext_us(text, us));
}

static void add_word(const struct render_notice *n, enum tmpl_stream word, struct buf *out)
{
	switch (word) {
	case STREAM_NAME:
		add_quoted(n->stream->conf->name, out);
		break;
	case STREAM_EPOCH:
		add_quoted(n->epoch, out);
		break;
	case STREAM_ID:
		add_id(n->id, out);
		break;
	case STREAM_REASON:
		if (n->reason)
			add_quoted(n->reason, out);
		else
			buf_add_text(out, "null");
		break;
	case STREAM_RESUMED:
		buf_add_text(out, n->resumed ? "true" : "false");
		break;
	case STREAM_TIMESTAMP:
		add_time(n->now, out);
		break;
	}
}

/* A claim is text, and so is a value of the path, except one of the converter `int`. */
static void add_value(void *ctx, const struct tmpl_part *part, struct buf *out)
{
	const struct render_notice *n = ctx;
	struct buf text = { 0 };

	if (part->scope == TMPL_STREAM) {
		add_word(n, (enum tmpl_stream)part->slot, out);
		return;
	}
	if (!n->value(n->ctx, part, &text))
		buf_add_text(out, "null");
	else if (part->scope == TMPL_PATH && path_is_number(n->stream->path, part->text))
		buf_add_slice(out, buf_slice(&text));
	else
		add_quoted(buf_slice(&text).at, out);
	buf_fini(&text);
}

void render_hello(const struct render_notice *n, struct buf *out)
{
	if (n->stream->hello.n)
		jsontmpl_fill(&n->stream->hello, add_value, (void *)n, 0, out);
	else
		standard_hello(n, out);
}

void render_refetch(const struct render_notice *n, struct buf *out)
{
	if (n->stream->resync.n)
		jsontmpl_fill(&n->stream->resync, add_value, (void *)n, 0, out);
	else
		render_resync(n->reason, n->epoch, n->id, out);
}
