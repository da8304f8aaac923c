#include "walpush/explain/explain_question.h"

#include <stdlib.h>

#include "walpush/base/mem.h"
#include "walpush/base/utf8.h"
#include "walpush/text/path.h"

#define CLAIMS_TEXT 4096

void explain_question_fini(struct explain_question *q)
{
	free(q->user);
	free(q->path);
	free(q->table);
	free(q->key);
	free(q->find);
	json_decref(q->claims);
	*q = (struct explain_question){ 0 };
}

/* --- reading -------------------------------------------------------------------------------------------------------- */

/* NULL: it is absent, empty, too long, malformed, or not UTF-8, which no document could repeat. */
static char *take(struct slice query, const char *name)
{
	char text[QUESTION_TEXT];

	if (!path_query_value(query, name, text, sizeof(text)) || !*text || !utf8_is_valid(slice_of(text)))
		return NULL;
	return mem_text(text);
}

static bool is_object_of_texts(const json_t *claims)
{
	const char *name;
	json_t *value;

	json_object_foreach((json_t *)claims, name, value) if (!json_is_string(value)) return false;
	return json_is_object(claims);
}

static bool take_claims(struct slice query, json_t **out, struct fail *why)
{
	char text[CLAIMS_TEXT];

	if (!path_query_value(query, "claims", text, sizeof(text)))
		return true;
	*out = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	return is_object_of_texts(*out) || fail_set(why, "claims should be a JSON object of texts");
}

static bool take_event(const char *text, struct event_id *out, struct fail *why)
{
	return event_id_parse(slice_of(text), out) ||
	       fail_set(why, "an event's id is the `id` of a message, such as 0/16B3748-2");
}

/* `event` is the text of an event's id. */
static bool settle(struct explain_question *q, const char *event, struct fail *why)
{
	if ((q->user != NULL) != (q->path != NULL) || (q->table != NULL) != (q->key != NULL) ||
	    (q->user != NULL) + (q->table != NULL) + (event != NULL) + (q->find != NULL) != 1)
		return fail_set(why, "ask by user and path, by table and key, by event, or by find, in UTF-8 and not "
				     "longer than 1023 bytes each");
	q->kind = q->user ? EXPLAIN_USER : q->table ? EXPLAIN_ROW : event ? EXPLAIN_EVENT : EXPLAIN_FIND;
	return !event || take_event(event, &q->event, why);
}

bool explain_question_read(struct slice query, struct explain_question *out, struct fail *why)
{
	char *event = take(query, "event");
	bool ok;

	*out = (struct explain_question){ 0 };
	out->user = take(query, "user");
	out->path = take(query, "path");
	out->table = take(query, "table");
	out->key = take(query, "key");
	out->find = take(query, "find");
	ok = settle(out, event, why) && take_claims(query, &out->claims, why);
	free(event);
	if (!ok)
		explain_question_fini(out);
	return ok;
}

/* --- writing -------------------------------------------------------------------------------------------------------- */

static void add(struct buf *out, const char *name, const char *value)
{
	if (!value)
		return;
	buf_addf(out, "%s%s=", out->len ? "&" : "", name);
	for (; *value; value++) {
		unsigned char c = (unsigned char)*value;

		if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr("-._~/", c))
			buf_add_char(out, (char)c);
		else
			buf_addf(out, "%%%02X", c);
	}
}

void explain_question_write(const struct explain_question *q, struct buf *out)
{
	char event[EVENT_ID_TEXT_MAX];
	char *claims = q->claims ? json_dumps(q->claims, JSON_COMPACT) : NULL;

	event_id_format(event, q->event);
	add(out, "user", q->user);
	add(out, "path", q->path);
	add(out, "claims", claims);
	add(out, "table", q->table);
	add(out, "key", q->key);
	add(out, "find", q->find);
	add(out, "event", q->kind == EXPLAIN_EVENT ? event : NULL);
	free(claims);
}
