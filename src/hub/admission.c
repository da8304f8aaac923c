#include "admission.h"

#include <stdlib.h>
#include <string.h>

#include "deliver.h"
#include "notice.h"
#include "walpush/base/clock.h"
#include "walpush/base/flood.h"
#include "walpush/base/log.h"
#include "walpush/base/mem.h"
#include "walpush/base/resync.h"
#include "walpush/share/renewal.h"

bool admission_follow(struct conn *c)
{
	const struct edition *next = c->hub->edition;
	int stream;

	/* Until the token is verified, the values of the path have names of the old edition. */
	if (c->edition == next || c->request.path || c->stream < 0)
		return true;
	stream = rules_stream_index(next->rules, rules_stream(c->edition->rules, (size_t)c->stream)->identity);
	if (stream < 0)
		return false;
	edition_unref(c->edition);
	c->edition = edition_ref(next);
	c->stream = stream;
	return true;
}

/* --- the first token ------------------------------------------------------------------------------------------------ */

static void refuse_token(struct conn *c, const struct token_fault *why)
{
	flood_info("token refused", CONN_WHO(c), log_s("reason", why->check), log_s("detail", why->detail));
	conn_refuse(c, 4401, "token", why->words);
}

static void refuse_claims(struct conn *c, const char *missing)
{
	flood_info("token refused", CONN_WHO(c), log_s("reason", "claim"), log_s("claim", missing));
	conn_refuse(c, 4401, "claim", "token lacks a claim");
}

static bool is_too_long_a_token(struct conn *c, const char *token)
{
	struct token_fault why = { .check = "length", .words = "token too long", .detail = "over limits.token-bytes" };

	if (strlen(token) <= (size_t)c->hub->shared->conf->limits.token_bytes)
		return false;
	refuse_token(c, &why);
	return true;
}

void admission_ask(struct conn *c)
{
	const struct hub_shared *shared = c->hub->shared;
	struct mail mail = { .kind = MAIL_ADMIT, .hub = c->hub->index, .connection = c->id };
	struct token token = { 0 };
	struct token_fault why;
	const char *missing;

	if (is_too_long_a_token(c, c->request.token))
		return;
	if (!token_verify(shared->keys, slice_of(c->request.token), clock_wall_us() / 1000000, &token, &why)) {
		refuse_token(c, &why);
		return;
	}
	c->expires = token.expires;
	c->ticket = ticket_new(rules_stream(c->edition->rules, (size_t)c->stream), c->request.path, &token, &c->peer,
			       &missing);
	token_fini(&token);
	if (!c->ticket) {
		refuse_claims(c, missing);
		return;
	}
	handshake_forget_token(&c->request);
	c->deadline = 0;
	if (!admission_follow(c)) {
		conn_close_saying(c, 1012, "the stream was configured anew");
		return;
	}
	mail.asked.ticket = ticket_ref(c->ticket);
	mail.asked.since = c->request.since;
	mail.asked.has_since = c->request.has_since;
	if (c->request.epoch)
		mem_copy_text(mail.asked.epoch, sizeof(mail.asked.epoch), c->request.epoch);
	handshake_forget(&c->request);
	conn_to(c, CONN_ADMITTING);
	mailbox_post(c->hub->shared->to_tap, &mail);
}

void admission_ask_with(struct conn *c, const char *token)
{
	c->request.token = mem_text(token);
	admission_ask(c);
}

/* --- a newer token -------------------------------------------------------------------------------------------------- */

/* Only the expiry of the token counts: the tap and the client know the same claims already. */
static void renew_at_once(struct conn *c, const struct token *token)
{
	c->expires = token->expires;
	notice_auth_ok(c, NULL);
	deliver_flush(c);
}

static void ask_again(struct conn *c, const struct ticket *ticket)
{
	struct mail mail = { .kind = MAIL_RENEW, .hub = c->hub->index, .connection = c->id };

	mail.number = ++c->asked;
	mail.asked.holds = c->answered;
	mail.asked.ticket = ticket_ref((struct ticket *)ticket);
	mailbox_post(c->hub->shared->to_tap, &mail);
}

static void refuse_renewal(struct conn *c, const char *reason, const struct token_fault *why, const char *claim)
{
	flood_info("renewed token refused", CONN_WHO(c), log_s("reason", why->check), log_s("detail", why->detail),
		   log_s("claim", claim ? claim : ""));
	conn_refuse(c, 4401, reason, why->words);
}

