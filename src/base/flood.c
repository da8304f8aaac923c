#include "walpush/base/flood.h"

#include <pthread.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct flood *kinds; /* that have written a line */

bool flood_takes(struct flood *f, int64_t now)
{
	if (f->said[f->next] && now - f->said[f->next] < FLOOD_SPAN) {
		f->left_out++;
		return false;
	}
	f->said[f->next] = now;
	f->next = (f->next + 1) % FLOOD_LINES;
	return true;
}

bool flood_allows(struct flood *f, enum log_level level, int64_t now)
{
	bool ok;

	if (level == LOG_LEVEL_DEBUG)
		return true;
	pthread_mutex_lock(&lock);
	if (!f->is_known) {
		f->is_known = true;
		f->following = kinds;
		kinds = f;
	}
	f->level = level;
	ok = flood_takes(f, now);
	pthread_mutex_unlock(&lock);
	return ok;
}

static uint64_t take_left_out(struct flood *f, enum log_level *level)
{
	uint64_t n;

	pthread_mutex_lock(&lock);
	n = f->left_out;
	*level = f->level;
	f->left_out = 0;
	pthread_mutex_unlock(&lock);
	return n;
}

void flood_tell(void)
{
	struct flood *f;

	pthread_mutex_lock(&lock);
	f = kinds;
	pthread_mutex_unlock(&lock);
	/* A kind never leaves the list and its `following` never changes, so only its numbers need the lock. */
	for (; f; f = f->following) {
		enum log_level level;
		uint64_t left_out = take_left_out(f, &level);

		if (left_out)
			log_write(level, "more such lines were left out",
				  LOG_FIELDS(log_s("line", f->message), log_n("lines", left_out)));
	}
}
