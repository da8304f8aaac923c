#include "walpush/change/txn.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "pgvalue.h"
#include "walpush/base/mem.h"
#include "walpush/change/render.h"

/* The cost of a counter besides its name: the struct, the hash table's share, malloc. */
#define COUNTER_COST 160

struct counter { /* messages of one section for one group */
	UT_hash_handle hh;
	const struct rules_section *section;
	uint64_t n;
	uint64_t left_out;   /* messages that the bulk message at the end replaces */
	unsigned close;      /* the last close code among those */
	uint64_t late;       /* messages that its bulk message replaces because the lookup was late */
	uint32_t late_index; /* the number of the first of them */
	unsigned closes;     /* the last close code among all its messages */
	size_t key_len;
	char key[]; /* the section's pointer, then the group's name and its zero */
};

struct member {
	UT_hash_handle hh;
	char user[];
};

struct item { /* offsets, because the buffers move while they grow */
	struct event_id id;
	const struct rules_section *section;
	size_t payload, payload_len;
	size_t about, about_len; /* before the payload, or before the payload of the first wording */
	size_t groups, n_groups;
	bool is_bulk;
	unsigned close;
	char header[FRAME_HEADER_MAX];
	uint8_t header_len;
};

struct sections { /* each once */
	const struct rules_section **at;
	size_t n, cap;
};

struct txn {
	struct txn_limits limits;
	lsn_t lsn;
	uint32_t index;
	bool open;
	struct buf commit_time;
	struct buf payloads;
	struct buf groups;
	struct item *items;
	size_t n_items, cap_items;
	struct txn_marked *marks;
	size_t n_marks, cap_marks;
	struct counter *counters;
	size_t counter_bytes;
	struct counter **lates; /* those with late messages, in the order of the first of them */
	size_t n_lates, cap_lates;
	struct txn_marked *late; /* marks of the transaction's end: the numbers of its rows must not depend on them */
	size_t n_late, cap_late;
	char **gone; /* the labels of txn_mark_gone */
	size_t n_gone;
	struct member *members;
	const char **users; /* of `members`, in the order in which they were added */
	size_t n_users, cap_users;
	bool everybody;
	struct {
		bool is, everything;
		struct sections sections;
		struct buf groups;
		size_t n_groups;
	} skipped;
	struct sections looked_up;  /* whose rows wanted a lookup */
	bool asks;                  /* a row wanted an answer */
	struct buf key;             /* scratch */
	struct buf fitting;         /* scratch: names of the groups that get the message, */
	struct buf fitting_rows;    /* and the lookup's rows that spelled them, if tracked */
	struct route_result result; /* scratch */
	struct groups receivers;    /* scratch: by a lookup that is late */
};

struct txn *txn_new(const struct txn_limits *limits)
{
	struct txn *t = mem_new(sizeof(*t));

	t->limits = *limits;
	return t;
}

static void drop_counters(struct txn *t)
{
	struct counter *c, *next;

	HASH_ITER(hh, t->counters, c, next) {
		HASH_DEL(t->counters, c);
		free(c);
	}
	t->counter_bytes = 0;
	t->n_lates = 0;
}

static void drop_members(struct txn *t)
{
	struct member *m, *next;

	HASH_ITER(hh, t->members, m, next) {
		HASH_DEL(t->members, m);
		free(m);
	}
	t->n_users = 0;
}

static void drop_gone(struct txn *t)
{
	while (t->n_gone)
		free(t->gone[--t->n_gone]);
}

/* A buffer that grew with one large transaction is not kept for the small ones after it. */
static void buf_reuse(struct buf *b)
{
	if (b->cap > 65536)
		buf_fini(b);
	else
		buf_clear(b);
}

void txn_free(struct txn *t)
{
	if (!t)
		return;
	drop_counters(t);
	drop_members(t);
	drop_gone(t);
	free(t->gone);
	free(t->users);
	buf_fini(&t->commit_time);
	buf_fini(&t->payloads);
	buf_fini(&t->groups);
	buf_fini(&t->key);
	buf_fini(&t->fitting);
	buf_fini(&t->fitting_rows);
	route_result_fini(&t->result);
	groups_fini(&t->receivers);
	free(t->items);
	free(t->marks);
	free(t->late);
	free(t->lates);
	free(t->skipped.sections.at);
	free(t->looked_up.at);
	buf_fini(&t->skipped.groups);
	free(t);
}

