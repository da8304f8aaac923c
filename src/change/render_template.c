/* The message made by a section's own template. */
#include "render_impl.h"

struct filling { /* answers the placeholders */
	const struct route_plan *plan;
	const struct route_message *message;
	const struct render_input *in;
};

static void add_string(const char *escaped, struct buf *out)
{
	buf_add_char(out, '"');
	buf_add_text(out, escaped);
	buf_add_char(out, '"');
}

static void add_time(struct slice pg, struct buf *out)
{
	if (pg.len == 0) {
		buf_add_text(out, "null");
		return;
	}
	buf_add_char(out, '"');
	render_timestamp(pg, out);
	buf_add_char(out, '"');
}

static void add_event(const struct filling *f, enum tmpl_event word, struct buf *out)
{
	static const char *const ops[] = { "created", "updated", "deleted" };
	char id[EVENT_ID_TEXT_MAX];

	switch (word) {
	case EVENT_OP:
		add_string(ops[f->message->op], out);
		break;
	case EVENT_ACTION:
		add_string(f->message->action, out);
		break;
	case EVENT_TABLE:
		add_string(f->plan->row->table->json_name, out);
		break;
	case EVENT_COMMIT_TIME:
		add_time(f->in->commit_time, out);
		break;
	case EVENT_ID:
		event_id_format(id, f->in->id);
		add_string(id, out);
		break;
	}
}

/* For a row that is deleted or leaves, the columns have the values that the receivers know. */
static const struct column *row_column(const struct filling *f, const struct tmpl_part *part)
{
	size_t at = (size_t)part->slot;

	if (part->scope == TMPL_OLD)
		return f->plan->row->old[at];
	return f->message->key_only ? row_former(f->plan->row, at) : row_value(f->plan->row, at);
}

static void add_value(void *ctx, const struct tmpl_part *part, struct buf *out)
{
	const struct filling *f = ctx;

	switch (part->scope) {
	case TMPL_TABLE:
		add_string(f->plan->row->table->json_schema, out);
		break;
	case TMPL_EVENT:
		add_event(f, (enum tmpl_event)part->slot, out);
		break;
	case TMPL_LOOKUP:
		render_sql_value(f->in->lookup, f->in->lookup_row, part->text, out);
		break;
	case TMPL_ACTOR:
		render_sql_value(f->in->actor, 0, part->text, out);
		break;
	default:
		render_value(row_column(f, part), f->plan->row->table->columns[part->slot].type,
			     f->plan->row->table->columns[part->slot].element, out);
	}
}

void render_template(const struct route_plan *plan, const struct route_message *message, const struct render_input *in,
		     struct buf *out)
{
	struct filling f = { plan, message, in };

	jsontmpl_fill(&plan->section->message, add_value, &f, in->row_bytes, out);
}

const char *render_missing(const struct rules_section *s, const struct render_input *in)
{
	for (size_t i = 0; i < s->message.n; i++) {
		const struct jsontmpl_piece *piece = &s->message.pieces[i];
		const struct sqlrows *rows = NULL;

		if (piece->kind == JSONTMPL_LITERAL)
			continue;
		if (piece->part.scope == TMPL_LOOKUP)
			rows = in->lookup;
		else if (piece->part.scope == TMPL_ACTOR)
			rows = in->actor;
		if (rows && sqlrows_column(rows, piece->part.text) < 0)
			return piece->part.text;
	}
	return NULL;
}
