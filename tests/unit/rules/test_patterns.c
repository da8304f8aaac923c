/* A schema per tenant: which tables a pattern lists, and that each is bound by itself. */
#include <stddef.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "mapping.h"

#define STREAM "streams = { s = { path = \"/a/<x>/\" admit = \"SELECT 1\" groups = [ \"g\" ] } }\n"
#define ORDERS                                                                                                         \
	"  orders = { from = \"tenant_*.orders\" type = \"order\" key = \"order_id\""                                  \
	"    lookup = \"SELECT f({schema}, {id}) AS u\" groups = [ \"o_{schema}_{unit}\", \"l_{schema}_{lookup.u}\" "  \
	"] }\n"
#define OTHERS                                                                                                         \
	"  first = { from = \"tenant_b.orders\" type = \"first\" key = \"id_\" groups = [ \"f_{unit}\" ] }\n"          \
	"  ends = { from = \"*_x.orders\" type = \"end\" key = \"id_\" groups = [ \"e_{schema}\" ] }\n"
#define CONF MAPPING_BASE STREAM "tables = {\n" OTHERS ORDERS "}\n"

struct made {
	struct conf *conf;
	struct rules *rules;
	struct catalog *catalog;
};

static void add_table(struct catalog *c, const char *schema, const char *oid, const char *const *columns)
{
	struct fail why;

	for (; *columns; columns++) {
		const char *const row[CATALOG_QUERY_COLUMNS] = {
			schema, "orders", *columns, "25", "0",  strcmp(*columns, "id") == 0 ? "t" : "f",
			"f",    NULL,     NULL,     NULL, NULL, oid
		};

		assert_true(catalog_add(c, row, &why));
	}
}

#define TABLE(c, schema, oid, ...) add_table(c, schema, oid, (const char *const[]){ __VA_ARGS__, NULL })

static struct made make(const char *text)
{
	struct fail why = { 0 };
	struct made m = { .conf = conf_parse("test.conf", slice_of(text), &why), .catalog = catalog_new() };

	m.rules = m.conf ? rules_new(m.conf, &why) : NULL;
	if (!m.rules)
		fail_msg("%s", why.text);
	return m;
}

static void bind(const struct made *m)
{
	struct fail why = { 0 };

	if (!rules_bind(m->rules, m->catalog, &why))
		fail_msg("%s", why.text);
}

static void drop(struct made *m)
{
	rules_free(m->rules);
	catalog_free(m->catalog);
	conf_free(m->conf);
}

static const struct rules_table *find(const struct made *m, const char *schema)
{
	return rules_find(m->rules, slice_of(schema), SLICE("orders"));
}

static void each_schema_is_bound_by_itself(void **state)
{
	struct made m = make(CONF);
	const struct rules_table *a, *b;

	(void)state;
	TABLE(m.catalog, "other", "1", "id", "unit");
	TABLE(m.catalog, "tenant_a", "2", "id", "unit");
	TABLE(m.catalog, "tenant_b", "3", "extra", "unit", "id");
	for (int again = 0; again < 2; again++) {
		bind(&m);
		a = find(&m, "tenant_a");
		b = find(&m, "tenant_b");
		assert_null(find(&m, "other"));
		assert_int_equal(rules_n_tables(m.rules), 2);
		assert_true(a->is_matched);
		assert_int_equal(a->n_sections, 1);
		assert_int_equal(a->sections[0]->groups[0].parts[3].slot, 1);
		assert_string_equal(a->sections[0]->label, "orders:tenant_a");
		/* Sections of one table are in the order of the file. */
		assert_false(b->is_matched);
		assert_int_equal(b->n_sections, 2);
		assert_string_equal(b->sections[0]->label, "first");
		assert_string_equal(b->sections[1]->label, "orders:tenant_b");
		assert_int_equal(b->sections[1]->lookup.source.parts[3].slot, 2);
		assert_int_equal(b->sections[1]->lookup.at, a->sections[0]->lookup.at);
		assert_int_equal(rules_n_queries(m.rules), 2);
	}
	drop(&m);
}

