#include "render_impl.h"

/* The compiler knows a literal's length, so ADD is a copy of constant size. */
#define ADD(out, literal) buf_add(out, literal, sizeof(literal) - 1)

struct message { /* shared by the functions below */
	const struct rules_section *section;
	const struct row *row;
	const struct catalog_table *table;
	bool key_only;
	size_t row_bytes;
	bool truncated;
	struct buf *out;
};

/* The value of the row that a message is about. A key-only message has the former value, because its receivers know
 * that one. */
static const struct column *value_of(const struct message *m, size_t i)
{
	return m->key_only ? row_former(m->row, i) : row_value(m->row, i);
}

/* Without a value a column is large and unchanged; a generated one may only have been left out. */
static bool is_unchanged(const struct message *m, size_t i)
{
	return !value_of(m, i) && !(m->row->change->leaves_out_stored && m->table->columns[i].is_stored);
}

static void add_value(const struct message *m, size_t i)
{
	const struct catalog_column *c = &m->table->columns[i];

	render_value(value_of(m, i), c->type, c->element, m->out);
}

static bool is_too_long(const struct message *m, size_t start)
{
	return m->row_bytes && m->out->len - start > m->row_bytes;
}

/* Replaces everything written from `start` on by null. */
static void cut_to_null(struct message *m, size_t start)
{
	m->out->len = start;
	ADD(m->out, "null");
	m->truncated = true;
}

/* The primary key's value; an array in the table's order if the key has several columns; null if there is no key, or
 * the section withholds it. */
static void add_key_value(const struct message *m)
{
	bool first = true;

	if (m->table->n_key == 0 || !m->section->key_shown) {
		ADD(m->out, "null");
		return;
	}
	if (m->table->n_key > 1)
		ADD(m->out, "[");
	for (size_t i = 0; i < m->table->n_columns; i++) {
		if (!m->table->columns[i].in_key)
			continue;
		if (!first)
			ADD(m->out, ",");
		first = false;
		add_value(m, i);
	}
	if (m->table->n_key > 1)
		ADD(m->out, "]");
}

/* A field that PostgreSQL did not send is omitted, as in `data`. */
static void add_fields(struct message *m)
{
	for (size_t i = 0; i < m->section->n_fields; i++) {
		size_t column = (size_t)m->section->fields[i], start;

		if (!value_of(m, column))
			continue;
		ADD(m->out, ",\"");
		buf_add(m->out, m->table->columns[column].json_name, m->table->columns[column].json_len);
		ADD(m->out, "\":");
		start = m->out->len;
		add_value(m, column);
		if (is_too_long(m, start))
			cut_to_null(m, start);
	}
}

static void add_updated_at(const struct message *m, struct slice commit_time)
{
	int column = m->section->updated_at;
	const struct column *value = m->key_only || column < 0 ? NULL : value_of(m, (size_t)column);

	ADD(m->out, ",\"updated_at\":");
	if (value && value->kind != VALUE_NULL) {
		add_value(m, (size_t)column);
	} else if (commit_time.len) {
		ADD(m->out, "\"");
		render_timestamp(commit_time, m->out);
		ADD(m->out, "\"");
	} else {
		ADD(m->out, "null");
	}
}

static void add_updated_by(const struct message *m, const struct sqlrows *rows)
{
	const char *actor = rows && rows->n_rows && rows->n_columns ? sqlrows_get(rows, 0, 0) : NULL;

	ADD(m->out, ",\"updated_by\":");
	if (actor) {
		ADD(m->out, "\"");
		buf_add_json(m->out, slice_of(actor));
		ADD(m->out, "\"");
	} else {
		ADD(m->out, "null");
	}
}

/* A delete shows the primary key. Without a primary key it shows the columns of the replica identity that `data` would
 * show. */
static bool is_in_data(const struct message *m, size_t i)
{
	if (!m->key_only)
		return m->section->shown[i];
	if (m->table->n_key)
		return m->table->columns[i].in_key;
	return m->section->shown[i] && m->row->old[i];
}

/* The value that data-query returned. */
static void add_queried_data(struct message *m, const char *json)
{
	size_t start;

	ADD(m->out, ",\"data\":");
	start = m->out->len;
	buf_add_text(m->out, json);
	if (is_too_long(m, start))
		cut_to_null(m, start);
}

static void add_no_data(struct message *m)
{
	ADD(m->out, ",\"data\":");
	cut_to_null(m, m->out->len);
}

