#include "walpush/pg/login.h"

#include <string.h>
#include <utlist.h>

#include "walpush/base/backoff.h"
#include "walpush/pg/refusal.h"

void login_listen(struct login *l, struct login_ear *ear)
{
	DL_APPEND(l->ears, ear);
}

void login_leave(struct login *l, struct login_ear *ear)
{
	DL_DELETE(l->ears, ear);
	if (l->trying == ear)
		l->trying = NULL;
}

int64_t login_wait(struct login *l, const struct login_ear *ear, int64_t now)
{
	if (l->is_open || l->trying == ear)
		return 0;
	if (l->trying)
		return LOGIN_AGAIN;
	if (now < l->until)
		return l->until - now;
	l->trying = ear;
	return 0;
}

static void tell_all(struct login *l)
{
	struct login_ear *ear;

	DL_FOREACH(l->ears, ear)
		ear->passed(ear->ctx);
}

void login_passed(struct login *l, const struct login_ear *ear)
{
	bool was_open = l->is_open;

	if (l->trying == ear)
		l->trying = NULL;
	l->is_open = true;
	l->is_refused = false;
	l->wait = l->until = 0;
	if (!was_open)
		tell_all(l);
}

/* At least half of the wait is certain, so that the number of tries is bounded. */
static int64_t next_wait(struct login *l)
{
	struct backoff half;

	l->wait = !l->wait ? LOGIN_FIRST : 2 * l->wait < LOGIN_MOST ? 2 * l->wait : LOGIN_MOST;
	half = (struct backoff){ .base = l->wait / 2, .cap = l->wait / 2 };
	return l->wait / 2 + backoff_next(&half);
}

int64_t login_failed(struct login *l, const struct login_ear *ear, const struct fail *why, bool is_replication,
		     int64_t now)
{
	int64_t wait;

	if (l->trying == ear)
		l->trying = NULL;
	if (!refusal_is_of_login(why) || (is_replication && strcmp(why->sqlstate, "28P01") != 0))
		return 0;
	wait = next_wait(l);
	l->is_open = false;
	l->is_refused = true;
	l->until = now + wait;
	return wait;
}

void login_hurry(struct login *l)
{
	l->until = l->wait = 0;
	tell_all(l);
}

bool login_is_known(const struct login *l)
{
	return l->is_open || l->is_refused;
}

bool login_is_refused(const struct login *l)
{
	return l->is_refused;
}