static const struct token_fault theirs = { .check = "it belongs to another user", .words = "token of another user" };
static const struct token_fault no_claim = { .check = "claim", .words = "token lacks a claim" };

static struct ticket *ticket_of(const struct conn *c, const struct token *token, const char **missing)
{
	return ticket_renewed(c->ticket, rules_stream(c->edition->rules, (size_t)c->stream), token, missing);
}

void admission_renew(struct conn *c, const char *token_text)
{
	struct renewal_token facts = { .is_asked = c->asked != c->answered };
	struct token_fault why = { 0 };
	struct token token = { 0 };
	struct ticket *ticket = NULL;
	const char *missing = NULL;

	if (is_too_long_a_token(c, token_text))
		return;
	facts.is_valid =
		token_verify(c->hub->shared->keys, slice_of(token_text), clock_wall_us() / 1000000, &token, &why);
	facts.is_same_user = facts.is_valid && strcmp(token.user, c->ticket->user) == 0;
	if (facts.is_same_user)
		ticket = ticket_of(c, &token, &missing);
	facts.has_claims = ticket != NULL;
	facts.same_claims = ticket && ticket_same_claims(c->ticket, ticket);
	switch (renewal_judge(&facts)) {
	case RENEWAL_AT_ONCE:
		renew_at_once(c, &token);
		break;
	case RENEWAL_ASKED:
		ask_again(c, ticket);
		break;
	case RENEWAL_NO_TOKEN:
		refuse_renewal(c, "token", &why, NULL);
		break;
	case RENEWAL_NOT_THEIRS:
		refuse_renewal(c, "token", &theirs, NULL);
		break;
	case RENEWAL_NO_CLAIM:
		refuse_renewal(c, "claim", &no_claim, missing);
		break;
	}
	ticket_unref(ticket);
	token_fini(&token);
}

/* --- the tap's answers ------------------------------------------------------------------------------------------------ */

/* Takes over the mail's reference. If the ticket is the same, the expiry stays: renew_at_once may have set a later one. */
static void take_ticket(struct conn *c, const struct mail *mail)
{
	if (mail->given.ticket != c->ticket)
		c->expires = mail->given.ticket->expires;
	ticket_unref(c->ticket);
	c->ticket = mail->given.ticket;
	c->answered = mail->number;
}

/* Nothing is delivered before all mails are taken. */
void admission_admitted(struct conn *c, const struct mail *mail)
{
	const struct rules_stream *stream = rules_stream(c->edition->rules, (size_t)c->stream);

	conn_sit(c, mail);
	take_ticket(c, mail);
	c->label = (uint8_t)c->edition->stream_labels[c->stream];
	conn_to(c, CONN_OPEN);
	c->admitted = mail->given.admitted;
	conn_limit(c, mail->given.limit);
	/* If the stream closes in place of a resync, the client has just connected, and refetches anyway. */
	if (mail->given.resync && !stream->resync_closes)
		conn_resync(c, "history", mail->given.id);
	notice_hello(c, mail->given.id, mail->given.resumed);
	if (mail->number > 0)
		notice_auth_ok(c, NULL);
	conn_due(c, true);
}

/* The entries that the connection will not read may include a close that concerns it. */
static void note_missed_close(struct conn *c, lsn_t upto)
{
	struct missed missed = deliver_missed_range(c);

	for (size_t i = 0; i < c->n_subs; i++)
		cursor_to_head(&c->subs[i].cursor, upto, &missed);
	if (missed.close) {
		c->last_words = CONN_BY_A_CHANGE;
		c->last_code = (uint16_t)missed.close;
	}
}

void admission_moved(struct conn *c, const struct mail *mail)
{
	note_missed_close(c, mail->given.id.lsn);
	conn_stand_up(c);
	conn_sit(c, mail);
	conn_limit(c, mail->given.limit);
	conn_resync(c, resync_name(mail->given.reason), mail->given.id);
	conn_due(c, true);
}

void admission_renewed(struct conn *c, const struct mail *mail)
{
	bool same = ticket_same_claims(c->ticket, mail->given.ticket);
	char epoch[TICKET_EPOCH_MAX];

	take_ticket(c, mail);
	if (mail->given.resync)
		admission_moved(c, mail);
	ticket_epoch(c->ticket, c->hub->epoch, epoch);
	notice_auth_ok(c, renewal_tells_epoch(same, mail->given.resync) ? epoch : NULL);
	conn_due(c, true);
}
