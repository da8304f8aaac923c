/* routed: the way from configuration text, catalog and a wal2json record to messages, for the tests of its parts. */
#ifndef TEST_ROUTED_H
#define TEST_ROUTED_H

#include "mapping.h"
#include "walpush/change/render.h"

struct routed {
	struct conf *conf;
	struct catalog *catalog;
	struct rules *rules;
	struct decoder *decoder;
	struct buf record;
	struct change change;
	struct row row;
	struct route_plan plan;
	struct route_result result;
};

static inline void routed_open(struct routed *m, const char *conf)
{
	struct mapping made;

	mapping_open(&made, conf);
	*m = (struct routed){
		.conf = made.conf, .catalog = made.catalog, .rules = made.rules, .decoder = decoder_new()
	};
}

static inline void routed_close(struct routed *m)
{
	struct mapping made = { m->conf, m->catalog, m->rules };

	route_result_fini(&m->result);
	row_fini(&m->row);
	buf_fini(&m->record);
	decoder_free(m->decoder);
	mapping_close(&made);
}

/* "id=1|status=\"x\"" as wal2json's array of columns. */
static inline void routed_add_columns(struct routed *m, const char *table, const char *values)
{
	const struct catalog_table *t = catalog_find(m->catalog, "public", table);

	for (const char *at = values; *at;) {
		size_t name = strcspn(at, "="), value = strcspn(at + name + 1, "|");
		char *text = mem_text_of((struct slice){ at, name });
		int column = catalog_column_index(t, text);

		buf_addf(&m->record, "%s{\"name\":\"%s\",\"typeoid\":%u,\"value\":%.*s}", at == values ? "" : ",", text,
			 column < 0 ? 25 : t->columns[column].declared, (int)value, at + name + 1);
		free(text);
		at += name + 1 + value;
		at += *at == '|';
	}
}

/* The record of that change, decoded and bound. NULL: that part is absent. False: row_bind says so. */
static inline bool routed_change(struct routed *m, char action, const char *table, const char *now, const char *old)
{
	struct fail why;

	buf_clear(&m->record);
	buf_addf(&m->record,
		 "{\"action\":\"%c\",\"xid\":7,\"timestamp\":\"2025-11-14 12:34:56.5+00\",\"lsn\":\"0/16B3748\","
		 "\"schema\":\"public\",\"table\":\"%s\"",
		 action, table);
	if (now) {
		buf_add_text(&m->record, ",\"columns\":[");
		routed_add_columns(m, table, now);
		buf_add_text(&m->record, "]");
	}
	if (old) {
		buf_add_text(&m->record, ",\"identity\":[");
		routed_add_columns(m, table, old);
		buf_add_text(&m->record, "]");
	}
	buf_add_text(&m->record, "}");
	if (!decode_record(m->decoder, buf_slice(&m->record), &m->change, &why))
		mapping_die(m->record.data, &why);
	return row_bind(&m->row, catalog_find(m->catalog, "public", table), &m->change);
}

#endif
