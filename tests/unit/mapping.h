/* mapping: configuration text and a catalog become rules, for the tests of what uses them. */
#ifndef TEST_MAPPING_H
#define TEST_MAPPING_H

#include <stdio.h>
#include <stdlib.h>

#include "walpush/base/mem.h"
#include "walpush/base/sqlrows.h"
#include "walpush/conf/conf.h"
#include "walpush/rules/rules.h"

#define MAPPING_BASE                                                                                                   \
	"database = { url = \"postgresql:///x\" slot = \"w\" }\n"                                                      \
	"jwt = { algorithm = \"HS256\" key = \"a-secret-of-a-length-that-suits\" }\n"                                  \
	"listen = { origins = [ \"*\" ] }\n"

#define MAPPING_STREAMS                                                                                                \
	"streams = {\n"                                                                                                \
	"  requests = { path = \"/ws/requests/<int:unit_id>/\"\n"                                                      \
	"    admit = \"SELECT 1 FROM users u WHERE u.id = {token.user_id} AND {path.unit_id} > 0\"\n"                  \
	"    groups = [ \"requests_unit_{path.unit_id}\" ] }\n"                                                        \
	"  notifications = { path = \"/ws/notifications/<int:user_id>/\"\n"                                            \
	"    admit = \"SELECT 1 FROM users WHERE id = {token.user_id}\"\n"                                             \
	"    groups = [ \"notifications_user_{path.user_id}\" ] }\n"                                                   \
	"}\n"

#define MAPPING_TABLES_ALONE                                                                                           \
	"tables = {\n"                                                                                                 \
	"  requests = { type = \"request\" key = \"request_id\"\n"                                                     \
	"    groups = [ \"requests_unit_{unit_id}\" ] fields = [ \"status\" ]\n"                                       \
	"    actions = {\n"                                                                                            \
	"      approved  = { column = \"status\" becomes = \"Approved\" actor = \"approved_by_id\" }\n"                \
	"      sent_back = { column = \"status\" becomes = \"Sent Back\" }\n"                                          \
	"      reopened  = { column = \"status\" was = \"Rejected\" }\n"                                               \
	"      allocated = { column = \"allocation_date\" changes = true actor = \"allocated_by_id\" } } }\n"          \
	"  crates = { type = \"crate\" key = \"crate_id\" groups = [ \"crates_unit_{unit_id}\" ]\n"                    \
	"    when = { column = \"status\" equals = \"Active\" } }\n"                                                   \
	"  sendbacks = { type = \"sendback\" key = \"sendback_id\"\n"                                                  \
	"    lookup = \"SELECT r.withdrawn_by_id AS user_id FROM requests r WHERE r.id = {request_id}\"\n"             \
	"    groups = [ \"notifications_user_{lookup.user_id}\" ] fields = [ \"request_id\", \"reason\" ]\n"           \
	"    actor = \"created_by_id\" actions = { sent_back = { on = \"insert\" } } }\n"                              \
	"}\n"

#define MAPPING_TABLES                                                                                                 \
	MAPPING_TABLES_ALONE                                                                                           \
	"actor = { query = \"SELECT username FROM users WHERE id = {id}\" }\n"                                         \
	"membership = { user_units = { user = \"user_id\" }  roles = { } }\n"

#define MAPPING_CONF MAPPING_BASE MAPPING_STREAMS MAPPING_TABLES