void txn_begin(struct txn *t, lsn_t lsn, struct slice commit_time)
{
	drop_counters(t);
	drop_members(t);
	drop_gone(t);
	t->everybody = false;
	buf_reuse(&t->payloads);
	buf_reuse(&t->groups);
	buf_clear(&t->commit_time);
	buf_add_slice(&t->commit_time, commit_time);
	t->lsn = lsn;
	t->index = 0;
	t->n_items = t->n_marks = t->n_late = 0;
	t->skipped.is = t->skipped.everything = t->asks = false;
	t->skipped.sections.n = t->looked_up.n = t->skipped.n_groups = 0;
	buf_reuse(&t->skipped.groups);
	if (t->cap_items > 4096) {
		free(t->items);
		t->items = NULL;
		t->cap_items = 0;
	}
	t->open = true;
}

bool txn_is_open(const struct txn *t)
{
	return t->open;
}

static void add_section(struct sections *s, const struct rules_section *section)
{
	for (size_t i = 0; i < s->n; i++)
		if (s->at[i] == section)
			return;
	if (s->n == s->cap) {
		s->cap = s->cap ? s->cap * 2 : 8;
		s->at = mem_resize(s->at, s->cap, sizeof(*s->at));
	}
	s->at[s->n++] = section;
}

/* --- members --------------------------------------------------------------------------------------------------- */

static void everybody(struct txn *t)
{
	drop_members(t);
	t->everybody = true;
}

void txn_add_member(struct txn *t, const char *user)
{
	struct member *m;
	size_t len;

	assert(t->open);
	if (t->everybody)
		return;
	if (!user) {
		everybody(t);
		return;
	}
	HASH_FIND_STR(t->members, user, m);
	if (m)
		return;
	if (t->n_users == TXN_MEMBERS) {
		everybody(t);
		return;
	}
	len = strlen(user);
	m = mem_new(sizeof(*m) + len + 1);
	memcpy(m->user, user, len);
	HASH_ADD_KEYPTR(hh, t->members, m->user, len, m);
	if (t->n_users == t->cap_users) {
		t->cap_users = t->cap_users ? t->cap_users * 2 : 8;
		t->users = mem_resize(t->users, t->cap_users, sizeof(*t->users));
	}
	t->users[t->n_users++] = m->user;
}

size_t txn_n_members(const struct txn *t)
{
	return t->everybody ? 1 : t->n_users;
}

const char *txn_member(const struct txn *t, size_t i)
{
	return t->everybody ? NULL : t->users[i];
}

/* --- marks ----------------------------------------------------------------------------------------------------- */

static struct event_id next_id(struct txn *t)
{
	return (struct event_id){ t->lsn, ++t->index };
}

static struct txn_marked *find_mark(struct txn_marked *marks, size_t n, const char *label)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(marks[i].label, label) == 0)
			return &marks[i];
	return NULL;
}

static void add_mark(struct txn_marked **marks, size_t *n, size_t *cap, struct txn_marked mark)
{
	if (*n == *cap) {
		*cap = *cap ? *cap * 2 : 8;
		*marks = mem_resize(*marks, *cap, sizeof(**marks));
	}
	(*marks)[(*n)++] = mark;
}

void txn_mark(struct txn *t, const struct rules_section *section, const char *reason)
{
	/* One refetch is enough: it reads the state after the whole transaction. So one number is: how often a TRUNCATE names a partitioned table depends on
	 * the plugin. */
	if (!find_mark(t->marks, t->n_marks, section->label))
		add_mark(&t->marks, &t->n_marks, &t->cap_marks,
			 (struct txn_marked){ next_id(t), section, section->label, reason, false });
}

void txn_mark_gone(struct txn *t, const struct rules_section *section, const char *schema)
{
	struct buf label = { 0 };

	rules_add_label(section, schema, &label);
	if (find_mark(t->marks, t->n_marks, label.data)) {
		buf_fini(&label);
		return;
	}
	t->gone = mem_resize(t->gone, t->n_gone + 1, sizeof(*t->gone));
	t->gone[t->n_gone] = buf_steal(&label);
	add_mark(&t->marks, &t->n_marks, &t->cap_marks,
		 (struct txn_marked){ next_id(t), section, t->gone[t->n_gone], "unknown", false });
	t->n_gone++;
}

