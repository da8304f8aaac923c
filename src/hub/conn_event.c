#include "conn_event.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "admission.h"
#include "deliver.h"
#include "goodbye.h"
#include "message.h"
#include "visitor.h"
#include "walpush/base/fail.h"
#include "walpush/share/renewal.h"

/* µs from a protocol error of the peer to the end of its TCP connection. Meanwhile the library writes its close frame and reads what the
 * peer still sends: unread bytes would make the kernel reset the connection, and the close frame would be lost. */
#define LINGER 100000

typedef int act_fn(struct conn *c, const struct conn_cause *why);

static int ignore(struct conn *c, const struct conn_cause *why)
{
	(void)c;
	(void)why;
	return 0;
}

static int begin(struct conn *c, const struct conn_cause *why)
{
	conn_born(c, why->all, why->wsi);
	c->peer = *visitor_address(visitor_of(why->wsi));
	c->stream = handshake_read(c->hub->shared, why->wsi, &c->request);
	return 0;
}

/* The upgrade is done. The token came with the request, or a message must bring it before the deadline. */
static int arrive(struct conn *c, const struct conn_cause *why)
{
	const struct conf_limits *limits = &c->hub->shared->conf->limits;

	(void)why;
	visitor_arrived(visitor_of(c->out.wsi));
	conn_to(c, CONN_WAIT_AUTH);
	metrics_add(c->hub->counts, METRICS_HANDSHAKES, 1);
	if (c->stream < 0)
		conn_close_saying(c, 4403, "no such stream");
	else if (!c->request.token)
		c->deadline = c->heard + limits->handshake * 1000;
	else
		admission_ask(c);
	return 0;
}

static int read_bytes(struct conn *c, const struct conn_cause *why)
{
	struct clientmsg message;
	struct conn_cause said = { .message = &message };

	if (!message_read(c, (const char *)why->bytes, why->len, &message))
		return 0;
	if (message.kind == CLIENTMSG_AUTH)
		conn_event(c, CONN_ON_AUTH, &said);
	else if (message.kind == CLIENTMSG_PING)
		conn_event(c, CONN_ON_PING, &said);
	clientmsg_fini(&message);
	return 0;
}

static int hear(struct conn *c, const struct conn_cause *why)
{
	(void)why;
	message_heard_pong(c);
	return 0;
}

static int write_what_waits(struct conn *c, const struct conn_cause *why)
{
	(void)why;
	writer_behind(&c->out, false);
	return deliver(c);
}

static int say_goodbye(struct conn *c, const struct conn_cause *why)
{
	(void)why;
	writer_behind(&c->out, false);
	writer_goodbye(&c->out);
	return 0;
}

static int start_to_close(struct conn *c, const struct conn_cause *why)
{
	conn_start_to_close(c, why->code, why->words);
	return 0;
}

/* Empty, or with a code of two bytes that is below 5000. */
static bool is_close_payload(const struct conn_cause *why)
{
	return why->len == 0 || (why->len > 1 && (why->bytes[0] << 8 | why->bytes[1]) < 5000);
}

/* The hub answers the close at once. The library would read on before it answers, and anything may follow a close frame. */
static int peer_closes(struct conn *c, const struct conn_cause *why)
{
	if (is_close_payload(why))
		conn_leave(c, why->bytes, why->len);
	else
		conn_start_to_close(c, 1002, NULL);
	return -1;
}

/* The peer's answer to our close frame ends the connection, and so does a close frame of the peer that crosses ours. */
static int peer_parts(struct conn *c, const struct conn_cause *why)
{
	(void)why;
	writer_behind(&c->out, false);
	writer_goodbye(&c->out);
	return -1;
}

/* The TCP connection has ended or is broken: nobody reads a close frame. */
static bool is_at_end(struct lws *wsi)
{
	char byte;
	ssize_t n = recv(lws_get_socket_fd(wsi), &byte, 1, MSG_PEEK | MSG_DONTWAIT);

	if (lws_is_ssl(wsi) && SSL_get_shutdown(lws_get_ssl(wsi)) & SSL_RECEIVED_SHUTDOWN)
		return true;
	return n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
}

/* The library sends no close frame for some errors of the peer, such as an impossible length. Before the upgrade no frame may be sent. */
static bool lacks_a_reason(const struct conn *c, struct lws *wsi)
{
	return c->state > CONN_NEW && c->state < CONN_CLOSING && !c->out.is_hung_up && lws_get_close_length(wsi) == 0 &&
	       !is_at_end(wsi);
}

/* The code of the close frame that the library is about to write. */
static void note_code(struct conn *c, struct lws *wsi)
{
	const unsigned char *payload;

	if (c->state <= CONN_NEW || c->state >= CONN_CLOSING || lws_get_close_length(wsi) < 2)
		return;
	payload = lws_get_close_payload(wsi);
	c->out.close_code = (uint16_t)(payload[0] << 8 | payload[1]);
	c->out.close_words = goodbye_words(c->out.close_code);
}

/* The library drops the connection. After an error of the peer the library writes a close frame when this callback returns, and waits for the
 * peer: the timer bounds this wait. If the library frees the connection at once, it clears the timer too. */
static int end(struct conn *c, const struct conn_cause *why)
{
	const char *words = goodbye_words(LWS_CLOSE_STATUS_PROTOCOL_ERR);

	if (why->wsi) {
		if (lacks_a_reason(c, why->wsi))
			lws_close_reason(why->wsi, LWS_CLOSE_STATUS_PROTOCOL_ERR, (unsigned char *)words,
					 strlen(words));
		note_code(c, why->wsi);
		lws_set_timer_usecs(why->wsi, LINGER);
	}
	conn_gone(c);
	return 0;
}

