/*
 * conn_event: what happens to a connection, from the library, the client, the tap and the clock. Hub thread.
 *
 * Each event is looked up in conn_table with the connection's state, and the act found there is done. No function here asks for the
 * state by itself.
 *
 * After a protocol error libwebsockets drops the connection at once (conn_gone), sends its close frame, and goes on parsing what
 * it had read: it may report bytes, pongs and a close of the peer for a connection that has left the hub. Such a connection is
 * CONN_GONE until the library frees its memory, and a timer ends it once the close frame had its time to go out.
 */
#include <errno.h>
#include <sys/socket.h>

#include "parts.h"
#include "walpush/base/clock.h"
#include "walpush/base/fail.h"
#include "walpush/base/log.h"
#include "walpush/share/renewal.h"

/* µs between a ping and giving up on its answer. */
#define PONG_WAIT 10000000
/* µs from a protocol error of the peer to the end of its TCP connection: the library writes its close frame meanwhile, and what the
 * peer still sends is read, because unread bytes would make the kernel reset the connection and take the close frame with it. */
#define LINGER 100000

/* --- acts ---------------------------------------------------------------------------------------------------------- */

typedef int act_fn(struct conn *c, const struct conn_cause *why);

static int ignore(struct conn *c, const struct conn_cause *why)
{
	(void)c;
	(void)why;
	return 0;
}

static int begin(struct conn *c, const struct conn_cause *why)
{
	conn_born(c, why->wsi);
	return 0;
}

static int arrive(struct conn *c, const struct conn_cause *why)
{
	(void)why;
	conn_arrive(c);
	return 0;
}

static int read_bytes(struct conn *c, const struct conn_cause *why)
{
	conn_take_bytes(c, (const char *)why->bytes, why->len);
	return 0;
}

static int hear(struct conn *c, const struct conn_cause *why)
{
	(void)why;
	conn_take_pong(c);
	return 0;
}

static int write_what_waits(struct conn *c, const struct conn_cause *why)
{
	(void)why;
	conn_behind(c, false);
	return deliver(c);
}

static int say_goodbye(struct conn *c, const struct conn_cause *why)
{
	(void)why;
	conn_behind(c, false);
	conn_say_goodbye(c);
	return 0;
}

static int start_to_close(struct conn *c, const struct conn_cause *why)
{
	metrics_count_number(c->hub->counts, METRICS_CLOSES, why->code);
	log_debug("closing", CONN_WHO(c), log_n("code", why->code));
	conn_retire(c);
	c->close_code = (uint16_t)why->code;
	c->deadline = depart_deadline(c->hub, clock_us() + CLOSE_WAIT);
	conn_to(c, CONN_CLOSING);
	conn_say_goodbye(c);
	return 0;
}

/* A code has two bytes, and is below 5000. */
static bool is_close_payload(const struct conn_cause *why)
{
	return why->len == 0 || (why->len > 1 && (why->bytes[0] << 8 | why->bytes[1]) < 5000);
}

/* Answered at once and not by the library, which would read on first: what follows a close frame may be anything. */
static int peer_closes(struct conn *c, const struct conn_cause *why)
{
	if (is_close_payload(why))
		conn_leave(c, why->bytes, why->len);
	else
		start_to_close(c, &(struct conn_cause){ .code = 1002 });
	return -1;
}

/* Its answer to our close frame ends the connection, and so does a close frame of its own that crosses with ours. */
static int peer_parts(struct conn *c, const struct conn_cause *why)
{
	(void)why;
	conn_behind(c, false);
	conn_say_goodbye(c);
	return -1;
}

/* The stream has ended or is broken: nobody reads a close frame. */
static bool is_at_end(struct lws *wsi)
{
	char byte;
	ssize_t n = recv(lws_get_socket_fd(wsi), &byte, 1, MSG_PEEK | MSG_DONTWAIT);

	if (lws_is_ssl(wsi) && SSL_get_shutdown(lws_get_ssl(wsi)) & SSL_RECEIVED_SHUTDOWN)
		return true;
	return n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
}

