#include "walpush/change/plugin.h"

#define ACTION "{\"action\":\""

void plugin_decoder_init(struct plugin_decoder *d)
{
	*d = (struct plugin_decoder){ decoder_new(), pgoutput_new() };
}

void plugin_decoder_fini(struct plugin_decoder *d)
{
	decoder_free(d->wal2json);
	pgoutput_free(d->pgoutput);
}

bool plugin_decoder_zone(struct plugin_decoder *d, const char *zone)
{
	return pgoutput_zone(d->pgoutput, zone);
}

bool plugin_is_pgoutput(struct slice record)
{
	return record.len && *record.at != '{';
}

/* wal2json prints the action first. */
char plugin_kind(struct slice record)
{
	size_t n = strlen(ACTION);

	if (plugin_is_pgoutput(record))
		return *record.at;
	if (record.len <= n || memcmp(record.at, ACTION, n) != 0)
		return 0;
	return record.at[n];
}

bool plugin_decode(struct plugin_decoder *d, const struct relation *r, struct slice record, struct change *out,
		   struct fail *why)
{
	if (plugin_is_pgoutput(record))
		return pgoutput_decode(d->pgoutput, r, record, out, why);
	return decode_record(d->wal2json, record, out, why);
}

size_t plugin_copy(struct slice record)
{
	return plugin_is_pgoutput(record) ? pgoutput_copy(record) : 0;
}

void plugin_decoder_rest(struct plugin_decoder *d)
{
	pgoutput_rest(d->pgoutput);
}

bool plugin_table(const struct relation *r, struct slice record, struct slice *schema, struct slice *table)
{
	if (!r)
		return decode_table(record, schema, table);
	relation_table(r, schema, table);
	return true;
}

bool plugin_is_ddl(struct slice record)
{
	return plugin_is_pgoutput(record) ? pgoutput_is_ddl(record) : decode_is_ddl(record);
}