static void mark_late(struct txn *t, const struct rules_section *section, const char *reason, bool lookup_only)
{
	struct txn_marked *late = find_mark(t->late, t->n_late, section->label);

	if (late)
		late->lookup_only = late->lookup_only && lookup_only;
	else
		add_mark(&t->late, &t->n_late, &t->cap_late,
			 (struct txn_marked){ { 0 }, section, section->label, reason, lookup_only });
}

/* --- which messages fit, and which are counted ----------------------------------------------------------------- */

static size_t txn_bytes(const struct txn *t)
{
	return t->payloads.len + t->groups.len + t->n_items * sizeof(struct item);
}

/* NULL: there is no room for another counter. */
static struct counter *counter_for(struct txn *t, const struct rules_section *section, const char *group)
{
	struct counter *c;
	size_t group_len = strlen(group) + 1;

	buf_clear(&t->key);
	buf_add(&t->key, &section, sizeof(section));
	buf_add(&t->key, group, group_len);
	HASH_FIND(hh, t->counters, t->key.data, t->key.len, c);
	if (c || t->counter_bytes > t->limits.bytes)
		return c;
	c = mem_new(sizeof(*c) + t->key.len);
	c->section = section;
	c->key_len = t->key.len;
	memcpy(c->key, t->key.data, t->key.len);
	HASH_ADD_KEYPTR(hh, t->counters, c->key, c->key_len, c);
	t->counter_bytes += t->key.len + COUNTER_COST;
	return c;
}

static const char *counter_group(const struct counter *c)
{
	return c->key + sizeof(c->section);
}

/* Fills `fitting` with the groups that get this message itself; for the other groups the message is counted. */
static size_t groups_that_fit(struct txn *t, const struct rules_section *section, const struct groups *groups,
			      unsigned close)
{
	bool full = txn_bytes(t) >= t->limits.bytes;
	const char *name = groups->names.data;
	size_t fit = 0;

	buf_clear(&t->fitting);
	buf_clear(&t->fitting_rows);
	for (size_t i = 0; i < groups->n; i++, name += strlen(name) + 1) {
		struct counter *c = counter_for(t, section, name);

		if (c)
			c->closes = close ? close : c->closes;
		if (!c) {
			mark_late(t, section, "bulk", false);
		} else if (full || c->n >= t->limits.bulk) {
			c->left_out++;
			c->close = close ? close : c->close;
		} else {
			c->n++;
			fit++;
			buf_add(&t->fitting, name, strlen(name) + 1);
			if (groups->tracks_rows)
				buf_add(&t->fitting_rows, groups->rows.data + i * sizeof(uint32_t), sizeof(uint32_t));
		}
	}
	return fit;
}

/* --- messages -------------------------------------------------------------------------------------------------- */

static struct item *item_new(struct txn *t, const struct rules_section *section, struct slice groups, size_t n_groups,
			     struct event_id id)
{
	struct item *item;

	if (t->n_items == t->cap_items) {
		t->cap_items = t->cap_items ? t->cap_items * 2 : 64;
		t->items = mem_resize(t->items, t->cap_items, sizeof(*t->items));
	}
	item = &t->items[t->n_items++];
	*item = (struct item){
		.id = id, .section = section, .payload = t->payloads.len, .groups = t->groups.len, .n_groups = n_groups
	};
	buf_add_slice(&t->groups, groups);
	return item;
}

static void item_rendered(struct txn *t, struct item *item)
{
	item->payload_len = t->payloads.len - item->payload;
	item->header_len = (uint8_t)render_frame_header(item->header, item->payload_len);
}

/* The key and its zero follow. Returns where the text begins. */
static size_t add_about(struct txn *t, const struct rules_section *section, const char *action)
{
	size_t start = t->payloads.len;

	buf_add(&t->payloads, section->conf->name, strlen(section->conf->name) + 1);
	buf_add(&t->payloads, action, strlen(action) + 1);
	return start;
}