/* Of some errors of the peer the library says nothing: a length that no frame may have. Before the upgrade no frame may be sent. */
static bool lacks_a_reason(const struct conn *c, struct lws *wsi)
{
	return c->state > CONN_NEW && c->state < CONN_CLOSING && !c->is_hung_up && lws_get_close_length(wsi) == 0 &&
	       !is_at_end(wsi);
}

/* The library drops it. Where that follows an error of the peer, the library writes a close frame behind this callback, and then waits
 * for the peer: not for long. Where it frees the connection at once, it clears the timer too. */
static int end(struct conn *c, const struct conn_cause *why)
{
	if (why->wsi) {
		if (lacks_a_reason(c, why->wsi))
			lws_close_reason(why->wsi, LWS_CLOSE_STATUS_PROTOCOL_ERR, NULL, 0);
		lws_set_timer_usecs(why->wsi, LINGER);
	}
	conn_gone(c);
	return 0;
}

static int ask(struct conn *c, const struct conn_cause *why)
{
	conn_take_token(c, why->message->token);
	return 0;
}

static int renew(struct conn *c, const struct conn_cause *why)
{
	conn_renew(c, why->message->token);
	return 0;
}

static int reply(struct conn *c, const struct conn_cause *why)
{
	conn_take_ping(c, why->message);
	return 0;
}

static int admit(struct conn *c, const struct conn_cause *why)
{
	conn_admitted(c, why->mail);
	return 0;
}

static int move(struct conn *c, const struct conn_cause *why)
{
	conn_moved(c, why->mail);
	return 0;
}

static int take(struct conn *c, const struct conn_cause *why)
{
	conn_renewed(c, why->mail);
	return 0;
}

static int limit(struct conn *c, const struct conn_cause *why)
{
	const struct mail *mail = why->mail;
	bool is_void = renewal_is_void(RENEWAL_SAYS_ON, mail->number, c->asked, c->answered);

	if (mail->limit == LSN_MAX)
		hub_note_committed(c->hub, mail);
	conn_limit(c, renewal_limit(is_void, c->limit, mail->limit));
	c->frozen_at = c->is_held ? mail->limit : 0;
	if (mail->limit == LSN_MAX)
		deliver_later(c);
	return 0;
}

/* It is delivered no further than before. */
static int freeze(struct conn *c, const struct conn_cause *why)
{
	c->frozen_at = why->mail->limit;
	return 0;
}

/* It gets what it may still have. Who asked by another token hears all by the one in force until this answer. */
static int last_word(struct conn *c, const struct conn_cause *why)
{
	if (!c->is_held && c->asked == c->answered)
		fail_never("conn: refused while it may receive");
	c->last_code = (uint16_t)why->code;
	deliver_later(c);
	return 0;
}

/* Memberships may have changed while the logs were emptied, so who may go on, the tap will say. */
static int restart(struct conn *c, const struct conn_cause *why)
{
	for (size_t i = 0; i < c->n_subs; i++)
		cursor_restart(&c->subs[i].cursor);
	conn_limit(c, why->mail->published);
	return 0;
}

static int follow(struct conn *c, const struct conn_cause *why)
{
	(void)why;
	return conn_follow(c) ? 0 : -1;
}

static int give_up(struct conn *c, const struct conn_cause *why)
{
	(void)why;
	conn_refuse(c, 4401, "late");
	return 0;
}

static int expire(struct conn *c, const struct conn_cause *why)
{
	(void)why;
	conn_tell_audit(c, "expired", 4401, NULL);
	return start_to_close(c, &(struct conn_cause){ .code = 4401 });
}

static int probe(struct conn *c, const struct conn_cause *why)
{
	(void)why;
	c->pinged = true;
	conn_reply(c, 9, SLICE("ping")); /* the library tells of no empty pong */
	return 0;
}

