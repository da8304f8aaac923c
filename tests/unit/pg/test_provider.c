/* Who manages a server, by the name of its host or of its roles, and what is said there instead of ALTER SYSTEM. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "walpush/pg/provider.h"

static void a_host_shows_who_it_is(void **state)
{
	static const struct {
		const char *host;
		enum provider provider;
	} cases[] = {
		{ "app.c9akciq32.eu-central-1.rds.amazonaws.com", PROVIDER_RDS },
		{ "APP.C9.EU-WEST-1.RDS.AMAZONAWS.COM", PROVIDER_RDS },
		{ "app.c9.cn-north-1.rds.amazonaws.com.cn", PROVIDER_RDS },
		{ "app.c9.eu-central-1.rds.amazonaws.com.", PROVIDER_RDS },
		{ "10.0.0.7,app.c9.eu-central-1.rds.amazonaws.com,x", PROVIDER_RDS },
		{ "/cloudsql/shop:europe-west1:main", PROVIDER_CLOUDSQL },
		{ "a1b2.c3d4.europe-west1.sql.goog", PROVIDER_CLOUDSQL },
		{ "main.alloydb.goog", PROVIDER_ALLOYDB },
		{ "shop.postgres.database.azure.com", PROVIDER_AZURE },
		{ "shop.privatelink.postgres.database.azure.com", PROVIDER_AZURE },
		{ "db.abcdef.supabase.co", PROVIDER_SUPABASE },
		{ "aws-0-eu-central-1.pooler.supabase.com", PROVIDER_SUPABASE },
		{ "ep-cool-1.eu-central-1.aws.neon.tech", PROVIDER_NEON },
		{ "rc1a-x.mdb.yandexcloud.net", PROVIDER_YANDEX },
		{ "db-1.b.db.ondigitalocean.com", PROVIDER_OTHER },
		{ "pg-1.aivencloud.com", PROVIDER_OTHER },
		{ "db.example.com", PROVIDER_NONE },
		{ "rds.amazonaws.com.example.com", PROVIDER_NONE },
		{ "supabase.co", PROVIDER_NONE },
		{ "notneon.tech", PROVIDER_NONE },
		{ "/var/run/postgresql", PROVIDER_NONE },
		{ "127.0.0.1", PROVIDER_NONE },
		{ "", PROVIDER_NONE },
		{ ".", PROVIDER_NONE },
		{ NULL, PROVIDER_NONE },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		if (provider_of_host(cases[i].host) != cases[i].provider)
			fail_msg("%s: %d", cases[i].host, (int)provider_of_host(cases[i].host));
}

static void a_role_shows_who_it_is(void **state)
{
	struct buf names = { 0 };

	(void)state;
	assert_int_equal(provider_of_role("rds_superuser"), PROVIDER_RDS);
	assert_int_equal(provider_of_role("cloudsqlsuperuser"), PROVIDER_CLOUDSQL);
	assert_int_equal(provider_of_role("azure_pg_admin"), PROVIDER_AZURE);
	assert_int_equal(provider_of_role("supabase_admin"), PROVIDER_SUPABASE);
	assert_int_equal(provider_of_role("neon_superuser"), PROVIDER_NEON);
	assert_int_equal(provider_of_role("mdb_admin"), PROVIDER_YANDEX);
	assert_int_equal(provider_of_role("doadmin"), PROVIDER_OTHER);
	assert_int_equal(provider_of_role("postgres"), PROVIDER_NONE);
	assert_int_equal(provider_of_role("rds"), PROVIDER_NONE);
	provider_roles(&names);
	assert_int_equal(names.data[0], '{');
	assert_non_null(strstr(names.data, ",cloudsqlsuperuser,"));
	assert_int_equal(names.data[names.len - 1], '}');
	buf_fini(&names);
}

static void alter_system_is_said_in_the_providers_words(void **state)
{
	static const struct {
		enum provider provider;
		const char *fix;
		bool restart;
		const char *instead; /* NULL: nothing to replace */
	} cases[] = {
		{ PROVIDER_RDS, "ALTER SYSTEM SET max_wal_senders = 14;", true,
		  "set max_wal_senders = 14 in the instance's DB parameter group (of Aurora: the cluster's), then "
		  "restart the "
		  "instance" },
		{ PROVIDER_RDS, "ALTER SYSTEM SET wal_level = logical;", true,
		  "set rds.logical_replication = 1 in the instance's DB parameter group (of Aurora: the cluster's), "
		  "then "
		  "reboot" },
		{ PROVIDER_CLOUDSQL, "ALTER SYSTEM SET wal_level = logical;", true,
		  "set the database flag cloudsql.logical_decoding = on, which restarts the instance" },
		{ PROVIDER_AZURE, "ALTER SYSTEM SET max_slot_wal_keep_size = '10240MB'; SELECT pg_reload_conf();",
		  false,
		  "nothing can bound it on Azure: turn storage auto-grow on, alert on retained_bytes of "
		  "walpush_monitoring, "
		  "and drop the slot of a walpush that is gone" },
		{ PROVIDER_OTHER, "ALTER SYSTEM SET max_slot_wal_keep_size = '10240MB'; SELECT pg_reload_conf();",
		  false,
		  "set max_slot_wal_keep_size = '10240MB' in the provider's console, among the server's parameters" },
		{ PROVIDER_OTHER, "ALTER SYSTEM SET a = 1; ALTER SYSTEM RESET b;", false,
		  "set a = 1 in the provider's console, among the server's parameters; reset b in the provider's "
		  "console, "
		  "among the server's parameters" },
		{ PROVIDER_OTHER, "SELECT pg_drop_replication_slot('x');", false, NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct buf out = { 0 };
		bool found = provider_instead(cases[i].provider, cases[i].fix, cases[i].restart, &out);

		assert_int_equal(found, cases[i].instead != NULL);
		if (found)
			assert_string_equal(out.data, cases[i].instead);
		buf_fini(&out);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_host_shows_who_it_is),
		cmocka_unit_test(a_role_shows_who_it_is),
		cmocka_unit_test(alter_system_is_said_in_the_providers_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