static uint32_t fitting_row(const struct txn *t, size_t i)
{
	uint32_t row = 0;

	if (t->fitting_rows.len)
		memcpy(&row, t->fitting_rows.data + i * sizeof(row), sizeof(row));
	return row;
}

/* A move to other groups is no action, so only the section's close code applies. */
static unsigned close_code(const struct route_plan *plan, const struct route_message *message)
{
	bool acts = plan->action && message->action == plan->action->name_json;

	return (unsigned)(acts && plan->action->conf->close ? plan->action->conf->close : plan->section->conf->close);
}

/* One message for all groups. If it uses the lookup, one for each run of groups that the same row of the lookup
 * spelled. */
static void add_message(struct txn *t, const struct route_plan *plan, const struct route_message *message,
			struct render_input *in)
{
	unsigned close = close_code(plan, message);
	size_t fit = groups_that_fit(t, plan->section, &message->groups, close);
	const char *name = t->fitting.data;
	size_t about, about_len;

	if (fit == 0)
		return;
	in->commit_time = buf_slice(&t->commit_time);
	in->row_bytes = t->limits.row_bytes;
	about = add_about(t, plan->section, message->action);
	render_key(plan, message, &t->payloads);
	buf_add_char(&t->payloads, '\0');
	about_len = t->payloads.len - about;
	for (size_t i = 0, end; i < fit; i = end) {
		const char *first = name;
		struct item *item;

		in->lookup_row = fitting_row(t, i);
		for (end = i; end < fit && fitting_row(t, end) == in->lookup_row; end++)
			name += strlen(name) + 1;
		item = item_new(t, plan->section, (struct slice){ first, (size_t)(name - first) }, end - i, in->id);
		item->close = close;
		item->about = about;
		item->about_len = about_len;
		render_message(plan, message, in, &t->payloads);
		item_rendered(t, item);
	}
}

/* The message is not told; if it closes, a bulk message closes in its place. */
static void count_closing(struct txn *t, const struct route_plan *plan, const struct route_message *message)
{
	unsigned close = close_code(plan, message);
	const char *name = message->groups.names.data;

	for (size_t i = 0; close && i < message->groups.n; i++, name += strlen(name) + 1) {
		struct counter *c = counter_for(t, plan->section, name);

		if (!c) {
			mark_late(t, plan->section, "bulk", false);
			return;
		}
		c->left_out++;
		c->close = c->closes = close;
	}
}

/* The message has a place for an answer that is not there, so it cannot be made: a null would say that there is nothing. */
static bool is_wordless(const struct route_plan *plan, const struct txn_answers *answers)
{
	const struct rules_section *s = plan->section;

	return (s->message_uses_lookup && plan->wants_lookup && !answers->lookup) ||
	       (s->message_uses_actor && plan->wants_actor && !answers->actor);
}

static void note_late(struct txn *t, struct counter *c, struct event_id id)
{
	if (c->late++)
		return;
	c->late_index = id.index;
	if (t->n_lates == t->cap_lates) {
		t->cap_lates = t->cap_lates ? t->cap_lates * 2 : 8;
		t->lates = mem_resize(t->lates, t->cap_lates, sizeof(*t->lates));
	}
	t->lates[t->n_lates++] = c;
}

/* The groups that only the lookup names get a bulk message in place of the message `id`, one in a transaction. t->result is made of columns
 * alone. */
static void count_late(struct txn *t, const struct route_plan *plan, const struct sqlrows *lookup, struct event_id id)
{
	unsigned close = close_code(plan, &t->result.joined);
	const char *name;

	route_looked_up(plan, lookup, &t->result, &t->receivers);
	name = t->receivers.names.data;
	for (size_t i = 0; i < t->receivers.n; i++, name += strlen(name) + 1) {
		struct counter *c = counter_for(t, plan->section, name);

		if (!c || id.index >= TXN_LATE_INDEX) {
			mark_late(t, plan->section, "lookup", true);
			return;
		}
		note_late(t, c, id);
		c->close = close ? close : c->close;
		c->closes = close ? close : c->closes;
	}
}

