/*
 * Any row, with any columns sent or not, any old row and any answer of a lookup: every group is of one of the section's
 * templates and stands there once, none is left and joined at once, only an update leaves groups, and what is rendered is one JSON
 * object without a doubled member. The input chooses table, kind of change and, column by column, what was sent.
 */
#include <jansson.h>

#include "routed.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char conf[] = MAPPING_BASE MAPPING_STREAMS
	"tables = {\n"
	"  requests = { type = \"request\" key = \"request_id\" groups = [ \"r_{unit_id}\", "
	"\"s_{approved_by_id}_{status}\" ]\n"
	"    fields = [ \"status\" ] actions = {\n"
	"      approved = { column = \"status\" becomes = \"1\" actor = \"approved_by_id\" }\n"
	"      any = { on = [ \"insert\", \"update\", \"delete\" ] column = \"unit_id\" was = \"2\" becomes = \"1\" } "
	"} }\n"
	"  crates = { type = \"crate\" key = \"crate_id\" groups = [ \"r_{unit_id}\", \"o_{old.unit_id}\" ]\n"
	"    when = { column = \"status\" equals = \"1\" } }\n"
	"  sendbacks = { type = \"sendback\" key = \"sendback_id\" lookup = \"SELECT {request_id}, {old.reason}\"\n"
	"    groups = [ \"n_{lookup.user_id}\", \"r_{created_by_id}\", \"r_{request_id}\" ] actor = \"created_by_id\" "
	"}\n"
	"  links = { type = \"link\" key = \"link_id\" groups = [ \"r_{left_id}\", \"r_{right_id}\" ] }\n"
	"  user_units = { lookup = \"SELECT {user_id}\" groups = [ \"u_{lookup.user_id}\", \"u_{unit_id}\" ] "
	"actor = \"user_id\"\n"
	"    message = \"{ \\\"op\\\": [ \\\"{op}\\\", \\\"{action}\\\", \\\"{table}\\\" ], \\\"user\\\": "
	"\\\"{user_id}\\\","
	" \\\"old\\\": \\\"{old.unit_id}\\\", \\\"looked\\\": \\\"{lookup.user_id}\\\", \\\"actor\\\": "
	"\\\"{actor.user_id}\\\","
	" \\\"text\\\": \\\"at {commit_time}: {unit_id} {lookup.other} {{}}\\\", \\\"plain\\\": \\\"{unit_id:text}\\\","
	" \\\"n\\\": 1.50, \\\"id\\\": \\\"{event_id}\\\" }\" }\n"
	"}\n"
	"actor = { query = \"SELECT {id}\" }\n";

static const char *const tables[] = { "requests", "crates", "sendbacks", "links", "user_units" };

struct input {
	const uint8_t *at;
	size_t left;
};

static unsigned take(struct input *in)
{
	if (in->left == 0)
		return 0;
	in->left--;
	return *in->at++;
}

static void must(bool holds)
{
	if (!holds)
		abort();
}

/* Of each column: not sent, null, or one of few values, so that old and new often agree. */
static size_t fill(struct input *in, const struct catalog_table *t, struct column *columns)
{
	static const char *const values[] = { "1", "2", "{1}", "a%7B\\n" };
	size_t n = 0;

	for (size_t i = 0; i < t->n_columns; i++) {
		unsigned choice = take(in) % 6;

		if (choice == 5)
			continue;
		columns[n] =
			(struct column){ .name = slice_of(t->columns[i].json_name), .type = t->columns[i].declared };
		if (choice < 4) {
			columns[n].value = slice_of(values[choice]);
			columns[n].kind = choice < 2 ? VALUE_NUMBER : VALUE_STRING;
		}
		n++;
	}
	return n;
}

static struct sqlrows *answer(struct input *in)
{
	size_t n = take(in) % 40;
	struct sqlrows *rows = sqlrows_new(n, 1);

