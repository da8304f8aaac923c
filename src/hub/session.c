#include "session.h"

#include <stdlib.h>
#include <utlist.h>

#include "conn_event.h"
#include "visitor.h"
#include "walpush/base/fail.h"
#include "walpush/base/flood.h"
#include "walpush/base/log.h"
#include "walpush/share/renewal.h"

/* µs that the answer to a ping may take. */
#define PONG_WAIT 10000000

static struct conns *conns_of(struct lws *wsi)
{
	return lws_context_user(lws_get_context(wsi));
}

/* --- the library's callbacks -------------------------------------------------------------------------------------- */

static int refuse_or_go_on(struct lws *wsi, const struct response *refusal)
{
	if (refusal)
		handshake_refuse(wsi, refusal);
	return refusal ? -1 : 0;
}

int session_callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len)
{
	struct conn_cause why = { .wsi = wsi, .bytes = in, .len = len }, none = { 0 };
	struct conn *c = user;

	switch (reason) {
	case LWS_CALLBACK_RAW_ADOPT: /* after CONNECT: the library expects another protocol then */
	case LWS_CALLBACK_RAW_RX:
		return -1;
	case LWS_CALLBACK_HTTP_CONFIRM_UPGRADE:
		return refuse_or_go_on(wsi, handshake_check(conns_of(wsi)->hub->shared, wsi));
	case LWS_CALLBACK_HTTP:
		return refuse_or_go_on(wsi, handshake_check_plain(conns_of(wsi)->hub->shared, wsi));
	case LWS_CALLBACK_FILTER_PROTOCOL_CONNECTION:
		why.all = conns_of(wsi);
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
	case LWS_CALLBACK_WSI_DESTROY: /* always the last callback, and the only one after a handshake that broke off */
		conn_event(c, CONN_ON_DESTROY, &none);
		visitor_gone(wsi);
		return 0;
	default:
		return 0;
	}
}

/* --- the tap's mails ---------------------------------------------------------------------------------------------- */

/* A refusal because of too many connections (4429) counts for every token, and a limit is always set. */
static bool is_void(const struct conn *c, enum conn_event event, const struct mail *mail)
{
	if (event == CONN_ON_RENEWED || (event == CONN_ON_REFUSED && mail->code != 4429))
		return renewal_is_void(RENEWAL_SAYS_WHICH, mail->number, c->asked, c->answered);
	if (event == CONN_ON_MOVED || (event == CONN_ON_LIMIT && mail->limit == LSN_MAX))
		return renewal_is_void(RENEWAL_SAYS_ON, mail->number, c->asked, c->answered);
	return false;
}

static void give_back(struct conns *all, const struct mail *mail)
{
	const struct mail_given *given = &mail->given;

	if (mail->kind != MAIL_ADMITTED && mail->kind != MAIL_MOVED && mail->kind != MAIL_RENEWED)
		return;
	for (size_t i = 0; i < given->n_seats; i++)
		channel_give_back(&all->channels, &given->seats[i]);
	ticket_unref(given->ticket);
	free(given->seats);
}

static enum conn_event event_of(const struct mail *mail)
{
	switch (mail->kind) {
	case MAIL_ADMITTED:
		return CONN_ON_ADMITTED;
	case MAIL_MOVED:
		return CONN_ON_MOVED;
	case MAIL_RENEWED:
		return CONN_ON_RENEWED;
	case MAIL_LIMIT:
		return CONN_ON_LIMIT;
	case MAIL_CHANGED:
		return CONN_ON_CHANGED;
	case MAIL_REFUSED:
		return CONN_ON_REFUSED;
	default:
		fail_never("session: a mail of kind %d names no connection", (int)mail->kind);
	}
}

void session_mail(struct conns *all, const struct mail *mail)
{
	struct conn *c = conn_find(all, mail->connection);
	enum conn_event event = event_of(mail);
	enum conn_act act = conn_table_act(c ? c->state : CONN_GONE, event);

	if (act == CONN_GIVE_BACK || (c && is_void(c, event, mail)))
		give_back(all, mail);
	else if (c)
		conn_event(c, event,
			   &(struct conn_cause){ .mail = mail,
						 .code = event == CONN_ON_REFUSED ? mail->code : 0,
						 .words = event == CONN_ON_REFUSED ? mail->words : NULL });
}

void session_emptied(struct conns *all, const struct mail *mail)
{
	struct conn *c;

	DL_FOREACH(all->all, c)
		conn_event(c, CONN_ON_EMPTIED, &(struct conn_cause){ .mail = mail });
}

/* A connection whose stream changed must connect again. */
bool session_edition(struct conns *all)
{
	bool some = false;
	struct conn *c;

	DL_FOREACH(all->all, c)
		if (!c->departs && conn_event(c, CONN_ON_EDITION, &(struct conn_cause){ 0 }) < 0)
			c->departs = some = true;
	return some;
}

/* --- once a second ------------------------------------------------------------------------------------------------ */

/* Each connection has its own moment in the last tenth of the age, so that connections that came together do not go together. */
static bool is_too_old(const struct conn *c, int64_t now)
{
	int64_t most = c->hub->shared->conf->listen.max_age * 1000;

	return most && now - c->born > most - most / 10 * (int64_t)(c->id * UINT64_C(0x9E3779B97F4A7C15) >> 54) / 1024;
}

static bool is_stalled(const struct conn *c, int64_t now)
{
	return c->out.is_behind && now - c->out.behind_since > c->hub->shared->conf->limits.stall * 1000;
}

/* The first event that is due; CONN_EVENTS: none. */
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

static void sweep(struct conn *c, int64_t now, int64_t wall_s)
{
	enum conn_event event = due(c, now, wall_s);
	struct conn_cause cause = { .code = event == CONN_ON_STALL ? 4408 : 1012 };

	if (event == CONN_ON_AGE)
		cause.words = "listen.max-age is reached";
	c->said = 0;
	if (event == CONN_ON_STALL && c->state < CONN_CLOSING)
		flood_info("a reader is stalled", CONN_WHO(c), log_n("code", 4408));
	if (event != CONN_EVENTS)
		conn_event(c, event, &cause);
}

void session_sweep(struct conns *all, int64_t now, int64_t wall_s)
{
	struct conn *c, *next;

	DL_FOREACH_SAFE(all->all, c, next)
		sweep(c, now, wall_s);
}
