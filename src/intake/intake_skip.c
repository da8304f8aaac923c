/* intake_skip: rows that cannot be handled, because of their size or for want of memory. */
#include "parts.h"

#include <stdlib.h>
#include <string.h>

#include "walpush/base/clock.h"
#include "walpush/base/flood.h"
#include "walpush/base/mem.h"

/* What handling a row takes beside its record is asked for before that begins. */
#define ASK_ABOVE (1u << 20)
#define ASK_LEAST (4u << 20)
#define ASK_PART 10

/* --- receipt --------------------------------------------------------------------------------------------------- */

/* The bytes go at once: they are what there is too little memory for. */
static void keep_names(struct record *r)
{
	struct slice schema, table;
	struct buf names = { 0 };

	if (decode_table(r->text, &schema, &table)) {
		buf_add_slice(&names, schema);
		buf_add_char(&names, '\0');
		buf_add_slice(&names, table);
		r->names = buf_steal(&names);
	}
	source_free_record(r->bytes);
	r->bytes = NULL;
	r->text = (struct slice){ 0 };
	r->skipped = true;
}

static void say(const struct record *r, const char *what, size_t bytes, size_t wanted)
{
	const char *schema = r->names ? r->names : "unknown", *table = r->names ? schema + strlen(schema) + 1 : "";

	flood_error("a row is stepped over; who may have been concerned is told to refetch", log_s("error", what),
		    log_s("schema", schema), log_s("table", table), log_lsn("commit", r->transaction->lsn),
		    log_n("bytes", bytes), log_n("limit", wanted),
		    log_s("mend", "raise limits.record-bytes and the memory with it, or keep such values out of listed "
				  "tables: see \"A row is too large\" in docs/operations.md"));
}

static bool no_memory(struct intake *in, struct record *r, size_t wanted)
{
	struct transaction *t = r->transaction;
	struct fail why = { 0 };

	if (tries_failed(&in->tries, t->lsn, clock_us(), INTAKE_PATIENCE)) {
		size_t bytes = r->text.len;

		keep_names(r);
		say(r, "there is no memory for it", bytes, wanted);
		return true;
	}
	fail_set(&why, "no memory: a record of %zu bytes needs %zu more", r->text.len, wanted);
	intake_record_free(r);
	intake_break(in, INTAKE_NO_MEMORY, t, &why);
	return false;
}

bool intake_fits(struct intake *in, struct record *r)
{
	size_t bytes = r->text.len, wanted = bytes / ASK_PART + ASK_LEAST;

	if (bytes > INTAKE_LARGE)
		in->large = r->transaction->next_lsn;
	if (r->transaction->repeated)
		return true;
	if (bytes > in->record_bytes) {
		keep_names(r);
		say(r, "it is larger than limits.record-bytes", bytes, in->record_bytes);
		return true;
	}
	if (bytes <= ASK_ABOVE || mem_is_there(wanted))
		return true;
	return no_memory(in, r, wanted);
}

/* --- its turn -------------------------------------------------------------------------------------------------- */

/* Whose permission it changes is not known, nor whom an action of it turns out. */
static bool decides_permission(const struct rules_table *table)
{
	if (table->n_memberships)
		return true;
	for (size_t i = 0; i < table->n_sections; i++) {
		const struct rules_section *s = table->sections[i];

		if (s->conf->close)
			return true;
		for (size_t a = 0; a < s->n_actions; a++)
			if (s->actions[a].conf->close)
				return true;
	}
	return false;
}

static void skip_in_table(struct intake *in, const struct rules_table *table)
{
	for (size_t i = 0; i < table->n_sections; i++)
		txn_skip(in->txn, table->sections[i]);
	if (decides_permission(table))
		txn_add_member(in->txn, NULL);
}

/* Nobody knows whose row it was. */
static void skip_unknown(struct intake *in)
{
	txn_skip(in->txn, NULL);
	txn_add_member(in->txn, NULL);
}

/* False: it is none of ours. */
static bool skip_by_name(struct intake *in, struct slice schema, struct slice name)
{
	const struct rules_table *table = rules_find(in->rules, schema, name);

	if (table) {
		skip_in_table(in, table);
		return true;
	}
	for (size_t i = 0; (table = rules_find_parent(in->rules, schema, name, i)); i++)
		skip_in_table(in, table);
	if (rules_find_parent(in->rules, schema, name, 0))
		return true;
	if (!rules_is_new(in->rules, schema, name))
		return false;
	skip_unknown(in); /* it was made since */
	return true;
}

void intake_skip_row(struct intake *in, const struct record *r)
{
	struct slice schema = slice_of(r->names ? r->names : "");

	if (!r->names)
		skip_unknown(in);
	else if (!skip_by_name(in, schema, slice_of(r->names + schema.len + 1)))
		return;
	in->n_skipped++;
}
