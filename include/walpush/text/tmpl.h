/*
 * tmpl: texts with {placeholders}: group names, SQL, paths of values.
 *
 * "{unit_id}" has no scope; "{old.unit_id}", "{path.x}", "{token.x}", "{admit.x}", "{lookup.x}", "{actor.x}" have one. If TMPL_TABLE, TMPL_EVENT or
 * TMPL_STREAM is allowed, some bare names are words of this scope, for example "{op}"; a column of the same name is written {"op"}. "{x:text}"
 * sets as_text. "{{" and "}}" are literal braces. A name is letters, digits, '_', '$', or anything in double quotes ({"odd name"}). Pure;
 * immutable after tmpl_parse.
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
	TMPL_TABLE, /* about the table of the row: "{schema}", the only word */
	TMPL_EVENT, /* about a change: enum tmpl_event */
	TMPL_STREAM /* about a connection: enum tmpl_stream */
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

/* `scopes` is a bit set (1u << TMPL_ROW | …) of the scopes that are allowed. A placeholder of another scope is an error: `why` gets the offset, and
 * a text that names the placeholder and the allowed ones. */
bool tmpl_parse(struct tmpl *t, const char *source, unsigned scopes, struct fail *why);
void tmpl_fini(struct tmpl *t);
/* Appends a placeholder as in the source, "{old.unit_id}": for messages. */
void tmpl_name(const struct tmpl_part *part, struct buf *out);
bool tmpl_uses(const struct tmpl *t, enum tmpl_scope scope);
/* Has it this placeholder? */
bool tmpl_names(const struct tmpl *t, enum tmpl_scope scope, const char *name);

/* SQL: each placeholder becomes a parameter of its own, $1, $2, … in order, so that the server infers a type for each. */
void tmpl_sql(const struct tmpl *t, struct buf *out);

/*
 * A group's name. A value is in braces, "requests_unit_{5}", and '{', '}', '%' and zero bytes of the value are written %7B, %7D, %25, %00.
 * Literals have no braces; rules_new checks this. So no value can produce a group of another template. tmpl_group returns false if `value`
 * returns false, because a placeholder is NULL: then there is no such group.
 */
typedef bool tmpl_value_fn(void *ctx, const struct tmpl_part *part, struct buf *out);
bool tmpl_group(const struct tmpl *t, tmpl_value_fn *value, void *ctx, struct buf *out);
/* Could this template have produced this group's name, for a row of this schema? NULL: of any. For a resync of all groups of a table's
 * templates. */
bool tmpl_could_spell(const struct tmpl *t, struct slice group, const char *schema);
/* Is there a group that both templates can produce? A value is any text, but always in braces, so the braces of the two stand at the same places:
 * their literals are equal one by one. A literal never equals a value: "unit_5" is not "unit_{id}". */
bool tmpl_may_equal(const struct tmpl *a, const struct tmpl *b);
/* For display: the name without braces, with the escapes decoded. */
void tmpl_group_display(struct slice group, struct buf *out);

#endif
