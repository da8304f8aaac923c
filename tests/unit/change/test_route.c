#include <stddef.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "routed.h"

static struct routed m;

static int close_mapping(void **state)
{
	(void)state;
	routed_close(&m);
	return 0;
}

static int open_mapping(void **state)
{
	(void)state;
	routed_open(&m, MAPPING_CONF);
	return 0;
}

static void describe_message(const struct route_message *message, struct buf *out)
{
	static const char *const ops[] = { "created", "updated", "deleted" };
	const char *name = message->groups.names.data;

	if (message->groups.n == 0)
		return;
	buf_addf(out, "%s/%s%s", ops[message->op], message->action, message->key_only ? " key" : "");
	for (size_t i = 0; i < message->groups.n; i++, name += strlen(name) + 1) {
		buf_add_char(out, ' ');
		tmpl_group_display(slice_of(name), out);
	}
	buf_add_text(out, "; ");
}

/* What becomes of the change that m.row holds: "deleted/moved key g_5; updated/approved g_6; unknown" */
static char *describe(const struct rules_section *s, const char *lookup)
{
	struct buf out = { 0 };
	struct sqlrows *rows;

	buf_add_text(&out, "");
	if (!route_section(s, &m.row, &m.plan))
		return buf_steal(&out);
	rows = mapping_rows(lookup);
	assert_int_equal(m.plan.wants_lookup, rows != NULL);
	route_messages(&m.plan, rows, &m.result);
	describe_message(&m.result.left, &out);
	describe_message(&m.result.joined, &out);
	if (m.result.unknown)
		buf_add_text(&out, "unknown");
	sqlrows_free(rows);
	return buf_steal(&out);
}

struct route_case {
	const char *now, *old; /* an absent one makes an INSERT or a DELETE */
	const char *wanted;
};

static void expect(const char *table, const char *now, const char *old, const char *lookup, const char *wanted)
{
	char *got;

	routed_change(&m, !old ? 'I' : !now ? 'D' : 'U', table, now, old);
	got = describe(mapping_section(m.rules, table, 0), lookup);
	if (strcmp(got, wanted) != 0)
		fail_msg("%s | %s: got \"%s\", wanted \"%s\"", now ? now : "", old ? old : "", got, wanted);
	free(got);
}

static void expect_each(const char *table, const struct route_case *cases, size_t n)
{
	for (size_t i = 0; i < n; i++)
		expect(table, cases[i].now, cases[i].old, NULL, cases[i].wanted);
}

#define EXPECT_EACH(table, cases) expect_each(table, cases, sizeof(cases) / sizeof((cases)[0]))

static void rows_go_to_the_groups_of_their_columns(void **state)
{
	static const struct route_case cases[] = {
		{ "id=1|unit_id=5", NULL, "created/created requests_unit_5; " },
		{ "id=1|unit_id=null", NULL, "" },
		{ NULL, "id=1|unit_id=5", "deleted/deleted key requests_unit_5; " },
		{ "id=1|unit_id=5|purpose=\"b\"", "id=1|unit_id=5|purpose=\"a\"", "updated/updated requests_unit_5; " },
	};

	(void)state;
	EXPECT_EACH("requests", cases);
}

static void moves_are_told_to_both_groups(void **state)
{
	static const struct route_case cases[] = {
		{ "id=1|unit_id=6", "id=1|unit_id=5",
		  "deleted/moved key requests_unit_5; updated/updated requests_unit_6; " },
		{ "id=1|unit_id=null", "id=1|unit_id=5", "deleted/moved key requests_unit_5; " },
		{ "id=1|unit_id=6", "id=1|unit_id=null", "updated/updated requests_unit_6; " },
	};

	(void)state;
	EXPECT_EACH("requests", cases);
}

/* The replica identity is the key alone. */
static void without_the_old_image_groups_are_unknown(void **state)
{
	static const struct route_case cases[] = {
		{ "id=1|unit_id=6", "id=1", "updated/updated requests_unit_6; unknown" },
		{ "id=1", "id=1", "unknown" },
		{ NULL, "id=1", "unknown" },
	};

	(void)state;
	EXPECT_EACH("requests", cases);
}

