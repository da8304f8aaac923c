#include "walpush/hub.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>
#include <utlist.h>

#include "hub_impl.h"
#include "walpush/clock.h"
#include "walpush/log.h"
#include "walpush/mem.h"

#define SWEEP_US 1000000
#define DRAIN_SWEEP_US 50000
/* Bytes of a request's head beside the token; and what the library keeps beside its text: 8 bytes a line, and where each begins. */
#define HEADER_BYTES 4096
#define HEADER_NOTES 1024
/* What the library can count to. */
#define HEADERS_MOST 65535
/* The most that a record holds (RFC 8446, section 5.1). */
#define TLS_RECORD 16384
/* What one send may take; the library copies the rest of a longer write. */
#define SEND_BYTES (4u << 20)

static int hub_callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len);

const struct lws_protocols hub_protocols[] = {
	{ "walpush", hub_callback, sizeof(struct conn), 1024, 0, NULL, SEND_BYTES },
	{ NULL, NULL, 0, 0, 0, NULL, 0 },
};

/* --- mails ------------------------------------------------------------------------------------------------------ */

void hub_tell_tap(struct hub *h, const struct mail *mail)
{
	static const uint64_t one = 1;

	/* The counter cannot overflow, and a tap that does not read is a tap that is awake. */
	if (mailbox_post(h->shared->to_tap, mail) && write(h->shared->wake_tap, &one, sizeof(one)) < 0 &&
	    errno != EAGAIN)
		abort();
}

void hub_post(struct hub *h, const struct mail *mail)
{
	if (mailbox_post(&h->inbox, mail))
		lws_cancel_service(h->context);
}

static void give_seats_back(struct hub *h, struct mail *mail)
{
	for (size_t i = 0; i < mail->n_seats; i++) {
		struct mail left = { .kind = MAIL_LEFT, .hub = h->index, .topic = mail->seats[i].topic };

		cursor_release(&mail->seats[i].cursor);
		hub_tell_tap(h, &left);
	}
}

static void mail_admitted(struct hub *h, struct mail *mail)
{
	struct conn *c = conn_find(h, mail->connection);

	if (c && c->state == CONN_ADMITTING && c->ticket)
		conn_admitted(c, mail);
	else
		give_seats_back(h, mail);
	free(mail->seats);
}

static void mail_moved(struct hub *h, struct mail *mail)
{
	struct conn *c = conn_find(h, mail->connection);

	if (c && conn_listens(c))
		conn_moved(c, mail);
	else
		give_seats_back(h, mail);
	free(mail->seats);
}

static void note_committed(struct hub *h, const struct mail *mail)
{
	if (mail->committed && (!h->committed || mail->committed < h->committed))
		h->committed = mail->committed;
}

static void mail_limit(struct hub *h, const struct mail *mail)
{
	struct conn *c = conn_find(h, mail->connection);

	if (!c || !conn_listens(c))
		return;
	if (mail->limit == LSN_MAX)
		note_committed(h, mail);
	conn_limit(c, mail->limit);
	c->frozen_at = c->is_held ? mail->limit : 0;
	if (mail->limit == LSN_MAX)
		deliver_later(c);
}

/* It is delivered no further than before. */
static void mail_frozen(struct hub *h, const struct mail *mail)
{
	struct conn *c = conn_find(h, mail->connection);

	if (c && conn_listens(c))
		c->frozen_at = mail->limit;
}

/* An open one gets what it may still have. */
static void mail_refused(struct hub *h, const struct mail *mail)
{
	struct conn *c = conn_find(h, mail->connection);

	if (!c)
		return;
	if (!conn_listens(c)) {
		conn_close(c, mail->code);
		return;
	}
	assert(c->is_held);
	c->last_code = (uint16_t)mail->code;
	deliver_later(c);
}