static void which_schemas_match(void **state)
{
	static const struct {
		const char *schema;
		size_t n; /* patterns */
	} cases[] = { { "tenant_", 1 },
		      { "tenant_a", 1 },
		      { "tenant", 0 },
		      { "a_tenant_b", 0 },
		      { "tenant_a_x", 2 },
		      { "_x", 1 },
		      { "x", 0 },
		      { "tenant_x", 2 },
		      { "pg_x", 0 },
		      { "pg_temp_x", 0 },
		      { "tenant_\"", 1 },
		      { "tenant_.", 1 },
		      { "tenant_\xc3\xa4", 1 },
		      { "TENANT_a", 0 },
		      { "", 0 } };
	struct made m = make(CONF);

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct slice schema = slice_of(cases[i].schema);
		size_t n = 0;

		while (rules_pattern_at(m.rules, schema, SLICE("orders"), n))
			n++;
		if (n != cases[i].n)
			fail_msg("%s: %zu patterns", cases[i].schema, n);
		assert_int_equal(rules_matches(m.rules, cases[i].schema, "orders"), n > 0);
		assert_false(rules_matches(m.rules, cases[i].schema, "order"));
	}
	assert_false(rules_matches(m.rules, "information_schema", "orders"));
	/* The replication stream spells names as JSON. */
	assert_non_null(rules_pattern_of(m.rules, SLICE("tenant_\\\"\\u00e4"), SLICE("orders"), 0));
	drop(&m);
}

static void a_schema_that_the_catalog_lacks_is_new(void **state)
{
	struct made m = make(CONF);

	(void)state;
	TABLE(m.catalog, "tenant_b", "1", "id", "unit");
	bind(&m);
	assert_true(rules_is_new(m.rules, SLICE("tenant_c"), SLICE("orders")));
	assert_false(rules_is_new(m.rules, SLICE("tenant_c"), SLICE("lines")));
	assert_false(rules_is_new(m.rules, SLICE("other"), SLICE("orders")));
	assert_false(rules_is_new(m.rules, SLICE("tenant_b"), SLICE("orders")));
	drop(&m);
}

static void what_the_server_is_asked_for(void **state)
{
	struct made m = make(CONF);
	struct buf out = { 0 };

	(void)state;
	rules_patterns_param(m.rules, &out);
	assert_string_equal(out.data, "{\"*_x.orders\",\"tenant_*.orders\"}");
	buf_clear(&out);
	TABLE(m.catalog, "tenant_a", "1", "id", "unit");
	TABLE(m.catalog, "tenant_b", "2", "id", "unit");
	bind(&m);
	rules_add_tables(m.rules, &out);
	assert_string_equal(out.data, "tenant_b.orders,*.orders");
	assert_int_equal(rules_lack(m.rules, out.data, ""), RULES_LACK_NOTHING);
	assert_int_equal(rules_lack(m.rules, "tenant_b.orders", ""), RULES_LACK_ROWS);
	buf_clear(&out);
	rules_catalog_param(m.rules, &out);
	assert_string_equal(out.data, "{\"tenant_b.orders\",\"tenant_a.orders\"}");
	buf_fini(&out);
	drop(&m);
}

/* Else every new tenant would end the epoch, and every client would refetch. */
static void the_digests_do_not_know_which_schemas_exist(void **state)
{
	struct made m = make(CONF);
	struct catalog *more = catalog_new();
	uint32_t before, feed;
	struct fail why;

	(void)state;
	TABLE(m.catalog, "tenant_b", "1", "id", "unit");
	bind(&m);
	before = rules_digest(m.rules);
	feed = rules_digest_feed(m.rules);
	TABLE(more, "tenant_a", "2", "id", "unit");
	TABLE(more, "tenant_b", "1", "id", "unit");
	assert_true(rules_bind(m.rules, more, &why));
	assert_int_equal(rules_digest(m.rules), before);
	assert_int_equal(rules_digest_feed(m.rules), feed);
	drop(&m);
	catalog_free(more);
}

static void labels_are_understood_by_all(void **state)
{
	struct made m = make(CONF);
	const char *schema;

	(void)state;
	assert_string_equal(rules_labelled(m.rules, "orders:tenant_a:b", &schema)->conf->name, "orders");
	assert_string_equal(schema, "tenant_a:b");
	assert_string_equal(rules_labelled(m.rules, "first", &schema)->conf->name, "first");
	assert_null(schema);
	assert_null(rules_labelled(m.rules, "order:tenant_a", &schema));
	drop(&m);
}

