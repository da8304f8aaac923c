#include "skip.h"

#include <string.h>

#include "walpush/base/flood.h"
#include "walpush/intake/intake.h"

/* Bytes. Handling a row needs memory besides its record. For a record above ASK_ABOVE, skip_receive first checks that there are ASK_LEAST bytes
 * and a tenth of the record (ASK_PART), and what the decoder copies of it. */
#define ASK_ABOVE (1u << 20)
#define ASK_LEAST (4u << 20)
#define ASK_PART 10

/* --- receipt --------------------------------------------------------------------------------------------------- */

/* Frees the bytes at once, because there is too little memory for them. */
static void keep_names(struct record *r)
{
	struct slice schema, table;
	struct buf names = { 0 };

	if (plugin_table(r->relation, r->text, &schema, &table)) {
		buf_add_slice(&names, schema);
		buf_add_char(&names, '\0');
		buf_add_slice(&names, table);
		r->names = buf_steal(&names);
	}
	record_drop_text(r);
	r->is_skipped = true;
}

static void say(const struct record *r, const char *what, size_t bytes, size_t wanted)
{
	const char *schema = r->names ? r->names : "unknown", *table = r->names ? schema + strlen(schema) + 1 : "";

	flood_error("a row is stepped over; who may have been concerned is told to refetch", log_s("error", what),
		    log_s("schema", schema), log_s("table", table), log_lsn("commit", r->transaction->lsn),
		    log_n("bytes", bytes), log_n("limit", wanted),
		    log_fix("raise limits.record-bytes and the memory with it, or keep such values out of listed "
			    "tables: see \"A row is too large\" in docs/operations.md"));
}

static bool has_failed_enough(struct skip *s, const struct outside *outside, const struct transaction *t)
{
	return tries_failed(&s->tries, t->lsn, outside->now(outside->at), INTAKE_PATIENCE);
}

void skip_note_size(struct transaction *t, size_t bytes)
{
	t->is_large |= bytes > INTAKE_LARGE;
}

void skip_note_end(struct skip *s, const struct transaction *t)
{
	if (t->is_large)
		s->large = t->next_lsn;
}

bool skip_receive(struct skip *s, const struct outside *outside, struct record *r, struct fail *why)
{
	size_t bytes = r->text.len, wanted;

	skip_note_size(r->transaction, bytes);
	if (r->transaction->repeated)
		return true;
	if (bytes > s->record_bytes) {
		keep_names(r);
		say(r, "it is larger than limits.record-bytes", bytes, s->record_bytes);
		return true;
	}
	if (bytes <= ASK_ABOVE)
		return true;
	wanted = bytes / ASK_PART + ASK_LEAST + plugin_copy(r->text);
	if (outside->has_memory(outside->at, wanted))
		return true;
	if (!has_failed_enough(s, outside, r->transaction))
		return fail_set(why, "no memory: a record of %zu bytes needs %zu more", bytes, wanted);
	keep_names(r);
	say(r, "there is no memory for it", bytes, wanted);
	return true;
}

/* --- at the head ----------------------------------------------------------------------------------------------- */

/* Can a row of this table change a permission, or close connections? For a skipped row the users are unknown. */
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

static void skip_in_table(struct txn *txn, const struct rules_table *table)
{
	for (size_t i = 0; i < table->n_sections; i++)
		txn_skip(txn, table->sections[i]);
	if (decides_permission(table))
		txn_add_member(txn, NULL);
}

/* The table of the row is unknown. */
static void skip_unknown(struct txn *txn)
{
	txn_skip(txn, NULL);
	txn_add_member(txn, NULL);
}

/* False: no section and no membership is about this table. */
static bool skip_by_name(const struct rules *rules, struct txn *txn, struct slice schema, struct slice name)
{
	const struct rules_table *table = rules_find(rules, schema, name);

	if (table) {
		skip_in_table(txn, table);
		return true;
	}
	for (size_t i = 0; (table = rules_find_parent(rules, schema, name, i)); i++)
		skip_in_table(txn, table);
	if (rules_find_parent(rules, schema, name, 0))
		return true;
	for (size_t i = 0; (table = rules_pattern_of(rules, schema, name, i)); i++)
		skip_in_table(txn, table);
	if (rules_pattern_of(rules, schema, name, 0))
		return true;
	if (!rules_is_new(rules, schema, name))
		return false;
	skip_unknown(txn); /* the table is newer than the catalog */
	return true;
}

void skip_row(struct skip *s, const struct rules *rules, struct txn *txn, const struct record *r)
{
	struct slice schema = slice_of(r->names ? r->names : "");

	if (!r->names)
		skip_unknown(txn);
	else if (!skip_by_name(rules, txn, schema, slice_of(r->names + schema.len + 1)))
		return;
	s->n++;
}
