/* again: a listener is asked again, after a change of permission or a void answer. */
#include "parts.h"

void again_ask(struct listener *l)
{
	int64_t limit = l->all->present->conf->limits.admit_timeout * 1000;

	if (!l->is_open) {
		ask_about(l);
		return;
	}
	switch (verdict_act(&l->verdict, admit_clock(l->all), limit)) {
	case VERDICT_HEARS:
		listener_move(l, NULL);
		listener_to(l, LISTENER_STANDING);
		return;
	case VERDICT_ASK:
		ask_about(l);
		return;
	case VERDICT_WAIT:
		turn_wait(l);
		return;
	case VERDICT_LATE:
		listener_refuse(l, 1013, "timeout", "permission changes faster than the database answers");
		return;
	}
}

void again_void(struct listener *l)
{
	verdict_drop(&l->verdict);
	listener_forget_answer(l);
	if (l->is_open) /* limits.admit-timeout starts again; verdict.h has the bound */
		listener_not_late(l);
	if (!turn_again(l))
		again_ask(l);
}