	sqlrows_name(rows, 0, take(in) % 8 ? "user_id" : "other");
	for (size_t i = 0; i < n; i++) {
		char text[4] = { (char)('0' + take(in) % 30), '\0' };

		sqlrows_set(rows, i, 0, text[0] == '0' ? NULL : text);
	}
	return rows;
}

static void check_groups(const struct rules_section *s, const struct groups *g, const struct groups *apart)
{
	const char *name = g->names.data;

	for (size_t i = 0; i < g->n; i++, name += strlen(name) + 1) {
		const char *other = name + strlen(name) + 1;
		bool matches = false;

		for (size_t k = 0; k < s->n_groups; k++)
			matches = matches || tmpl_could_spell(&s->groups[k], slice_of(name), NULL);
		must(matches);
		for (size_t k = i + 1; k < g->n; k++, other += strlen(other) + 1)
			must(strcmp(name, other) != 0);
		other = apart->names.data;
		for (size_t k = 0; k < apart->n; k++, other += strlen(other) + 1)
			must(strcmp(name, other) != 0);
	}
	must(!g->names.data || (size_t)(name - g->names.data) == g->names.len);
}

static void check_message(const struct route_plan *plan, const struct route_message *message,
			  const struct sqlrows *lookup, size_t lookup_row, size_t row_bytes)
{
	struct render_input in = {
		.lookup = lookup,
		.lookup_row = lookup_row,
		.actor = lookup,
		.commit_time = SLICE("2025-11-14 12:34:56+00"),
		.id = { 1, 1 },
		.row_bytes = row_bytes,
	};
	struct buf out = { 0 };
	json_t *json;

	render_message(plan, message, &in, &out);
	json = json_loadb(out.data, out.len, JSON_REJECT_DUPLICATES, NULL);
	must(json && json_is_object(json));
	if (plan->section->message.n) {
		must(json_is_string(json_object_get(json, "text")) && json_object_size(json) == 9);
		json_decref(json);
		buf_fini(&out);
		return;
	}
	must(json_object_get(json, "id") && json_object_get(json, plan->section->conf->key.text));
	must(message->key_only == (message->op == ROUTE_DELETED));
	if (message->key_only && plan->row->table->n_key == 1)
		must(json_object_size(json_object_get(json, "data")) <= 1);
	json_decref(json);
	buf_fini(&out);
}

static void check_section(struct routed *m, const struct rules_section *s, struct input *in)
{
	struct sqlrows *rows = NULL;
	const struct route_result *r = &m->result;

	if (!route_section(s, &m->row, &m->plan))
		return;
	must(!m->plan.wants_actor || m->plan.actor_column >= 0);
	if (m->plan.wants_lookup)
		rows = answer(in);
	route_messages(&m->plan, rows, &m->result);
	check_groups(s, &r->left.groups, &r->joined.groups);
	check_groups(s, &r->joined.groups, &r->left.groups);
	must(r->left.groups.n == 0 || m->plan.op == ROUTE_UPDATED);
	must(!m->plan.lookup_unknown || r->unknown);
	check_message(&m->plan, &r->left, rows, 0, 0);
	check_message(&m->plan, &r->joined, rows, take(in), take(in));
	must(!s->message_uses_lookup || r->joined.groups.rows.len == r->joined.groups.n * sizeof(uint32_t));
	sqlrows_free(rows);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct routed m;
	struct input in = { data, size };
	struct column now[16], old[16];
	const struct catalog_table *t;

	if (!m.rules)
		routed_open(&m, conf);
	t = catalog_find(m.catalog, "public", tables[take(&in) % 5]);
	m.change = (struct change){ .kind = CHANGE_INSERT + take(&in) % 3, .columns = now, .identity = old };
	if (m.change.kind != CHANGE_DELETE)
		m.change.n_columns = fill(&in, t, now);
	if (m.change.kind != CHANGE_INSERT)
		m.change.n_identity = fill(&in, t, old);
	row_bind(&m.row, t, &m.change);
	check_section(&m, mapping_section(m.rules, t->name, 0), &in);
	return 0;
}
