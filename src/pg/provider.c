#include "walpush/pg/provider.h"

#include <string.h>
#include <strings.h>

/* Source: the providers' documentation of logical replication, of parameters and of connecting. The ends of their hosts' names. */
static const struct host {
	const char *end;
	enum provider provider;
} hosts[] = {
	{ ".rds.amazonaws.com", PROVIDER_RDS },
	{ ".rds.amazonaws.com.cn", PROVIDER_RDS },
	{ ".on.aws", PROVIDER_RDS },
	{ ".sql.goog", PROVIDER_CLOUDSQL },
	{ ".cloudsql.com", PROVIDER_CLOUDSQL },
	{ ".alloydb.goog", PROVIDER_ALLOYDB },
	{ ".alloydb-psc.goog", PROVIDER_ALLOYDB },
	{ ".postgres.database.azure.com", PROVIDER_AZURE },
	{ ".postgres.database.chinacloudapi.cn", PROVIDER_AZURE },
	{ ".postgres.database.usgovcloudapi.net", PROVIDER_AZURE },
	{ ".postgres.cosmos.azure.com", PROVIDER_AZURE },
	{ ".supabase.co", PROVIDER_SUPABASE },
	{ ".supabase.com", PROVIDER_SUPABASE },
	{ ".supabase.net", PROVIDER_SUPABASE },
	{ ".neon.tech", PROVIDER_NEON },
	{ ".neon.build", PROVIDER_NEON },
	{ ".mdb.yandexcloud.net", PROVIDER_YANDEX },
	{ ".db.ondigitalocean.com", PROVIDER_OTHER },
	{ ".aivencloud.com", PROVIDER_OTHER },
	{ ".rds.aliyuncs.com", PROVIDER_OTHER },
	{ ".tencentcdb.com", PROVIDER_OTHER },
	{ ".tencentdb.com", PROVIDER_OTHER },
	{ ".tsdb.cloud.timescale.com", PROVIDER_OTHER },
	{ ".postgresbridge.com", PROVIDER_OTHER },
	{ ".render.com", PROVIDER_OTHER },
	{ ".scw.cloud", PROVIDER_OTHER },
	{ ".databases.appdomain.cloud", PROVIDER_OTHER },
	{ ".oraclecloud.com", PROVIDER_OTHER },
	{ ".psdb.cloud", PROVIDER_OTHER },
	{ ".rlwy.net", PROVIDER_OTHER },
	{ ".vultrdb.com", PROVIDER_OTHER },
	{ ".upclouddatabases.com", PROVIDER_OTHER },
};

static const struct role {
	const char *name;
	enum provider provider;
} roles[] = {
	{ "rds_superuser", PROVIDER_RDS },
	{ "rdsadmin", PROVIDER_RDS },
	{ "rds_replication", PROVIDER_RDS },
	{ "alloydbsuperuser", PROVIDER_ALLOYDB },
	{ "alloydbadmin", PROVIDER_ALLOYDB },
	{ "cloudsqlsuperuser", PROVIDER_CLOUDSQL },
	{ "cloudsqladmin", PROVIDER_CLOUDSQL },
	{ "azure_pg_admin", PROVIDER_AZURE },
	{ "azuresu", PROVIDER_AZURE },
	{ "supabase_admin", PROVIDER_SUPABASE },
	{ "neon_superuser", PROVIDER_NEON },
	{ "mdb_admin", PROVIDER_YANDEX },
	{ "mdb_superuser", PROVIDER_YANDEX },
	{ "mdb_replication", PROVIDER_YANDEX },
	{ "pg_rds_superuser", PROVIDER_OTHER },
	{ "polar_superuser", PROVIDER_OTHER },
	{ "pg_tencentdb_superuser", PROVIDER_OTHER },
	{ "doadmin", PROVIDER_OTHER },
	{ "avnadmin", PROVIDER_OTHER },
	{ "tsdbadmin", PROVIDER_OTHER },
	{ "vultradmin", PROVIDER_OTHER },
	{ "upadmin", PROVIDER_OTHER },
	{ "_rdb_superadmin", PROVIDER_OTHER },
	{ "ibm-cloud-base-user", PROVIDER_OTHER },
	{ "oci_admin", PROVIDER_OTHER },
	{ "pscale_superuser", PROVIDER_OTHER },
	{ "heroku_admin", PROVIDER_OTHER },
};

static const struct words {
	const char *name, *settings, *door;
	const char *replication; /* NULL: ALTER ROLE … REPLICATION */
	bool replication_is_sql;
} words[PROVIDERS] = {
	[PROVIDER_NONE] = { "", "", "", NULL, false },
	[PROVIDER_RDS] = { "Amazon RDS", "in the instance's DB parameter group (of Aurora: the cluster's)",
			   "open the instance's security group for this address, and let the role in with IAM or a "
			   "password",
			   "GRANT rds_replication TO @R;", true },
	[PROVIDER_CLOUDSQL] = { "Google Cloud SQL", "as a database flag of the instance",
				"add this address to the instance's authorized networks, or connect through its "
				"private IP or the Auth Proxy",
				"ALTER USER @R WITH REPLICATION;", true },
	[PROVIDER_ALLOYDB] = { "Google AlloyDB", "as a database flag of the instance",
			       "connect from the instance's network, or through the Auth Proxy",
			       "ALTER USER @R WITH REPLICATION;", true },
	[PROVIDER_AZURE] = { "Azure Database for PostgreSQL", "among the server parameters of the instance",
			     "add a firewall rule for this address, or connect through the private endpoint", NULL,
			     true },
	[PROVIDER_SUPABASE] = { "Supabase", "with `supabase postgres-config update`",
				"let this address pass in the project's network restrictions", NULL, true },
	[PROVIDER_NEON] = { "Neon", "in the project's settings", "add this address to the project's IP Allow list",
			    "make the role in Neon's console or API: those have REPLICATION, and SQL cannot give it",
			    false },
	[PROVIDER_YANDEX] = { "Yandex Cloud", "among the DBMS settings of the cluster",
			      "open the cluster's security group for this address",
			      "grant the role mdb_replication in the console: yc managed-postgresql user update",
			      false },
	[PROVIDER_OTHER] = { "the provider", "in the provider's console, among the server's parameters",
			     "let this address in, in the provider's console", NULL, true },
};