static void note_questions(struct txn *t, const struct route_plan *plan)
{
	t->asks = t->asks || plan->wants_lookup || plan->wants_data || plan->wants_actor;
	if (plan->wants_lookup)
		add_section(&t->looked_up, plan->section);
}

/* After a crash the row is decoded again, and then a lookup may answer something else. So the numbers come only from
 * the row's columns. The message for the groups joined has a number even if no group gets it, and the one for the
 * groups left even if the lookup names them again. Those who lose the row read no answer: it may be of what the row is
 * now. */
const char *txn_row(struct txn *t, const struct route_plan *plan, const struct txn_answers *answers)
{
	struct render_input left = { 0 }, joined = { .lookup = answers->lookup };
	bool unanswered = plan->wants_lookup && !answers->lookup, wordless = is_wordless(plan, answers), unknown;

	assert(t->open);
	note_questions(t, plan);
	route_messages(plan, NULL, &t->result);
	unknown = t->result.unknown;
	if (unknown)
		txn_mark(t, plan->section, "unknown");
	if (t->result.left.groups.n)
		left.id = next_id(t);
	joined.id = next_id(t);
	joined.actor = answers->actor;
	joined.data = answers->data;
	if (unanswered || wordless)
		mark_late(t, plan->section, "lookup", !wordless);
	if (answers->data_left_out)
		mark_late(t, plan->section, "bulk", false);
	if (wordless) {
		count_closing(t, plan, &t->result.left);
		count_closing(t, plan, &t->result.joined);
		return NULL;
	}
	if (answers->lookup && answers->lookup_is_late)
		count_late(t, plan, answers->lookup, joined.id);
	else if (answers->lookup)
		route_messages(plan, answers->lookup, &t->result);
	else if (unanswered)
		route_without_lookup(plan, &t->result);
	if (t->result.unknown && !unknown)
		mark_late(t, plan->section, "unknown", true);
	if (t->result.left.groups.n)
		add_message(t, plan, &t->result.left, &left);
	if (answers->data_left_out)
		count_closing(t, plan, &t->result.joined);
	else
		add_message(t, plan, &t->result.joined, &joined);
	if (t->result.joined.groups.missing)
		return t->result.joined.groups.missing;
	return render_missing(plan->section, &joined);
}

/* --- the transaction's end ------------------------------------------------------------------------------------- */

/* The code with which connections of one of these groups must be closed; 0: of none. */
static unsigned close_of(struct counter *const *counters, size_t n)
{
	unsigned close = 0;

	for (size_t i = 0; i < n; i++)
		close = counters[i]->close ? counters[i]->close : close;
	return close;
}

/* Of one section, for the group of each. With one number they are one message to the relay, so what it keeps of them is the same. */
static void add_bulk(struct txn *t, struct counter *const *counters, size_t n, struct event_id id)
{
	const struct rules_section *section = counters[0]->section;
	unsigned close = close_of(counters, n);
	size_t about = add_about(t, section, "bulk"), about_len;

	buf_add_char(&t->payloads, '\0');
	about_len = t->payloads.len - about;
	for (size_t i = 0; i < n; i++) {
		const char *group = counter_group(counters[i]);
		struct item *item = item_new(t, section, (struct slice){ group, strlen(group) + 1 }, 1, id);

		item->is_bulk = true;
		item->close = close;
		item->about = about;
		item->about_len = about_len;
		render_bulk(section, counters[i]->late + counters[i]->left_out, id, &t->payloads);
		item_rendered(t, item);
	}
}

/* The hash table keeps the order of insertion, so the numbers are the same in every decoding. A group has one bulk message of a section: if
 * something was late, that of finish_late. */
static void finish_bulk(struct txn *t)
{
	struct counter *c, *next;

	HASH_ITER(hh, t->counters, c, next) {
		struct event_id id = c->left_out ? next_id(t) : (struct event_id){ 0 };

		if (c->left_out && !c->late)
			add_bulk(t, &c, 1, id);
	}
}

/* Groups with the same first row have the same number. */
static void finish_late(struct txn *t)
{
	for (size_t i = 0, end; i < t->n_lates; i = end) {
		uint32_t index = t->lates[i]->late_index;

		for (end = i; end < t->n_lates && t->lates[end]->late_index == index; end++)
			;
		add_bulk(t, t->lates + i, end - i, (struct event_id){ t->lsn, TXN_LATE_INDEX + index });
	}
}