#define U(status, date) "id=1|unit_id=5|allocation_date=" date "|status=" status

static void the_first_action_that_matches_wins(void **state)
{
	static const struct route_case cases[] = {
		{ U("\"Approved\"", "null"), U("\"Pending\"", "null"), "updated/approved requests_unit_5; " },
		{ U("\"Approved\"", "null"), U("null", "null"), "updated/approved requests_unit_5; " },
		{ U("\"Approved\"", "null"), U("\"Approved\"", "null"), "updated/updated requests_unit_5; " },
		{ U("\"Approved\"", "\"2025\""), U("\"Pending\"", "null"), "updated/approved requests_unit_5; " },
		{ U("\"Pending\"", "\"2025\""), U("\"Pending\"", "null"), "updated/allocated requests_unit_5; " },
		{ U("\"Pending\"", "\"2025\""), U("\"Rejected\"", "null"), "updated/reopened requests_unit_5; " },
		{ U("\"Rejected\"", "null"), U("\"Rejected\"", "null"), "updated/updated requests_unit_5; " },
		{ U("\"Sent Back\"", "null"), U("\"Rejected\"", "null"), "updated/sent_back requests_unit_5; " },
		/* Unknown before: no match. Unchanged TOAST: no change. */
		{ U("\"Approved\"", "null"), "id=1|unit_id=5", "updated/updated requests_unit_5; " },
		{ "id=1|unit_id=5|allocation_date=null", U("\"Approved\"", "null"),
		  "updated/updated requests_unit_5; " },
		/* `on` is update by default. */
		{ U("\"Approved\"", "null"), NULL, "created/created requests_unit_5; " },
		{ NULL, U("\"Rejected\"", "null"), "deleted/deleted key requests_unit_5; " },
	};

	(void)state;
	EXPECT_EACH("requests", cases);
}

static void only_actions_leaves_the_others_out(void **state)
{
	static const struct route_case cases[] = {
		{ "id=1|unit_id=5|status=\"New\"", "id=1|unit_id=5|status=\"Old\"", "updated/changed g_5; " },
		{ "id=1|unit_id=6|status=\"New\"", "id=1|unit_id=5|status=\"Old\"",
		  "deleted/moved key g_5; updated/changed g_6; " },
		{ "id=1|unit_id=5|status=\"Old\"", "id=1|unit_id=5|status=\"Old\"", "" },
		{ "id=1|unit_id=6|status=\"Old\"", "id=1|unit_id=5|status=\"Old\"", "" },
		{ "id=1|unit_id=5|status=\"New\"", NULL, "" },
		{ NULL, "id=1|unit_id=5|status=\"Old\"", "" },
	};

	(void)state;
	routed_open(
		&m, MAPPING_BASE MAPPING_STREAMS
		"tables = { requests = { type = \"r\" key = \"k\" groups = [ \"g_{unit_id}\" ] only-actions = true\n"
		"  actions = { changed = { column = \"status\" changes = true } } } }");
	EXPECT_EACH("requests", cases);
	routed_close(&m);
}

#define ACTIONS                                                                                                        \
	"actions = { approved = { column = \"status\" becomes = \"Approved\" }"                                        \
	" back = { column = \"status\" was = \"Approved\" on = [ \"update\", \"delete\" ] } moved = { column = "       \
	"\"purpose\" changes = true } } } }"