/* CONN_HANG_UP depends on who asks, CONN_GIVE_BACK is the hub's (conn_mail), and CONN_NEVER is nobody's. */
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
	[CONN_FREEZE] = freeze,
	[CONN_LAST_WORD] = last_word,
	[CONN_RESTART] = restart,
	[CONN_FOLLOW] = follow,
	[CONN_CLOSE] = start_to_close,
	[CONN_GIVE_UP] = give_up,
	[CONN_EXPIRE] = expire,
	[CONN_PROBE] = probe,
};

/* The library hangs up when its callback says so. Elsewhere the loop does it, because nothing may be freed there. */
static int hang_up(struct conn *c, enum conn_event event)
{
	if (event > CONN_ON_DESTROY)
		conn_kill(c);
	else if (c)
		c->is_hung_up = true;
	return -1;
}

int conn_event(struct conn *c, enum conn_event event, const struct conn_cause *why)
{
	enum conn_state state = c ? c->state : CONN_UNBORN;
	enum conn_act act = conn_table_act(state, event);

	int result;

	if (act == CONN_HANG_UP)
		return hang_up(c, event);
	if (!acts[act])
		fail_never("conn: %s while %s", conn_table_event(event), conn_table_state(state));
	result = acts[act](c, why);
	if (result < 0 && c && event <= CONN_ON_DESTROY)
		c->is_hung_up = true;
	return result;
}

/* --- the library's callbacks -------------------------------------------------------------------------------------- */

static int refuse_upgrade(struct hub *h, struct lws *wsi, unsigned status, const char *why)
{
	visitor_of(wsi)->refused = true;
	log_debug("upgrade refused", log_n("hub", h->index), log_peer(&visitor_of(wsi)->address),
		  log_n("status", status), log_s("reason", why));
	metrics_count(h->counts, METRICS_REFUSALS, why);
	audit_ended(h->shared->audit, "refused", &(struct audit_client){ .peer = &visitor_of(wsi)->address }, status,
		    why);
	if (status)
		handshake_refuse(wsi, status);
	return -1;
}

static int confirm_upgrade(struct lws *wsi)
{
	struct hub *h = lws_context_user(lws_get_context(wsi));
	unsigned status = 0;
	const char *why = handshake_check(h->shared, wsi, &status);

	return why ? refuse_upgrade(h, wsi, status, why) : 0;
}

static int plain_http(struct lws *wsi)
{
	struct hub *h = lws_context_user(lws_get_context(wsi));

	if (handshake_path_exists(h->shared, wsi))
		return refuse_upgrade(h, wsi, 426, "upgrade");
	return refuse_upgrade(h, wsi, 404, "path");
}

int conn_callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len)
{
	struct conn_cause why = { .wsi = wsi, .bytes = in, .len = len }, none = { 0 };
	struct conn *c = user;

	switch (reason) {
	case LWS_CALLBACK_RAW_ADOPT: /* after CONNECT, which the library takes for the begin of another protocol */
	case LWS_CALLBACK_RAW_RX:
		return -1;
	case LWS_CALLBACK_HTTP_CONFIRM_UPGRADE:
		return confirm_upgrade(wsi);
	case LWS_CALLBACK_HTTP:
		return plain_http(wsi);
	case LWS_CALLBACK_FILTER_PROTOCOL_CONNECTION:
		return conn_event(c, CONN_ON_UPGRADE, &why);
	case LWS_CALLBACK_ESTABLISHED:
		return conn_event(c, CONN_ON_ESTABLISHED, &why);
	case LWS_CALLBACK_RECEIVE:
		return conn_event(c, CONN_ON_BYTES, &why);
	case LWS_CALLBACK_RECEIVE_PONG:
		return conn_event(c, CONN_ON_PONG, &why);
	case LWS_CALLBACK_SERVER_WRITEABLE:
		return conn_event(c, CONN_ON_WRITABLE, &why);
	case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE:
		return conn_event(c, CONN_ON_PEER_CLOSE, &why);
	case LWS_CALLBACK_TIMER:
		return conn_event(c, CONN_ON_TIMER, &why);
	case LWS_CALLBACK_WS_SERVER_DROP_PROTOCOL:
		return conn_event(c, CONN_ON_DROP, &why);
	case LWS_CALLBACK_CLOSED:
	case LWS_CALLBACK_HTTP_DROP_PROTOCOL:
		return conn_event(c, CONN_ON_DROP, &none);
	case LWS_CALLBACK_WSI_DESTROY: /* always the last, and the only one after a handshake that broke off */
		conn_event(c, CONN_ON_DESTROY, &none);
		visitor_gone(wsi);
		return 0;
	default:
		return 0;
	}
}

