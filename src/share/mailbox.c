#include "walpush/share/mailbox.h"

#include <stdlib.h>
#include <unistd.h>

#include "walpush/base/mem.h"
#include "walpush/share/edition.h"
#include "walpush/share/tls.h"

static void give_seats_up(struct mail_given *given)
{
	for (size_t i = 0; i < given->n_seats; i++)
		cursor_release(&given->seats[i].cursor);
	free(given->seats);
	ticket_unref(given->ticket);
}

void mail_fini(struct mail *mail)
{
	switch (mail->kind) {
	case MAIL_SOCKET:
		close(mail->socket.fd);
		return;
	case MAIL_ADMITTED:
	case MAIL_MOVED:
	case MAIL_RENEWED:
		give_seats_up(&mail->given);
		return;
	case MAIL_CERTIFICATE:
		tls_unref(mail->identity);
		return;
	case MAIL_EDITION:
		edition_unref(mail->edition);
		return;
	case MAIL_TRACE:
		free(mail->trace);
		return;
	case MAIL_ADMIT:
	case MAIL_RENEW:
		ticket_unref(mail->asked.ticket);
		return;
	default:
		return;
	}
}

void mailbox_init(struct mailbox *m, void (*wake)(void *ctx), void *ctx)
{
	*m = (struct mailbox){ .wake = wake, .ctx = ctx };
	pthread_mutex_init(&m->lock, NULL);
}

void mailbox_fini(struct mailbox *m)
{
	pthread_mutex_destroy(&m->lock);
	free(m->mails);
}

void mailbox_post(struct mailbox *m, const struct mail *mail)
{
	bool was_empty;

	pthread_mutex_lock(&m->lock);
	if (m->n == m->cap) {
		m->cap = m->cap ? m->cap * 2 : 16;
		m->mails = mem_resize(m->mails, m->cap, sizeof(*m->mails));
	}
	was_empty = m->n == 0;
	m->mails[m->n++] = *mail;
	pthread_mutex_unlock(&m->lock);
	if (was_empty)
		m->wake(m->ctx);
}

size_t mailbox_take(struct mailbox *m, struct mail **mails, size_t *cap)
{
	struct mail *old = *mails;
	size_t old_cap = *cap, n;

	pthread_mutex_lock(&m->lock);
	n = m->n;
	*mails = m->mails;
	*cap = m->cap;
	m->mails = old;
	m->cap = old_cap;
	m->n = 0;
	pthread_mutex_unlock(&m->lock);
	return n;
}
