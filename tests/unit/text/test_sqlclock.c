/* Which queries ask for the time, and which only look so. */
#include <stddef.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#include "walpush/text/sqlclock.h"

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

static void a_text_becomes_a_time_in_a_plan(void **state)
{
	(void)state;
	PLAY(false, { { "SELECT 1 WHERE \"t\" > (( SELECT 'now'::text AS \"text\"))::date", "now" },
		      { "SELECT 1 WHERE \"('now')::date\" = (t)::date", NULL },
		      { "SELECT 1 WHERE t = 'now'::text AND (d)::date > '2026-01-01'", NULL } });
	PLAY(true, { { "[{\"Filter\": \"(p.until > ('now'::text)::timestamp with time zone)\"}]", "now" },
		     { "[{\"Filter\": \"(p.day > ((' Today '::character varying)::text)::date)\"}]", "today" },
		     { "[{\"Filter\": \"(p.day > (CASE WHEN p.a THEN 'tomorrow'::text ELSE ')'::text END)::date)\"}]",
		       "tomorrow" },
		     { "[{\"Filter\": \"(p.day = ANY (('{yesterday}'::text[])::date[]))\"}]", "yesterday" },
		     { "[{\"Filter\": \"(p.name = 'now'::text)\", \"Output\": [\"(p.x)::date\"]}]", NULL },
		     { "[{\"Filter\": \"((p.name = 'now'::text) AND (p.x = (p.y)::date))\"}]", NULL },
		     { "[{\"Filter\": \"(p.until > ('nowhere'::text)::timestamp with time zone)\"}]", NULL },
		     { "[{\"Filter\": \"('now'", NULL } });
}

static void what_the_server_computed_is_gone(void **state)
{
	static const struct {
		const char *sql, *definition, *word;
	} cases[] = {
		{ "SELECT 1 WHERE t > 'now'", "SELECT 1 WHERE t > '2026-01-01 00:00:00+00'::timestamptz", "now" },
		{ "SELECT 1 WHERE d > date ' TOMORROW '", "SELECT 1 WHERE d > '2026-01-01'::date", "tomorrow" },
		{ "SELECT 1 WHERE d > $$today$$", "SELECT 1 WHERE d > '2026-01-01'::date", "today" },
		{ "SELECT 1 WHERE d > E'yesterday'", "SELECT 1 WHERE d > '2026-01-01'::date", "yesterday" },
		{ "SELECT 1 WHERE d > date'today 8:00'", "SELECT 1 WHERE d > '2026-01-01'::date", "today" },
		{ "SELECT 1 WHERE r @> '[now,infinity)'", "SELECT 1 WHERE r @> '[2026-01-01,infinity)'::tstzrange",
		  "now" },
		{ "SELECT 'now' WHERE t > 'now'", "SELECT 'now'::text WHERE t > '2026-01-01'::date", "now" },
		{ "SELECT 1 WHERE t > 'now'::text::date", "SELECT 1 WHERE t > ('now'::text)::date", NULL },
		{ "SELECT 1 WHERE name = 'now'", "SELECT 1 WHERE name = 'now'::text", NULL },
		{ "SELECT 1 WHERE name IN ('Now', 'it''s now')", "… ANY (ARRAY['Now'::text, 'it''s now'::text])",
		  NULL },
		{ "SELECT j @> '{\"at\":\"now\"}'", "SELECT j @> '{\"at\": \"now\"}'::jsonb", NULL },
		{ "SELECT now() -- 'now'\n, \"now\", 'know', nowtype'x'", "SELECT now()", NULL },
		{ "SELECT $1, 'x'", "SELECT NULL, 'x'::text", NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		const char *word = sqlclock_frozen(cases[i].sql, cases[i].definition);

		if ((word == NULL) != (cases[i].word == NULL) || (word && strcmp(word, cases[i].word) != 0))
			fail_msg("%s: %s", cases[i].sql, word ? word : "no word");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_way_to_ask_is_known),        cmocka_unit_test(what_only_looks_so_is_left_alone),
		cmocka_unit_test(a_plan_shows_what_views_hide),     cmocka_unit_test(a_text_becomes_a_time_in_a_plan),
		cmocka_unit_test(what_the_server_computed_is_gone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
