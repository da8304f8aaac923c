#include "drain.h"

int64_t drain_span(uint64_t n, int64_t most)
{
	int64_t allowed = most > 0 ? most - most / 10 : 0;
	uint64_t each = 1000000 / DRAIN_RATE;

	return n > (uint64_t)allowed / each ? allowed : (int64_t)(n * each);
}

int64_t drain_when(size_t i, size_t n, int64_t span)
{
	return (int64_t)((double)span * (double)i / (double)n);
}

/* splitmix64: each state gives an independent number. Source: Steele, Lea and Flood, OOPSLA 2014. */
static uint64_t next_random(uint64_t *state)
{
	uint64_t z = *state += UINT64_C(0x9E3779B97F4A7C15);

	z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
	z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
	return z ^ z >> 31;
}

/* Fisher and Yates. The modulo's bias is below n / 2^64. */
void drain_shuffle(uint64_t *ids, size_t n, uint64_t seed)
{
	for (size_t i = n; i > 1; i--) {
		size_t j = next_random(&seed) % i;
		uint64_t id = ids[i - 1];

		ids[i - 1] = ids[j];
		ids[j] = id;
	}
}
