/*
 * answers: the answers that the sections of a table need before a row can become messages. Private to the intake. Tap thread.
 *
 * A record holds references to its questions (questions.h) until answers_drop. Rows may share a question.
 */
#ifndef WALPUSH_ANSWERS_H
#define WALPUSH_ANSWERS_H

#include "bind.h"
#include "heard.h"
#include "questions.h"

struct section_questions { /* of one section; NULL: not asked */
	struct question *lookup, *data, *actor;
	bool left_out; /* neither lookup nor data was asked, because of limits.bulk */
	bool is_vain; /* something was not asked, because its answer would have to wait for the log, and the log is too far behind */
};

struct answers {                      /* zeroed: nothing was asked */
	struct section_questions *at; /* one a section */
	size_t n;
	bool is_counted;
	uint64_t
		before; /* how many times sections of earlier rows of the transaction want a lookup or data, if it is_counted */
};

struct visible;
struct transaction;

struct asker { /* pointers are borrowed */
	struct questions *questions;
	struct visible *known; /* of the session for questions */
	const struct heard *heard;
	/* limits.bulk: at most so many times in a transaction a section of a row asks a lookup or data */
	uint64_t bulk;
	/* Does this query, an index of rules_query_at, read the table? */
	bool (*reads)(void *ctx, uint32_t query, const struct catalog_table *table);
	void *ctx;
};

/* Does the section's lookup read the table of its rows? Then an edit of the row makes other receivers, and those before it are not known any
 * more. */
bool asker_reads_itself(const struct asker *asker, const struct rules_section *section);
/* Must the lookup's answer wait until the log has brought what it may know? */
bool asker_lookup_waits(const struct asker *asker, const struct rules_section *section);

/* Asks the questions of the row in `b`; a TRUNCATE has none. Keeps no reference to `b`. False: nothing was asked, because no snapshot before
 * the questions would see the row's transaction `t`; call again when there is another one. */
bool answers_ask(struct answers *answers, const struct asker *asker, struct bind *b, const struct change *change,
		 const struct rules_table *table, struct transaction *t);
/* The same for what was not asked because it would have been in vain, and would not be any more. */
bool answers_ask_rest(struct answers *answers, const struct asker *asker, struct bind *b,
		      const struct rules_table *table, struct transaction *t);
/* The row in `b` will not be asked about: it counts for limits.bulk all the same. */
void answers_count(struct answers *answers, const struct bind *b, const struct change *change,
		   const struct rules_table *table, struct transaction *t);
/* Everything that the row would ask would have to wait for the log, and the log is too far behind. */
bool answers_in_vain(const struct asker *asker, struct bind *b, const struct change *change,
		     const struct rules_table *table);
/* Also true if nothing was asked. */
bool answers_are_here(const struct answers *answers);
/* Everything that the answer, or the lookup of any section, knows commits below. 0: there is none; LSN_MAX: nobody can tell. */
lsn_t answers_upto(lsn_t upto, const struct question *q);
lsn_t answers_lookups_upto(const struct answers *answers);
/* What is not answered counts as failed. */
void answers_give_up(struct answers *answers);
/* Nothing is asked. What was counted stays counted. */
void answers_drop(struct answers *answers);

#endif
