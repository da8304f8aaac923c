/* From the topic logs to the socket: what one connection receives, in which order, up to where, and what it is told of the rest. */
#include "notice.h"
#include "home.h"

/* --- scripts: one connection, and what the tap does -------------------------------------------------------------- */

/*
 * A step each:
 *   0@100.1:a      append "a" to topic 0 with the id 100-1
 *   0@100.1!4001:a the same, and its readers' connections end with this code
 *   0@100.1?7:a    the same, tagged as a refetch for reason 7
 *   P300           publish, and mark every topic
 *   L200, L        a commit changed the user's permission: nothing from there on; an answer: everything
 *   F200           a commit changed it while an older limit is in force
 *   H200           a limit from the start: the answer of its admission is on hold
 *   R300           other seats, in the same topics from 300 on, and a resync because of a membership
 *   X4403          refused
 *   V              mark every topic, as news that are older than the turn do
 *   D              all that is in the logs is dropped
 *   E500           another history begins at 500
 *   M500           the mail that says so
 *   T              the rest is over, and so says its timer
 *   =a b           after a turn of the hub the client has received exactly this
 */
static void append_step(const char *step)
{
	struct entry_tag tag = { 0 };
	const char *text = strchr(step, ':') + 1;
	unsigned topic, index, n = 0;
	unsigned long lsn;
	char mark = 0;

	assert_true(sscanf(step, "%u@%lu.%u%c%u:", &topic, &lsn, &index, &mark, &n) >= 4);
	if (mark == '!')
		tag.close = (uint16_t)n;
	if (mark == '?')
		tag = (struct entry_tag){ ENTRY_REFETCH, (uint8_t)n, 0 };
	if (mark == ':')
		home_append(topic, lsn, index, text);
	else
		home_append_tagged(topic, lsn, index, tag, text);
}

static void mark_all(void)
{
	for (unsigned i = 0; i < HOME_TOPICS; i++)
		channel_mark(&home.conns.channels, home.topics[i]);
}

static void mail_step(struct client *k, const char *topics, char kind, lsn_t lsn)
{
	struct mail mail = home_about(k, kind == 'F' ? MAIL_CHANGED : kind == 'R' ? MAIL_MOVED : MAIL_REFUSED);

	if (kind == 'R') {
		mail.given.id.lsn = lsn;
		home_seats(&mail, topics, mail.given.id);
	} else if (kind == 'F') {
		mail.limit = lsn;
	} else {
		mail.code = (unsigned)lsn;
	}
	session_mail(&home.conns, &mail);
}

static void step(struct client *k, const char *topics, const char *s)
{
	lsn_t lsn = s[0] ? strtoull(s + 1, NULL, 10) : 0;
	struct mail emptied = { .kind = MAIL_EMPTIED, .published = lsn };

	switch (s[0]) {
	case 'P':
		home_publish(lsn);
		mark_all();
		return;
	case 'L':
		home_limit(k, s[1] ? lsn : LSN_MAX);
		return;
	case 'H':
		conn_limit(k->conn, lsn);
		return;
	case 'F':
	case 'R':
	case 'X':
		mail_step(k, topics, s[0], lsn);
		return;
	case 'V':
		mark_all();
		return;
	case 'D':
		home_drop();
		return;
	case 'E':
		topiclog_reset(home.log, lsn);
		return;
	case 'M':
		home.facts.published = lsn;
		session_emptied(&home.conns, &emptied);
		return;
	case 'T':
		k->conn->rest_until = 0;
		deliver_rested(&home.conns, clock_us());
		return;
	case '=':
		home_turn();
		assert_receives(k, s + 1);
		return;
	default:
		append_step(s);
	}
}

struct script {
	const char *name, *topics, *path;
	const char *steps[24];
};

#define UNITS "/ws/units/5/"
#define OWN "/ws/own/"
#define CLOSING "/ws/closing/"
#define TOLD "{\"again\":\"lookup\"}"