/* --- the tap's mails ---------------------------------------------------------------------------------------------- */

/* A user with too many connections has them with every token; and a limit is put all the same. */
static bool is_void(const struct conn *c, enum conn_event event, const struct mail *mail)
{
	if (event == CONN_ON_RENEWED || (event == CONN_ON_REFUSED && mail->code != 4429))
		return renewal_is_void(RENEWAL_SAYS_WHICH, mail->number, c->asked, c->answered);
	if (event == CONN_ON_MOVED || (event == CONN_ON_LIMIT && mail->limit == LSN_MAX))
		return renewal_is_void(RENEWAL_SAYS_ON, mail->number, c->asked, c->answered);
	return false;
}

void conn_mail(struct hub *h, enum conn_event event, const struct mail *mail)
{
	struct conn *c = conn_find(h, mail->connection);
	enum conn_act act = conn_table_act(c ? c->state : CONN_GONE, event);

	if (act == CONN_GIVE_BACK || (c && is_void(c, event, mail)))
		hub_give_back(h, mail);
	else if (c)
		conn_event(c, event, &(struct conn_cause){ .mail = mail, .code = mail->code });
}

/* --- once a second ------------------------------------------------------------------------------------------------ */

/* Spread over a tenth before it, so that those who came together do not go together. */
static bool is_too_old(const struct conn *c, int64_t now)
{
	int64_t most = c->hub->shared->conf->listen.max_age * 1000;

	return most && now - c->born > most - most / 10 * (int64_t)(c->id * UINT64_C(0x9E3779B97F4A7C15) >> 54) / 1024;
}

static bool is_stalled(const struct conn *c, int64_t now)
{
	return c->is_behind && now - c->behind_since > c->hub->shared->conf->limits.stall * 1000;
}

/* The first that holds is what happens; CONN_EVENTS: nothing. */
static enum conn_event due(const struct conn *c, int64_t now, int64_t wall_s)
{
	int64_t quiet = now - c->heard, ping = c->hub->shared->conf->listen.ping * 1000;

	if (c->deadline && now > c->deadline)
		return CONN_ON_LATE;
	if (is_too_old(c, now))
		return CONN_ON_AGE;
	if (is_stalled(c, now))
		return CONN_ON_STALL;
	if (c->expires && wall_s >= c->expires)
		return CONN_ON_EXPIRY;
	if (c->pinged && quiet > ping + PONG_WAIT)
		return CONN_ON_SILENCE;
	return !c->pinged && quiet > ping ? CONN_ON_QUIET : CONN_EVENTS;
}

void conn_sweep(struct conn *c, int64_t now, int64_t wall_s)
{
	enum conn_event event = due(c, now, wall_s);

	c->said = 0;
	if (event == CONN_ON_STALL && c->state < CONN_CLOSING)
		flood_info("a reader is stalled", CONN_WHO(c), log_n("code", 4408));
	if (event != CONN_EVENTS)
		conn_event(c, event, &(struct conn_cause){ .code = event == CONN_ON_STALL ? 4408 : 1012 });
}