static void one_that_does_not_fit_is_left_out(void **state)
{
	struct made m = make(CONF);
	const char *first;
	struct fail why;

	(void)state;
	TABLE(m.catalog, "tenant_b", "1", "id", "unit");
	TABLE(m.catalog, "tenant_c", "2", "id");
	TABLE(m.catalog, "tenant_d", "3", "id", "unit");
	bind(&m);
	assert_int_equal(rules_unfit(m.rules, &first), 1);
	assert_non_null(strstr(first, "tenant_c.orders has no column unit"));
	assert_null(find(&m, "tenant_c"));
	assert_non_null(find(&m, "tenant_d"));
	assert_non_null(rules_left_out(m.rules, SLICE("tenant_c"), SLICE("orders")));
	assert_null(rules_left_out(m.rules, SLICE("tenant_d"), SLICE("orders")));
	assert_false(rules_is_new(m.rules, SLICE("tenant_c"), SLICE("orders")));
	drop(&m);
	m = make(MAPPING_BASE STREAM "tables = {\n" ORDERS "}\n");
	TABLE(m.catalog, "tenant_c", "2", "id");
	assert_false(rules_bind(m.rules, m.catalog, &why));
	drop(&m);
}

static void there_may_be_so_many(void **state)
{
	struct made m = make(MAPPING_BASE STREAM "tables = {\n" ORDERS "}\n");
	char schema[64], printed[64];
	struct fail why;

	(void)state;
	for (int i = 0; i < RULES_MATCHED_MOST; i++) {
		snprintf(schema, sizeof(schema), "tenant_%d", i);
		TABLE(m.catalog, schema, "1", "id", "unit");
	}
	bind(&m);
	for (int i = 0; i < RULES_MATCHED_MOST; i++) {
		snprintf(printed, sizeof(printed), "tenant_%d", i);
		assert_string_equal(find(&m, printed)->schema, printed);
	}
	TABLE(m.catalog, "tenant_x", "1", "id", "unit");
	assert_false(rules_bind(m.rules, m.catalog, &why));
	assert_non_null(strstr(why.text,
			       "10001 tables match the patterns of the configuration, such as tenant_*.orders, and "
			       "10000 may: narrow the patterns"));
	drop(&m);
}

static void note(void *ctx, const struct rules_table *t)
{
	buf_addf(ctx, "%s ", t->schema);
}

static void a_table_that_moved_is_known_by_its_oid(void **state)
{
	struct made before = make(CONF), after = make(CONF);
	struct buf out = { 0 };

	(void)state;
	TABLE(before.catalog, "tenant_a", "5", "id", "unit");
	TABLE(before.catalog, "tenant_b", "6", "id", "unit");
	TABLE(before.catalog, "tenant_c", "7", "id", "unit");
	TABLE(after.catalog, "tenant_a", "6", "id", "unit");
	TABLE(after.catalog, "tenant_b", "8", "id", "unit");
	TABLE(after.catalog, "tenant_c", "7", "id", "unit");
	bind(&before);
	bind(&after);
	rules_each_moved(before.rules, after.rules, note, &out);
	assert_string_equal(out.data, "tenant_a ");
	buf_fini(&out);
	drop(&before);
	drop(&after);
}

static void a_group_says_of_which_schema_it_is(void **state)
{
	static const struct {
		const char *source, *group, *schema;
		bool could;
	} cases[] = {
		{ "o_{schema}_{x}", "o_{tenant_a}_{5}", "tenant_a", true },
		{ "o_{schema}_{x}", "o_{tenant_a}_{5}", "tenant_b", false },
		{ "o_{schema}_{x}", "o_{tenant_a}_{5}", NULL, true },
		{ "o_{schema}_{x}", "o_{tenant}_{a}", "tenant_a", false },
		{ "o_{x}_{schema}", "o_{tenant_a}_{tenant_b}", "tenant_a", false },
		{ "o_{schema}", "o_{a%7Bb%25}", "a{b%", true },
		{ "o_{\"schema\"}", "o_{tenant_a}", "tenant_b", true },
		{ "o_{x}", "o_{5}", "tenant_a", true },
	};
	struct fail why;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct tmpl t;

		assert_true(tmpl_parse(&t, cases[i].source, 1u << TMPL_ROW | 1u << TMPL_TABLE, &why));
		if (tmpl_could_spell(&t, slice_of(cases[i].group), cases[i].schema) != cases[i].could)
			fail_msg("%s %s %s", cases[i].source, cases[i].group, cases[i].schema);
		tmpl_fini(&t);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_schema_is_bound_by_itself),
		cmocka_unit_test(which_schemas_match),
		cmocka_unit_test(a_schema_that_the_catalog_lacks_is_new),
		cmocka_unit_test(what_the_server_is_asked_for),
		cmocka_unit_test(the_digests_do_not_know_which_schemas_exist),
		cmocka_unit_test(labels_are_understood_by_all),
		cmocka_unit_test(one_that_does_not_fit_is_left_out),
		cmocka_unit_test(there_may_be_so_many),
		cmocka_unit_test(a_table_that_moved_is_known_by_its_oid),
		cmocka_unit_test(a_group_says_of_which_schema_it_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
