/*
 * The holder of the slot and the stream's end, by interleavings: what is asked, answered, refused or lost in which order, and what the writer
 * then asks, and takes for appended and safe. Queue and append are the real ones; Redis is the test.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <inttypes.h>

#include "fedlink.h"
#include "relay_writer.h"

static struct event_base *loop;
static struct conf_relay conf;
static struct relay_env env;
static struct relay_writer *writer;
static struct redislink *append;
static unsigned refills, pauses, changes, refusals;
static lsn_t safest; /* since the last start */

static void on_refill(void *ctx, const char *why)
{
	(void)ctx;
	(void)why;
	refills++;
}

static void on_pause(void *ctx, bool paused)
{
	(void)ctx;
	(void)paused;
	pauses++;
}

static void on_changed(void *ctx)
{
	(void)ctx;
	changes++;
}

static void on_refused(void *ctx, const char *words)
{
	(void)ctx;
	assert_non_null(strstr(words, "READONLY"));
	refusals++;
}

static const struct relay_writer_calls calls = { on_refill, on_pause, on_changed, on_refused };

static int open_writer(void **state)
{
	(void)state;
	refills = pauses = changes = refusals = 0;
	safest = 0;
	loop = event_base_new();
	conf = (struct conf_relay){ 0 };
	env = (struct relay_env){ .loop = loop, .conf = &conf, .clock = fed_clock };
	writer = relay_writer_new(&env, "me", &calls, NULL);
	append = fed_link("append");
	return 0;
}

static int close_writer(void **state)
{
	(void)state;
	relay_writer_free(writer);
	event_base_free(loop);
	return 0;
}

/* For the next case of a table. */
static void again(void)
{
	close_writer(NULL);
	open_writer(NULL);
}

/* --- steps ---------------------------------------------------------------------------------------------------------- */

static void add(lsn_t lsn, bool ends)
{
	struct relay_entry e = {
		.kind = RELAY_MESSAGE, .id = { lsn, 1 }, .payload = SLICE("m"), .groups = { "g", 2 }, .n_groups = 1
	};

	e.end = ends ? lsn + 1 : 0;
	relay_writer_add(writer, &e);
}

static void saw(lsn_t lsn, bool ends)
{
	relay_writer_saw(writer,
			 &(struct relay_entry){ .kind = RELAY_MESSAGE, .id = { lsn, 1 }, .end = ends ? lsn + 1 : 0 });
}

/* In one turn of the loop: the owner adds what another holder has begun to append. */
static void meet(lsn_t lsn)
{
	add(lsn, true);
	relay_writer_saw(writer, &(struct relay_entry){ .kind = RELAY_MEMBERS, .id = { lsn, 0 } });
}

static void elsewhere(lsn_t lsn)
{
	struct buf wire = { 0 };
	char id[RELAY_ID_MAX], end[24];

	relay_id_format(id, (struct event_id){ lsn, 1 });
	snprintf(end, sizeof(end), "%" PRIu64, lsn + 1);
	buf_add_text(&wire, "*2\r\n");
	fed_bulk(&wire, id);
	fed_bulk(&wire, end);
	fed_reply(append, "APPEND", wire.data);
	buf_fini(&wire);
}

/* The stream ends with the entry at this LSN, which ends its transaction; 0: it is empty. */
static void tail(lsn_t lsn)
{
	char id[RELAY_ID_MAX];

	relay_id_format(id, (struct event_id){ lsn, lsn ? 1 : 0 });
	fed_tail(append, id, lsn ? lsn + 1 : 0);
}

/* It ends inside of a transaction: what commits below 11 is in it. */
static void half(lsn_t lsn)
{
	char id[RELAY_ID_MAX];

	relay_id_format(id, (struct event_id){ lsn, 1 });
	fed_tail(append, id, 11);
}

static void say(const char *verb, const char *wire)
{
	fed_reply(append, verb, wire);
}