/* One column: table, name, type, element, primary key, foreign key. */
static const char *const mapping_columns[][6] = {
	{ "requests", "id", "23", "0", "t", "f" },
	{ "requests", "request_type", "1043", "0", "f", "f" },
	{ "requests", "unit_id", "23", "0", "f", "t" },
	{ "requests", "allocation_date", "1184", "0", "f", "f" },
	{ "requests", "approved_by_id", "23", "0", "f", "t" },
	{ "requests", "allocated_by_id", "23", "0", "f", "t" },
	{ "requests", "status", "1043", "0", "f", "f" },
	{ "requests", "purpose", "25", "0", "f", "f" },
	{ "requests", "updated_at", "1184", "0", "f", "f" },
	{ "crates", "id", "23", "0", "t", "f" },
	{ "crates", "unit_id", "23", "0", "f", "t" },
	{ "crates", "status", "1043", "0", "f", "f" },
	{ "sendbacks", "id", "23", "0", "t", "f" },
	{ "sendbacks", "request_id", "23", "0", "f", "t" },
	{ "sendbacks", "reason", "25", "0", "f", "f" },
	{ "sendbacks", "created_at", "1184", "0", "f", "f" },
	{ "sendbacks", "created_by_id", "23", "0", "f", "t" },
	{ "user_units", "id", "23", "0", "t", "f" },
	{ "user_units", "user_id", "23", "0", "f", "t" },
	{ "user_units", "unit_id", "23", "0", "f", "t" },
	{ "roles", "id", "23", "0", "t", "f" },
	{ "roles", "role_name", "1043", "0", "f", "f" },
	{ "links", "left_id", "23", "0", "t", "t" },
	{ "links", "right_id", "23", "0", "t", "t" },
	{ "links", "note", "25", "0", "f", "f" },
	{ "keyless", "code", "25", "0", "f", "f" },
	{ "keyless", "secret", "25", "0", "f", "f" },
	{ "people", "ssn", "25", "0", "t", "f" },
	{ "people", "name", "25", "0", "f", "f" },
	{ "people", "otp", "23", "0", "f", "f" },
	{ "people", "last_login", "1184", "0", "f", "f" },
	{ "people", "password_changed_at", "1184", "0", "f", "f" },
	{ "people", "has_token", "16", "0", "f", "f" },
	{ "people", "updated_at", "1184", "0", "f", "f" },
};

#define MAPPING_N_COLUMNS (sizeof(mapping_columns) / sizeof(mapping_columns[0]))

static inline void mapping_die(const char *what, const struct fail *why)
{
	fprintf(stderr, "%s: %s\n", what, why->text);
	abort();
}

static inline struct catalog *mapping_catalog(void)
{
	struct catalog *c = catalog_new();
	struct fail why;

	for (size_t i = 0; i < MAPPING_N_COLUMNS; i++) {
		const char *const *m = mapping_columns[i];
		const char *const row[CATALOG_QUERY_COLUMNS] = { "public", m[0], m[1], m[2], m[3], m[4], m[5] };

		if (!catalog_add(c, row, &why))
			mapping_die("catalog", &why);
	}
	return c;
}

struct mapping {
	struct conf *conf;
	struct catalog *catalog;
	struct rules *rules;
};

static inline void mapping_open(struct mapping *m, const char *conf)
{
	struct fail why;

	*m = (struct mapping){ .catalog = mapping_catalog() };
	m->conf = conf_parse("test.conf", slice_of(conf), &why);
	if (!m->conf)
		mapping_die("conf_parse", &why);
	m->rules = rules_new(m->conf, &why);
	if (!m->rules)
		mapping_die("rules_new", &why);
	if (!rules_bind(m->rules, m->catalog, &why))
		mapping_die("rules_bind", &why);
}

static inline void mapping_close(struct mapping *m)
{
	rules_free(m->rules);
	catalog_free(m->catalog);
	conf_free(m->conf);
}

/* The n-th section of that table. */
static inline const struct rules_section *mapping_section(const struct rules *r, const char *table, size_t n)
{
	const struct rules_table *t = rules_find(r, SLICE("public"), slice_of(table));

	return t && n < t->n_sections ? t->sections[n] : NULL;
}

/* What an actor query answers; NULL stands for no rows object. */
static inline struct sqlrows *mapping_actor(const char *name)
{
	struct sqlrows *rows = name ? sqlrows_new(1, 1) : NULL;

	if (rows) {
		sqlrows_name(rows, 0, "username");
		sqlrows_set(rows, 0, 0, name);
	}
	return rows;
}

/* One column of a lookup's rows: "user_id=7,9"; NULL stands for no rows object. */
static inline struct sqlrows *mapping_rows(const char *text)
{
	size_t n = 1, row = 0;
	struct sqlrows *rows;
	char *name, *values, *value;

	if (!text)
		return NULL;
	name = mem_text(text);
	values = strchr(name, '=');
	*values++ = '\0';
	for (const char *c = values; *c; c++)
		n += *c == ',';
	rows = sqlrows_new(*values ? n : 0, 1);
	sqlrows_name(rows, 0, name);
	while (*values && (value = strsep(&values, ","))) {
		sqlrows_set(rows, row++, 0, strcmp(value, "NULL") == 0 ? NULL : value);
		if (!values)
			break;
	}
	free(name);
	return rows;
}

#endif
