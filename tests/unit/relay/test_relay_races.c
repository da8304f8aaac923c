/*
 * Two replicas, one stream, and everything that can happen to them in any order: entries, positions, answers that come late or never, lost
 * connections, a slot that moves while its last holder does not know it yet, trims, a Redis that loses its tail, another epoch.
 *
 * Replicas are whole relays; Redis is a list of entries that does what the scripts do, and PostgreSQL a list of transactions. After each step:
 * the stream has no hole and nothing twice, nothing is safe that was not appended, and each replica reads every transaction from the beginning
 * that it was told, in order. The steps come from a number: a failure names it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <inttypes.h>

#include "fedlink.h"
#include "walpush/base/log.h"
#include "walpush/relay/relay.h"

#define SEEDS 100
#define STEPS 300
#define REPLICAS 2
#define STEP_LSN 10 /* transactions commit at 10, 20, 30 … */

static unsigned seed;
static uint64_t random_state;

static unsigned below(unsigned n)
{
	random_state = random_state * 6364136223846793005u + 1442695040888963407u;
	return (unsigned)(random_state >> 33) % n;
}

#define must(condition, ...)                                                                                           \
	do {                                                                                                           \
		if (!(condition)) {                                                                                    \
			print_error("seed %u: ", seed);                                                                \
			fail_msg(__VA_ARGS__);                                                                         \
		}                                                                                                      \
	} while (0)

/* --- Redis ------------------------------------------------------------------------------------------------------------ */

struct entry {
	struct event_id id, before;
	lsn_t end;
	struct buf wire; /* its fields, as XREAD gives them */
	unsigned n_fields;
};

static struct { /* the stream; what was trimmed is before `first` */
	struct entry at[4 * STEPS];
	size_t first, n;
	struct event_id last;
	bool lost_its_tail;
} stream;

static void stream_cut(size_t n)
{
	while (stream.n > n)
		buf_fini(&stream.at[--stream.n].wire);
	if (stream.first > n)
		stream.first = n;
	stream.last = stream.n ? stream.at[stream.n - 1].id : (struct event_id){ 0 };
}

static void xadd(char **arguments, size_t n, const char *id)
{
	struct entry *e = &stream.at[stream.n];

	must(stream.n < 4 * STEPS, "room for an entry");
	*e = (struct entry){ .n_fields = (unsigned)n };
	relay_id_parse(slice_of(id), &e->id);
	must(event_id_compare(e->id, stream.last) > 0, "XADD of %s is behind the last id", id);
	for (size_t i = 0; i < n; i += 2) {
		fed_bulk(&e->wire, arguments[i]);
		fed_bulk(&e->wire, arguments[i + 1]);
		if (strcmp(arguments[i], "e") == 0)
			e->end = strtoull(arguments[i + 1], NULL, 10);
		if (strcmp(arguments[i], "p") == 0)
			relay_id_parse(slice_of(arguments[i + 1]), &e->before);
	}
	must(event_id_compare(e->before, stream.last) == 0, "%s names another predecessor than the last entry", id);
	stream.last = e->id;
	stream.n++;
}

static void wire_id(struct buf *out, struct event_id id)
{
	char text[RELAY_ID_MAX];

	relay_id_format(text, id);
	fed_bulk(out, text);
}

static void do_tail(struct buf *out)
{
	char end[24] = "";

	for (size_t i = stream.n; i > stream.first && !end[0]; i--)
		if (stream.at[i - 1].end)
			snprintf(end, sizeof(end), "%" PRIu64, stream.at[i - 1].end);
	buf_add_text(out, "*2\r\n");
	wire_id(out, stream.last);
	fed_bulk(out, end);
}

static void do_append(const struct fed_question *q, struct buf *out)
{
	struct event_id expected;

	relay_id_parse(slice_of(q->arguments[4]), &expected);
	if (event_id_compare(expected, stream.last) != 0) {
		do_tail(out);
		return;
	}
	for (size_t i = 5, n; i < q->n; i += 2 + n) {
		n = (size_t)atoi(q->arguments[i + 1]);
		xadd(q->arguments + i + 2, n, q->arguments[i]);
	}
	buf_add_text(out, ":1\r\n");
}

