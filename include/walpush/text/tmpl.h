/*
 * tmpl: texts with {placeholders}: group names, SQL, paths of values.
 *
 * "{unit_id}" has no scope; "{old.unit_id}", "{path.x}", "{token.x}", "{admit.x}", "{lookup.x}" have one.
 * Where TMPL_EVENT or TMPL_STREAM may stand,
 * some bare names are words of that scope, "{op}", and the column of that name is written {"op"}. "{x:text}" sets as_text. "{{" and "}}" stand for the braces themselves. A name is letters, digits, '_', '$', or
 * anything between double quotes ({"odd name"}). Pure; immutable once parsed.
 */
#ifndef WALPUSH_TMPL_H
#define WALPUSH_TMPL_H

#include "walpush/base/buf.h"
#include "walpush/base/fail.h"

enum tmpl_scope {
	TMPL_ROW,
	TMPL_OLD,
	TMPL_PATH,
	TMPL_TOKEN,
	TMPL_ADMIT,
	TMPL_LOOKUP,
	TMPL_ACTOR,
	TMPL_EVENT, /* what a change is: enum tmpl_event */
	TMPL_STREAM /* what a connection is told: enum tmpl_stream */
};

enum tmpl_event { EVENT_OP, EVENT_ACTION, EVENT_TABLE, EVENT_COMMIT_TIME, EVENT_ID };
enum tmpl_stream { STREAM_NAME, STREAM_EPOCH, STREAM_ID, STREAM_REASON, STREAM_RESUMED, STREAM_TIMESTAMP };

struct tmpl_part {
	bool is_ref;
	char *text;            /* the literal, or the name */
	enum tmpl_scope scope; /* refs */
	bool as_text;
	int slot; /* of a column, for the compiler of the rules: its index, -1 until resolved; of a word: which */
};

struct tmpl {
	struct tmpl_part *parts;
	size_t n_parts;
	size_t n_refs;
};

/* `scopes` is a bit set (1u << TMPL_ROW | …) of what may stand here; anything else is an error that says
 * what may. `why` gets the offset and a text naming the placeholder. */
bool tmpl_parse(struct tmpl *t, const char *source, unsigned scopes, struct fail *why);
void tmpl_fini(struct tmpl *t);
/* A placeholder as it is written, "{old.unit_id}": for messages. */
void tmpl_name(const struct tmpl_part *part, struct buf *out);
bool tmpl_uses(const struct tmpl *t, enum tmpl_scope scope);

/* SQL: each placeholder becomes its own $1, $2, … in order, so that the server infers a type for each. */
void tmpl_sql(const struct tmpl *t, struct buf *out);

/*
 * A group's name. A value stands in it between braces, "requests_unit_{5}", its own '{', '}', '%' and zero bytes
 * written %7B, %7D, %25, %00; a literal has no braces (rules_new sees to it). So no value can spell another
 * template's group. tmpl_group returns false when `value` says that a placeholder is NULL: that group does not exist.
 */
typedef bool tmpl_value_fn(void *ctx, const struct tmpl_part *part, struct buf *out);
bool tmpl_group(const struct tmpl *t, tmpl_value_fn *value, void *ctx, struct buf *out);
/* Could this template have produced that group's name? For resync of "the groups of that table's templates". */
bool tmpl_could_spell(const struct tmpl *t, struct slice group);
/* For people: the same name without the braces, and the escapes undone. */
void tmpl_group_display(struct slice group, struct buf *out);

#endif
