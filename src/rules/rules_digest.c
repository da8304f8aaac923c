/* Digests of the rules: for the epoch, for the replication stream, for each stream of the file. */
#include "parts.h"
#include "walpush/base/event_id.h"
#include "walpush/base/hash.h"

/* A digest covers texts with their ends, and numbers. Their order is the format. */
static void mix_byte(uint32_t *digest, unsigned char byte)
{
	*digest = hash_mix_32(*digest, &byte, 1);
}

static void mix_text(uint32_t *digest, const char *text)
{
	mix_byte(digest, text != NULL);
	for (; text && *text; text++)
		mix_byte(digest, (unsigned char)*text);
	mix_byte(digest, 0);
}

static void mix_number(uint32_t *digest, int64_t n)
{
	for (unsigned shift = 0; shift < 64; shift += 8)
		mix_byte(digest, (unsigned char)((uint64_t)n >> shift));
}

static void mix_texts(uint32_t *digest, const struct texts *texts)
{
	mix_number(digest, (int64_t)texts->n);
	for (size_t i = 0; i < texts->n; i++)
		mix_text(digest, texts->at[i].text);
}

static void mix_condition(uint32_t *digest, const struct conf_condition *c)
{
	mix_text(digest, c->column);
	mix_text(digest, c->becomes);
	mix_text(digest, c->was);
	mix_text(digest, c->equals);
	mix_number(digest, c->changes);
}

static void mix_section(uint32_t *digest, const struct conf_table *t)
{
	const char *const texts[] = { t->from.text,   t->type.text,       t->key.text,  t->message.text,
				      t->lookup.text, t->data_query.text, t->actor.text };

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		mix_text(digest, texts[i]);
	mix_texts(digest, &t->groups);
	mix_texts(digest, &t->fields);
	mix_texts(digest, &t->columns);
	mix_texts(digest, &t->exclude);
	mix_texts(digest, &t->quiet);
	mix_number(digest, (int64_t)t->n_when);
	for (size_t i = 0; i < t->n_when; i++)
		mix_condition(digest, &t->when[i]);
	mix_number(digest, (int64_t)t->n_actions);
	for (size_t i = 0; i < t->n_actions; i++) {
		mix_text(digest, t->actions[i].name);
		mix_number(digest, t->actions[i].on);
		mix_condition(digest, &t->actions[i].condition);
		mix_text(digest, t->actions[i].actor);
	}
	mix_number(digest, t->only_actions);
}

/* The look of a message counts too: messages above transaction-bytes are folded into one, which changes the
 * numbering. */
uint32_t rules_digest_of(const struct rules *r, uint32_t numbering, uint32_t entries)
{
	uint32_t digest = HASH_START_32;

	mix_number(&digest, numbering);
	mix_number(&digest, entries);
	for (size_t i = 0; i < r->conf->n_tables; i++)
		mix_section(&digest, &r->conf->tables[i]);
	mix_text(&digest, r->conf->actor_query.text);
	mix_number(&digest, r->conf->limits.bulk);
	mix_number(&digest, r->conf->limits.transaction_bytes);
	mix_number(&digest, r->conf->limits.row_bytes);
	mix_text(&digest, r->conf->database.timezone);
	mix_number(&digest, r->conf->data.relations);
	return digest;
}

uint32_t rules_digest(const struct rules *r)
{
	return rules_digest_of(r, EVENT_NUMBERING, EVENT_ENTRY_FORMAT);
}

static void mix_close(uint32_t *digest, const struct conf_table *t)
{
	mix_text(digest, t->name);
	mix_number(digest, t->close);
	for (size_t i = 0; i < t->n_actions; i++)
		mix_number(digest, t->actions[i].close);
}

static void mix_read(uint32_t *digest, const struct rules_table *t)
{
	if (!t->read.is_read)
		return;
	mix_text(digest, t->schema);
	mix_text(digest, t->name);
	mix_number(digest, t->read.whole);
	for (size_t i = 0; i < t->read.n_columns; i++)
		mix_text(digest, t->read.columns[i]);
}

uint32_t rules_digest_feed(const struct rules *r)
{
	uint32_t digest = rules_digest(r);

	for (size_t i = 0; i < r->conf->n_tables; i++)
		mix_close(&digest, &r->conf->tables[i]);
	for (size_t i = 0; i < r->conf->n_memberships; i++) {
		const struct conf_membership *m = &r->conf->memberships[i];

		mix_text(&digest, m->table);
		mix_text(&digest, m->user);
		mix_texts(&digest, &m->columns);
		mix_number(&digest, m->ignore);
	}
	for (size_t i = 0; i < r->n_tables; i++)
		mix_read(&digest, &r->tables[i]);
	for (size_t i = 0; i < r->conf->n_streams; i++)
		mix_text(&digest, r->streams[i].strangers);
	return digest;
}

/* 64 bits, because two streams must not be taken for the same by chance. */
static void mix_wide(uint64_t *digest, const char *text)
{
	*digest = hash_text_64(*digest, text ? text : "");
}

uint64_t rules_digest_stream(const struct conf_stream *conf)
{
	uint64_t digest = HASH_START_64;

	mix_wide(&digest, conf->name);
	mix_wide(&digest, conf->path.text);
	mix_wide(&digest, conf->admit.text);
	mix_wide(&digest, conf->hello.text);
	mix_wide(&digest, conf->resync.text);
	for (size_t i = 0; i < conf->groups.n; i++)
		mix_wide(&digest, conf->groups.at[i].text);
	return digest;
}