static void do_read(const struct fed_question *q, struct buf *out)
{
	size_t from = stream.first, n;
	struct event_id at;

	relay_id_parse(slice_of(q->arguments[7]), &at);
	while (from < stream.n && event_id_compare(stream.at[from].id, at) <= 0)
		from++;
	n = stream.n - from > 3 ? 1 + below(3) : stream.n - from;
	if (n == 0) {
		buf_add_text(out, "*-1\r\n");
		return;
	}
	buf_addf(out, "*1\r\n*2\r\n$1\r\nk\r\n*%zu\r\n", n);
	for (size_t i = from; i < from + n; i++) {
		buf_add_text(out, "*2\r\n");
		wire_id(out, stream.at[i].id);
		buf_addf(out, "*%u\r\n", stream.at[i].n_fields);
		buf_add_slice(out, buf_slice(&stream.at[i].wire));
	}
}

static void do_trim(const struct fed_question *q, struct buf *out)
{
	struct event_id from;

	relay_id_parse(slice_of(q->arguments[4]), &from);
	while (stream.first < stream.n && event_id_compare(stream.at[stream.first].id, from) < 0)
		stream.first++;
	buf_add_text(out, ":0\r\n");
}

/* Runs a command; commands of an earlier epoch's stream find it empty. */
static void execute(const struct fed_question *q, const char *key, struct buf *out)
{
	const char *verb = q->arguments[0];
	bool here = strcmp(q->arguments[strcmp(verb, "EVAL") == 0 ? 3 : strcmp(verb, "XREAD") == 0 ? 6 : 1], key) == 0;

	if (strcmp(verb, "EVAL") == 0 && below(20) == 0)
		buf_add_text(out, "-OOM command not allowed\r\n");
	else if (strcmp(verb, "EVAL") == 0 && !here)
		buf_add_text(out, "*2\r\n$3\r\n0-0\r\n$0\r\n\r\n");
	else if (strcmp(verb, "EVAL") == 0 && q->n == 4)
		do_tail(out);
	else if (strcmp(verb, "EVAL") == 0)
		do_append(q, out);
	else if (strcmp(verb, "XREAD") == 0 && here)
		do_read(q, out);
	else if (strcmp(verb, "XTRIM") == 0 && here)
		do_trim(q, out);
	else if (strcmp(verb, "XREAD") == 0 || strcmp(verb, "GET") == 0)
		buf_add_text(out, "*-1\r\n");
	else
		buf_add_text(out, ":1\r\n");
}

/* --- replicas --------------------------------------------------------------------------------------------------------- */

/* Of the entry that says that the rest of a transaction cannot be known. */
#define TOLD_INDEX 1000

static struct replica {
	struct event_base *loop;
	struct conf_relay conf;
	struct relay *relay;
	struct redislink *links[2];
	bool leads;
	bool refill;
	lsn_t next; /* the next transaction to decode */
	bool begun;
	lsn_t read;        /* everything that commits before it was read, or was before the beginning */
	uint32_t decoding; /* of all starts of all replicas */
	struct {
		lsn_t lsn;
		uint32_t decoding; /* which made its first entry */
		bool is_mixed;     /* others came from another one */
	} reads;                   /* the transaction that is being read */
} replicas[REPLICAS];

static uint32_t n_decodings;
static struct replica *holder; /* of the slot; NULL: nobody */
static lsn_t confirmed;        /* the slot's */
static unsigned epoch;
static char key[32];

static void on_begin(void *ctx, lsn_t floor, enum relay_hole hole)
{
	struct replica *r = ctx;

	(void)hole;
	must(!r->begun || floor >= r->read, "a history begins before what was read");
	r->begun = true;
	r->read = floor;
	r->reads.lsn = 0;
}

/* Answers differ from decoding to decoding: what two of them made of one transaction does not fit together, unless readers are told so at its end. */
static void check_whole(struct replica *r, const struct relay_entry *e)
{
	if (r->reads.lsn != e->id.lsn) {
		r->reads.lsn = e->id.lsn;
		r->reads.decoding = e->decoding;
		r->reads.is_mixed = false;
	}
	r->reads.is_mixed |= r->reads.decoding != e->decoding;
	must(!e->end || !r->reads.is_mixed || e->kind == RELAY_SKIPPED,
	     "transaction %" PRIu64 " has parts of two decodings", e->id.lsn);
	if (e->end)
		r->reads.lsn = 0;
}