static void of_link(const char *what)
{
	if (strcmp(what, "up") == 0)
		fed_up(append);
	else if (strcmp(what, "lost") == 0)
		fed_lose(append, "gone", false);
	else
		fed_lose(append, "READONLY You can't write against a read only replica.", true);
}

static void of_redis(const char *what, lsn_t n)
{
	char wire[32];

	snprintf(wire, sizeof(wire), ":%d\r\n", (int)n);
	if (strcmp(what, "tail") == 0)
		tail(n);
	else if (strcmp(what, "half") == 0)
		half(n);
	else if (strcmp(what, "strange") == 0)
		say("TAIL", ":7\r\n");
	else if (strcmp(what, "ok") == 0)
		say("APPEND", ":1\r\n");
	else if (strcmp(what, "else") == 0)
		elsewhere(n);
	else if (strcmp(what, "error") == 0)
		say("APPEND", "-OOM command not allowed\r\n");
	else if (strcmp(what, "waited") == 0)
		say("WAIT", wire);
	else if (strcmp(what, "nowait") == 0)
		say("WAIT", "-NOPERM no\r\n");
	else
		fail_msg("what is %s?", what);
}

static void of_owner(const char *what, lsn_t n)
{
	static const char *const keys[] = { "", "k1", "k2" };

	if (strcmp(what, "open") == 0)
		relay_writer_reopen(writer, keys[n], "leader");
	else if (strcmp(what, "start") == 0)
		relay_writer_start(writer, n, RELAY_HOLE_NONE);
	else if (strcmp(what, "here") == 0)
		relay_writer_start(writer, n, RELAY_HOLE_HERE);
	else if (strcmp(what, "miss") == 0)
		assert_int_equal(relay_writer_miss(writer), n);
	else if (strcmp(what, "lead") == 0 || strcmp(what, "follow") == 0)
		relay_writer_lead(writer, what[0] == 'l');
	else if (strcmp(what, "add") == 0 || strcmp(what, "part") == 0)
		add(n, what[0] == 'a');
	else if (strcmp(what, "position") == 0)
		relay_writer_position(writer, n, true);
	else if (strcmp(what, "saw") == 0 || strcmp(what, "sawpart") == 0)
		saw(n, strcmp(what, "saw") == 0);
	else if (strcmp(what, "meet") == 0)
		meet(n);
	else if (strcmp(what, "trim") == 0)
		relay_writer_trim(writer, n);
	else if (strcmp(what, "second") == 0)
		relay_writer_second(writer);
	else
		of_redis(what, n);
}

/* "add=20": a verb, and its number. The loop runs after each. */
static void step(const char *word)
{
	char what[16] = "";
	uint64_t n = 0;

	sscanf(word, "%15[a-z]=%" SCNu64, what, &n);
	if (strcmp(what, "up") == 0 || strcmp(what, "lost") == 0 || strcmp(what, "readonly") == 0)
		of_link(what);
	else
		of_owner(what, n);
	if (strcmp(what, "start") == 0 || strcmp(what, "here") == 0 || strcmp(what, "miss") == 0)
		safest = 0;
	fed_run(loop);
	assert_true(relay_writer_safe(writer) >= safest); /* it only grows */
	safest = relay_writer_safe(writer);
}

static void steps(const char *text)
{
	char copy[512], *rest = copy, *word;

	mem_copy_text(copy, sizeof(copy), text);
	while ((word = strsep(&rest, " ")))
		if (*word)
			step(word);
}

/* --- interleavings ---------------------------------------------------------------------------------------------------- */

#define LEADS "open=1 up tail=10 start=11 lead " /* settled behind 10-1, nothing queued */