static const struct script scripts[] = {
	{ "nothing beyond the position",
	  "0",
	  UNITS,
	  { "0@100.1:a", "0@200.1:b", "P150", "=a", "P200", "=", "P201", "=b" } },
	{ "several topics in one order",
	  "012",
	  UNITS,
	  { "0@100.1:a", "2@100.2:b", "1@100.3:c", "0@200.1:d", "1@300.1:e", "2@300.2:f", "0@300.3:g", "P400",
	    "=a b c d e f g" } },
	{ "one message in two groups comes once",
	  "012",
	  UNITS,
	  { "0@100.1:a", "1@100.1:a", "2@100.1:a", "1@100.2:b", "0@100.3:c", "2@100.3:c", "P101", "=a b c" } },
	{ "the same where the runs are longer than it",
	  "01",
	  UNITS,
	  { "0@100.1:a", "0@100.2:b", "0@100.3:c", "1@100.2:b", "1@100.4:d", "P101", "=a b c d" } },
	{ "a run ends before the next message of each other group",
	  "012",
	  UNITS,
	  { "0@100.1:a", "0@100.2:b", "0@100.6:f", "1@100.3:c", "1@100.5:e", "2@100.4:d", "2@100.7:g", "P101",
	    "=a b c d e f g" } },
	{ "the same from the last group to the first",
	  "012",
	  UNITS,
	  { "2@100.1:a", "2@100.2:b", "2@100.6:f", "1@100.3:c", "1@100.5:e", "0@100.4:d", "0@100.7:g", "P101",
	    "=a b c d e f g" } },
	{ "topics of others are not received", "02", UNITS, { "1@100.1:x", "0@100.2:a", "3@100.3:y", "P101", "=a" } },
	{ "nothing at or above the limit",
	  "01",
	  UNITS,
	  { "0@100.1:a", "1@200.1:b", "0@300.1:c", "L200", "P400", "=a", "L", "=b c" } },
	{ "the limit comes before the news of its commit",
	  "0",
	  UNITS,
	  { "L100", "0@100.1:a", "P200", "=", "L", "=a" } },
	{ "a limit that moves",
	  "0",
	  UNITS,
	  { "0@100.1:a", "0@200.1:b", "0@300.1:c", "L100", "P400", "=", "L300", "=", "P401", "=a b", "L", "=c" } },
	{ "what closes its readers' connections closes them behind it",
	  "01",
	  UNITS,
	  { "0@100.1:a", "1@100.2!4001:bye", "0@100.3:b", "P101", "=a bye close:4001" } },
	{ "of one message in two groups the one that closes is received",
	  "01",
	  UNITS,
	  { "0@100.1:bye", "1@100.1!4001:bye", "P101", "=bye close:4001" } },
	{ "the same the other way round",
	  "01",
	  UNITS,
	  { "0@100.1!4001:bye", "1@100.1:bye", "P101", "=bye close:4001" } },
	{ "changed: the commit's last word comes, and nothing else of it",
	  "01",
	  UNITS,
	  { "0@100.1:a", "0@200.1:secret", "1@200.2!4001:bye", "0@300.1:c", "L200", "P400", "=a bye close:4001" } },
	{ "changed: a later commit's last word does not",
	  "0",
	  UNITS,
	  { "0@200.1:secret", "0@300.1!4001:bye", "L200", "P400", "=" } },
	{ "changed behind an older limit: no message, but the last word",
	  "0",
	  UNITS,
	  { "0@100.1:a", "0@150.1:secret", "0@200.1!4001:bye", "L120", "F200", "P400", "=a bye close:4001" } },
	{ "refused: what is due comes, then the close",
	  "0",
	  UNITS,
	  { "0@100.1:a", "0@200.1:secret", "L200", "P300", "X4403", "=a close:4403" } },
	{ "a resync entry is written for the receiver",
	  "01",
	  OWN,
	  { "0@100.1:a", "1@100.2?4:", "0@100.3:b", "P101", "=a {\"again\":\"truncate\"} b" } },
	{ "a resync entry in two groups is written once",
	  "01",
	  OWN,
	  { "0@100.1?4:", "1@100.1?4:", "P101", "={\"again\":\"truncate\"}" } },
	{ "where resync closes, it closes",
	  "0",
	  CLOSING,
	  { "0@100.1:a", "0@100.2?4:", "0@100.3:b", "P101", "=a close:1012" } },
	{ "bulk has its own text", "0", UNITS, { "0@100.1?7:{\"bulk\":3}", "P101", "={\"bulk\":3}" } },
	{ "bulk where the stream has other words for it",
	  "0",
	  OWN,
	  { "0@100.1?7:{\"bulk\":3}", "P101", "={\"again\":\"bulk\"}" } },
	{ "moved: a resync first, then what comes later",
	  "01",
	  OWN,
	  { "0@100.1:a", "L100", "P200", "=", "R200", "0@300.1:b", "P301", "={\"again\":\"membership\"} b" } },
	{ "moved: a close among what is skipped was for those who could receive it",
	  "0",
	  OWN,
	  { "0@100.1!4001:bye", "L200", "P300", "R300", "={\"again\":\"membership\"} close:4001" } },
	{ "moved: not for those who could not",
	  "0",
	  OWN,
	  { "0@200.1!4001:bye", "L100", "P300", "R300", "={\"again\":\"membership\"}" } },
	{ "moved: nor for those who were on hold at its commit",
	  "0",
	  OWN,
	  { "0@200.1!4001:bye", "H200", "P300", "R300", "={\"again\":\"membership\"}" } },
	{ "dropped before it was read: resync, and on from the head",
	  "01",
	  OWN,
	  { "0@100.1:a", "1@200.1:b", "L100", "P300", "=", "D", "L", "={\"again\":\"history\"}", "0@400.1:c", "P500",
	    "=c" } },
	{ "dropped between the news and the turn",
	  "01",
	  OWN,
	  { "0@100.1:a", "1@200.1:b", "P300", "D", "={\"again\":\"history\"}", "1@400.1:c", "P500", "=c" } },
	{ "the same where a close is among it",
	  "01",
	  OWN,
	  { "0@100.1:a", "1@200.1!4001:bye", "P300", "D", "={\"again\":\"history\"} close:4001" } },
	{ "the same where resync closes", "0", CLOSING, { "0@100.1:a", "P300", "D", "=close:1012" } },
	{ "dropped while it was held: the limit stays",
	  "0",
	  OWN,
	  { "0@100.1:a", "0@200.1:b", "L200", "P300", "D", "=", "L", "={\"again\":\"history\"}" } },
	{ "a close among what was dropped closes",
	  "0",
	  UNITS,
	  { "0@100.1!4001:bye", "0@200.1:b", "L150", "P300", "D", "=close:4001" } },
	{ "emptied: nothing until the mail, and no resync for it by the hub",
	  "0",
	  OWN,
	  { "0@100.1:a", "L100", "P200", "=", "E50", "L", "=", "M50", "=", "L", "0@60.1:new", "P70", "=new" } },
	{ "emptied between the news and the turn",
	  "0",
	  OWN,
	  { "0@100.1:a", "P200", "E50", "=", "M50", "L", "0@60.1:new", "P70", "=new" } },
	{ "emptied: what the other history has below the position of the one before it waits for the mail",
	  "01",
	  OWN,
	  { "0@100.1:a", "P200", "=a", "E50", "0@60.1:new", "V", "=", "M50", "P70", "=", "R50",
	    "={\"again\":\"membership\"} new" } },
	{ "emptied: nor is its last word that of a commit before it",
	  "0",
	  OWN,
	  { "0@100.1:a", "P200", "=a", "L100", "E50", "0@100.1!4001:bye", "V", "=", "M50", "=" } },
	{ "emptied: who was behind reads nothing of the other history",
	  "01",
	  OWN,
	  { "0@100.1:a", "1@100.2:b", "P50", "E20", "M20", "L", "0@30.1:new", "P40", "=new" } },
	{ "marks: told at once, and of those in the next second the last one",
	  "0",
	  OWN,
	  { "0@100.1?6:", "P101", "=" TOLD, "0@200.1?6:", "P201", "=", "0@300.1?6:", "P301", "=", "T", "=" TOLD, "T",
	    "=" } },
	{ "marks: those side by side are one",
	  "012",
	  OWN,
	  { "0@100.1?6:", "1@200.1?6:", "1@300.1?6:", "0@300.2:a", "P301", "=" TOLD " a" } },
	{ "marks: what is behind one rests with it",
	  "01",
	  OWN,
	  { "0@100.1?6:", "0@100.2:a", "P101", "=" TOLD " a", "0@150.1:b", "1@200.2?6:", "P201", "=b", "0@300.1:c",
	    "P301", "=", "T", "=" TOLD " c" } },
	{ "marks: and all of its commit, before it too",
	  "01",
	  OWN,
	  { "0@100.1?6:", "P101", "=" TOLD, "0@150.1:a", "0@200.1:b", "1@200.2?6:", "P201", "=a", "0@300.1:c", "P301",
	    "=", "T", "=b " TOLD " c" } },
	{ "marks: no message passes all of them",
	  "01",
	  OWN,
	  { "0@100.1?6:", "0@100.2:a", "1@200.1?6:", "0@200.2:b", "1@300.1?6:", "1@300.2?6:", "0@300.3:c", "P301",
	    "=" TOLD " a b " TOLD " c", "0@400.1?6:", "P401", "=", "T", "=" TOLD } },
	{ "marks: in two groups",
	  "01",
	  OWN,
	  { "0@100.1?6:", "1@100.1?6:", "0@200.1:a", "0@300.1?6:", "1@300.1?6:", "P301", "=" TOLD " a " TOLD } },
	{ "marks: a resync for another reason costs a rest, and has none",
	  "0",
	  OWN,
	  { "0@100.1?4:", "0@100.3?6:", "P101", "={\"again\":\"truncate\"}", "T", "=" TOLD, "0@200.1?4:", "P201",
	    "={\"again\":\"truncate\"}" } },
	{ "marks: a limit holds longer",
	  "0",
	  OWN,
	  { "0@100.1?6:", "P101", "=" TOLD, "0@200.1?6:", "P201", "=", "L150", "T", "=", "L", "=" TOLD } },
	{ "marks: moved, and told by that",
	  "0",
	  OWN,
	  { "0@100.1?6:", "P101", "=" TOLD, "0@200.1?6:", "P201", "=", "L300", "R300", "={\"again\":\"membership\"}",
	    "T", "=" } },
	{ "marks: one that rests keeps no memory",
	  "0",
	  OWN,
	  { "0@100.1?6:", "P101", "=" TOLD, "0@200.1?6:", "P201", "=", "D", "V", "={\"again\":\"history\"}", "T",
	    "=" } },
	{ "marks: of another history it is told anew",
	  "0",
	  OWN,
	  { "0@100.1?6:", "P101", "=" TOLD, "0@200.1?6:", "P201", "=", "E50", "T", "=", "M50", "R50",
	    "={\"again\":\"membership\"}", "0@60.1?6:", "P70", "=", "T", "=" TOLD } },
	{ "marks: who is refused rests no longer",
	  "0",
	  OWN,
	  { "0@100.1?6:", "P101", "=" TOLD, "0@200.1?6:", "0@200.2:b", "P201", "=", "L300", "X4403",
	    "=" TOLD " b close:4403" } },
	{ "marks: nor who may hear its last word",
	  "0",
	  OWN,
	  { "0@100.1?6:", "P101", "=" TOLD, "0@200.1?6:", "P201", "=", "L300", "F300", "0@300.1!4001:bye", "P301",
	    "=" TOLD " bye close:4001" } },
	{ "marks: where resync closes, one closes", "0", CLOSING, { "0@100.1?6:", "P101", "=close:1012" } },
};