/* Without the old value an action that the new ones do not exclude may have been: never silence, never a guess. */
static void an_old_value_that_did_not_come(void **state)
{
	static const struct route_case only[] = {
		{ "id=1|unit_id=5|status=\"Approved\"", "id=1|unit_id=5", "unknown" },
		{ "id=1|unit_id=5|status=\"New\"", "id=1|unit_id=5", "unknown" }, /* it may have been approved */
		{ "id=1|unit_id=5|status=\"New\"|purpose=\"x\"", "id=1|unit_id=5|status=\"New\"", "unknown" },
		/* Neither row has it: it was left alone, as large values are sent. */
		{ "id=1|unit_id=5|status=\"New\"", "id=1|unit_id=5|status=\"New\"", "" },
		{ NULL, "id=1|unit_id=5", "unknown" },
		{ NULL, "id=1|unit_id=5|status=\"New\"", "" },
		/* One that is known to hold, behind one that may. */
		{ "id=1|unit_id=5|status=\"New\"|purpose=\"x\"", "id=1|unit_id=5|purpose=\"y\"", "unknown" },
		{ "id=1|unit_id=5|status=\"Approved\"", "id=1|unit_id=5|status=\"New\"", "updated/approved g_5; " },
	};
	static const struct route_case all[] = {
		{ "id=1|unit_id=5|status=\"Approved\"", "id=1|unit_id=5", "updated/updated g_5; " },
		{ "id=1|unit_id=5|status=\"New\"", "id=1|unit_id=5|status=\"New\"", "updated/updated g_5; " },
		{ NULL, "id=1|unit_id=5", "deleted/deleted key g_5; " },
	};

	(void)state;
	routed_open(&m, MAPPING_BASE MAPPING_STREAMS "tables = { requests = { type = \"r\" key = \"k\" groups = [ "
						     "\"g_{unit_id}\" ] only-actions = true\n" ACTIONS);
	EXPECT_EACH("requests", only);
	routed_close(&m);
	routed_open(&m, MAPPING_BASE MAPPING_STREAMS
		    "tables = { requests = { type = \"r\" key = \"k\" groups = [ \"g_{unit_id}\" ]\n" ACTIONS);
	EXPECT_EACH("requests", all);
	routed_close(&m);
}

static void actors_are_the_actions(void **state)
{
	(void)state;
	expect("requests", U("\"Approved\"", "null") "|approved_by_id=7", U("\"Pending\"", "null"), NULL,
	       "updated/approved requests_unit_5; ");
	assert_false(m.plan.wants_actor); /* columns out of order: approved_by_id was passed over */
	expect("requests", "id=1|unit_id=5|approved_by_id=7|status=\"Approved\"", "id=1|unit_id=5|status=\"x\"", NULL,
	       "updated/approved requests_unit_5; ");
	assert_true(m.plan.wants_actor);
	assert_int_equal(m.plan.actor_column, 4);
	expect("requests", "id=1|unit_id=5|approved_by_id=null|status=\"Approved\"", "id=1|unit_id=5|status=\"x\"",
	       NULL, "updated/approved requests_unit_5; ");
	assert_false(m.plan.wants_actor);
	expect("sendbacks", NULL, "id=1|request_id=2|created_by_id=3", "user_id=", "");
	assert_false(m.plan.wants_actor);
}

static void without_an_actor_query_nobody_is_asked_for(void **state)
{
	(void)state;
	routed_open(
		&m, MAPPING_BASE MAPPING_STREAMS
		"tables = { requests = { type = \"r\" key = \"k\" groups = [ \"g\" ] actor = \"approved_by_id\" } }");
	expect("requests", "id=1|approved_by_id=7", NULL, NULL, "created/created g; ");
	assert_int_equal(m.plan.actor_column, 4);
	assert_false(m.plan.wants_actor);
	routed_close(&m);
}