/* What a provider calls otherwise, or does not let its customers set. */
static const struct parameter {
	enum provider provider;
	const char *name, *text;
} parameters[] = {
	{ PROVIDER_RDS, "wal_level",
	  "set rds.logical_replication = 1 in the instance's DB parameter group (of Aurora: the "
	  "cluster's), then reboot" },
	{ PROVIDER_CLOUDSQL, "wal_level",
	  "set the database flag cloudsql.logical_decoding = on, which restarts the instance" },
	{ PROVIDER_ALLOYDB, "wal_level",
	  "set the database flag alloydb.logical_decoding = on, which restarts the instance" },
	{ PROVIDER_NEON, "wal_level", "enable logical replication in the project's settings" },
	{ PROVIDER_AZURE, "max_slot_wal_keep_size",
	  "nothing can bound it on Azure: turn storage auto-grow on, alert on retained_bytes of walpush_monitoring, "
	  "and "
	  "drop the slot of a walpush that is gone" },
	{ PROVIDER_NEON, "max_slot_wal_keep_size",
	  "nothing can bound it on Neon: alert on retained_bytes of walpush_monitoring, and drop the slot of a walpush "
	  "that is gone" },
};

/* --- who it is ----------------------------------------------------------------------------------------------- */

static enum provider of_one_host(const char *host, size_t len)
{
	static const char socket[] = "/cloudsql/";

	if (len >= strlen(socket) && strncmp(host, socket, strlen(socket)) == 0)
		return PROVIDER_CLOUDSQL;
	if (len && host[len - 1] == '.') /* the name's own end */
		len--;
	for (size_t i = 0; i < sizeof(hosts) / sizeof(*hosts); i++) {
		size_t n = strlen(hosts[i].end);

		if (len > n && strncasecmp(host + len - n, hosts[i].end, n) == 0)
			return hosts[i].provider;
	}
	return PROVIDER_NONE;
}

enum provider provider_of_host(const char *host)
{
	enum provider found = PROVIDER_NONE;

	while (host && *host && found == PROVIDER_NONE) {
		size_t n = strcspn(host, ",");

		found = of_one_host(host, n);
		host += host[n] ? n + 1 : n;
	}
	return found;
}

enum provider provider_of_role(const char *role)
{
	for (size_t i = 0; i < sizeof(roles) / sizeof(*roles); i++)
		if (strcmp(roles[i].name, role) == 0)
			return roles[i].provider;
	return PROVIDER_NONE;
}

void provider_roles(struct buf *out)
{
	for (size_t i = 0; i < sizeof(roles) / sizeof(*roles); i++)
		buf_addf(out, "%c%s", i ? ',' : '{', roles[i].name);
	buf_add_char(out, '}');
}

/* --- what to do there ---------------------------------------------------------------------------------------- */

const char *provider_name(enum provider p)
{
	return words[p].name;
}

const char *provider_settings(enum provider p)
{
	return words[p].settings;
}

const char *provider_door(enum provider p)
{
	return words[p].door;
}

const char *provider_replication(enum provider p, bool *is_sql)
{
	*is_sql = words[p].replication_is_sql;
	return words[p].replication;
}

static const char *own_text(enum provider p, const char *name, size_t len)
{
	for (size_t i = 0; i < sizeof(parameters) / sizeof(*parameters); i++)
		if (parameters[i].provider == p && strlen(parameters[i].name) == len &&
		    strncmp(parameters[i].name, name, len) == 0)
			return parameters[i].text;
	return NULL;
}

/* `at` is behind ALTER SYSTEM. */
static void add_parameter(struct buf *out, enum provider p, const char *at, bool restart)
{
	bool resets = strncasecmp(at, "RESET ", 6) == 0;
	const char *name = at + strcspn(at, " ") + 1;
	size_t n = strcspn(name, " ;"), rest = strcspn(name + n, ";");
	const char *own = own_text(p, name, n);

	if (own)
		buf_add_text(out, own);
	else
		buf_addf(out, "%s %.*s %s%s", resets ? "reset" : "set", (int)(n + rest), name, words[p].settings,
			 restart ? ", then restart the instance" : "");
}

bool provider_instead(enum provider p, const char *fix, bool restart, struct buf *out)
{
	static const char alter[] = "ALTER SYSTEM ";
	bool found = false;

	for (const char *at; (at = strstr(fix, alter)); found = true) {
		fix = at + strlen(alter);
		buf_add_text(out, found ? "; " : "");
		add_parameter(out, p, fix, restart);
	}
	return found;
}
