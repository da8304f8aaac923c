#include "walpush/watch/minute.h"

void minute_take(struct minute *m, uint64_t bad, uint64_t all)
{
	m->at[m->next] = m->now;
	m->now = (struct minute_sample){ bad, all };
	m->next = (m->next + 1) % MINUTE_SECONDS;
}

struct minute_sample minute_sum(const struct minute *m)
{
	const struct minute_sample *before = &m->at[m->next]; /* a minute ago; zero: before the start */

	return (struct minute_sample){ m->now.bad - before->bad, m->now.all - before->all };
}
