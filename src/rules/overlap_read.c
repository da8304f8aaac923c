/*
 * The conversation that makes an overlap.
 *
 *   BEGIN ─▶ SAVE ─▶ VIEW ─▶ NAMES ─▶ QUERY ─▶ END
 *             ▲       │ ▲
 *             ├───────┘ │ the next query
 *             UNDO ─────┘ a refused view
 *
 * If another statement than VIEW is refused, all queries that are not known to fail are unknown, and END follows.
 */
#include "walpush/rules/overlap.h"

#include <stdlib.h>

#include "walpush/base/mem.h"
#include "walpush/rules/reads.h"

#define BEGIN READS_BEGIN "; SET LOCAL lock_timeout = '" OVERLAP_LOCK_TIMEOUT "'"
/* Each savepoint covers the one before it: what is undone is the last view alone. */
#define SAVE "SAVEPOINT walpush_reads"
#define UNDO "ROLLBACK TO SAVEPOINT walpush_reads"

struct overlap_reading {
	const struct rules *rules;
	struct overlap *overlap;
	enum { STEP_BEGIN, STEP_SAVE, STEP_VIEW, STEP_UNDO, STEP_NAMES, STEP_QUERY, STEP_END, STEP_DONE } step;
	size_t at; /* the query whose view is made */
	struct buf statement;
	struct fail bad; /* the first unexpected row; text "": none */
};

static void write_statement(struct overlap_reading *r)
{
	static const char *const fixed[] = {
		[STEP_BEGIN] = BEGIN,           [STEP_SAVE] = SAVE,           [STEP_UNDO] = UNDO,
		[STEP_NAMES] = READS_OWN_NAMES, [STEP_QUERY] = overlap_query, [STEP_END] = READS_END,
	};

	buf_clear(&r->statement);
	if (r->step == STEP_VIEW)
		reads_view(&r->statement, (unsigned)r->at, rules_query_at(r->rules, r->at));
	else if (r->step != STEP_DONE)
		buf_add_text(&r->statement, fixed[r->step]);
}

struct overlap_reading *overlap_begin(const struct rules *rules)
{
	struct overlap_reading *r = mem_new(sizeof(*r));

	*r = (struct overlap_reading){ .rules = rules, .overlap = overlap_new(rules) };
	r->step = rules_n_queries(rules) ? STEP_BEGIN : STEP_DONE;
	write_statement(r);
	return r;
}

const char *overlap_statement(const struct overlap_reading *r)
{
	return r->step == STEP_DONE ? NULL : r->statement.data;
}

void overlap_row(struct overlap_reading *r, const char *const row[OVERLAP_COLUMNS])
{
	if (r->step == STEP_QUERY && !r->bad.text[0])
		overlap_add(r->overlap, row, &r->bad);
}

static void fail_all(struct overlap_reading *r, const struct fail *why)
{
	for (size_t i = 0; i < rules_n_queries(r->rules); i++)
		overlap_fail(r->overlap, i, why);
	r->step = STEP_END;
}

static void next_query(struct overlap_reading *r, bool has_savepoint)
{
	if (++r->at == rules_n_queries(r->rules))
		r->step = STEP_NAMES;
	else
		r->step = has_savepoint ? STEP_VIEW : STEP_SAVE;
}

static void go_on(struct overlap_reading *r)
{
	if (r->step == STEP_BEGIN)
		r->step = STEP_SAVE;
	else if (r->step == STEP_SAVE)
		r->step = STEP_VIEW;
	else if (r->step == STEP_VIEW || r->step == STEP_UNDO)
		next_query(r, r->step == STEP_UNDO);
	else
		r->step++;
}

void overlap_answered(struct overlap_reading *r, const struct fail *why)
{
	if (r->step == STEP_VIEW && why) {
		overlap_fail(r->overlap, r->at, why);
		r->step = STEP_UNDO;
	} else if (r->step < STEP_END && (why || r->bad.text[0])) {
		fail_all(r, why ? why : &r->bad);
	} else {
		go_on(r);
	}
	write_statement(r);
}

struct overlap *overlap_end(struct overlap_reading *r)
{
	struct overlap *o = r ? r->overlap : NULL;

	if (!r)
		return NULL;
	buf_fini(&r->statement);
	free(r);
	return o;
}
