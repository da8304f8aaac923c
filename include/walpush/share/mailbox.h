/*
 * mailbox: messages between the tap and a hub, in order.
 *
 * Any thread posts; one thread, the reader, takes all mails at once. One mutex, held for a copy of a few words. The box
 * has no bound of its own: the number of connections and of logs bounds the mails.
 *
 * A mail that enters an empty box wakes the reader, on the posting thread and after the mutex is free. The reader takes
 * the whole box each time it wakes, so mails that join a box need no call.
 */
#ifndef WALPUSH_MAILBOX_H
#define WALPUSH_MAILBOX_H

#include <pthread.h>
#include <stdint.h>

#include "walpush/base/address.h"
#include "walpush/base/event_id.h"
#include "walpush/share/ticket.h"
#include "walpush/share/topic.h"

struct seat {                /* a connection's place in one log */
	struct topic *topic; /* the hub uses it only as a handle */
	struct cursor cursor;
};

struct edition;

enum mail_kind {
	/* tap to hub */
	MAIL_SOCKET, /* fd, peer: an accepted socket; now the hub owns it */
	MAIL_ADMITTED, /* connection, ticket (the hub's), number, seats, n_seats, id, resumed, resync, limit, admitted, published */
	MAIL_LIMIT, /* connection, number, limit, published, committed: no commit at or above the limit is delivered; LSN_MAX: everything is */
	MAIL_FROZEN, /* connection, limit: this commit changed its user's permission, while an earlier change had no answer yet */
	MAIL_MOVED, /* connection, seats, n_seats, id, text, limit, published: an open connection continues there, and must refetch for this reason */
	MAIL_RENEWED, /* connection, ticket (the hub's), number: these claims from now on; with resync also the fields of MAIL_MOVED */
	MAIL_REFUSED, /* connection, number, code: an open connection ends too */
	MAIL_DIRTY,   /* topic, published, committed: its log has something new below this position */
	MAIL_EPOCH,   /* text: the epoch from now on */
	MAIL_EMPTIED, /* published: the logs are reset to there; nothing is delivered before the tap has asked about each connection */
	MAIL_CLOSE, /* wait, final: close every connection, at a pace, within `wait` µs; final: report when the last one is gone */
	MAIL_CERTIFICATE, /* identity (the hub's): shown to new connections from now on */
	MAIL_EDITION,     /* edition: another configuration from now on; the reference is the hub's */
	MAIL_PROBE,       /* the hub answers, which shows that it was woken */
	MAIL_STOP,        /* the thread ends */
	/* hub to tap */
	MAIL_ADMIT, /* hub, connection, ticket (the tap's), since, epoch in text: may this connection listen? */
	MAIL_RENEW, /* hub, connection, ticket (the tap's), number, holds: may it listen with these claims? Only the newest mail counts */
	MAIL_ENDED, /* hub, connection: a connection that asked is gone, or ends */
	MAIL_LEFT,  /* hub, topic: one subscription less */
	MAIL_GONE,  /* hub: after MAIL_CLOSE, its last connection ended */
};

struct mail {
	enum mail_kind kind;
	unsigned hub;
	int fd;
	struct address peer;
	unsigned code;
	uint32_t number; /* of the token asked about or answered: 0, then one for each that the tap is asked about */
	uint32_t holds;  /* MAIL_RENEW: the number of the token that is in force at the hub */
	bool resumed, resync, has_since, final;
	uint64_t connection;
	int64_t wait;
	int64_t committed; /* µs since 1970, by the database's clock: the oldest commit of the news; 0: unknown */
	struct event_id id;
	lsn_t admitted; /* the position when its admission was asked about */
	lsn_t limit;
	lsn_t published; /* the position when it was posted: the hub handles the mail only after it has read this position */
	struct topic *topic;
	struct ticket *ticket;
	struct tls_identity *identity;
	struct edition *edition;
	struct seat *seats;
	size_t n_seats;
	char text[TICKET_EPOCH_MAX];
};

struct mailbox {
	void (*wake)(void *ctx); /* any thread calls it */
	void *ctx;
	pthread_mutex_t lock;
	struct mail *mails;
	size_t n, cap;
};

/* `wake` must make the reader call mailbox_take soon. */
void mailbox_init(struct mailbox *m, void (*wake)(void *ctx), void *ctx);
void mailbox_fini(struct mailbox *m);
/* Copies the mail, and wakes the reader if it may sleep. */
void mailbox_post(struct mailbox *m, const struct mail *mail);
/* Takes all mails. Swaps *mails with the caller's array, whose capacity is *cap. Returns how many. */
size_t mailbox_take(struct mailbox *m, struct mail **mails, size_t *cap);

#endif