static void when_decides_which_rows_count(void **state)
{
	static const struct route_case cases[] = {
		{ "id=1|unit_id=5|status=\"Active\"", NULL, "created/created crates_unit_5; " },
		{ "id=1|unit_id=5|status=\"Gone\"", NULL, "" },
		{ "id=1|unit_id=5|status=\"Active\"", "id=1|unit_id=5|status=\"Gone\"",
		  "created/created crates_unit_5; " },
		{ "id=1|unit_id=6|status=\"Active\"", "id=1|unit_id=5|status=\"Gone\"",
		  "created/created crates_unit_6; " },
		{ "id=1|unit_id=5|status=\"Gone\"", "id=1|unit_id=5|status=\"Active\"",
		  "deleted/deleted key crates_unit_5; " },
		{ "id=1|unit_id=6|status=\"Gone\"", "id=1|unit_id=5|status=\"Active\"",
		  "deleted/deleted key crates_unit_5; " },
		{ "id=1|unit_id=6|status=null", "id=1|unit_id=5|status=\"Gone\"", "" },
		{ "id=1|unit_id=6|status=\"Active\"", "id=1|unit_id=5|status=\"Active\"",
		  "deleted/moved key crates_unit_5; updated/updated crates_unit_6; " },
		{ NULL, "id=1|unit_id=5|status=\"Gone\"", "" },
		{ NULL, "id=1|unit_id=5|status=\"Active\"", "deleted/deleted key crates_unit_5; " },
		/* Not sent: counts as in `when`. */
		{ NULL, "id=1|unit_id=5", "deleted/deleted key crates_unit_5; " },
		{ "id=1|unit_id=5|status=\"Active\"", "id=1|unit_id=5", "updated/updated crates_unit_5; " },
	};

	(void)state;
	EXPECT_EACH("crates", cases);
}

#define P(ssn, name, otp, login, sent) "ssn=\"" ssn "\"|name=" name "|otp=" otp "|last_login=" login sent
#define SENT "|password_changed_at=null|has_token=true|updated_at=null"

static void quiet_columns_alone_are_no_news(void **state)
{
	static const struct route_case cases[] = {
		/* One, several, to and from null. */
		{ P("1", "\"n\"", "5", "\"b\"", SENT), P("1", "\"n\"", "5", "\"a\"", SENT), "" },
		{ P("1", "\"n\"", "5", "null", SENT), P("1", "\"n\"", "5", "\"a\"", SENT), "" },
		{ P("1", "\"n\"", "6", "\"b\"", SENT), P("1", "\"n\"", "5", "null", SENT), "" },
		/* Another column beside them, the key too; nothing at all is no quiet column's change. */
		{ P("1", "\"m\"", "5", "\"b\"", SENT), P("1", "\"n\"", "5", "\"a\"", SENT), "updated/updated all; " },
		{ P("1", "null", "5", "\"b\"", SENT), P("1", "\"n\"", "5", "\"a\"", SENT), "updated/updated all; " },
		{ P("2", "\"n\"", "5", "\"b\"", SENT), P("1", "\"n\"", "5", "\"a\"", SENT), "updated/updated all; " },
		{ P("1", "\"n\"", "5", "\"a\"", SENT), P("1", "\"n\"", "5", "\"a\"", SENT), "updated/updated all; " },
		/* A large value that was not sent did not change; an old one that is not known may have. */
		{ "ssn=\"1\"|otp=6" SENT, P("1", "\"n\"", "5", "\"a\"", SENT), "" },
		{ P("1", "\"n\"", "5", "\"b\"", SENT), "ssn=\"1\"", "updated/updated all; " },
		{ P("1", "\"n\"", "5", "\"b\"", SENT), "ssn=\"1\"|name=\"n\"" SENT, "" },
		/* A column that the catalog does not know. */
		{ P("1", "\"n\"", "5", "\"b\"", SENT "|new=\"x\""), P("1", "\"n\"", "5", "\"a\"", SENT),
		  "updated/updated all; " },
		{ P("1", "\"n\"", "5", "\"b\"", SENT), P("1", "\"n\"", "5", "\"a\"", SENT "|gone=\"x\""),
		  "updated/updated all; " },
		{ P("1", "\"n\"", "5", "\"b\"", SENT), NULL, "created/created all; " },
		{ NULL, P("1", "\"n\"", "5", "\"b\"", SENT), "deleted/deleted key all; " },
	};

	(void)state;
	routed_open(&m,
		    MAPPING_BASE MAPPING_STREAMS "tables = { people = { type = \"p\" key = \"k\" groups = [ \"all\" ]\n"
						 "  quiet = [ \"otp\", \"last_login\", \"ssn\" ] } }");
	EXPECT_EACH("people", cases);
	routed_close(&m);
	/* A new row is news, also where all of its columns are quiet. */
	routed_open(&m, MAPPING_BASE MAPPING_STREAMS
		    "tables = { keyless = { type = \"p\" key = \"k\" groups = [ \"all\" ]\n"
		    "  quiet = [ \"code\", \"secret\" ] } }");
	expect("keyless", "code=\"c\"|secret=\"s\"", NULL, NULL, "created/created all; ");
	expect("keyless", "code=\"d\"|secret=\"s\"", "code=\"c\"|secret=\"s\"", NULL, "");
	routed_close(&m);
}