/* The transaction before which everything was read: the first that commits at `read` or later. */
static lsn_t first_from(lsn_t read)
{
	return (read + STEP_LSN - 1) / STEP_LSN * STEP_LSN;
}

static bool on_entry(void *ctx, const struct relay_entry *e)
{
	struct replica *r = ctx;

	must(r->begun, "an entry before a beginning");
	if ((e->kind == RELAY_MARK || e->kind == RELAY_SKIPPED) && e->id.lsn >= r->read) {
		must(e->id.lsn == first_from(r->read), "replica %d read %" PRIu64 " after everything before %" PRIu64,
		     (int)(r - replicas), e->id.lsn, r->read);
		check_whole(r, e);
	} else if (e->kind == RELAY_POSITION) {
		must(e->end <= r->read || first_from(r->read) >= e->end, "a position stands in front of a transaction");
	}
	if (e->end > r->read)
		r->read = e->end;
	return true;
}

static void let_go(struct replica *r)
{
	r->leads = false;
	relay_lead(r->relay, false);
}

/* The source ends its stream at once, and so the lead; it begins again later. */
static void on_refill(void *ctx, const char *why)
{
	struct replica *r = ctx;

	(void)why;
	r->refill = true;
	let_go(r);
}

static void on_pause(void *ctx, bool paused)
{
	(void)ctx;
	(void)paused;
}

static void on_changed(void *ctx)
{
	(void)ctx;
}

static const struct relay_calls calls = { on_begin, on_entry, on_refill, on_pause, on_changed };

static void add_transaction(struct replica *r)
{
	struct relay_entry e = {
		.kind = RELAY_MARK, .section = SLICE("s"), .reason = SLICE("r"), .decoding = r->decoding
	};
	unsigned n = 1 + (unsigned)(r->next / STEP_LSN % 3) +
		     r->decoding % 2; /* with the marks at its end, which no two decodings share */
	unsigned first = relay_half_told(r->relay) == r->next ? TOLD_INDEX : 1;

	if (first == TOLD_INDEX)
		e.kind = RELAY_SKIPPED;
	n = first == TOLD_INDEX ? TOLD_INDEX : n;
	for (unsigned i = first; i <= n; i++) {
		e.id = (struct event_id){ r->next, i };
		e.end = i == n ? r->next + 1 : 0;
		relay_add(r->relay, &e);
	}
	r->next += STEP_LSN;
}

/* As tap_stream.c does: from the slot's confirmed position, or from where the stream ends. */
static void take_slot(struct replica *r)
{
	if (r->leads)
		let_go(r);
	holder = r;
	r->leads = true;
	r->refill = false;
	r->decoding = ++n_decodings;
	r->next = first_from(relay_start(r->relay, confirmed, RELAY_HOLE_NONE));
	relay_lead(r->relay, true);
}

static void open_epoch(void)
{
	char name[8];

	epoch++;
	stream_cut(0);
	stream.lost_its_tail = false;
	snprintf(name, sizeof(name), "%u", epoch);
	snprintf(key, sizeof(key), "walpush:slot:%u", epoch);
	holder = NULL;
	for (size_t i = 0; i < REPLICAS; i++) {
		let_go(&replicas[i]);
		replicas[i].begun = false;
		relay_open(replicas[i].relay, name);
	}
}

/* --- steps ---------------------------------------------------------------------------------------------------------- */

static void check_safe(const struct replica *r)
{
	lsn_t safe = relay_safe(r->relay), appended = 0;

	if (r != holder || stream.lost_its_tail)
		return;
	for (size_t i = stream.n; i > 0 && !appended; i--)
		appended = stream.at[i - 1].end;
	must(safe <= appended, "safe up to %" PRIu64 ", but appended up to %" PRIu64, safe, appended);
}

static void confirm(void)
{
	if (holder && relay_safe(holder->relay) > confirmed)
		confirmed = relay_safe(holder->relay);
	if (holder)
		relay_trim(holder->relay, confirmed > 50 ? confirmed - 50 : 0);
}

/* The command runs; its answer may get lost with the connection. */
static void answer(struct redislink *l)
{
	struct buf wire = { 0 };

	if (!l->up || !l->first)
		return;
	execute(l->first, key, &wire);
	if (below(30) == 0)
		fed_lose(l, "gone", below(2));
	else
		fed_answer(l, wire.data);
	buf_fini(&wire);
}