static void mail_dirty(struct hub *h, const struct mail *mail)
{
	struct channel *ch;

	note_committed(h, mail);
	HASH_FIND_PTR(h->channels, &mail->topic, ch);
	if (ch)
		channel_mark(h, ch);
}

/* The position may have been read before the logs were emptied: the mail's is where they begin anew. Memberships may have changed
 * meanwhile, so who may go on, the tap will say. */
static void mail_emptied(struct hub *h, const struct mail *mail)
{
	struct conn *c;

	h->published = mail->published;
	DL_FOREACH(h->conns, c) {
		if (!conn_listens(c))
			continue;
		for (size_t i = 0; i < c->n_subs; i++)
			cursor_restart(&c->subs[i].cursor);
		conn_limit(c, mail->published);
	}
}

static void sweep_in(struct hub *h, int64_t us);

/* Spread, so that not all come back at the same moment. */
static void close_soon(struct conn *c, int64_t wait, unsigned code)
{
	uint64_t random = 0;

	if (wait <= 0 || getrandom(&random, sizeof(random), 0) != (ssize_t)sizeof(random))
		conn_close(c, code);
	else if (!c->close_at) /* told every second while another has the slot: the first drawing counts */
		c->close_at = clock_us() + (int64_t)(random % (uint64_t)wait);
}

static void mail_close(struct hub *h, const struct mail *mail)
{
	struct conn *c, *next;

	DL_FOREACH_SAFE(h->conns, c, next)
		close_soon(c, mail->wait, mail->code);
	h->draining = h->draining || mail->final;
	sweep_in(h, DRAIN_SWEEP_US);
}

static bool show_certificate(struct hub *h, const struct tls_identity *id)
{
	struct fail why;

	if (tls_install(id, h->tls, &why))
		return true;
	log_error("a certificate cannot be used; the one before stays", log_n("hub", h->index),
		  log_s("error", why.text));
	return false;
}

/* Who listens to a stream that is not the same any more connects anew, and finds what there is now. */
static void mail_edition(struct hub *h, const struct mail *mail)
{
	struct edition *before = h->edition;
	struct conn *c, *next;

	h->edition = mail->edition;
	h->shared = &h->edition->shared;
	DL_FOREACH_SAFE(h->conns, c, next)
		if (c->state != CONN_CLOSING && !conn_follow(c))
			close_soon(c, h->shared->conf->limits.drain * 1000, 1012);
	edition_unref(before);
}

static void take_mail(struct hub *h, struct mail *mail)
{
	switch (mail->kind) {
	case MAIL_SOCKET:
		visitor_take(h, mail->fd, &mail->peer);
		return;
	case MAIL_ADMITTED:
		mail_admitted(h, mail);
		return;
	case MAIL_MOVED:
		mail_moved(h, mail);
		return;
	case MAIL_LIMIT:
		mail_limit(h, mail);
		return;
	case MAIL_FROZEN:
		mail_frozen(h, mail);
		return;
	case MAIL_REFUSED:
		mail_refused(h, mail);
		return;
	case MAIL_DIRTY:
		mail_dirty(h, mail);
		return;
	case MAIL_EPOCH:
		memcpy(h->epoch, mail->text, sizeof(h->epoch));
		return;
	case MAIL_EMPTIED:
		mail_emptied(h, mail);
		return;
	case MAIL_CLOSE:
		mail_close(h, mail);
		return;
	case MAIL_CERTIFICATE:
		show_certificate(h, mail->identity);
		tls_unref(mail->identity);
		return;
	case MAIL_EDITION:
		mail_edition(h, mail);
		return;
	case MAIL_STOP:
		h->stopped = true;
		uv_stop(&h->loop);
		return;
	default:
		abort();
	}
}

/* --- turns ------------------------------------------------------------------------------------------------------ */