static void play(const struct script *s)
{
	struct client *k = client_admit(client_open(s->path, 0), s->topics, 0);

	for (const char *const *at = s->steps; *at; at++)
		step(k, s->topics, *at);
}

static void every_script(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(scripts) / sizeof(*scripts); i++) {
		print_message("           %s\n", scripts[i].name);
		home_open(state);
		play(&scripts[i]);
		home_close(state);
	}
}

/* --- any order of news, limits and turns: a model says what must have come -------------------------------------- */

#define CONNECTIONS 3
#define EVENTS 40
#define RUNS 60

static const char *const heard[CONNECTIONS] = { "0", "012", "13" };

struct model {
	struct event_id ids[EVENTS];
	unsigned topics[EVENTS]; /* a bit each */
	size_t n;
	lsn_t published;
	lsn_t limits[CONNECTIONS];
	size_t next[CONNECTIONS];
	struct client *clients[CONNECTIONS];
	uint64_t random;
};

static unsigned draw(struct model *m, unsigned below)
{
	m->random = m->random * UINT64_C(6364136223846793005) + 1442695040888963407u;
	return (unsigned)(m->random >> 33) % below;
}

/* One message for one to four topics, of the same commit as the one before it or of the next. */
static void model_append(struct model *m)
{
	struct event_id last = m->n ? m->ids[m->n - 1] : (struct event_id){ 90, 1 };
	bool next = last.lsn < m->published || draw(m, 2);
	char text[32];

	m->ids[m->n] = next ? (struct event_id){ last.lsn + 10, 1 } : (struct event_id){ last.lsn, last.index + 1 };
	m->topics[m->n] = 1 + draw(m, (1u << HOME_TOPICS) - 1);
	snprintf(text, sizeof(text), "%u", (unsigned)m->n);
	for (unsigned t = 0; t < HOME_TOPICS; t++)
		if (m->topics[m->n] >> t & 1)
			home_append(t, m->ids[m->n].lsn, m->ids[m->n].index, text);
	m->n++;
}

