/* Which connections receive which topic: joins, leaves and marks in any order, and what the tap is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#include "channel.h"

#define TOPICS 5
#define SUBS 12
#define STEPS 20000

static struct topiclog *topics;
static struct topic *topic[TOPICS];
static struct mailbox to_tap;
static struct channels all;
static struct conn *const nobody = NULL;

static void wake(void *ctx)
{
	(void)ctx;
}

static int open_channels(void **state)
{
	(void)state;
	topics = topiclog_new(&(struct topic_limits){ 1 << 20, 1 << 24, 1000000 });
	for (size_t i = 0; i < TOPICS; i++) {
		topic[i] = topiclog_topic(topics, (struct slice){ &"abcde"[i], 1 });
		topic_subscribe(topics, topic[i], 1); /* it stays, whatever this hub does */
	}
	mailbox_init(&to_tap, wake, NULL);
	all = (struct channels){ .hub = 3, .to_tap = &to_tap };
	return 0;
}

static int close_channels(void **state)
{
	(void)state;
	assert_null(all.all);
	assert_null(all.dirty);
	mailbox_fini(&to_tap);
	topiclog_free(topics);
	return 0;
}

/* As the tap gives it. */
static struct seat seat_in(size_t t)
{
	struct seat seat = { .topic = topic[t] };

	topic_subscribe(topics, topic[t], 3);
	topic_place_at_head(topics, topic[t], &seat.cursor);
	return seat;
}

static void join(struct sub *s, size_t t)
{
	struct seat seat = seat_in(t);

	channel_join(&all, s, nobody, &seat);
}

/* What the tap does with its mails, which are all of this kind. Returns how many. */
static size_t take_lefts(void)
{
	struct mail *mails = NULL;
	size_t cap = 0, n = mailbox_take(&to_tap, &mails, &cap);

	for (size_t i = 0; i < n; i++) {
		assert_int_equal(mails[i].kind, MAIL_LEFT);
		assert_int_equal(mails[i].hub, 3);
		topic_unsubscribe(topics, mails[i].topic, mails[i].hub);
	}
	free(mails);
	return n;
}

static size_t count(const struct channel *ch)
{
	const struct sub *s;
	size_t n = 0;

	for (s = ch->subs; s; s = s->next)
		n++;
	return n;
}

static void a_channel_lives_while_somebody_receives_it(void **state)
{
	struct sub a, b;

	(void)state;
	join(&a, 0);
	join(&b, 0);
	assert_ptr_equal(a.channel, b.channel);
	assert_int_equal(count(a.channel), 2);
	assert_int_equal(HASH_COUNT(all.all), 1);
	channel_leave(&a);
	assert_int_equal(take_lefts(), 1);
	assert_true(topic_heard_by(topic[0], 3));
	channel_leave(&b);
	assert_int_equal(take_lefts(), 1);
	assert_false(topic_heard_by(topic[0], 3));
	assert_int_equal(HASH_COUNT(all.all), 0);
}

static void what_nobody_took_is_given_back(void **state)
{
	struct seat seat = seat_in(1);

	(void)state;
	channel_give_back(&all, &seat);
	assert_int_equal(take_lefts(), 1);
	assert_false(topic_heard_by(topic[1], 3));
}

static void news_reach_a_channel_once(void **state)
{
	struct sub subs[3];

	(void)state;
	for (size_t i = 0; i < 3; i++)
		join(&subs[i], i);
	channel_mark(&all, topic[0]);
	channel_mark(&all, topic[2]);
	channel_mark(&all, topic[0]);
	channel_mark(&all, topic[4]); /* nobody receives it */
	assert_ptr_equal(channel_take_dirty(&all), subs[2].channel);
	/* What comes while it is served counts again. */
	channel_mark(&all, topic[2]);
	assert_ptr_equal(channel_take_dirty(&all), subs[2].channel);
	assert_ptr_equal(channel_take_dirty(&all), subs[0].channel);
	assert_null(channel_take_dirty(&all));
	for (size_t i = 0; i < 3; i++)
		channel_leave(&subs[i]);
	take_lefts();
}

static void a_marked_channel_may_end(void **state)
{
	struct sub subs[3];

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		join(&subs[i], i);
		channel_mark(&all, topic[i]);
	}
	channel_leave(&subs[1]);
	assert_ptr_equal(channel_take_dirty(&all), subs[2].channel);
	assert_ptr_equal(channel_take_dirty(&all), subs[0].channel);
	assert_null(channel_take_dirty(&all));
	channel_leave(&subs[0]);
	channel_leave(&subs[2]);
	take_lefts();
}

static struct sub subs[SUBS];
static int in[SUBS]; /* the topic of each; -1: none */
static bool marked[TOPICS];

static size_t in_topic(int t)
{
	size_t n = 0;

	for (size_t i = 0; i < SUBS; i++)
		n += in[i] == t;
	return n;
}

static void check_channels(void)
{
	size_t n_channels = 0, n_dirty = 0, dirty = 0;

	for (int t = 0; t < TOPICS; t++) {
		n_channels += in_topic(t) > 0;
		dirty += marked[t];
		assert_int_equal(topic_listeners(topic[t]), 1 + in_topic(t));
	}
	assert_int_equal(HASH_COUNT(all.all), n_channels);
	for (const struct channel *ch = all.dirty; ch; ch = ch->next_dirty, n_dirty++)
		assert_true(ch->dirty);
	assert_int_equal(n_dirty, dirty);
	for (size_t i = 0; i < SUBS; i++)
		if (in[i] >= 0) {
			assert_ptr_equal(subs[i].channel->topic, topic[in[i]]);
			assert_int_equal(count(subs[i].channel), in_topic(in[i]));
			assert_int_equal(subs[i].channel->dirty, marked[in[i]]);
		}
}

static void leave(size_t i)
{
	channel_leave(&subs[i]);
	assert_int_equal(take_lefts(), 1);
	if (in_topic(in[i]) == 1)
		marked[in[i]] = false;
	in[i] = -1;
}

/* As the model has it after each step, whatever the order. */
static void any_order_of_joins_leaves_and_marks(void **state)
{
	uint64_t random = 1;

	(void)state;
	for (size_t i = 0; i < SUBS; i++)
		in[i] = -1;
	for (unsigned n = 0; n < STEPS; n++) {
		size_t i = (random = random * UINT64_C(6364136223846793005) + 1442695040888963407u) >> 40;
		int t = (int)(i / SUBS % TOPICS);

		i %= SUBS;
		if (random >> 33 & 1) {
			channel_mark(&all, topic[t]);
			marked[t] = in_topic(t) > 0;
		} else if (in[i] >= 0) {
			leave(i);
		} else {
			join(&subs[i], (size_t)t);
			in[i] = t;
		}
		if ((random >> 34 & 7) == 0) {
			struct channel *ch = channel_take_dirty(&all);

			for (t = 0; ch && t < TOPICS; t++)
				marked[t] = marked[t] && ch->topic != topic[t];
		}
		check_channels();
	}
	for (size_t i = 0; i < SUBS; i++)
		if (in[i] >= 0)
			leave(i);
}

#define ON_CHANNELS(test) cmocka_unit_test_setup_teardown(test, open_channels, close_channels)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ON_CHANNELS(a_channel_lives_while_somebody_receives_it),
		ON_CHANNELS(what_nobody_took_is_given_back),
		ON_CHANNELS(news_reach_a_channel_once),
		ON_CHANNELS(a_marked_channel_may_end),
		ON_CHANNELS(any_order_of_joins_leaves_and_marks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