static void disturb(struct replica *r)
{
	struct redislink *l = r->links[below(2)];

	switch (below(8)) {
	case 0:
		fed_lose(l, "gone", below(2));
		break;
	case 1:
		if (holder != r)
			take_slot(r);
		break;
	case 2:
		if (stream.n && below(4) == 0) {
			stream.lost_its_tail = true;
			stream_cut(stream.n - 1 - below((unsigned)(stream.n < 5 ? stream.n : 5)));
			for (size_t i = 0; i < REPLICAS; i++) { /* and all connections, as a server that starts again */
				fed_lose(replicas[i].links[0], "gone", false);
				fed_lose(replicas[i].links[1], "gone", false);
			}
		}
		break;
	case 3:
		if (below(8) == 0)
			open_epoch();
		break;
	default:
		if (!l->up)
			fed_up(l);
	}
}

static void step(void)
{
	struct replica *r = &replicas[below(REPLICAS)];

	switch (below(10)) {
	case 0:
		disturb(r);
		break;
	case 1:
	case 2:
		if (r->leads) /* the slot's, or a holder's who does not know that the slot is gone */
			add_transaction(r);
		break;
	case 3:
		if (r->leads && below(2))
			relay_position(r->relay, r->next, below(2));
		else if (r->leads && r != holder)
			let_go(r);
		break;
	case 4:
		fed_now += 1000000;
		fed_timers_fire(r->loop);
		confirm();
		break;
	case 5:
		if (r->refill && r == holder)
			take_slot(r);
		break;
	default:
		answer(r->links[below(2)]);
	}
	fed_run(r->loop);
	check_safe(r);
}

/* --- to the end ------------------------------------------------------------------------------------------------------- */

/* The holder decodes up to `last`, again if it must start again. */
static void settle_all(lsn_t last)
{
	for (unsigned turn = 0; turn < 400; turn++)
		for (size_t i = 0; i < REPLICAS; i++) {
			struct replica *r = &replicas[i];

			if (!holder || (r == holder && r->refill))
				take_slot(r);
			while (r == holder && r->leads && r->next <= last)
				add_transaction(r);
			for (size_t k = 0; k < 2; k++) {
				if (!r->links[k]->up)
					fed_up(r->links[k]);
				answer(r->links[k]);
			}
			fed_now += 100000;
			if (turn % 10 == 9)
				fed_timers_fire(r->loop);
			fed_run(r->loop);
		}
}

/* Once nothing disturbs them any more, both have read all that the holder decoded. */
static void check_end(void)
{
	struct replica *other = holder == &replicas[0] ? &replicas[1] : &replicas[0];
	lsn_t last;

	if (other->leads)
		let_go(other);
	add_transaction(holder);
	last = holder->next - STEP_LSN;
	settle_all(last);
	for (size_t i = 0; i < REPLICAS; i++)
		must(replicas[i].begun && replicas[i].read > last,
		     "replica %zu has read up to %" PRIu64 ", not %" PRIu64, i, replicas[i].read, last);
	check_safe(holder);
}

static void open_all(void)
{
	static char url[] = "redis://r", name[] = "walpush";

	confirmed = 100;
	for (size_t i = 0; i < REPLICAS; i++) {
		struct replica *r = &replicas[i];
		struct relay_env env;

		*r = (struct replica){ .loop = event_base_new(), .conf = { .url = url, .stream = name } };
		env = (struct relay_env){ .loop = r->loop, .conf = &r->conf, .clock = fed_clock };
		r->relay = relay_make(&env, "slot", &calls, r);
		r->links[0] = fed_links[2 * i];
		r->links[1] = fed_links[2 * i + 1];
	}
	open_epoch();
}

static void close_all(void)
{
	for (size_t i = 0; i < REPLICAS; i++) {
		relay_free(replicas[i].relay);
		event_base_free(replicas[i].loop);
	}
	stream_cut(0);
}

static void each_seed(void **state)
{
	(void)state;
	log_setup("error", "text");
	for (seed = 1; seed <= SEEDS; seed++) {
		random_state = seed;
		open_all();
		for (unsigned i = 0; i < STEPS; i++)
			step();
		settle_all(0);
		check_end();
		close_all();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(each_seed) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
