/*
 * tap_published: what the publication of a slot of pgoutput sends. What it leaves out is left out without a word.
 *
 * At the start and at a reload one that sends too little is refused (tap_catalog.c, tap_reload.c). While walpush runs, somebody may alter it. If rows
 * that decide permission do not come any more, nobody is admitted, and every connection is closed with 1013, until they come again. If others do not
 * come, everybody is told to refetch once, and again when they come. The same where a table joins that counts as a listed one, such as a child by
 * INHERITS: what came of it before was not known, or did not come.
 */
#include <string.h>

#include "leaves.h"
#include "parts.h"
#include "walpush/base/log.h"

#define TRUNCATED_MOST 65536 /* bytes; beyond them a TRUNCATE may be taken for one that was not told */

/* With a relay the replica that has the slot tells the others. */
void tap_published_missed(struct tap *t, const char *why)
{
	if (t->way->is_shared && !source_is_streaming(t->source))
		return;
	t->asked.missed = true;
	tap_flow_restart(t, why);
}

/* Everybody is asked, and so refused; later, who comes back does not resume over the time in which nothing of permission was heard. */
static void withhold(struct tap *t, bool is_withheld)
{
	if (t->now.is_withheld == is_withheld)
		return;
	t->now.is_withheld = is_withheld;
	if (is_withheld)
		log_error("rows that decide permission do not come; nobody is admitted until they do",
			  log_s("publication", t->now.conf->database.publication),
			  log_fix("see \"The publication\" in docs/operations.md"));
	else
		log_info("rows that decide permission come again");
	admit_changed(t->admissions, topiclog_published(t->now.log), NULL);
}

void tap_published_take(struct tap *t, const struct publication_says *says)
{
	bool is_known = t->published.is_pgoutput && says->is_pgoutput,
	     changed = !slice_equal(buf_slice(says->pushed), buf_slice(&t->published.lacks)) ||
		       (is_known && says->names != t->published.names);

	changed |= tap_matched_take(t, says, is_known);
	t->published.names = says->names;
	t->published.is_pgoutput = says->is_pgoutput;
	t->published.digest = says->digest;
	withhold(t, says->lacks_deciding);
	if (!changed)
		return;
	buf_clear(&t->published.lacks);
	buf_add_slice(&t->published.lacks, buf_slice(says->pushed));
	tap_published_missed(t, "the publication sends other rows than before");
}

void tap_published_note(struct tap *t, const struct txn *txn)
{
	for (size_t i = 0; t->published.is_pgoutput && i < txn_n_marks(txn); i++) {
		struct txn_marked mark = txn_marked(txn, i);

		if (strcmp(mark.reason, "truncate") == 0 && t->published.truncated.len < TRUNCATED_MOST)
			leaves_add_root(&t->published.truncated, mark.section->table->schema,
					mark.section->table->name);
	}
}

void tap_published_rotate(struct tap *t)
{
	struct buf *b = &t->published.truncated;

	if (!b->len)
		return;
	memmove(b->data, b->data + t->published.since, b->len - t->published.since);
	b->len -= t->published.since;
	t->published.since = b->len;
}

void tap_published_fini(struct tap *t)
{
	buf_fini(&t->published.truncated);
	buf_fini(&t->published.lacks);
	buf_fini(&t->published.matched);
}
