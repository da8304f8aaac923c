/* From the rows of one transaction to its numbered messages, and what is left of them where it is too large. */
#include <stddef.h>
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <jansson.h>

#include "routed.h"
#include "walpush/change/txn.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define IS_SANITIZED 1
#endif
#elif defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define IS_SANITIZED 1
#endif
#ifdef IS_SANITIZED
/* Of the sanitizers' runtime, whose header GCC does not bring along. */
size_t __sanitizer_get_current_allocated_bytes(void);
#endif

/* Two sections of one table, and rows of two groups: what numbering and bounds must keep apart. */
#define TABLES                                                                                                         \
	"tables = {\n"                                                                                                 \
	"  requests = { type = \"request\" key = \"request_id\" groups = [ \"r_{unit_id}\" ] }\n"                      \
	"  history = { from = \"requests\" type = \"history\" key = \"request_id\" groups = [ \"r_{unit_id}\", "       \
	"\"all\" ] }\n"                                                                                                \
	"  crates = { type = \"crate\" key = \"crate_id\" groups = [ \"c_{unit_id}\" ] }\n"                            \
	"  links = { type = \"link\" key = \"link_id\" groups = [ \"l_{left_id}\", \"l_{right_id}\" ] }\n"             \
	"  sendbacks = { type = \"sendback\" key = \"sendback_id\" lookup = \"SELECT {request_id}\"\n"                 \
	"    groups = [ \"n_{lookup.user_id}\" ] actor = \"created_by_id\" }\n"                                        \
	"  user_units = { type = \"member\" key = \"member_id\" lookup = \"SELECT {user_id}\"\n"                       \
	"    groups = [ \"m_{unit_id}\", \"m_{lookup.unit}\" ] }\n"                                                    \
	"  roles = { lookup = \"SELECT {role_name}\" groups = [ \"o_{id}\", \"o_{lookup.n}\", \"p_{lookup.n}\" ]\n"    \
	"    message = \"{ \\\"type\\\": \\\"for {lookup.n}\\\", \\\"id\\\": \\\"{event_id}\\\" }\" }\n"               \
	"  named = { from = \"people\" groups = [ \"w_{ssn}\" ] actor = \"otp\"\n"                                     \
	"    message = \"{ \\\"type\\\": \\\"by {actor.username}\\\", \\\"id\\\": \\\"{event_id}\\\" }\" }\n"          \
	"  shut = { from = \"people\" groups = [ \"v_{ssn}\" ] actor = \"otp\" close = 4403\n"                         \
	"    message = \"{ \\\"type\\\": \\\"shut by {actor.username}\\\", \\\"id\\\": \\\"{event_id}\\\" }\" }\n"     \
	"  closing = { from = \"keyless\" type = \"closing\" key = \"code\" groups = [ \"x_{code}\" ] close = 4403 "   \
	"}\n"                                                                                                          \
	"}\n"                                                                                                          \
	"actor = { query = \"SELECT username FROM users WHERE id = {id}\" }\n"

#define LSN 0x16B3748

static const struct txn_limits roomy = { 1000, 16 << 20, 1 << 20 };

static struct routed m;
static struct txn *txn;
static bool is_late; /* the lookups of `row` */
static bool is_half_told;

static int open_mapping(void **state)
{
	(void)state;
	routed_open(&m, MAPPING_BASE MAPPING_STREAMS TABLES);
	return 0;
}

static int close_mapping(void **state)
{
	(void)state;
	routed_close(&m);
	return 0;
}

static void open_with(struct txn_limits limits)
{
	txn_free(txn);
	txn = txn_new(&limits);
	txn_begin(txn, LSN, SLICE("2025-11-14 12:34:56.5+00"));
}

static int open_roomy(void **state)
{
	(void)state;
	is_late = is_half_told = false;
	open_with(roomy);
	return 0;
}

static int close_txn(void **state)
{
	(void)state;
	txn_free(txn);
	txn = NULL;
	return 0;
}

/* Through all sections of the table. Returns what txn_row said last. */
static const char *row(const char *table, const char *now, const char *old, const char *lookup, const char *actor)
{
	struct sqlrows *rows = mapping_rows(lookup), *name = mapping_actor(actor);
	struct txn_answers answers = { .lookup = rows, .actor = name, .lookup_is_late = is_late };
	const struct rules_section *s;
	const char *missing = NULL;

	routed_change(&m, !old ? 'I' : !now ? 'D' : 'U', table, now, old);
	for (size_t i = 0; (s = mapping_section(m.rules, table, i)); i++)
		if (route_section(s, &m.row, &m.plan))
			missing = txn_row(txn, &m.plan, &answers);
	sqlrows_free(name);
	sqlrows_free(rows);
	return missing;
}

static void insert(const char *table, unsigned id, unsigned unit)
{
	char now[64];

	snprintf(now, sizeof(now), "id=%u|unit_id=%u", id, unit);
	row(table, now, NULL, NULL, NULL);
}