static bool model_hears(const char *topics, unsigned bits)
{
	for (; *topics; topics++)
		if (bits >> (*topics - '0') & 1)
			return true;
	return false;
}

static void model_check(struct model *m, unsigned c)
{
	struct buf expected = { 0 };

	for (; m->next[c] < m->n; m->next[c]++) {
		lsn_t lsn = m->ids[m->next[c]].lsn;

		if (lsn >= m->published || lsn >= m->limits[c])
			break;
		if (model_hears(heard[c], m->topics[m->next[c]]))
			buf_addf(&expected, expected.len ? " %u" : "%u", (unsigned)m->next[c]);
	}
	buf_add_char(&expected, '\0');
	assert_receives(m->clients[c], expected.data);
	buf_fini(&expected);
}

static void model_step(struct model *m)
{
	unsigned c = draw(m, CONNECTIONS);

	switch (draw(m, 8)) {
	case 0: /* a commit that is not published yet changes a permission; a limit rises only by the answer */
		if (m->limits[c] == LSN_MAX)
			m->limits[c] = m->published + 1 + draw(m, 20);
		home_limit(m->clients[c], m->limits[c]);
		return;
	case 1:
		m->limits[c] = LSN_MAX;
		home_limit(m->clients[c], LSN_MAX);
		return;
	case 2:
		if (m->n && m->ids[m->n - 1].lsn >= m->published) {
			m->published = m->ids[m->n - 1].lsn + 1;
			home_publish(m->published);
			mark_all();
		}
		return;
	case 3:
		home_turn();
		for (c = 0; c < CONNECTIONS; c++)
			model_check(m, c);
		return;
	default:
		if (m->n < EVENTS)
			model_append(m);
	}
}