static const struct {
	const char *steps;
	const char *open; /* questions that wait for an answer */
	lsn_t reached, end, safe;
	unsigned appended, refused, refills;
	const char *words; /* what of an error is kept; NULL: nothing */
} cases[] = {
	/* The tail is asked for when there is a stream and a connection. */
	{ "", "", 0, 0, 0, 0, 0, 0, NULL },
	{ "open=1", "", 0, 0, 0, 0, 0, 0, NULL },
	{ "up", "", 0, 0, 0, 0, 0, 0, NULL },
	{ "open=1 up", "TAIL k1", 0, 0, 0, 0, 0, 0, NULL },
	{ "up open=1", "TAIL k1", 0, 0, 0, 0, 0, 0, NULL },
	{ "open=1 up second", "TAIL k1", 0, 0, 0, 0, 0, 0, NULL },
	{ "open=1 up tail=10", "", 11, 0, 0, 0, 0, 0, NULL },
	{ "open=1 up strange", "", 0, 0, 0, 0, 0, 0, "it is no stream of walpush's" },
	{ "open=1 up strange second", "TAIL k1", 0, 0, 0, 0, 0, 0, "it is no stream of walpush's" },
	/* Settled: the slot reaches back to the stream's end, or a beginning is appended. */
	{ LEADS, "", 11, 11, 0, 0, 0, 0, NULL },
	{ "open=1 up start=5 tail=10 lead", "", 11, 11, 0, 0, 0, 0, NULL },
	{ "open=1 up start=5 lead tail=10", "", 11, 11, 0, 0, 0, 0, NULL },
	{ "open=1 up tail=10 start=20 lead", "APPEND k1 10-1: 19-4294967294", 11, 20, 0, 0, 0, 0, NULL },
	{ "open=1 up start=20 lead tail=10", "APPEND k1 10-1: 19-4294967294", 11, 20, 0, 0, 0, 0, NULL },
	{ "open=1 up tail=0 start=20 lead", "APPEND k1 0-0: 19-4294967294", 0, 20, 0, 0, 0, 0, NULL },
	{ "open=1 up tail=10 here=5 lead", "APPEND k1 10-1: 11-4294967294", 11, 12, 0, 0, 0, 0, NULL },
	{ "open=1 up here=5 lead tail=10", "APPEND k1 10-1: 11-4294967294", 11, 12, 0, 0, 0, 0, NULL },
	/* Nothing goes out before all three are there. */
	{ "open=1 up tail=10 start=11 add=20", "", 11, 21, 0, 0, 0, 0, NULL },
	{ "open=1 up start=11 lead add=20", "TAIL k1", 0, 21, 0, 0, 0, 0, NULL },
	{ "open=1 start=11 lead add=20", "", 0, 21, 0, 0, 0, 0, NULL },
	{ "open=1 up tail=10 start=11 add=20 lead", "APPEND k1 10-1: 20-1", 11, 21, 0, 0, 0, 0, NULL },
	{ "open=1 up start=5 lead add=8 add=10 add=20 tail=10", "APPEND k1 10-1: 20-1", 11, 21, 0, 0, 0, 0, NULL },
	/* Accepted. */
	{ LEADS "add=20", "APPEND k1 10-1: 20-1", 11, 21, 0, 0, 0, 0, NULL },
	{ LEADS "add=20 ok", "", 21, 21, 21, 1, 0, 0, NULL },
	{ LEADS "add=20 add=30 ok", "APPEND k1 20-1: 30-1", 21, 31, 21, 1, 0, 0, NULL },
	{ LEADS "add=20 add=30 ok ok", "", 31, 31, 31, 2, 0, 0, NULL },
	{ LEADS "part=20 ok", "", 11, 11, 11, 1, 0, 0, NULL },
	{ LEADS "part=20 ok add=21 ok", "", 22, 22, 22, 2, 0, 0, NULL },
	{ LEADS "position=20 ok", "", 20, 20, 20, 1, 0, 0, NULL },
	/* Another has appended: the stream's new end is asked for once nothing is under way; what it holds is left out. */
	{ LEADS "add=20 else=15", "TAIL k1", 0, 21, 0, 0, 1, 0, NULL },
	{ LEADS "add=20 add=30 else=15", "APPEND k1 20-1: 30-1", 0, 31, 0, 0, 1, 0, NULL },
	{ LEADS "add=20 add=30 else=15 else=15", "TAIL k1", 0, 31, 0, 0, 1, 0, NULL },
	{ LEADS "add=20 add=30 else=20 else=20 tail=20", "APPEND k1 20-1: 30-1", 21, 31, 0, 0, 1, 0, NULL },
	{ LEADS "add=20 add=30 else=20 else=20 tail=20 ok", "", 31, 31, 31, 1, 1, 0, NULL },
	{ LEADS "add=20 else=40 tail=40", "", 41, 21, 0, 0, 1, 0, NULL },
	{ LEADS "add=20 else=40 tail=40 add=30 add=50", "APPEND k1 40-1: 50-1", 41, 51, 0, 0, 1, 0, NULL },
	/* What was sent behind a refusal counts for nothing, even if Redis said yes. */
	{ LEADS "add=20 add=30 else=20 ok tail=20", "APPEND k1 20-1: 30-1", 21, 31, 0, 0, 1, 0, NULL },
	/* Redis cannot: a second's rest, then one batch at a time until one is acknowledged. */
	{ LEADS "add=20 error", "", 0, 21, 0, 0, 1, 0, "OOM command not allowed" },
	{ LEADS "add=20 error second", "TAIL k1", 0, 21, 11, 0, 1, 0, "OOM command not allowed" },
	{ LEADS "add=20 error second tail=10 add=30", "APPEND k1 10-1: 20-1", 11, 31, 11, 0, 1, 0,
	  "OOM command not allowed" },
	{ LEADS "add=20 error second tail=10 add=30 ok", "APPEND k1 20-1: 30-1", 21, 31, 21, 1, 1, 0, NULL },
	{ LEADS "add=20 error second tail=10 error", "", 0, 21, 11, 0, 2, 0, "OOM command not allowed" },
	/* The connection is lost: what was with Redis may be in the stream or not. */
	{ LEADS "add=20 lost", "", 0, 21, 0, 0, 0, 0, NULL },
	{ LEADS "add=20 lost up", "TAIL k1", 0, 21, 0, 0, 0, 0, NULL },
	{ LEADS "add=20 lost up tail=10", "APPEND k1 10-1: 20-1", 11, 21, 0, 0, 0, 0, NULL },
	{ LEADS "add=20 lost up tail=20", "", 21, 21, 0, 0, 0, 0, NULL },
	{ LEADS "add=20 lost up tail=20 second", "", 21, 21, 21, 0, 0, 0, NULL },
	{ LEADS "add=20 add=30 lost up tail=20", "APPEND k1 20-1: 30-1", 21, 31, 0, 0, 0, 0, NULL },
	{ LEADS "add=20 ok lost add=30 up tail=20", "APPEND k1 20-1: 30-1", 21, 31, 21, 1, 0, 0, NULL },
	{ LEADS "add=20 readonly up", "TAIL k1", 0, 21, 0, 0, 0, 0, NULL },
	{ LEADS "add=20 else=15 lost up tail=15", "APPEND k1 15-1: 20-1", 16, 21, 0, 0, 1, 0, NULL },
	{ "open=1 up lost up tail=10", "", 11, 0, 0, 0, 0, 0, NULL },
	/* Redis lost its tail: decode again. Not before this replica had settled, and not if it does not lead. */
	{ LEADS "add=20 ok lost up tail=10", "", 11, 21, 21, 1, 0, 1, NULL },
	{ LEADS "add=20 ok lost up tail=0", "", 0, 21, 21, 1, 0, 1, NULL },
	{ LEADS "add=20 ok lost up tail=10 follow start=11 lead", "", 11, 11, 0, 1, 0, 1, NULL },
	{ LEADS "add=20 ok lost up tail=10 follow start=11 lead add=20", "APPEND k1 10-1: 20-1", 11, 21, 0, 1, 0, 1,
	  NULL },
	/* Until it has, nothing goes out, and what was safe stays so. */
	{ LEADS "add=20 ok lost up tail=10 start=11 add=20", "", 11, 21, 0, 1, 0, 1, NULL },
	{ LEADS "add=20 ok lost up tail=10 second", "", 11, 21, 21, 1, 0, 1, NULL },
	{ LEADS "add=20 ok follow lost up tail=10", "", 11, 21, 21, 1, 0, 0, NULL },
	/* The lead is lost: the queue is the next holder's to fill. An answer that comes late is void. */
	{ LEADS "add=20 follow", "APPEND k1 10-1: 20-1", 0, 21, 0, 0, 0, 0, NULL },
	{ LEADS "add=20 follow ok", "TAIL k1", 0, 21, 0, 0, 0, 0, NULL },
	{ LEADS "follow add=20", "", 11, 21, 0, 0, 0, 0, NULL },
	{ LEADS "add=20 follow error", "TAIL k1", 0, 21, 0, 0, 0, 0, NULL },
	{ LEADS "add=20 follow ok tail=20 start=21 lead add=30", "APPEND k1 20-1: 30-1", 21, 31, 0, 0, 0, 0, NULL },
	{ LEADS "add=20 follow start=11 lead ok", "TAIL k1", 0, 11, 0, 0, 0, 0, NULL },
	{ LEADS "add=20 follow start=11 lead add=20 ok tail=20", "", 21, 21, 0, 0, 0, 0, NULL },
	/* Started again while a batch is under way. */
	{ LEADS "add=20 start=11 ok", "TAIL k1", 0, 11, 0, 0, 0, 0, NULL },
	{ LEADS "add=20 start=11 add=20 ok tail=20 add=30", "APPEND k1 20-1: 30-1", 21, 31, 0, 0, 0, 0, NULL },
	/* Another stream: no answer about the earlier one counts, neither a batch's nor a tail's. */
	{ "open=1 up open=2", "TAIL k1", 0, 0, 0, 0, 0, 0, NULL },
	{ "open=1 up open=2 tail=10", "TAIL k2", 0, 0, 0, 0, 0, 0, NULL },
	{ "open=1 up open=2 tail=10 tail=0", "", 0, 0, 0, 0, 0, 0, NULL },
	{ "open=1 up open=2 lost up tail=5", "", 6, 0, 0, 0, 0, 0, NULL },
	{ "open=1 up tail=10 open=2 tail=5", "", 6, 0, 0, 0, 0, 0, NULL },
	{ LEADS "add=20 open=2", "APPEND k1 10-1: 20-1", 0, 21, 0, 0, 0, 0, NULL },
	{ LEADS "add=20 open=2 ok", "TAIL k2", 0, 21, 0, 0, 0, 0, NULL },
	{ LEADS "add=20 open=2 start=15 ok tail=0", "APPEND k2 0-0: 14-4294967294", 0, 15, 0, 0, 0, 0, NULL },
	/* What is read was appended, whoever did: a replica that gets the slot begins there. */
	{ "open=1 up tail=10 saw=20", "", 21, 0, 0, 0, 0, 0, NULL },
	{ "open=1 up saw=20 tail=10", "", 11, 0, 0, 0, 0, 0, NULL },
	{ "open=1 up tail=10 saw=5", "", 11, 0, 0, 0, 0, 0, NULL },
	{ "open=1 up tail=10 start=11 add=20 add=30 saw=20 lead", "APPEND k1 20-1: 30-1", 21, 31, 0, 0, 0, 0, NULL },
	{ LEADS "add=20 saw=20 ok", "", 21, 21, 21, 1, 0, 0, NULL },
	/* Rows were missed: a beginning, as soon as the stream's end is known, whatever was in the queue. */
	{ LEADS "miss=1", "APPEND k1 10-1: 11-4294967294", 11, 12, 0, 0, 0, 0, NULL },
	{ LEADS "miss=1 ok", "", 12, 12, 12, 1, 0, 0, NULL },
	{ LEADS "add=20 miss=1", "APPEND k1 10-1: 20-1", 0, 21, 0, 0, 0, 0, NULL },
	{ LEADS "add=20 miss=1 ok tail=20", "APPEND k1 20-1: 21-4294967294", 21, 22, 0, 0, 0, 0, NULL },
	{ LEADS "add=20 miss=1 else=10 tail=10", "APPEND k1 10-1: 20-4294967294", 11, 21, 0, 0, 0, 0, NULL },
	{ LEADS "miss=1 follow", "APPEND k1 10-1: 11-4294967294", 0, 12, 0, 0, 0, 0, NULL },
	{ LEADS "follow miss=0", "", 11, 11, 0, 0, 0, 0, NULL },
	{ LEADS "lost miss=0", "", 0, 11, 0, 0, 0, 0, NULL },
	/* Trimmed up to what is confirmed, never the last entry, and not twice. */
	{ LEADS "trim=5", "XTRIM k1 MINID ~ 5-0", 11, 11, 0, 0, 0, 0, NULL },
	{ LEADS "trim=50", "XTRIM k1 MINID ~ 10-0", 11, 11, 0, 0, 0, 0, NULL },
	{ LEADS "trim=5 trim=5 trim=4", "XTRIM k1 MINID ~ 5-0", 11, 11, 0, 0, 0, 0, NULL },
	{ LEADS "follow trim=5", "", 11, 11, 0, 0, 0, 0, NULL },
	{ "trim=5 open=1 trim=5 up trim=5", "TAIL k1", 0, 0, 0, 0, 0, 0, NULL },
};

