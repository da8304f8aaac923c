/*
 * pattern: messages that can be checked without knowing what was written, for the tests of the topic logs.
 *
 * The header says which message this is; the payload's bytes follow from it. So a reader notices a byte that is damaged, a frame that is
 * cut, one that stands in another group's log, and one that is missing.
 */
#ifndef TEST_PATTERN_H
#define TEST_PATTERN_H

#include "walpush/share/topic.h"

struct pattern {
	struct event_id id;
	uint32_t group;
	uint32_t number; /* of the message within its group */
	uint32_t left;   /* how many of its transaction are still to come in this group */
	uint32_t len;    /* of the payload */
};

#define PATTERN_PAYLOAD_MAX 400000

static inline char pattern_byte(const struct pattern *p, size_t i)
{
	return (char)(p->id.lsn * 31 + p->id.index * 7 + p->group * 13 + p->number * 3 + i);
}

static inline void pattern_append(struct topiclog *log, struct topic *t, struct pattern p, int64_t now)
{
	static char payload[PATTERN_PAYLOAD_MAX];

	for (size_t i = 0; i < p.len; i++)
		payload[i] = pattern_byte(&p, i);
	topic_append(log, t, p.id, (struct slice){ (const char *)&p, sizeof(p) }, (struct slice){ payload, p.len },
		     now);
}

/* What the tag of a message is, of those that have one. */
static inline struct entry_tag pattern_tag(const struct pattern *p)
{
	return (struct entry_tag){ ENTRY_REFETCH, (uint8_t)p->number, (uint16_t)(p->id.lsn + p->number) };
}

static inline void pattern_append_tagged(struct topiclog *log, struct topic *t, struct pattern p, int64_t now)
{
	static char payload[PATTERN_PAYLOAD_MAX];

	for (size_t i = 0; i < p.len; i++)
		payload[i] = pattern_byte(&p, i);
	topic_append_tagged(log, t, p.id, pattern_tag(&p), (struct slice){ (const char *)&p, sizeof(p) },
			    (struct slice){ payload, p.len }, now);
}

/* The frame at *at, which is moved behind it. False: it is cut or damaged. */
static inline bool pattern_take(const char **at, const char *end, struct pattern *out)
{
	if ((size_t)(end - *at) < sizeof(*out))
		return false;
	memcpy(out, *at, sizeof(*out));
	*at += sizeof(*out);
	if ((size_t)(end - *at) < out->len)
		return false;
	for (size_t i = 0; i < out->len; i++)
		if ((*at)[i] != pattern_byte(out, i))
			return false;
	*at += out->len;
	return true;
}

#endif