static void any_interleaving_delivers_each_message_once_and_in_order(void **state)
{
	(void)state;
	for (unsigned run = 1; run <= RUNS; run++) {
		struct model m = { .random = run, .published = 50 };

		home_open(state);
		for (unsigned c = 0; c < CONNECTIONS; c++) {
			m.clients[c] = client_in(heard[c], 0);
			m.limits[c] = LSN_MAX;
		}
		for (unsigned i = 0; i < 3 * EVENTS; i++)
			model_step(&m);
		home_close(state);
	}
}

/* --- sockets that take a part ------------------------------------------------------------------------------------- */

#define MANY 64
#define LONG 2000 /* bytes of a message */

static char long_text[LONG + 1];

static void append_long(unsigned topic, unsigned n, lsn_t lsn)
{
	for (unsigned i = 0; i < n; i++) {
		memset(long_text, 'a' + (int)(i % 26), LONG);
		home_append(topic, lsn, i + 1, long_text);
	}
}

/* Reads and turns the loop, until nothing comes any more. Each message is the one that append_long wrote at its place. */
static unsigned read_long(struct client *k, unsigned from)
{
	unsigned char first;
	const char *text;
	unsigned n = from;

	for (int idle = 0; idle < 3; idle++) {
		while ((text = client_frame(k, &first))) {
			assert_int_equal(first, 0x81);
			assert_int_equal(strlen(text), LONG);
			assert_int_equal(text[0], 'a' + (int)(n % 26));
			assert_int_equal(text[LONG - 1], text[0]);
			n++;
			idle = 0;
		}
		home_run();
	}
	return n - from;
}