/* The position first, then the mails. Returns the position that the news among them stand below. */
static lsn_t take_mails(struct hub *h)
{
	lsn_t needed = 0, published = topiclog_published(h->shared->log);
	size_t n;

	/* It goes back only when the logs are emptied. The mail that says so may be a moment behind; until then it counts as it was. */
	if (published > h->published)
		h->published = published;
	n = mailbox_take(&h->inbox, &h->taken, &h->taken_cap);
	for (size_t i = 0; i < n; i++) {
		if (h->taken[i].published > needed)
			needed = h->taken[i].published;
		take_mail(h, &h->taken[i]);
	}
	return needed;
}

static void hub_turn(struct hub *h)
{
	/* News are posted behind their publication, so a second look at the position finds it. */
	while (take_mails(h) > h->published)
		;
	deliver_let_go(h);
	h->written = 0;
	deliver_due(h);
	if (h->committed && h->written)
		metrics_observe(h->counts, METRICS_COMMIT_TO_WRITTEN, clock_wall_us() - h->committed, h->written);
	h->committed = 0;
}

/* While the virtual host is made: the library gives us its TLS context and leaves the certificate to us. */
static int begin_tls(struct hub *h, SSL_CTX *context)
{
	h->tls = context;
	tls_harden(context);
	return show_certificate(h, h->shared->identity) ? 0 : -1;
}

static int hub_callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len)
{
	if (reason == LWS_CALLBACK_OPENSSL_LOAD_EXTRA_SERVER_VERIFY_CERTS)
		return begin_tls(lws_context_user(lws_get_context(wsi)), user);
	if (reason == LWS_CALLBACK_EVENT_WAIT_CANCELLED) {
		hub_turn(lws_context_user(lws_get_context(wsi)));
		return 0;
	}
	return conn_callback(wsi, reason, user, in, len);
}

static void on_sweep(lws_sorted_usec_list_t *sul)
{
	struct hub *h = lws_container_of(sul, struct hub, sweep);
	int64_t now = clock_us(), wall_s = clock_wall_us() / 1000000;
	struct conn *c, *next;

	atomic_store_explicit(&h->beat, now, memory_order_relaxed);
	visitor_sweep(h, now);
	DL_FOREACH_SAFE(h->conns, c, next)
		conn_sweep(c, now, wall_s);
	deliver_measure(h, now);
	if (h->draining && !h->conns && !h->told_gone) {
		struct mail gone = { .kind = MAIL_GONE, .hub = h->index };

		h->told_gone = true;
		hub_tell_tap(h, &gone);
	}
	sweep_in(h, h->draining ? DRAIN_SWEEP_US : SWEEP_US);
}

static void sweep_in(struct hub *h, int64_t us)
{
	lws_sul_schedule(h->context, 0, &h->sweep, on_sweep, us);
}

/* --- life ------------------------------------------------------------------------------------------------------- */

static void *hub_thread(void *arg)
{
	struct hub *h = arg;

	sweep_in(h, SWEEP_US);
	/* Mails may have come before the loop ran. */
	hub_turn(h);
	while (!h->stopped)
		uv_run(&h->loop, UV_RUN_DEFAULT);
	return NULL;
}

int64_t hub_beat(const struct hub *h)
{
	return atomic_load_explicit(&h->beat, memory_order_relaxed);
}