static int ask(struct conn *c, const struct conn_cause *why)
{
	admission_ask_with(c, why->message->token);
	return 0;
}

static int renew(struct conn *c, const struct conn_cause *why)
{
	admission_renew(c, why->message->token);
	return 0;
}

static int reply(struct conn *c, const struct conn_cause *why)
{
	message_answer(c, why->message);
	return 0;
}

static int admit(struct conn *c, const struct conn_cause *why)
{
	admission_admitted(c, why->mail);
	return 0;
}

static int move(struct conn *c, const struct conn_cause *why)
{
	admission_moved(c, why->mail);
	return 0;
}

static int take(struct conn *c, const struct conn_cause *why)
{
	admission_renewed(c, why->mail);
	return 0;
}

static int limit(struct conn *c, const struct conn_cause *why)
{
	const struct mail *mail = why->mail;
	bool is_void = renewal_is_void(RENEWAL_SAYS_ON, mail->number, c->asked, c->answered);

	if (mail->limit == LSN_MAX)
		deliver_note_committed(c->of, mail);
	conn_limit(c, renewal_limit(is_void, c->limit, mail->limit));
	c->changed_at = c->is_limited ? mail->limit : 0;
	if (mail->limit == LSN_MAX)
		conn_due(c, true);
	return 0;
}

/* The limit in force is not higher than this commit, and stays. Only the last message up to this commit is of interest. */
static int note_change(struct conn *c, const struct conn_cause *why)
{
	c->changed_at = why->mail->limit;
	return 0;
}

/* The connection receives what is still due to it. A connection without a limit has an open renewal: its token in force was valid until now. */
static int last_word(struct conn *c, const struct conn_cause *why)
{
	if (!c->is_limited && c->asked == c->answered)
		fail_never("conn: refused while it may receive");
	c->last_code = (uint16_t)why->code;
	c->last_words = why->words;
	conn_due(c, true);
	return 0;
}

/* Memberships may have changed before the new history, so nothing is delivered until the tap answers again. */
static int restart(struct conn *c, const struct conn_cause *why)
{
	for (size_t i = 0; i < c->n_subs; i++)
		cursor_restart(&c->subs[i].cursor);
	conn_rest(c, false);
	c->passes = false;
	conn_limit(c, why->mail->published);
	return 0;
}

static int follow(struct conn *c, const struct conn_cause *why)
{
	(void)why;
	return admission_follow(c) ? 0 : -1;
}

static int give_up(struct conn *c, const struct conn_cause *why)
{
	(void)why;
	conn_refuse(c, 4401, "late", "no token came in time");
	return 0;
}

static int expire(struct conn *c, const struct conn_cause *why)
{
	(void)why;
	conn_tell_audit(c, "expired", 4401, NULL);
	conn_start_to_close(c, 4401, "token expired");
	return 0;
}

static int probe(struct conn *c, const struct conn_cause *why)
{
	(void)why;
	c->pinged = true;
	deliver_reply(c, 9, SLICE("ping")); /* the library does not report an empty pong */
	return 0;
}

/* hang_up does CONN_HANG_UP, session_mail does CONN_GIVE_BACK, and CONN_NEVER has no act. */
static act_fn *const acts[CONN_ACTS] = {
	[CONN_IGNORE] = ignore,
	[CONN_BEGIN] = begin,
	[CONN_ARRIVE] = arrive,
	[CONN_READ] = read_bytes,
	[CONN_HEAR] = hear,
	[CONN_WRITE] = write_what_waits,
	[CONN_GOODBYE] = say_goodbye,
	[CONN_LEAVE] = peer_closes,
	[CONN_PART] = peer_parts,
	[CONN_END] = end,
	[CONN_ASK] = ask,
	[CONN_RENEW] = renew,
	[CONN_REPLY] = reply,
	[CONN_ADMIT] = admit,
	[CONN_MOVE] = move,
	[CONN_TAKE] = take,
	[CONN_LIMIT] = limit,
	[CONN_NOTE_CHANGE] = note_change,
	[CONN_LAST_WORD] = last_word,
	[CONN_RESTART] = restart,
	[CONN_FOLLOW] = follow,
	[CONN_CLOSE] = start_to_close,
	[CONN_GIVE_UP] = give_up,
	[CONN_EXPIRE] = expire,
	[CONN_PROBE] = probe,
};

/* In a callback of the library, the result -1 makes the library hang up. Elsewhere a timer hangs up, because nothing may be freed there. */
static int hang_up(struct conn *c, enum conn_event event)
{
	if (c && !c->out.close_words)
		c->out.close_words = conn_table_event(event); /* for the log */
	if (event > CONN_ON_DESTROY)
		writer_kill(&c->out);
	else if (c)
		c->out.is_hung_up = true;
	return -1;
}

int conn_event(struct conn *c, enum conn_event event, const struct conn_cause *why)
{
	enum conn_state state = c ? c->state : CONN_UNBORN;
	enum conn_act act = conn_table_act(state, event);
	int result;

	assert(!c || !c->hub || hub_is_here(c->hub));
	if (act == CONN_HANG_UP)
		return hang_up(c, event);
	if (!acts[act])
		fail_never("conn: %s while %s", conn_table_event(event), conn_table_state(state));
	result = acts[act](c, why);
	if (result < 0 && c && event <= CONN_ON_DESTROY)
		c->out.is_hung_up = true;
	return result;
}