static void each_interleaving(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct relay_numbers n = { 0 };
		char open[512];

		again();
		steps(cases[i].steps);
		fed_open(append, open, sizeof(open));
		relay_writer_numbers(writer, fed_now, &n);
		if (strcmp(open, cases[i].open) != 0 || relay_writer_tail_end(writer) != cases[i].reached ||
		    relay_writer_end(writer) != cases[i].end || relay_writer_safe(writer) != cases[i].safe ||
		    n.appended != cases[i].appended || n.refused != cases[i].refused || refills != cases[i].refills ||
		    strcmp(relay_writer_words(writer), cases[i].words ? cases[i].words : "") != 0)
			fail_msg("'%s': '%s' is open, reached %" PRIu64 ", end %" PRIu64 ", safe %" PRIu64
				 ", %d appended, %d refused, %u refills, '%s'",
				 cases[i].steps, open, relay_writer_tail_end(writer), relay_writer_end(writer),
				 relay_writer_safe(writer), (int)n.appended, (int)n.refused, refills,
				 relay_writer_words(writer));
	}
}

/* With relay.wait: safe is what so many of Redis' replicas have. */
static const struct {
	const char *steps;
	const char *open;
	lsn_t safe;
} waits[] = {
	{ LEADS "add=20 ok", "WAIT 2 1000", 0 },
	{ LEADS "add=20 ok waited=2", "", 21 },
	{ LEADS "add=20 ok waited=3", "", 21 },
	{ LEADS "add=20 ok waited=1", "", 0 },
	{ LEADS "add=20 ok waited=1 second", "WAIT 2 1000", 0 },
	{ LEADS "add=20 ok nowait second waited=2", "", 21 },
	{ LEADS "add=20 ok add=30 waited=2", "APPEND k1 20-1: 30-1", 21 },
	/* The WAIT that is out stands for what was appended before it. */
	{ LEADS "add=20 add=30 ok ok waited=2", "WAIT 2 1000", 21 },
	{ LEADS "add=20 add=30 ok ok waited=2 waited=2", "", 31 },
	{ LEADS "add=20 ok lost up", "TAIL k1", 0 },
	{ LEADS "add=20 ok lost up tail=20 second waited=2", "", 21 },
	/* And for nothing in another stream. */
	{ LEADS "add=20 ok open=2 start=5 waited=2", "TAIL k2", 0 },
};