static bool make_context(struct hub *h, struct fail *why)
{
	/* Pings are ours: the library would keep a sorted list of a timer for each connection. */
	static const lws_retry_bo_t no_pings = { 0 };
	const struct conf *conf = h->shared->conf;
	void *loops[1] = { &h->loop };
	struct lws_context_creation_info info = {
		.port = CONTEXT_PORT_NO_LISTEN,
		.protocols = hub_protocols,
		.options =
			LWS_SERVER_OPTION_LIBUV | LWS_SERVER_OPTION_EXPLICIT_VHOSTS | LWS_SERVER_OPTION_VALIDATE_UTF8,
		.foreign_loops = loops,
		.user = h,
		.gid = (gid_t)-1,
		.uid = (uid_t)-1,
		.timeout_secs = (unsigned)((conf->limits.handshake + 999) / 1000),
		.max_http_header_data = (unsigned short)(h->head_most + HEADER_NOTES),
		/* A whole record of TLS: what is left of one the library sometimes reads only when more comes, and a head hangs. */
		.pt_serv_buf_size = TLS_RECORD + LWS_PRE,
		.retry_and_idle_policy = &no_pings,
		.server_string = "walpush",
		.vhost_name = "walpush",
		.alpn = "http/1.1", /* HTTP/2 is never spoken */
	};

	if (h->shared->identity) {
		info.options |= LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT | LWS_SERVER_OPTION_CREATE_VHOST_SSL_CTX;
		/* Else the library makes one, with all the system's authorities in it, for connections that nobody makes. */
		h->client_tls = SSL_CTX_new(TLS_client_method());
		info.provided_client_ssl_ctx = h->client_tls;
	}
	info.pcontext = &h->context; /* becomes NULL when the context is gone */
	h->context = lws_create_context(&info);
	if (!h->context)
		return fail_set(why,
				"libwebsockets gives no context: is the package libwebsockets-evlib-uv installed?");
	info.port = CONTEXT_PORT_NO_LISTEN_SERVER;
	h->vhost = lws_create_vhost(h->context, &info);
	if (!h->vhost)
		return fail_set(why, "libwebsockets gives no virtual host");
	return true;
}

static size_t head_most(const struct conf_limits *limits)
{
	size_t n = HEADER_BYTES + (size_t)limits->token_bytes;

	return n < HEADERS_MOST - HEADER_NOTES ? n : HEADERS_MOST - HEADER_NOTES;
}

struct hub *hub_new(unsigned index, const struct edition *edition, struct fail *why)
{
	struct hub *h = mem_new(sizeof(*h));

	h->index = index;
	h->edition = edition_ref(edition);
	h->shared = &h->edition->shared;
	h->counts = metrics_of_hub(h->shared->metrics, index);
	h->head_most = head_most(&h->shared->conf->limits);
	mailbox_init(&h->inbox);
	atomic_init(&h->beat, clock_us());
	if (uv_loop_init(&h->loop) != 0)
		abort();
	if (!make_context(h, why)) {
		hub_free(h);
		return NULL;
	}
	return h;
}

bool hub_start(struct hub *h, struct fail *why)
{
	sigset_t all, before;
	int error;

	/* Signals are the tap's. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	error = pthread_create(&h->thread, NULL, hub_thread, h);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	h->started = error == 0;
	return h->started || fail_set(why, "cannot start a thread: %s", strerror(error));
}

static void drop_mails(struct hub *h)
{
	size_t n = mailbox_take(&h->inbox, &h->taken, &h->taken_cap);

	for (size_t i = 0; i < n; i++) {
		struct mail *mail = &h->taken[i];

		if (mail->kind == MAIL_SOCKET)
			close(mail->fd);
		tls_unref(mail->identity);
		edition_unref(mail->edition);
		for (size_t s = 0; s < mail->n_seats; s++)
			cursor_release(&mail->seats[s].cursor);
		free(mail->seats);
	}
	free(h->taken);
}

void hub_free(struct hub *h)
{
	if (!h)
		return;
	if (h->started)
		pthread_join(h->thread, NULL);
	visitor_drop_all(h);
	if (h->context)
		lws_context_destroy(h->context);
	/* The library closes its handles on the loop; some versions want to be told once more when that is done. */
	uv_run(&h->loop, UV_RUN_DEFAULT);
	if (h->context)
		lws_context_destroy(h->context);
	uv_run(&h->loop, UV_RUN_DEFAULT);
	uv_loop_close(&h->loop);
	SSL_CTX_free(h->client_tls);
	drop_mails(h);
	mailbox_fini(&h->inbox);
	buf_fini(&h->scratch);
	edition_unref(h->edition);
	free(h->slots);
	free(h->peeked);
	free(h);
}