static void a_socket_that_is_full_gets_the_rest_later(void **state)
{
	struct client *k = client_in("0", 4096), *other = client_in("1", 0);
	uint64_t sent;

	(void)state;
	append_long(0, MANY, 100);
	home_append(1, 100, 1000, "other");
	home_publish(200);
	mark_all();
	home_turn();
	assert_true(k->conn->out.is_behind);
	assert_ptr_equal(home.conns.writers.behind, &k->conn->out);
	assert_receives(other, "other");
	/* What one write left over is all that is copied: the news of a turn do not reach it. */
	sent = metrics_value(home.world.metrics, METRICS_SENT_BYTES, 0);
	mark_all();
	home_turn();
	assert_int_equal(metrics_value(home.world.metrics, METRICS_SENT_BYTES, 0), sent);
	assert_int_equal(read_long(k, 0), MANY);
	assert_false(k->conn->out.is_behind);
	assert_null(home.conns.writers.behind);
}

/* Marks that come before their time, because a change of permission does not wait, do not add up. */
static void a_rest_is_two_seconds_at_most(void **state)
{
	struct client *k = client_in("0", 0);

	(void)state;
	for (unsigned i = 1; i <= 20; i++) {
		notice_refetch(k->conn, "lookup", (struct event_id){ 100, i });
		assert_in_range(k->conn->rest_until - clock_us(), CONN_REST / 2, 2 * CONN_REST);
	}
	assert_true(k->conn->rest_until - clock_us() > CONN_REST);
}

static void frames_of_our_own_wait_with_it(void **state)
{
	struct client *k = client_in("0", 4096);
	unsigned char first;

	(void)state;
	append_long(0, MANY, 100);
	home_publish(200);
	mark_all();
	home_turn();
	deliver_reply(k->conn, 1, SLICE("mine"));
	mark_all();
	home_turn();
	assert_true(k->conn->out.reply.len > 0);
	for (unsigned n = 0; n < MANY; n++) {
		const char *text = client_frame(k, &first);

		if (!text) {
			home_run();
			n--;
		} else if (strcmp(text, "mine") == 0) {
			assert_int_equal(n > 0, true); /* between two messages */
			assert_int_equal(read_long(k, n), MANY - n);
			return;
		}
	}
	fail_msg("the reply did not come");
}

static void a_limit_holds_what_waits_for_the_socket(void **state)
{
	struct client *k = client_in("0", 4096);

	(void)state;
	append_long(0, MANY / 2, 100);
	append_long(0, 1, 200);
	home_publish(300);
	mark_all();
	home_turn();
	home_limit(k, 200);
	assert_int_equal(read_long(k, 0), MANY / 2);
	home_limit(k, LSN_MAX);
	home_turn();
	assert_int_equal(read_long(k, 0), 1);
}

/* Who has a limit keeps no memory of what the logs dropped: its cursors go on at once, and say so later. */
static void what_is_dropped_is_let_go_of_at_the_next_turn(void **state)
{
	struct client *k = client_in("0", 0);

	(void)state;
	home_append(0, 100, 1, "a");
	home_limit(k, 100);
	home_publish(200);
	home_turn();
	home_drop();
	assert_false(k->conn->resync_due);
	home_turn();
	assert_true(k->conn->resync_due);
	assert_receives(k, "");
}

static void the_standard_resync_names_the_epoch_of_the_client(void **state)
{
	struct client *k = client_in("0", 0);
	char epoch[TICKET_EPOCH_MAX];
	const char *text;

	(void)state;
	home_append_tagged(0, 100, 2, (struct entry_tag){ ENTRY_REFETCH, 4, 0 }, "");
	home_publish(200);
	mark_all();
	home_turn();
	text = client_texts(k);
	ticket_epoch(k->conn->ticket, "epoch", epoch);
	assert_memory_equal(text, "{\"type\":\"resync\",\"reason\":\"truncate\",", 37);
	assert_non_null(strstr(text, "\"id\":\"0/64-2\""));
	assert_non_null(strstr(text, epoch));
}