static void safe_waits_for_replicas(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(waits) / sizeof(*waits); i++) {
		char open[512];

		again();
		conf.wait = 2;
		steps(waits[i].steps);
		fed_open(append, open, sizeof(open));
		if (strcmp(open, waits[i].open) != 0 || relay_writer_safe(writer) != waits[i].safe)
			fail_msg("'%s': '%s' is open, safe %" PRIu64, waits[i].steps, open, relay_writer_safe(writer));
	}
}

static void batches_under_way_are_bounded(void **state)
{
	char open[4096];
	unsigned n = 0;

	(void)state;
	steps(LEADS);
	for (lsn_t i = 0; i < 20; i++) {
		add(20 + i, true);
		fed_run(loop);
	}
	fed_open(append, open, sizeof(open));
	for (const char *at = open; (at = strstr(at, "APPEND")); at++)
		n++;
	assert_int_equal(n, 16);
	for (unsigned i = 0; i < 17; i++) { /* the last four go in one */
		steps("ok");
	}
	assert_int_equal(relay_writer_safe(writer), 40);
}

static void the_leader_is_named_each_second(void **state)
{
	(void)state;
	steps(LEADS);
	assert_string_equal(append->first->arguments[1], "leader");
	assert_string_equal(append->first->arguments[2], "me");
	assert_string_equal(append->first->arguments[4], "6000");
	fed_answer(append, "+OK\r\n");
	steps("second");
	fed_answer(append, "-NOPERM no\r\n"); /* nobody waits for it */
	assert_null(append->first);
	steps("lead follow second");
	assert_null(append->first);
}

