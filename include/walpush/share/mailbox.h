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
#include "walpush/base/resync.h"
#include "walpush/share/ticket.h"
#include "walpush/share/topic.h"

struct edition;
struct tls_identity;

struct seat {                /* a connection's place in one log */
	struct topic *topic; /* a handle for the hub, no more */
	struct cursor cursor;
};

/* The comment names the member of the union that a kind uses; kinds without one use none. */
enum mail_kind {
	/* tap to hub */
	MAIL_SOCKET,   /* socket: an accepted socket */
	MAIL_ADMITTED, /* given: the connection may listen */
	MAIL_MOVED,    /* given: an open connection continues with these seats, and must refetch for this reason */
	MAIL_RENEWED, /* given: the renewed token is in force; with `resync` the same as MAIL_MOVED, else without seats */
	MAIL_LIMIT,   /* limit: no commit at or above it is delivered; LSN_MAX: every commit is */
	MAIL_CHANGED, /* limit: this commit changed the user's permission; another one limits the connection already */
	MAIL_REFUSED, /* code, words: the connection is closed with them, also an open one */
	MAIL_DIRTY,   /* topic: the log has something new below `published` */
	MAIL_EPOCH,   /* epoch: of the replication stream from now on */
	MAIL_EMPTIED, /* the logs begin again at `published`; nothing is delivered before the tap has asked about each connection */
	MAIL_CLOSE,       /* close: every connection is closed, at a pace */
	MAIL_CERTIFICATE, /* identity: for new connections from now on */
	MAIL_EDITION,     /* edition: another configuration from now on */
	MAIL_PROBE,       /* the hub answers that it was woken */
	MAIL_TRACE,       /* trace: was this message written? The hub answers with MAIL_TRACED and the same number */
	MAIL_STOP,        /* the thread ends */
	/* hub to tap */
	MAIL_ADMIT,  /* asked: may the connection listen? */
	MAIL_RENEW,  /* asked: may it listen with these claims? Only the newest token counts */
	MAIL_ENDED,  /* a connection that asked has ended, or is ending */
	MAIL_LEFT,   /* topic: one subscription less */
	MAIL_TRACED, /* traced: the answer to MAIL_TRACE */
	MAIL_GONE    /* the last connection has ended, after MAIL_CLOSE with `final` */
};

struct mail_asked {
	struct ticket *ticket; /* the mail's reference */
	uint32_t holds;        /* MAIL_RENEW: the number of the token that is in force at the hub */
	bool has_since;        /* MAIL_ADMIT: the client says what it knows, */
	struct event_id since;
	char epoch[TICKET_EPOCH_MAX]; /* and of which epoch */
};

struct mail_given {
	struct ticket *ticket; /* the mail's reference; NULL: MAIL_MOVED */
	struct seat *seats;    /* the mail's, with their cursors and subscriptions */
	size_t n_seats;
	struct event_id id;        /* where the seats are placed */
	lsn_t limit;               /* as MAIL_LIMIT */
	lsn_t admitted;            /* MAIL_ADMITTED: the position when the query was sent */
	bool resumed;              /* MAIL_ADMITTED: it continues after `since` */
	bool resync;               /* the client must refetch; also of MAIL_MOVED and MAIL_RENEWED */
	enum resync_reason reason; /* of the resync of MAIL_MOVED and MAIL_RENEWED */
};

struct mail_trace { /* a message, and the logs that it is in */
	struct event_id id;
	size_t n;
	struct topic *topics[]; /* handles, no more */
};

struct mail_traced {         /* what one hub has written of it, as far as it remembers */
	uint32_t n;          /* connections */
	int64_t first, last; /* µs since 1970; 0: it was not written */
};

struct mail {
	enum mail_kind kind;
	unsigned hub; /* of mails to the tap */
	uint32_t
		number; /* of the token that is asked about or answered: 0, then each that the tap is asked about; of a trace */
	uint64_t connection; /* that the mail is about */
	lsn_t published; /* the position when it was posted: the hub must have read it before the mail is done with */
	int64_t committed; /* MAIL_DIRTY, MAIL_LIMIT: the oldest commit of the news, µs since 1970 by the database's clock; 0: unknown */
	union {
		struct {
			int fd; /* the mail's */
			struct address peer;
		} socket;
		struct mail_asked asked;
		struct mail_given given;
		lsn_t limit;
		struct {
			unsigned code;
			const char *words; /* for the close frame, a literal; NULL: those of the code */
		};
		struct topic *topic;
		char epoch[EPOCH_MAX];
		struct {
			int64_t wait; /* µs at most */
			bool final;   /* the process stops: MAIL_GONE is wanted */
		} close;
		struct tls_identity *identity; /* the mail's reference */
		struct edition *edition;       /* the mail's reference */
		struct mail_trace *trace;      /* the mail's */
		struct mail_traced traced;
	};
};

/* What the mail owns, of a mail that nobody took. Seats stay subscribed. Any thread. */
void mail_fini(struct mail *mail);

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
