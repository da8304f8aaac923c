/* as_pgoutput: what wal2json prints, as the messages that pgoutput sends of it, for scripts that are played with both. */
#ifndef TEST_AS_PGOUTPUT_H
#define TEST_AS_PGOUTPUT_H

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "pgmessage.h"
#include "walpush/base/event_id.h"

#define AS_PGOUTPUT_TIME UINT64_C(816438896500000) /* 2025-11-14 12:34:56.5+00 */

typedef void as_pgoutput_send(const char *bytes, size_t len);

static inline uint32_t as_pgoutput_oid(const char *table)
{
	uint32_t oid = 16384;

	while (*table)
		oid = oid * 31 + (unsigned char)*table++;
	return oid;
}

static inline const char *as_pgoutput_text(const json_t *record, const char *key)
{
	const char *text = json_string_value(json_object_get(record, key));

	return text ? text : "";
}

static inline void as_pgoutput_put_lsn(const json_t *record, const char *key)
{
	lsn_t lsn = 0;

	lsn_parse(slice_of(as_pgoutput_text(record, key)), &lsn);
	put(lsn, 8);
}

/* "id" is the key of every table. A DELETE prints no other column, so `ref` stands for them. */
static inline json_t *as_pgoutput_columns(const json_t *record)
{
	json_t *columns = json_incref(json_object_get(record, "columns"));

	return columns ? columns
		       : json_pack("[{s:s,s:i},{s:s,s:i}]", "name", "id", "typeoid", 23, "name", "ref", "typeoid", 23);
}

static inline void as_pgoutput_relation(const json_t *record, const json_t *columns, as_pgoutput_send *send)
{
	const char *table = as_pgoutput_text(record, "table");
	json_t *column;
	size_t i;

	start('R');
	put(as_pgoutput_oid(table), 4);
	put_string(as_pgoutput_text(record, "schema"));
	put_string(table);
	put('d', 1);
	put(json_array_size(columns), 2);
	json_array_foreach(columns, i, column)
	{
		const char *name = as_pgoutput_text(column, "name");

		put(strcmp(name, "id") == 0, 1);
		put_string(name);
		put((uint64_t)json_integer_value(json_object_get(column, "typeoid")), 4);
		put(UINT32_MAX, 4);
	}
	send(message.data, message.len);
}

static inline const json_t *as_pgoutput_value(const json_t *values, const char *name)
{
	json_t *column;
	size_t i;

	json_array_foreach(values, i, column) if (strcmp(as_pgoutput_text(column, "name"), name) ==
						  0) return json_object_get(column, "value");
	return NULL;
}

static inline void as_pgoutput_part(char part, const json_t *columns, const json_t *values)
{
	json_t *column;
	size_t i;

	put((unsigned char)part, 1);
	put(json_array_size(columns), 2);
	json_array_foreach(columns, i, column)
	{
		const json_t *value = as_pgoutput_value(values, as_pgoutput_text(column, "name"));
		char number[24];

		snprintf(number, sizeof(number), "%lld", (long long)json_integer_value(value));
		put_value(json_is_integer(value) ? number : json_string_value(value));
	}
}

static inline void as_pgoutput_row(const json_t *record, char action, as_pgoutput_send *send)
{
	json_t *columns = as_pgoutput_columns(record), *identity = json_object_get(record, "identity");

	as_pgoutput_relation(record, columns, send);
	start(action);
	if (action == 'T') {
		put(1, 4);
		put(0, 1);
	}
	put(as_pgoutput_oid(as_pgoutput_text(record, "table")), 4);
	if (action != 'T' && identity)
		as_pgoutput_part('K', columns, identity);
	if (action == 'I' || action == 'U')
		as_pgoutput_part('N', columns, json_object_get(record, "columns"));
	send(message.data, message.len);
	json_decref(columns);
}

/* One message. The server described the first `known` of the tables. */
static inline void as_pgoutput_truncate(const char *const *tables, size_t n, size_t known, as_pgoutput_send *send)
{
	for (size_t i = 0; i < known; i++) {
		json_t *record = json_pack("{s:s,s:s}", "schema", "public", "table", tables[i]);
		json_t *columns = as_pgoutput_columns(record);

		as_pgoutput_relation(record, columns, send);
		json_decref(columns);
		json_decref(record);
	}
	start('T');
	put(n, 4);
	put(0, 1);
	for (size_t i = 0; i < n; i++)
		put(as_pgoutput_oid(tables[i]), 4);
	send(message.data, message.len);
}

static inline void as_pgoutput_frame(const json_t *record, char action, as_pgoutput_send *send)
{
	start(action);
	if (action == 'C')
		put(0, 1);
	as_pgoutput_put_lsn(record, "lsn");
	if (action == 'C')
		as_pgoutput_put_lsn(record, "nextlsn");
	put(AS_PGOUTPUT_TIME, 8);
	if (action == 'B')
		put((uint64_t)json_integer_value(json_object_get(record, "xid")), 4);
	send(message.data, message.len);
}

static inline void as_pgoutput_message(const json_t *record, as_pgoutput_send *send)
{
	start('M');
	put(1, 1);
	put(1, 8);
	put_string(as_pgoutput_text(record, "prefix"));
	put(0, 4);
	send(message.data, message.len);
}

/* What is no JSON becomes a message of the same kind that ends too early. */
static inline void as_pgoutput_broken(const char *text, size_t len, as_pgoutput_send *send)
{
	json_t *record = json_pack("{s:s,s:s}", "schema", "public", "table", "plain"),
	       *columns = as_pgoutput_columns(record);

	as_pgoutput_relation(record, columns, send);
	json_decref(columns);
	json_decref(record);
	if (len < 12) {
		send("", 0);
		return;
	}
	start(text[11]);
	put(as_pgoutput_oid("plain"), 4);
	send(message.data, message.len);
}

static inline void as_pgoutput(const char *text, size_t len, as_pgoutput_send *send)
{
	json_t *record = json_loadb(text, len, 0, NULL);
	char action = *as_pgoutput_text(record, "action");

	if (!record)
		as_pgoutput_broken(text, len, send);
	else if (action == 'B' || action == 'C')
		as_pgoutput_frame(record, action, send);
	else if (action == 'M')
		as_pgoutput_message(record, send);
	else if (strchr("IUDT", action))
		as_pgoutput_row(record, action, send);
	else
		send("?", 1);
	json_decref(record);
}

#endif