/* The connection comes back, and Redis acknowledges nothing on it either. */
static void a_writer_is_stuck_after_a_while(void **state)
{
	(void)state;
	steps(LEADS "add=20");
	assert_int_equal(relay_writer_lag(writer, fed_now + 5), 5);
	assert_false(relay_writer_is_stuck(writer, fed_now + 10000000));
	assert_true(relay_writer_is_stuck(writer, fed_now + 10000001));
	fed_now += 20000000;
	relay_writer_drop(writer, "stuck");
	assert_string_equal(relay_writer_trouble(writer), "stuck");
	assert_false(relay_writer_is_stuck(writer, fed_now));
	steps("up");
	assert_null(relay_writer_trouble(writer));
	assert_false(relay_writer_is_stuck(writer, fed_now + 10000000));
	assert_true(relay_writer_is_stuck(writer, fed_now + 10000001));
}

static void the_owner_hears_of_the_connection(void **state)
{
	(void)state;
	steps("up lost up");
	assert_int_equal(changes, 3);
	assert_int_equal(refusals, 0);
	steps("readonly");
	assert_int_equal(changes, 4);
	assert_int_equal(refusals, 1);
}

static void a_full_queue_pauses_the_owner(void **state)
{
	size_t size = RELAY_BYTES + 1;
	char *payload = mem_new(size);
	struct relay_entry e = {
		.kind = RELAY_MESSAGE, .id = { 20, 1 }, .end = 21, .groups = { "g", 2 }, .n_groups = 1
	};

	(void)state;
	memset(payload, 'x', size);
	e.payload = (struct slice){ payload, size };
	steps(LEADS);
	relay_writer_add(writer, &e);
	assert_true(relay_writer_is_full(writer));
	steps("follow");
	assert_false(relay_writer_is_full(writer));
	assert_int_equal(pauses, 2);
	free(payload);
}