/* What an action, a group, a lookup or `when` reads is told, also where `quiet` names it. */
static void what_is_read_is_never_quiet(void **state)
{
	static const struct route_case cases[] = {
		{ P("1", "\"y\"", "5", "\"b\"", SENT), P("1", "\"n\"", "5", "\"b\"", SENT), "updated/named g_5; " },
		{ P("1", "\"n\"", "6", "\"b\"", SENT), P("1", "\"n\"", "5", "\"b\"", SENT),
		  "deleted/moved key g_5; updated/updated g_6; " },
		{ P("1", "\"n\"", "5", "\"b\"", SENT), P("1", "\"n\"", "5", "\"a\"", SENT), "created/created g_5; " },
		{ P("1", "\"n\"", "5", "\"a\"", SENT), P("1", "\"n\"", "5", "\"b\"", SENT),
		  "deleted/deleted key g_5; " },
		{ P("1", "\"n\"", "5", "\"b\"", "|has_token=false"), P("1", "\"n\"", "5", "\"b\"", "|has_token=true"),
		  "" },
	};

	(void)state;
	routed_open(&m, MAPPING_BASE MAPPING_STREAMS
		    "tables = { people = { type = \"p\" key = \"k\" groups = [ \"g_{otp}\" ]\n"
		    "  quiet = [ \"otp\", \"last_login\", \"name\", \"has_token\" ]\n"
		    "  when = { column = \"last_login\" equals = \"b\" }\n"
		    "  actions = { named = { column = \"name\" becomes = \"y\" } } } }");
	EXPECT_EACH("people", cases);
	routed_close(&m);
}

#define SENDBACK "id=1|request_id=2|reason=\"r\"|created_at=null|created_by_id=3"

static void lookups_give_a_group_a_row(void **state)
{
	struct buf param = { 0 };

	(void)state;
	expect("sendbacks", SENDBACK, NULL, "user_id=7,9,NULL,7",
	       "created/sent_back notifications_user_7 notifications_user_9; ");
	assert_true(m.plan.wants_actor);
	assert_true(route_param(&m.plan, &m.plan.section->lookup.source.parts[1], &param));
	assert_string_equal(param.data, "2");
	expect("sendbacks", SENDBACK, NULL, "user_id=", "");
	expect("sendbacks", NULL, SENDBACK, "user_id=7", "deleted/deleted key notifications_user_7; ");
	expect("sendbacks", NULL, "id=1", NULL, "unknown");
	expect("sendbacks", "id=1|request_id=null|reason=\"r\"|created_at=null|created_by_id=3", NULL, "user_id=", "");
	assert_false(route_param(&m.plan, &m.plan.section->lookup.source.parts[1], &param));
	buf_fini(&param);
}

static void a_lookup_without_the_column_is_noted(void **state)
{
	(void)state;
	expect("sendbacks", SENDBACK, NULL, "uid=7", "");
	assert_string_equal(m.result.joined.groups.missing, "user_id");
	expect("sendbacks", SENDBACK, NULL, "user_id=7", "created/sent_back notifications_user_7; ");
	assert_null(m.result.joined.groups.missing);
}