/* RUN_BYTES were taken from the log at most; the rest is gone, and said to be. */
static void what_is_dropped_while_the_socket_is_full_becomes_a_resync(void **state)
{
	struct client *k = client_admit(client_open(OWN, 4096), "0", 0);
	unsigned char first;
	const char *text, *last = NULL;
	unsigned n = 0;

	(void)state;
	append_long(0, MANY, 100);
	home_publish(200);
	mark_all();
	home_turn();
	home_drop();
	home_turn();
	for (int idle = 0; idle < 3; idle++, home_run())
		for (; (text = client_frame(k, &first)); n++, idle = 0)
			last = text;
	assert_in_range(n, 2, MANY / 2 + 2);
	assert_string_equal(last, "{\"again\":\"history\"}");
}

static void how_far_the_slow_ones_are_behind(void **state)
{
	struct client *k = client_in("0", 4096);
	int64_t since;

	(void)state;
	deliver_measure(&home.conns, clock_us());
	assert_int_equal(metrics_value(home.world.metrics, METRICS_READERS_BEHIND, 0), 0);
	append_long(0, MANY, 100);
	home_publish(5100);
	mark_all();
	home_turn();
	since = k->conn->out.behind_since;
	deliver_measure(&home.conns, since + 7000000);
	assert_int_equal(metrics_value(home.world.metrics, METRICS_READERS_BEHIND, 0), 1);
	assert_int_equal(metrics_value(home.world.metrics, METRICS_READER_LAG_SECONDS, 0), 7000000);
	assert_int_equal(metrics_value(home.world.metrics, METRICS_READER_LAG_BYTES, 0), 5000);
}

/* A client that is gone: the library ends the connection from its loop. */
static void a_broken_socket_is_hung_up(void **state)
{
	struct client *k = client_in("0", 0);

	(void)state;
	client_close(k);
	home_append(0, 100, 1, "a");
	home_publish(200);
	mark_all();
	home_turn();
	home_run();
	assert_null(home.conns.all);
}

static void the_time_from_commit_to_socket_is_observed_once_a_turn(void **state)
{
	struct mail news = { .kind = MAIL_DIRTY }, older = { .committed = clock_wall_us() - 5000000 };
	struct metrics_histogram h;

	client_in("0", 0);
	(void)state;
	news.committed = older.committed + 4000000;
	deliver_note_committed(&home.conns, &news);
	deliver_note_committed(&home.conns, &older);
	deliver_note_committed(&home.conns, &(struct mail){ 0 });
	home_turn(); /* nothing is written: nothing is observed */
	metrics_histogram(home.world.metrics, METRICS_COMMIT_TO_WRITTEN, &h);
	assert_int_equal(h.count, 0);
	deliver_note_committed(&home.conns, &older);
	deliver_note_committed(&home.conns, &news);
	home_append(0, 100, 1, "a");
	home_append(0, 100, 2, "b");
	home_publish(200);
	mark_all();
	home_turn();
	metrics_histogram(home.world.metrics, METRICS_COMMIT_TO_WRITTEN, &h);
	assert_int_equal(h.count, 2);
	assert_true(h.sum_us >= 2 * 5000000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_script),
		cmocka_unit_test(any_interleaving_delivers_each_message_once_and_in_order),
		ON_A_HUB(a_socket_that_is_full_gets_the_rest_later),
		ON_A_HUB(a_rest_is_two_seconds_at_most),
		ON_A_HUB(frames_of_our_own_wait_with_it),
		ON_A_HUB(a_limit_holds_what_waits_for_the_socket),
		ON_A_HUB(what_is_dropped_is_let_go_of_at_the_next_turn),
		ON_A_HUB(the_standard_resync_names_the_epoch_of_the_client),
		ON_A_HUB(what_is_dropped_while_the_socket_is_full_becomes_a_resync),
		ON_A_HUB(how_far_the_slow_ones_are_behind),
		ON_A_HUB(a_broken_socket_is_hung_up),
		ON_A_HUB(the_time_from_commit_to_socket_is_observed_once_a_turn),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