/* A transaction of which another decoding has appended a part. What this one would append as the rest does not fit to it. */
static const struct {
	const char *steps;
	const char *open;
	lsn_t half;
	unsigned refills;
} halves[] = {
	{ LEADS, "", 0, 0 },
	{ "open=1 up tail=0 start=11 lead", "APPEND k1 0-0: 10-4294967294", 0, 0 },
	{ "open=1 up half=20", "", 20, 0 },
	{ "open=1 up half=20 start=11 lead", "", 20, 0 },
	{ "open=1 up tail=10 sawpart=20 start=11 lead", "", 20, 0 },
	{ "open=1 up tail=10 sawpart=20 saw=20 start=11 lead", "", 20, 0 },
	{ "open=1 up tail=10 sawpart=20 saw=30 start=11 lead", "", 0, 0 },
	{ LEADS "sawpart=20", "", 20, 0 },
	/* Over once it is ended, or behind a beginning. */
	{ "open=1 up half=20 start=11 lead add=30", "APPEND k1 20-1: 30-1", 20, 0 },
	{ "open=1 up half=20 start=11 lead add=30 ok", "", 0, 0 },
	{ "open=1 up half=20 start=11 lead miss=1 ok", "", 0, 0 },
	/* A part that was appended since the start is this decoding's own. */
	{ LEADS "part=20 ok", "", 0, 0 },
	{ LEADS "add=20 ok part=30 ok lost up half=30", "", 0, 0 },
	/* With the next start it is another's. */
	{ LEADS "part=20 ok start=11", "", 20, 0 },
	{ LEADS "part=20 ok follow start=11 lead", "", 20, 0 },
	{ LEADS "part=20 ok open=2", "TAIL k2", 0, 0 },
	/* It was added as a whole before anybody knew: decode again. */
	{ "open=1 up start=11 lead add=20", "TAIL k1", 0, 0 },
	{ "open=1 up start=11 lead add=20 half=20", "", 20, 1 },
	{ "open=1 up start=11 lead add=30 half=20", "", 20, 1 },
	{ "open=1 up start=11 lead add=20 half=30", "", 30, 0 },
	{ LEADS "add=20 lost up half=20", "", 20, 1 },
	{ LEADS "add=20 else=20 half=20", "", 20, 1 },
	{ LEADS "add=20 ok add=30 else=30 half=30", "", 30, 1 },
	/* What was not acknowledged may be another's. */
	{ LEADS "add=20 ok part=30 error second half=30", "", 30, 0 },
	{ LEADS "add=20 ok add=30 lost up half=30", "", 30, 1 },
	{ LEADS "add=20 ok sawpart=30", "", 30, 0 },
	{ LEADS "meet=20", "TAIL k1", 0, 0 },
	{ LEADS "meet=20 half=20", "", 20, 1 },
	{ LEADS "meet=20 tail=20", "", 0, 0 },
};

static void a_transaction_of_two_decodings_is_known(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(halves) / sizeof(*halves); i++) {
		char open[512];

		again();
		steps(halves[i].steps);
		fed_open(append, open, sizeof(open));
		if (strcmp(open, halves[i].open) != 0 || relay_writer_half_told(writer) != halves[i].half ||
		    refills != halves[i].refills)
			fail_msg("'%s': '%s' is open, half of %" PRIu64 ", %u refills", halves[i].steps, open,
				 relay_writer_half_told(writer), refills);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_writer, close_writer)
		TEST(each_interleaving),
		TEST(a_transaction_of_two_decodings_is_known),
		TEST(safe_waits_for_replicas),
		TEST(batches_under_way_are_bounded),
		TEST(the_leader_is_named_each_second),
		TEST(a_writer_is_stuck_after_a_while),
		TEST(the_owner_hears_of_the_connection),
		TEST(a_full_queue_pauses_the_owner),
#undef TEST
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