/* What the payload says, checked against what the message says of itself. Borrowed until the next call. */
static json_t *payload_of(const struct txn_message *message)
{
	static json_t *last;
	char header[FRAME_HEADER_MAX], id[EVENT_ID_TEXT_MAX];
	size_t len = render_frame_header(header, message->payload.len);

	json_decref(last);
	last = json_loadb(message->payload.at, message->payload.len, JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(last);
	assert_true(slice_equal(message->header, (struct slice){ header, len }));
	event_id_format(id, message->id);
	assert_string_equal(json_string_value(json_object_get(last, "id")), id);
	assert_int_equal(message->id.lsn, LSN);
	return last;
}

static void describe_message(const struct txn_message *message, struct buf *out)
{
	const json_t *payload = payload_of(message), *count = json_object_get(payload, "count");
	const char *group = message->groups;

	if (message->id.index >= TXN_LATE_INDEX)
		buf_add_text(out, "late-");
	buf_addf(out, "%u %s", message->id.index % TXN_LATE_INDEX, json_string_value(json_object_get(payload, "type")));
	if (count)
		buf_addf(out, " %" JSON_INTEGER_FORMAT, json_integer_value(count));
	for (size_t i = 0; i < message->n_groups; i++, group += strlen(group) + 1) {
		buf_add_char(out, ' ');
		tmpl_group_display(slice_of(group), out);
	}
	buf_add_text(out, "; ");
}

struct described {
	struct buf text;
	uint32_t before; /* the index before */
};

static void take_index(struct described *d, struct event_id id)
{
	assert_int_equal(id.lsn, LSN);
	assert_true(id.index > d->before);
	d->before = id.index;
}

static void describe_member(void *ctx, lsn_t commit, const char *user)
{
	struct described *d = ctx;

	assert_int_equal(commit, LSN);
	buf_addf(&d->text, "member %s; ", user ? user : "everybody");
}

static void describe_next(void *ctx, const struct txn_message *message)
{
	struct described *d = ctx;

	take_index(d, message->id);
	describe_message(message, &d->text);
}

static void describe_mark(void *ctx, const struct txn_marked *marked)
{
	struct described *d = ctx;

	take_index(d, marked->id);
	buf_addf(&d->text, "%u %s %s; ", marked->id.index, marked->reason, marked->section->conf->name);
}

static void describe_skipped(void *ctx, const struct txn_skipped *skipped)
{
	struct described *d = ctx;

	take_index(d, skipped->id);
	buf_add_text(&d->text, "skipped; ");
}

/* "member 7; 1 request.created r_5; 2 truncate requests; " in the order of txn_each, in which ids grow. */
static char *describe(void)
{
	static const struct txn_calls calls = { describe_member, describe_next, describe_mark, describe_skipped };
	struct described d = { 0 };
	bool has_event;

	buf_add_text(&d.text, "");
	has_event = txn_each(txn, &calls, &d);
	assert_int_equal(has_event, d.before != 0);
	return buf_steal(&d.text);
}

static void expect(const char *wanted)
{
	char *got;

	txn_finish(txn, is_half_told);
	got = describe();
	if (strcmp(got, wanted) != 0)
		fail_msg("got    \"%s\"\nwanted \"%s\"", got, wanted);
	free(got);
}

/* --- numbers ---------------------------------------------------------------------------------------------------- */

static void a_transaction_opens_and_ends(void **state)
{
	(void)state;
	assert_true(txn_is_open(txn));
	expect("");
	assert_false(txn_is_open(txn));
	txn_begin(txn, LSN, SLICE(""));
	assert_true(txn_is_open(txn));
	insert("crates", 1, 5);
	/* Given up in the middle, when the connection was lost. */
	txn_begin(txn, LSN, SLICE(""));
	expect("");
}

static void messages_are_numbered_in_the_order_of_changes_and_sections(void **state)
{
	(void)state;
	insert("crates", 1, 5);
	insert("requests", 2, 6);
	row("links", "left_id=1|right_id=2", NULL, NULL, NULL);
	insert("crates", 3, 5);
	expect("1 crate.created c_5; 2 request.created r_6; 3 history.created r_6 all; 4 link.created l_1 l_2; "
	       "5 crate.created c_5; ");
}

static void left_comes_before_joined(void **state)
{
	(void)state;
	row("crates", "id=1|unit_id=6", "id=1|unit_id=5", NULL, "asha");
	expect("1 crate.deleted c_5; 2 crate.updated c_6; ");
}

/* A lookup may answer otherwise when the row is decoded again after a crash: the numbers behind it must stay. */
static void what_nobody_hears_has_its_number_all_the_same(void **state)
{
	(void)state;
	row("crates", "id=1|unit_id=null", NULL, NULL, NULL);
	row("sendbacks", "id=1|request_id=2", NULL, "user_id=", NULL);
	row("sendbacks", "id=1|request_id=2", NULL, "user_id=NULL", NULL);
	insert("crates", 2, 5);
	expect("4 crate.created c_5; ");
}

/* Whatever the lookup answers, the next row's message is the third. A group that it names again is not left. */
static void a_lookup_changes_no_number(void **state)
{
	static const struct {
		const char *lookup, *wanted;
	} cases[] = {
		{ "unit=9", "1 member.deleted m_5; 2 member.updated m_6 m_9; 3 crate.created c_5; " },
		{ "unit=", "1 member.deleted m_5; 2 member.updated m_6; 3 crate.created c_5; " },
		{ "unit=5", "2 member.updated m_6 m_5; 3 crate.created c_5; " },
		{ NULL, "2 member.updated m_6; 3 crate.created c_5; 4 lookup user_units; " },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		txn_begin(txn, LSN, SLICE(""));
		row("user_units", "id=1|user_id=7|unit_id=6", "id=1|user_id=7|unit_id=5", cases[i].lookup, NULL);
		insert("crates", 1, 5);
		expect(cases[i].wanted);
	}
}

static void the_actor_and_the_commit_time_are_told(void **state)
{
	char time[] = "2025-11-14 12:34:56.5+00";
	struct txn_message message;
	json_t *payload;

	(void)state;
	txn_begin(txn, LSN, slice_of(time));
	memset(time, 'x', sizeof(time) - 1);
	row("crates", "id=1|unit_id=6", "id=1|unit_id=5", NULL, "asha");
	txn_finish(txn, false);
	message = txn_message(txn, 0);
	assert_true(json_is_null(json_object_get(payload_of(&message), "updated_by")));
	message = txn_message(txn, 1);
	payload = payload_of(&message);
	assert_string_equal(json_string_value(json_object_get(payload, "updated_by")), "asha");
	assert_string_equal(json_string_value(json_object_get(payload, "updated_at")), "2025-11-14T12:34:56.500000Z");
	assert_ptr_equal(message.section, mapping_section(m.rules, "crates", 0));
}

/* --- marks ------------------------------------------------------------------------------------------------------ */

static void permission_comes_before_all_else(void **state)
{
	(void)state;
	insert("crates", 1, 5);
	txn_add_member(txn, "7");
	txn_mark(txn, mapping_section(m.rules, "requests", 0), "truncate");
	txn_add_member(txn, "8");
	expect("member 7; member 8; 1 crate.created c_5; 2 truncate requests; ");
	txn_begin(txn, LSN, SLICE(""));
	txn_add_member(txn, NULL);
	expect("member everybody; ");
	txn_begin(txn, LSN, SLICE(""));
	txn_add_member(txn, "7");
	insert("crates", 1, 5);
	txn_skip(txn, mapping_section(m.rules, "requests", 0));
	expect("member 7; skipped; ");
}

static void a_section_is_marked_once(void **state)
{
	const struct rules_section *requests = mapping_section(m.rules, "requests", 0);
	const struct rules_section *history = mapping_section(m.rules, "requests", 1);

	(void)state;
	txn_mark(txn, requests, "truncate");
	insert("crates", 1, 5);
	txn_mark(txn, requests, "unknown");
	txn_mark(txn, history, "truncate");
	expect("1 truncate requests; 2 crate.created c_5; 3 truncate history; ");
}

static void what_cannot_be_routed_is_marked(void **state)
{
	(void)state;
	row("crates", "id=1|unit_id=6", "id=1", NULL, NULL);
	row("crates", NULL, "id=1", NULL, NULL);
	row("sendbacks", "id=1|request_id=2", NULL, NULL, NULL);
	row("sendbacks", "id=2|request_id=2", NULL, "user_id=7", NULL);
	expect("1 unknown crates; 2 crate.updated c_6; 5 sendback.created n_7; 6 lookup sendbacks; ");
}

static void a_column_that_the_lookup_lacks_is_told(void **state)
{
	(void)state;
	assert_null(row("sendbacks", "id=1|request_id=2", NULL, "user_id=7", NULL));
	assert_string_equal(row("sendbacks", "id=1|request_id=2", NULL, "user=7", NULL), "user_id");
	expect("1 sendback.created n_7; ");
}

/* One number, but a message for each row; a group gets that of the row that spelled it first. */
static void a_message_may_speak_of_the_lookups_rows(void **state)
{
	static const char *const wanted[] = { "2 for 8 o_1 o_8 p_8; ", "2 for 1 p_1; " };

	(void)state;
	insert("crates", 1, 5);
	assert_null(row("roles", "id=1|role_name=\"x\"", NULL, "n=8,1,8", NULL));
	insert("crates", 2, 5);
	txn_finish(txn, false);
	assert_int_equal(txn_n_messages(txn), 4);
	for (size_t i = 1; i < 3; i++) {
		struct txn_message message = txn_message(txn, i);
		struct buf out = { 0 };

		describe_message(&message, &out);
		assert_string_equal(out.data, wanted[i - 1]);
		buf_fini(&out);
	}
	assert_int_equal(txn_message(txn, 3).id.index, 3);
}

static void a_message_without_its_lookup_is_a_mark(void **state)
{
	(void)state;
	row("roles", "id=1|role_name=\"x\"", NULL, NULL, NULL);
	assert_string_equal(row("roles", "id=2|role_name=\"x\"", NULL, "m=1", NULL), "n");
	expect("2 for  o_2; 3 lookup roles; ");
	assert_false(txn_marked(txn, 0).lookup_only);
}

/* Who did it is not known, and that is no null. Nobody did it: that is one. */
static void a_message_without_its_actor_is_a_mark(void **state)
{
	(void)state;
	row("people", "ssn=\"x\"|otp=5", NULL, NULL, "asha");
	row("people", "ssn=\"y\"|otp=6", NULL, NULL, NULL);
	row("people", "ssn=\"z\"|otp=null", NULL, NULL, NULL);
	expect("1 by asha w_x; 2 shut by asha v_x; 5 by  w_z; 6 shut by  v_z; 7 shut.bulk 1 v_y; 8 lookup named; 9 "
	       "lookup shut; ");
	assert_int_equal(txn_message(txn, 4).close, 4403);
	assert_false(txn_marked(txn, 0).lookup_only);
}

/* The lookup answers for the row as it is now, which is no longer theirs. */
static void who_loses_the_row_reads_no_lookup(void **state)
{
	(void)state;
	row("roles", "id=2|role_name=\"x\"", "id=1|role_name=\"x\"", "n=8", NULL);
	expect("1 for  o_1; 2 for 8 o_2 o_8 p_8; ");
}

static void sendback(unsigned id, const char *lookup, bool late)
{
	char now[64];

	is_late = late;
	snprintf(now, sizeof(now), "id=%u|request_id=2", id);
	row("sendbacks", now, NULL, lookup, NULL);
}

/* Behind all others, so that these have the numbers that they would have without. */
static void those_whom_a_late_lookup_names_get_one_message_for_all(void **state)
{
	(void)state;
	sendback(1, "user_id=7", false);
	sendback(2, "user_id=7,9", false);
	sendback(3, "user_id=8", false);
	expect("1 sendback.created n_7; 2 sendback.created n_7 n_9; 3 sendback.created n_8; ");
	open_with(roomy);
	sendback(1, "user_id=7", true);
	sendback(2, "user_id=7", true);
	sendback(3, "user_id=8", false);
	expect("3 sendback.created n_8; late-1 sendback.bulk 2 n_7; ");
	open_with(roomy);
	sendback(1, "user_id=7", false);
	sendback(2, "user_id=9", true);
	sendback(3, "user_id=7", true);
	sendback(4, NULL, false);
	expect("1 sendback.created n_7; 5 lookup sendbacks; late-2 sendback.bulk 1 n_9; late-3 sendback.bulk 1 n_7; ");
	/* Columns name the group too, so it may have the message. */
	open_with(roomy);
	is_late = true;
	row("user_units", "id=1|user_id=7|unit_id=6", NULL, "unit=6,7", NULL);
	expect("1 member.created m_6; late-1 member.bulk 1 m_7; ");
}

/* One number, so they must be one entry of the relay. */
static void groups_of_one_late_row_have_one_number(void **state)
{
	static const char *const wanted[] = { "late-1 sendback.bulk 2 n_7; ", "late-1 sendback.bulk 1 n_9; " };

	(void)state;
	sendback(1, "user_id=7,9", true);
	sendback(2, "user_id=7", true);
	txn_finish(txn, false);
	assert_int_equal(txn_n_messages(txn), 2);
	for (size_t i = 0; i < 2; i++) {
		struct txn_message message = txn_message(txn, i), first = txn_message(txn, 0);
		struct buf out = { 0 };

		describe_message(&message, &out);
		assert_string_equal(out.data, wanted[i]);
		assert_true(slice_equal(message.about, first.about));
		assert_true(i == 0 || message.payload.at == first.payload.at + first.payload.len);
		assert_true(i == 0 || message.groups == first.groups + strlen(first.groups) + 1);
		buf_fini(&out);
	}
}

static void a_group_has_one_bulk_message_of_a_section(void **state)
{
	(void)state;
	open_with((struct txn_limits){ 1, 16 << 20, 0 });
	sendback(1, "user_id=7", false);
	sendback(2, "user_id=7", false);
	sendback(3, "user_id=7", true);
	sendback(4, "user_id=8", false);
	sendback(5, "user_id=8", false);
	expect("1 sendback.created n_7; 4 sendback.created n_8; 7 sendback.bulk 1 n_8; late-3 sendback.bulk 2 n_7; ");
}

static void a_lookup_without_an_answer_marks_its_own_groups(void **state)
{
	(void)state;
	row("user_units", "id=1|user_id=7|unit_id=6", NULL, NULL, NULL);
	expect("1 member.created m_6; 2 lookup user_units; ");
	assert_true(txn_marked(txn, 0).lookup_only);
}

/* A value that was not sent: an update names no `note` where it is large and unchanged. */
#define UNSENT                                                                                                         \
	"tables = { links = { type = \"link\" key = \"link_id\" lookup = \"SELECT {left_id}\"\n"                       \
	"  groups = [ \"l_{left_id}\", \"t_{note}_{lookup.u}\" ] } }\n"

static int open_unsent(void **state)
{
	routed_close(&m);
	routed_open(&m, MAPPING_BASE MAPPING_STREAMS UNSENT);
	return open_roomy(state);
}

static int close_unsent(void **state)
{
	routed_close(&m);
	open_mapping(state);
	return close_txn(state);
}

#define LINK_NOW "left_id=6|right_id=7"
#define LINK_OLD "left_id=6|right_id=7"

static void a_group_that_needs_a_lookup_and_an_unsent_value_is_marked(void **state)
{
	(void)state;
	row("links", "left_id=6|right_id=7|note=\"x\"", NULL, "u=9", NULL);
	row("links", LINK_NOW, LINK_OLD, "u=9", NULL);
	row("links", LINK_NOW, LINK_OLD, "u=9", NULL);
	expect("1 link.created l_6 t_x_9; 2 link.updated l_6; 3 link.updated l_6; 4 unknown links; ");
	assert_true(txn_marked(txn, 0).lookup_only);
	/* Nor can a late lookup say whom a bulk message is for. */
	open_roomy(NULL);
	is_late = true;
	row("links", LINK_NOW, LINK_OLD, "u=9", NULL);
	expect("1 link.updated l_6; 2 unknown links; ");
	/* One without rows names no group. */
	open_roomy(NULL);
	row("links", LINK_NOW, LINK_OLD, "u=", NULL);
	expect("1 link.updated l_6; ");
}

/* --- bounds ----------------------------------------------------------------------------------------------------- */

static void beyond_the_limit_one_message_stands_for_the_rest(void **state)
{
	(void)state;
	open_with((struct txn_limits){ 2, 16 << 20, 0 });
	for (unsigned i = 1; i <= 5; i++)
		insert("crates", i, 6);
	for (unsigned i = 6; i <= 7; i++)
		insert("crates", i, 5);
	for (unsigned i = 8; i <= 10; i++)
		row("links", "left_id=6|right_id=7", NULL, NULL, NULL);
	row("links", "left_id=6|right_id=8", NULL, NULL, NULL);
	insert("crates", 11, 5);
	expect("1 crate.created c_6; 2 crate.created c_6; 6 crate.created c_5; 7 crate.created c_5; "
	       "8 link.created l_6 l_7; 9 link.created l_6 l_7; 11 link.created l_8; "
	       "13 crate.bulk 3 c_6; 14 crate.bulk 1 c_5; 15 link.bulk 2 l_6; 16 link.bulk 1 l_7; ");
}

/* A move is two messages for two groups; each section counts for itself. */
static void sections_are_counted_apart(void **state)
{
	(void)state;
	open_with((struct txn_limits){ 1, 16 << 20, 0 });
	insert("requests", 1, 5);
	insert("requests", 2, 6);
	row("crates", "id=1|unit_id=6", "id=1|unit_id=5", NULL, NULL);
	row("crates", "id=1|unit_id=5", "id=1|unit_id=6", NULL, NULL);
	expect("1 request.created r_5; 2 history.created r_5 all; 3 request.created r_6; 4 history.created r_6; "
	       "5 crate.deleted c_5; 6 crate.updated c_6; 9 history.bulk 1 all; 10 crate.bulk 1 c_5; "
	       "11 crate.bulk 1 c_6; ");
}

static size_t rendered(void)
{
	size_t bytes = 0;

	for (size_t i = 0; i < txn_n_messages(txn); i++)
		bytes += txn_message(txn, i).payload.len;
	return bytes;
}

static void beyond_the_bytes_all_is_counted(void **state)
{
	const size_t bytes = 20000;
	size_t n, told;

	(void)state;
	open_with((struct txn_limits){ 1000, bytes, 0 });
	for (unsigned i = 1; i <= 500; i++)
		insert("crates", i, 5 + i % 2);
	told = txn_n_messages(txn);
	assert_in_range(rendered(), bytes / 3, bytes);
	txn_finish(txn, false);
	n = txn_n_messages(txn);
	assert_int_equal(n, told + 2);
	assert_int_equal(txn_n_marks(txn), 0);
	for (size_t i = n - 2, left_out = 0; i < n; i++) {
		struct txn_message message = txn_message(txn, i);

		left_out += (size_t)json_integer_value(json_object_get(payload_of(&message), "count"));
		if (i == n - 1)
			assert_int_equal(left_out, 500 - told);
	}
}

/* The last message that begins within the bytes is whole. */
static void a_row_may_be_larger_than_the_bytes(void **state)
{
	struct buf now = { 0 };

	(void)state;
	open_with((struct txn_limits){ 1000, 1000, 0 });
	buf_add_text(&now, "id=1|unit_id=5|purpose=\"");
	for (unsigned i = 0; i < 5000; i++)
		buf_add_char(&now, 'x');
	buf_add_char(&now, '"');
	row("requests", now.data, NULL, NULL, NULL);
	buf_fini(&now);
	expect("1 request.created r_5; 3 history.bulk 1 r_5; 4 history.bulk 1 all; ");
}

/* Even the counters are bounded; who has none must hear of the mark. */
static void beyond_the_counters_the_section_is_marked(void **state)
{
	const unsigned n = 5000;

	(void)state;
	open_with((struct txn_limits){ 1, 100000, 0 });
	for (unsigned i = 1; i <= n; i++)
		insert("crates", i, i);
	insert("crates", n + 1, 1);
	txn_finish(txn, false);
	assert_int_equal(txn_n_marks(txn), 1);
	assert_string_equal(txn_marked(txn, 0).reason, "bulk");
	assert_ptr_equal(txn_marked(txn, 0).section, mapping_section(m.rules, "crates", 0));
	/* Not all groups have one, but the first has: its own message, and the bulk of the other. */
	assert_in_range(txn_n_messages(txn), 300, 1300);
	assert_in_range(rendered(), 50000, 200000);
	assert_string_equal(txn_message(txn, 0).groups, "c_{1}");
}

static void a_large_row_is_cut(void **state)
{
	struct txn_message message;
	const json_t *payload;

	(void)state;
	open_with((struct txn_limits){ 1000, 16 << 20, 30 });
	row("requests", "id=1|unit_id=5|purpose=\"0123456789012345678901234567890123456789\"", NULL, NULL, NULL);
	txn_finish(txn, false);
	message = txn_message(txn, 0);
	payload = payload_of(&message);
	assert_true(json_is_true(json_object_get(payload, "truncated")));
	assert_true(json_is_null(json_object_get(payload, "data")));
	assert_int_equal(json_integer_value(json_object_get(payload, "request_id")), 1);
}

/* --- again and again -------------------------------------------------------------------------------------------- */

static void fill(unsigned rows)
{
	txn_begin(txn, LSN, SLICE("2025-11-14 12:34:56.5+00"));
	for (unsigned i = 1; i <= rows; i++) {
		char now[96], old[96];

		snprintf(now, sizeof(now), "id=%u|unit_id=%u", i, i % 50);
		snprintf(old, sizeof(old), "id=%u|unit_id=%u", i, (i + i % 3) % 50);
		row("requests", now, old, NULL, i % 2 ? "asha" : NULL);
		row("crates", now, i % 7 ? NULL : "id=1", NULL, NULL);
		row("sendbacks", "id=1|request_id=2", NULL, i % 11 ? "user_id=7,8,9" : NULL, NULL);
	}
	txn_finish(txn, false);
}

static char *everything(void)
{
	struct buf out = { 0 };

	for (size_t i = 0; i < txn_n_messages(txn); i++) {
		struct txn_message message = txn_message(txn, i);
		const char *group = message.groups;

		buf_addf(&out, "%u ", message.id.index);
		buf_add_slice(&out, message.payload);
		for (size_t k = 0; k < message.n_groups; k++, group += strlen(group) + 1)
			buf_add_text(&out, group);
	}
	for (size_t i = 0; i < txn_n_marks(txn); i++)
		buf_addf(&out, "%u %s %s", txn_marked(txn, i).id.index, txn_marked(txn, i).section->conf->name,
			 txn_marked(txn, i).reason);
	return buf_steal(&out);
}

/* Ids are worth nothing if the window, decoded again, gives others. */
static void the_same_rows_give_the_same_messages(void **state)
{
	char *first, *second, *fresh;

	(void)state;
	open_with((struct txn_limits){ 20, 300000, 0 });
	fill(400);
	first = everything();
	fill(37);
	fill(400);
	second = everything();
	open_with((struct txn_limits){ 20, 300000, 0 });
	fill(400);
	fresh = everything();
	assert_true(strlen(first) > 200000);
	assert_true(strcmp(first, second) == 0);
	assert_true(strcmp(first, fresh) == 0);
	free(first);
	free(second);
	free(fresh);
}

static size_t allocated(void)
{
#ifdef IS_SANITIZED
	return __sanitizer_get_current_allocated_bytes();
#else
	struct mallinfo2 info = mallinfo2();

	return info.uordblks + info.hblkhd;
#endif
}

static void a_large_transaction_gives_its_memory_back(void **state)
{
	size_t before, during, after;

	(void)state;
	fill(10);
	txn_begin(txn, LSN, SLICE(""));
	before = allocated();
	fill(20000);
	during = allocated();
	txn_begin(txn, LSN, SLICE(""));
	after = allocated();
	assert_true(during > before + 10000000);
	assert_true(after < before + 300000);
}

static void a_member_is_named_once(void **state)
{
	(void)state;
	assert_int_equal(txn_n_members(txn), 0);
	txn_add_member(txn, "7");
	txn_add_member(txn, "");
	txn_add_member(txn, "7");
	txn_add_member(txn, "9");
	assert_int_equal(txn_n_members(txn), 3);
	assert_string_equal(txn_member(txn, 0), "7");
	assert_string_equal(txn_member(txn, 1), "");
	assert_string_equal(txn_member(txn, 2), "9");
	assert_int_equal(txn_lsn(txn), LSN);
	txn_begin(txn, LSN, SLICE(""));
	assert_int_equal(txn_n_members(txn), 0);
}

static void everybody_is_the_only_member(void **state)
{
	(void)state;
	txn_add_member(txn, "7");
	txn_add_member(txn, NULL);
	txn_add_member(txn, "8");
	assert_int_equal(txn_n_members(txn), 1);
	assert_null(txn_member(txn, 0));
	txn_begin(txn, LSN, SLICE(""));
	assert_int_equal(txn_n_members(txn), 0);
	txn_add_member(txn, "8");
	assert_string_equal(txn_member(txn, 0), "8");
}

static void too_many_members_are_everybody(void **state)
{
	char user[16];

	(void)state;
	for (int i = 0; i < TXN_MEMBERS; i++) {
		snprintf(user, sizeof(user), "%d", i);
		txn_add_member(txn, user);
	}
	assert_int_equal(txn_n_members(txn), TXN_MEMBERS);
	txn_add_member(txn, "0");
	assert_int_equal(txn_n_members(txn), TXN_MEMBERS);
	txn_add_member(txn, "one more");
	assert_int_equal(txn_n_members(txn), 1);
	assert_null(txn_member(txn, 0));
}

/* By the database's clock. */
static void the_commit_has_a_time(void **state)
{
	static const struct {
		const char *text;
		int64_t us;
	} cases[] = {
		{ "2025-11-14 12:34:56.123456+00", 1763123696123456 },
		{ "2000-02-29 00:00:00+00", 951782400000000 },
		{ "2100-03-01 00:00:00.1+00", 4107542400100000 },
		{ "1969-12-31 23:59:59.5+00", -500000 },
		{ "2025-11-14 12:34:56+02", 1763116496000000 }, /* the session has the zone of data.timezone */
		{ "2025-11-14T12:34:56+00", 0 },
		{ "", 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		txn_begin(txn, LSN, slice_of(cases[i].text));
		txn_finish(txn, false);
		if (txn_commit_us(txn) != cases[i].us)
			fail_msg("%s: %lld", cases[i].text, (long long)txn_commit_us(txn));
	}
}

/* --- rows that are stepped over ---------------------------------------------------------------------------------- */

/* "requests crates; r_5 c_5!4403; all" : sections, groups and what they are closed with, and whether it is everything. */
static void expect_skipped(const char *wanted)
{
	struct txn_skipped skipped;
	struct buf out = { 0 };

	txn_finish(txn, is_half_told);
	assert_true(txn_skipped(txn, &skipped));
	assert_int_equal(txn_n_messages(txn) + txn_n_marks(txn), 0);
	assert_int_equal(skipped.id.lsn, LSN);
	assert_int_equal(skipped.id.index, 0x7FFFFFFF);
	for (size_t i = 0; i < skipped.n_sections; i++)
		buf_addf(&out, "%s ", skipped.sections[i]->conf->name);
	buf_add_text(&out, "; ");
	for (const char *at = skipped.groups.at; at < skipped.groups.at + skipped.groups.len;) {
		const char *name = at + strlen(at) + 1;

		tmpl_group_display(slice_of(name), &out);
		buf_addf(&out, "!%s ", at);
		at = name + strlen(name) + 1;
	}
	buf_add_text(&out, skipped.everything ? "; all" : ";");
	if (strcmp(out.data, wanted) != 0)
		fail_msg("got    \"%s\"\nwanted \"%s\"", out.data, wanted);
	buf_fini(&out);
}

static const struct rules_section *section(const char *table, size_t i)
{
	return mapping_section(m.rules, table, i);
}

static void a_row_that_is_stepped_over_makes_one_mark_of_all(void **state)
{
	struct txn_skipped skipped;

	(void)state;
	insert("crates", 1, 5);
	txn_skip(txn, section("requests", 0));
	insert("crates", 2, 5);
	insert("crates", 3, 6);
	txn_mark(txn, section("links", 0), "truncate");
	txn_skip(txn, section("requests", 0));
	expect_skipped("requests links ; c_5!0 c_6!0 ;");
	/* The next one knows nothing of it. */
	txn_begin(txn, LSN, SLICE(""));
	insert("crates", 1, 5);
	expect("1 crate.created c_5; ");
	assert_false(txn_skipped(txn, &skipped));
}

static void a_row_of_an_unknown_table_concerns_everything(void **state)
{
	(void)state;
	txn_skip(txn, NULL);
	expect_skipped("; ; all");
}

static void who_is_closed_is_closed_beside_it(void **state)
{
	(void)state;
	row("keyless", "code=5", NULL, NULL, NULL);
	insert("crates", 1, 5);
	txn_skip(txn, section("crates", 0));
	expect_skipped("crates ; x_5!4403 c_5!0 ;");
}

static void where_there_was_no_room_to_count_the_section_is_told(void **state)
{
	(void)state;
	open_with((struct txn_limits){ 1, 400, 1 << 20 });
	for (unsigned i = 0; i < 50; i++)
		insert("crates", i, i);
	txn_skip(txn, section("requests", 0));
	txn_finish(txn, false);
	open_with((struct txn_limits){ 1, 1, 1 << 20 });
	insert("crates", 1, 1);
	insert("crates", 2, 2);
	txn_skip(txn, section("requests", 0));
	expect_skipped("requests crates ; c_1!0 ;");
}

/* --- parts of two decodings --------------------------------------------------------------------------------------- */

static void what_asks_nothing_is_the_same_for_everybody(void **state)
{
	(void)state;
	is_half_told = true;
	insert("crates", 1, 5);
	txn_mark(txn, section("links", 0), "truncate");
	expect("1 crate.created c_5; 2 truncate links; ");
}

/* Whether it was answered now says nothing of what the other one did. */
static void what_was_asked_twice_is_told_at_once(void **state)
{
	(void)state;
	is_half_told = true;
	insert("crates", 1, 5);
	row("user_units", "id=1|user_id=7|unit_id=6", NULL, "unit=8", NULL);
	row("keyless", "code=5", NULL, NULL, NULL);
	expect_skipped("user_units ; x_5!4403 c_5!0 m_6!0 m_8!0 ;");
	open_roomy(NULL);
	is_half_told = true;
	row("user_units", "id=1|user_id=7|unit_id=6", NULL, NULL, NULL);
	expect_skipped("user_units ; m_6!0 ;");
	/* An answer that is in no group's name changes at most what a message says, and where it is counted. */
	open_roomy(NULL);
	is_half_told = true;
	row("people", "ssn=5|otp=7", NULL, NULL, "asha");
	expect_skipped("; v_5!4403 w_5!0 ;");
	/* The next transaction knows nothing of it. */
	txn_begin(txn, LSN, SLICE(""));
	insert("crates", 1, 5);
	expect("1 crate.created c_5; ");
}

#define ON_ROOMY_TXN(test) cmocka_unit_test_setup_teardown(test, open_roomy, close_txn)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ON_ROOMY_TXN(the_commit_has_a_time),
		ON_ROOMY_TXN(a_transaction_opens_and_ends),
		ON_ROOMY_TXN(messages_are_numbered_in_the_order_of_changes_and_sections),
		ON_ROOMY_TXN(left_comes_before_joined),
		ON_ROOMY_TXN(what_nobody_hears_has_its_number_all_the_same),
		ON_ROOMY_TXN(a_lookup_changes_no_number),
		ON_ROOMY_TXN(the_actor_and_the_commit_time_are_told),
		ON_ROOMY_TXN(permission_comes_before_all_else),
		ON_ROOMY_TXN(a_section_is_marked_once),
		ON_ROOMY_TXN(what_cannot_be_routed_is_marked),
		ON_ROOMY_TXN(a_column_that_the_lookup_lacks_is_told),
		ON_ROOMY_TXN(a_message_may_speak_of_the_lookups_rows),
		ON_ROOMY_TXN(a_message_without_its_lookup_is_a_mark),
		ON_ROOMY_TXN(a_message_without_its_actor_is_a_mark),
		ON_ROOMY_TXN(who_loses_the_row_reads_no_lookup),
		ON_ROOMY_TXN(those_whom_a_late_lookup_names_get_one_message_for_all),
		ON_ROOMY_TXN(groups_of_one_late_row_have_one_number),
		ON_ROOMY_TXN(a_group_has_one_bulk_message_of_a_section),
		ON_ROOMY_TXN(a_lookup_without_an_answer_marks_its_own_groups),
		ON_ROOMY_TXN(beyond_the_limit_one_message_stands_for_the_rest),
		ON_ROOMY_TXN(sections_are_counted_apart),
		ON_ROOMY_TXN(beyond_the_bytes_all_is_counted),
		ON_ROOMY_TXN(a_row_may_be_larger_than_the_bytes),
		ON_ROOMY_TXN(beyond_the_counters_the_section_is_marked),
		ON_ROOMY_TXN(a_large_row_is_cut),
		ON_ROOMY_TXN(the_same_rows_give_the_same_messages),
		ON_ROOMY_TXN(a_large_transaction_gives_its_memory_back),
		ON_ROOMY_TXN(a_member_is_named_once),
		ON_ROOMY_TXN(everybody_is_the_only_member),
		ON_ROOMY_TXN(too_many_members_are_everybody),
		ON_ROOMY_TXN(a_row_that_is_stepped_over_makes_one_mark_of_all),
		ON_ROOMY_TXN(a_row_of_an_unknown_table_concerns_everything),
		ON_ROOMY_TXN(who_is_closed_is_closed_beside_it),
		ON_ROOMY_TXN(where_there_was_no_room_to_count_the_section_is_told),
		ON_ROOMY_TXN(what_asks_nothing_is_the_same_for_everybody),
		ON_ROOMY_TXN(what_was_asked_twice_is_told_at_once),
		cmocka_unit_test_setup_teardown(a_group_that_needs_a_lookup_and_an_unsent_value_is_marked, open_unsent,
						close_unsent),
	};

	return cmocka_run_group_tests(tests, open_mapping, close_mapping);
}
