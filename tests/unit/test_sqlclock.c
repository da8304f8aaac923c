/* Which queries ask for the time, and which only look so. */
#include <stddef.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#include "walpush/sqlclock.h"

struct sample {
	const char *sql;
	const char *word; /* NULL: it does not */
};

static void play(const struct sample *all, size_t n, bool is_plan)
{
	for (size_t i = 0; i < n; i++) {
		const char *word = sqlclock_find(all[i].sql, is_plan);

		if ((word == NULL) != (all[i].word == NULL) || (word && strcmp(word, all[i].word) != 0))
			fail_msg("%s: %s", all[i].sql, word ? word : "no word");
	}
}

#define PLAY(is_plan, ...)                                                                                             \
	play((struct sample[])__VA_ARGS__, sizeof((struct sample[])__VA_ARGS__) / sizeof(struct sample), is_plan)

static void every_way_to_ask_is_known(void **state)
{
	(void)state;
	PLAY(false, { { "SELECT 1 FROM p WHERE until > now()", "now" },
		      { "SELECT 1 FROM p WHERE until > NOW ()", "now" },
		      { "SELECT 1 FROM p WHERE until > pg_catalog.now()", "now" },
		      { "SELECT 1 FROM p WHERE until>now()+'1 day'", "now" },
		      { "SELECT 1 FROM p WHERE until >= current_date", "current_date" },
		      { "SELECT 1 FROM p WHERE until >= CURRENT_TIMESTAMP(3)", "current_timestamp" },
		      { "SELECT CURRENT_TIME", "current_time" },
		      { "SELECT (LOCALTIME)", "localtime" },
		      { "SELECT localtimestamp-until FROM p", "localtimestamp" },
		      { "SELECT clock_timestamp()", "clock_timestamp" },
		      { "SELECT statement_timestamp()", "statement_timestamp" },
		      { "SELECT transaction_timestamp()", "transaction_timestamp" },
		      { "SELECT timeofday()", "timeofday" },
		      { "SELECT age(until) < '0' FROM p", "age" },
		      { "SELECT age(greatest(a, b)) FROM p", "age" },
		      { "SELECT 'it''s' || now()", "now" },
		      { "SELECT $1, now()", "now" },
		      { "SELECT 1 -- no\n, now()", "now" },
		      { "SELECT 1 /* no /* no */ */, now()", "now" },
		      { "SELECT E'\\'', now()", "now" },
		      { "SELECT $$x$$, $a$ $$ $a$, now()", "now" } });
}

static void what_only_looks_so_is_left_alone(void **state)
{
	(void)state;
	PLAY(false, { { "SELECT 1 FROM users", NULL },
		      { "SELECT now FROM p", NULL },
		      { "SELECT p.current_date FROM p", NULL },
		      { "SELECT known(), now_or_never(), snow(), now2()", NULL },
		      { "SELECT \"now\"(), \"current_date\"", NULL },
		      { "SELECT 'now()', 'it''s now()'", NULL },
		      { "SELECT E'\\' now()'", NULL },
		      { "SELECT 1 -- now()", NULL },
		      { "SELECT 1 /* now() /* */ now() */", NULL },
		      { "SELECT $$now()$$, $a$ now() $$ now() $a$", NULL },
		      { "SELECT age(until, since), age('x,y', f(a, b)) FROM p", NULL },
		      { "SELECT age FROM p", NULL },
		      { "SELECT current_dates, mylocaltime", NULL },
		      { "", NULL },
		      { "'", NULL },
		      { "SELECT /* ", NULL },
		      { "SELECT age(", "age" },
		      { "$", NULL },
		      { "$a$ now()", NULL } });
}

static void a_plan_shows_what_views_hide(void **state)
{
	(void)state;
	PLAY(true, { { "[{\"Filter\": \"(p.until > now())\"}]", "now" },
		     { "[{\"Filter\": \"(p.until > CURRENT_DATE)\"}]", "current_date" },
		     { "[{\"Index Cond\": \"((p.name = 'now()'::text) AND (p.until > clock_timestamp()))\"}]",
		       "clock_timestamp" },
		     { "[{\"Filter\": \"(p.\\\"current_date\\\" = 1)\"}]", NULL },
		     { "[{\"Filter\": \"(p.name = 'now()'::text)\", \"Node Type\": \"Seq Scan\"}]", NULL } });
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_way_to_ask_is_known),
		cmocka_unit_test(what_only_looks_so_is_left_alone),
		cmocka_unit_test(a_plan_shows_what_views_hide),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