static void many_groups_stay_unique(void **state)
{
	struct buf text = { 0 };
	struct sqlrows *rows;
	const char *name;

	(void)state;
	routed_change(&m, 'I', "sendbacks", SENDBACK, NULL);
	assert_true(route_section(mapping_section(m.rules, "sendbacks", 0), &m.row, &m.plan));
	for (unsigned n = 1; n < 5000; n = n * 3 + 1) {
		buf_clear(&text);
		buf_add_text(&text, "user_id=0");
		for (unsigned i = 1; i < 2 * n; i++)
			buf_addf(&text, ",%u", i % n);
		rows = mapping_rows(text.data);
		route_messages(&m.plan, rows, &m.result);
		assert_int_equal(m.result.joined.groups.n, n);
		name = m.result.joined.groups.names.data;
		for (unsigned i = 0; i < n; i++, name += strlen(name) + 1) {
			char wanted[40];

			snprintf(wanted, sizeof(wanted), "notifications_user_{%u}", i);
			assert_string_equal(name, wanted);
		}
		sqlrows_free(rows);
	}
	buf_fini(&text);
}

static void old_values_name_former_groups(void **state)
{
	static const struct route_case cases[] = {
		{ "id=1|unit_id=5", NULL, "created/created now_5; " },
		{ "id=1|unit_id=6", "id=1|unit_id=5", "deleted/moved key now_5; updated/updated now_6 old_5; " },
		{ "id=1|unit_id=6", "id=1", "updated/updated now_6; unknown" },
		{ NULL, "id=1|unit_id=5", "deleted/deleted key now_5 old_5; " },
	};

	(void)state;
	routed_open(&m, MAPPING_BASE MAPPING_STREAMS "tables = { requests = { type = \"r\" key = \"k\" groups = [ "
						     "\"now_{unit_id}\", \"old_{old.unit_id}\" ] } }");
	EXPECT_EACH("requests", cases);
	routed_close(&m);
}

/* A group that one template leaves and another joins is not left. */
static void a_group_is_not_left_and_joined_at_once(void **state)
{
	(void)state;
	routed_open(&m, MAPPING_BASE MAPPING_STREAMS
		    "tables = { links = { type = \"l\" key = \"k\" groups = [ \"u_{left_id}\", \"u_{right_id}\" ] } }");
	expect("links", "left_id=1|right_id=2", "left_id=2|right_id=1", NULL, "updated/updated u_1 u_2; ");
	expect("links", "left_id=1|right_id=1", "left_id=1|right_id=2", NULL,
	       "deleted/moved key u_2; updated/updated u_1; ");
	/* Templates of the key alone need no more of the old row than PostgreSQL always sends. */
	expect("links", "left_id=1|right_id=2|note=\"x\"", "left_id=1|right_id=2", NULL, "updated/updated u_1 u_2; ");
	routed_close(&m);
}

static void truncate_is_the_callers(void **state)
{
	struct change change = { .kind = CHANGE_TRUNCATE };

	(void)state;
	row_bind(&m.row, catalog_find(m.catalog, "public", "requests"), &change);
	assert_false(route_section(mapping_section(m.rules, "requests", 0), &m.row, &m.plan));
}