/* Returns how many columns were omitted because PostgreSQL did not send them. */
static size_t add_columns(struct message *m)
{
	size_t start, unsent = 0;
	bool first = true; /* for the first member the comma is skipped */

	ADD(m->out, ",\"data\":");
	start = m->out->len;
	ADD(m->out, "{");
	for (size_t i = 0; i < m->table->n_columns; i++) {
		const struct catalog_column *c = &m->table->columns[i];
		const struct column *value;

		if (!is_in_data(m, i))
			continue;
		value = value_of(m, i);
		if (!value) {
			unsent += is_unchanged(m, i);
			continue;
		}
		buf_add(m->out, c->member.at + first, c->member.len - first);
		first = false;
		render_value(value, c->type, c->element, m->out);
		if (is_too_long(m, start)) {
			cut_to_null(m, start);
			return 0;
		}
	}
	ADD(m->out, "}");
	return unsent;
}

static void add_unchanged(const struct message *m)
{
	bool first = true;

	ADD(m->out, ",\"unchanged\":[");
	for (size_t i = 0; i < m->table->n_columns; i++) {
		const struct slice member = m->table->columns[i].member;

		if (!is_in_data(m, i) || !is_unchanged(m, i))
			continue;
		buf_add(m->out, member.at + first, member.len - first - 1); /* without the colon */
		first = false;
	}
	ADD(m->out, "]");
}

/* A data-query shows only what its author chose. Without its answer, the row's columns could show what the query leaves
 * out. So `data` is null then, unless `columns` names the columns that may be shown. A key always names the row. */
static void add_data(struct message *m, const struct sqlrows *rows)
{
	const char *json = rows && rows->n_rows && rows->n_columns ? sqlrows_get(rows, 0, 0) : NULL;

	if (json && !m->key_only)
		add_queried_data(m, json);
	else if (m->section->data_is_query && !(m->key_only && m->table->n_key))
		add_no_data(m);
	else if (add_columns(m))
		add_unchanged(m);
}

static void add_id(struct event_id id, struct buf *out)
{
	char text[EVENT_ID_TEXT_MAX];
	size_t len = event_id_format(text, id);

	ADD(out, ",\"id\":\"");
	buf_add(out, text, len);
	ADD(out, "\"");
}

static void add_head(const struct message *m, const struct route_message *message)
{
	ADD(m->out, "{\"type\":\"");
	buf_add_text(m->out, m->section->type_json);
	switch (message->op) {
	case ROUTE_CREATED:
		ADD(m->out, ".created\",\"action\":\"");
		break;
	case ROUTE_UPDATED:
		ADD(m->out, ".updated\",\"action\":\"");
		break;
	case ROUTE_DELETED:
		ADD(m->out, ".deleted\",\"action\":\"");
		break;
	}
	buf_add_text(m->out, message->action);
	ADD(m->out, "\",\"");
	buf_add_text(m->out, m->section->key_json);
	ADD(m->out, "\":");
	add_key_value(m);
}

static void standard_message(const struct route_plan *plan, const struct route_message *message,
			     const struct render_input *in, struct buf *out)
{
	struct message m = {
		.section = plan->section,
		.row = plan->row,
		.table = plan->row->table,
		.key_only = message->key_only,
		.row_bytes = in->row_bytes,
		.out = out,
	};

	add_head(&m, message);
	if (!m.key_only)
		add_fields(&m);
	add_updated_at(&m, in->commit_time);
	add_updated_by(&m, in->actor);
	add_data(&m, in->data);
	if (m.truncated)
		ADD(out, ",\"truncated\":true");
	add_id(in->id, out);
	ADD(out, "}");
}

void render_message(const struct route_plan *plan, const struct route_message *message, const struct render_input *in,
		    struct buf *out)
{
	if (plan->section->message.n)
		render_template(plan, message, in, out);
	else
		standard_message(plan, message, in, out);
}

void render_key(const struct route_plan *plan, const struct route_message *message, struct buf *out)
{
	struct message m = {
		.section = plan->section,
		.row = plan->row,
		.table = plan->row->table,
		.key_only = message->key_only,
		.out = out,
	};

	add_key_value(&m);
}

void render_bulk(const struct rules_section *s, uint64_t count, struct event_id id, struct buf *out)
{
	ADD(out, "{\"type\":\"");
	buf_add_text(out, s->type_json);
	ADD(out, ".bulk\",\"action\":\"bulk\",\"count\":");
	buf_add_u64(out, count);
	add_id(id, out);
	ADD(out, "}");
}

/* RFC 6455, section 5.2: FIN and opcode 1, no mask, the shortest of the three lengths. */
size_t render_frame_header(char out[FRAME_HEADER_MAX], uint64_t payload)
{
	size_t bytes = payload < 126 ? 0 : payload <= UINT16_MAX ? 2 : 8;

	out[0] = (char)0x81;
	out[1] = (char)(bytes == 0 ? payload : bytes == 2 ? 126 : 127);
	for (size_t i = 0; i < bytes; i++)
		out[2 + i] = (char)(payload >> 8 * (bytes - 1 - i));
	return 2 + bytes;
}
