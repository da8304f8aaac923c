/* tap_known: what this process knows by itself of users, groups and messages, for /explain. Names, numbers and keys; never a row. */
#include <string.h>

#include "parts.h"
#include "walpush/base/timetext.h"

/* Of a list in a document. */
#define SHOWN_MOST 50
/* Events that a search shows. */
#define EVENTS_MOST 20

json_t *tap_known_time(int64_t us)
{
	char text[TIMETEXT_MAX];

	return us ? json_string(timetext_ms(text, us)) : json_null();
}

/* --- connections ---------------------------------------------------------------------------------------------------- */

struct connections {
	const struct group_names *names;
	json_t *shown;
	json_int_t open;
};

static void add_topic(json_t *list, const struct group_names *names, const struct topic *topic)
{
	struct buf shown = { 0 };

	group_name_show(names, topic_name(topic), &shown);
	json_array_append_new(list, json_stringn(buf_slice(&shown).at, shown.len));
	buf_fini(&shown);
}

static json_t *values_of(const struct ticket *t)
{
	json_t *values = json_object();

	for (size_t i = 0; i < t->n_values; i++)
		if (t->values[i].scope == TMPL_PATH && t->values[i].text)
			json_object_set_new(values, t->values[i].name, json_string(t->values[i].text));
	return values;
}

static void add_connection(void *ctx, const struct admit_seen *c)
{
	struct connections *all = ctx;
	json_t *groups;
	char peer[ADDRESS_TEXT_MAX];

	all->open++;
	if (json_array_size(all->shown) == SHOWN_MOST)
		return;
	groups = json_array();
	for (size_t i = 0; i < c->n_topics && i < SHOWN_MOST; i++)
		add_topic(groups, all->names, c->topics[i]);
	json_array_append_new(all->shown,
			      json_pack("{s:s?, s:o, s:s, s:s, s:o}", "stream", c->stream, "values",
					values_of(c->ticket), "peer", address_format(&c->ticket->peer, peer), "state",
					c->state, "groups", groups));
}

json_t *tap_known_connections(const struct tap *t, const struct group_names *names, const char *user)
{
	struct connections all = { names, json_array(), 0 };

	admit_each(t->admissions, user, add_connection, &all);
	return json_pack("{s:I, s:o}", "open", all.open, "shown", all.shown);
}

/* --- receivers ------------------------------------------------------------------------------------------------------ */

struct receivers {
	struct topic *topics[SHOWN_MOST];
	size_t n;
	json_int_t connections, users;
	const char *last; /* the user who was counted last */
	json_t *shown;
};

static bool listens(const struct admit_seen *c, const struct receivers *r)
{
	for (size_t i = 0; i < c->n_topics; i++)
		for (size_t k = 0; k < r->n; k++)
			if (c->topics[i] == r->topics[k])
				return true;
	return false;
}

static void add_receiver(void *ctx, const struct admit_seen *c)
{
	struct receivers *r = ctx;

	if (!listens(c, r))
		return;
	r->connections++;
	if (c->user == r->last)
		return;
	r->last = c->user;
	if (++r->users <= SHOWN_MOST)
		json_array_append_new(r->shown, json_string(c->ticket->user));
}

json_t *tap_known_receivers(const struct tap *t, const struct group_names *names, const struct groups *groups)
{
	struct receivers r = { .shown = json_array() };
	const char *name = groups->names.data;
	json_t *listed = json_array();

	for (size_t i = 0; i < groups->n && r.n < SHOWN_MOST; i++, name += strlen(name) + 1) {
		struct topic *topic = topiclog_find(t->now.log, slice_of(name));
		json_t *one = explain_names(names, name, 1, 1);

		if (topic)
			r.topics[r.n++] = topic;
		json_array_append_new(listed, json_pack("{s:O, s:i}", "group", json_array_get(one, 0), "connections",
							topic ? (int)topic_listeners(topic) : 0));
		json_decref(one);
	}
	if (r.n)
		admit_each(t->admissions, NULL, add_receiver, &r);
	return json_pack("{s:I, s:I, s:o, s:o}", "connections", r.connections, "users", r.users, "shown", r.shown,
			 "groups", listed);
}

/* --- messages ------------------------------------------------------------------------------------------------------- */

json_t *tap_known_event(const struct group_names *names, const struct ledger_event *e)
{
	char id[EVENT_ID_TEXT_MAX];

	event_id_format(id, e->id);
	return json_pack(
		"{s:s, s:s?, s:s?, s:s?, s:o, s:I, s:o, s:I}", "id", id, "table", e->has_texts ? e->table : NULL,
		"action", e->has_texts ? e->action : NULL, "key", e->has_texts ? e->key : NULL, "groups",
		explain_names(names, e->groups, e->has_texts ? e->n_kept : 0, SHOWN_MOST), "group_count",
		(json_int_t)e->n_groups, "published", tap_known_time(e->at), "receivers", (json_int_t)e->receivers);
}

static json_t *events_of(const struct group_names *names, const struct ledger *ledger, const char *key)
{
	json_t *events = json_array();
	struct ledger_event e;

	for (size_t i = 0; ledger && ledger_at(ledger, i, &e) && json_array_size(events) < EVENTS_MOST; i++)
		if (e.has_texts && explain_key_is(e.key, key))
			json_array_append_new(events, tap_known_event(names, &e));
	return events;
}

struct search {
	const struct tap *tap;
	const struct group_names *names;
	json_t *groups;
};

static void add_group(void *ctx, struct slice group)
{
	const struct search *s = ctx;
	struct topic *topic = topiclog_find(s->tap->now.log, group);
	struct buf shown = { 0 };

	if (!topic)
		return;
	group_name_show(s->names, group, &shown);
	json_array_append_new(s->groups, json_pack("{s:s%, s:i}", "group", buf_slice(&shown).at, shown.len,
						   "connections", (int)topic_listeners(topic)));
	buf_fini(&shown);
}

json_t *tap_known_find(const struct tap *t, const struct group_names *names, const struct ledger *ledger,
		       const char *text)
{
	struct search s = { t, names, json_array() };

	group_name_find(names, slice_of(text), EVENTS_MOST, add_group, &s);
	return json_pack("{s:s, s:s, s:o, s:o, s:o}", "asked", "find", "text", text, "connections",
			 tap_known_connections(t, names, text), "groups", s.groups, "events",
			 events_of(names, ledger, text));
}