static void templates_know_their_groups(void **state)
{
	static const struct {
		const char *source, *group;
		bool matches;
	} cases[] = {
		{ "g_{x}", "g_{5}", true },   { "g_{x}", "g_{}", true },      { "g_{x}", "g_5", false },
		{ "g_{x}", "h_{5}", false },  { "g_{x}", "g_{5}_", false },   { "g_{x}", "g_{5", false },
		{ "g_{x}", "g_", false },     { "{x}_{y}", "{1}_{2}", true }, { "{x}_{y}", "{1}_", false },
		{ "{x}{y}", "{1}{2}", true }, { "{x}{y}", "{1}", false },     { "all", "all", true },
		{ "all", "al", false },       { "all", "all_{5}", false },    { "g_{x}", "g_{5}{6}", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct fail why;
		struct tmpl t;

		assert_true(tmpl_parse(&t, cases[i].source, 1u << TMPL_ROW, &why));
		if (tmpl_could_spell(&t, slice_of(cases[i].group), NULL) != cases[i].matches)
			fail_msg("%s and %s", cases[i].source, cases[i].group);
		tmpl_fini(&t);
	}
}

static bool claim(void *ctx, const struct tmpl_part *part, struct buf *out)
{
	(void)ctx;
	if (strcmp(part->text, "user_id") != 0)
		return false;
	buf_add_text(out, "7");
	return true;
}

static void expect_stream(const char *groups, const char *admit, const char *wanted)
{
	struct groups out = { 0 };
	struct buf text = { 0 }, got = { 0 };
	struct sqlrows *rows = mapping_rows(admit);
	struct path_values path;
	const char *name;

	buf_addf(&text,
		 "%s streams = { s = { path = \"/ws/<int:unit_id>/\" admit = \"SELECT 1\" groups = [ %s ] } } %s",
		 MAPPING_BASE, groups, "tables = { roles = { type = \"r\" key = \"k\" groups = [ \"g\" ] } }");
	routed_open(&m, text.data);
	assert_int_equal(rules_match_path(m.rules, SLICE("/ws/005/"), &path), 0);
	groups_of_stream(rules_stream(m.rules, 0), &path, claim, NULL, rows, &out);
	name = out.names.data;
	buf_add_text(&got, "");
	for (size_t i = 0; i < out.n; i++, name += strlen(name) + 1)
		buf_addf(&got, "%s ", name);
	buf_add_text(&got, out.missing ? out.missing : "");
	assert_string_equal(got.data, wanted);
	routed_close(&m);
	sqlrows_free(rows);
	groups_fini(&out);
	buf_fini(&got);
	buf_fini(&text);
}

static void streams_have_groups(void **state)
{
	(void)state;
	expect_stream("\"g_{path.unit_id}\", \"u_{token.user_id}\"", "x=1,2", "g_{5} u_{7} ");
	expect_stream("\"g_{path.unit_id}\", \"u_{admit.x}\"", "x=1,2,1,NULL", "g_{5} u_{1} u_{2} ");
	expect_stream("\"u_{admit.x}_{path.unit_id}\"", "x=", "");
	expect_stream("\"u_{token.name}\", \"g_{path.unit_id}\"", "x=1", "g_{5} ");
	expect_stream("\"u_{admit.y}\"", "x=1", "y");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(rows_go_to_the_groups_of_their_columns, open_mapping, close_mapping),
		cmocka_unit_test_setup_teardown(moves_are_told_to_both_groups, open_mapping, close_mapping),
		cmocka_unit_test_setup_teardown(without_the_old_image_groups_are_unknown, open_mapping, close_mapping),
		cmocka_unit_test_setup_teardown(the_first_action_that_matches_wins, open_mapping, close_mapping),
		cmocka_unit_test(only_actions_leaves_the_others_out),
		cmocka_unit_test(an_old_value_that_did_not_come),
		cmocka_unit_test(quiet_columns_alone_are_no_news),
		cmocka_unit_test(what_is_read_is_never_quiet),
		cmocka_unit_test_setup_teardown(actors_are_the_actions, open_mapping, close_mapping),
		cmocka_unit_test_setup_teardown(when_decides_which_rows_count, open_mapping, close_mapping),
		cmocka_unit_test_setup_teardown(lookups_give_a_group_a_row, open_mapping, close_mapping),
		cmocka_unit_test_setup_teardown(a_lookup_without_the_column_is_noted, open_mapping, close_mapping),
		cmocka_unit_test_setup_teardown(many_groups_stay_unique, open_mapping, close_mapping),
		cmocka_unit_test_setup_teardown(truncate_is_the_callers, open_mapping, close_mapping),
		cmocka_unit_test(without_an_actor_query_nobody_is_asked_for),
		cmocka_unit_test(old_values_name_former_groups),
		cmocka_unit_test(a_group_is_not_left_and_joined_at_once),
		cmocka_unit_test(templates_know_their_groups),
		cmocka_unit_test(streams_have_groups),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