static void finish_marks(struct txn *t)
{
	for (size_t i = 0; i < t->n_late; i++) {
		struct txn_marked late = t->late[i];

		late.id = next_id(t);
		if (!find_mark(t->marks, t->n_marks, late.label))
			add_mark(&t->marks, &t->n_marks, &t->cap_marks, late);
	}
}

void txn_skip(struct txn *t, const struct rules_section *section)
{
	assert(t->open);
	t->skipped.is = true;
	if (section)
		add_section(&t->skipped.sections, section);
	else
		t->skipped.everything = true;
}

static void skip_counted(struct txn *t, bool closing)
{
	struct counter *c, *next;

	HASH_ITER(hh, t->counters, c, next) {
		if ((c->closes != 0) != closing)
			continue;
		buf_addf(&t->skipped.groups, "%u", c->closes);
		buf_add_char(&t->skipped.groups, '\0');
		buf_add(&t->skipped.groups, counter_group(c), strlen(counter_group(c)) + 1);
		t->skipped.n_groups++;
	}
}

/* Every message has counted itself for each of its groups; if there was no room to count, its section is marked. If two
 * sections name a group, the group gets only the first message, so the closing ones come first. */
static void finish_skipped(struct txn *t)
{
	skip_counted(t, true);
	skip_counted(t, false);
	for (size_t i = 0; i < t->n_marks; i++)
		add_section(&t->skipped.sections, t->marks[i].section);
	for (size_t i = 0; i < t->n_late; i++)
		add_section(&t->skipped.sections, t->late[i].section);
	t->n_items = t->n_marks = 0;
}

/* The other decoding may have asked with other luck: groups that a lookup named then are not known. */
static void skip_asked(struct txn *t)
{
	t->skipped.is = true;
	for (size_t i = 0; i < t->looked_up.n; i++)
		add_section(&t->skipped.sections, t->looked_up.at[i]);
}

void txn_finish(struct txn *t, bool is_half_told)
{
	assert(t->open);
	if (is_half_told && t->asks)
		skip_asked(t);
	if (t->skipped.is) {
		finish_skipped(t);
	} else {
		finish_bulk(t);
		finish_marks(t);
		finish_late(t);
	}
	t->open = false;
}

bool txn_asks(const struct txn *t)
{
	return t->asks;
}

bool txn_skipped(const struct txn *t, struct txn_skipped *out)
{
	*out = (struct txn_skipped){
		.id = { t->lsn, TXN_SKIPPED_INDEX },
		.everything = t->skipped.everything,
		.sections = t->skipped.sections.at,
		.n_sections = t->skipped.sections.n,
		.groups = buf_slice(&t->skipped.groups),
		.n_groups = t->skipped.n_groups,
	};
	return t->skipped.is;
}

void txn_skipped_labels(const struct txn_skipped *skipped, struct buf *out)
{
	for (size_t i = 0; i < skipped->n_sections; i++) {
		const char *label = skipped->sections[i]->label;

		buf_add(out, label, strlen(label) + 1);
	}
}

lsn_t txn_lsn(const struct txn *t)
{
	return t->lsn;
}

size_t txn_n_messages(const struct txn *t)
{
	return t->n_items;
}

struct txn_message txn_message(const struct txn *t, size_t i)
{
	const struct item *item = &t->items[i];

	return (struct txn_message){
		.id = item->id,
		.header = { item->header, item->header_len },
		.payload = { t->payloads.data + item->payload, item->payload_len },
		.groups = t->groups.data + item->groups,
		.n_groups = item->n_groups,
		.section = item->section,
		.about = { t->payloads.data + item->about, item->about_len },
		.is_bulk = item->is_bulk,
		.close = item->close,
	};
}

int64_t txn_commit_us(const struct txn *t)
{
	int64_t us;

	return pgvalue_unix_us(buf_slice(&t->commit_time), &us) ? us : 0;
}

size_t txn_n_marks(const struct txn *t)
{
	return t->n_marks;
}

struct txn_marked txn_marked(const struct txn *t, size_t i)
{
	return t->marks[i];
}
