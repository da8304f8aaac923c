/* Everything that a transaction publishes, in the one order in which it is published. */
#include "walpush/change/txn.h"

bool txn_each(const struct txn *t, const struct txn_calls *calls, void *ctx)
{
	size_t n_messages = txn_n_messages(t), n_marks = txn_n_marks(t), message = 0, mark = 0;
	struct txn_skipped skipped;
	bool is_skipped = txn_skipped(t, &skipped);

	for (size_t i = 0; i < txn_n_members(t); i++)
		calls->member(ctx, txn_lsn(t), txn_member(t, i));
	while (message < n_messages || mark < n_marks) {
		struct txn_message next = message < n_messages ? txn_message(t, message) : (struct txn_message){ 0 };
		struct txn_marked marked = mark < n_marks ? txn_marked(t, mark) : (struct txn_marked){ 0 };

		if (mark < n_marks && (message == n_messages || event_id_compare(marked.id, next.id) < 0)) {
			calls->mark(ctx, &marked);
			mark++;
		} else {
			calls->message(ctx, &next);
			message++;
		}
	}
	if (is_skipped)
		calls->skipped(ctx, &skipped);
	return n_messages || n_marks || is_skipped;
}
