#include "walpush/hub/hub.h"

#include <assert.h>
#include <errno.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "depart.h"
#include "deliver.h"
#include "session.h"
#include "visitor.h"
#include "walpush/base/clock.h"
#include "walpush/base/fail.h"
#include "walpush/base/log.h"
#include "walpush/base/mem.h"
#include "walpush/base/thread.h"
#include "walpush/share/tls.h"

#define SWEEP_US 1000000
#define DRAIN_SWEEP_US 50000
/* Seconds to wait for the answer to a wake-up. The answer takes microseconds; a machine that swaps may take seconds. */
#define WAKE_LIMIT_S 5
/* Bytes of a request's head besides the token; and bytes that the library keeps besides the text: 8 for each line, and where each line begins. */
#define HEADER_BYTES 4096
#define HEADER_NOTES 1024
/* Seconds beyond limits.handshake. The library cuts a connection if it does not read the request for this long. Its default is ten seconds: a busy
 * hub would reset clients that have sent their requests in time. limits.handshake must come first, because the hub counts and logs it. */
#define AH_IDLE_BEYOND 5
/* The library keeps this number in 16 bits. */
#define HEADERS_MOST 65535
/* Bytes: the most that a record holds (RFC 8446, section 5.1). */
#define TLS_RECORD 16384
/* Bytes that one send may take; the library copies the rest of a longer write. */
#define SEND_BYTES (4u << 20)

/*
 * Each file of the hub knows its part: facts, conns, visitors or departing. Only this file knows the whole, and wires the parts. `conns` is the
 * user of the library's context. While the thread runs, other threads touch only the members under "any thread".
 */
struct hub {
	struct hub_facts facts;
	struct conns conns;
	struct visitors visitors;
	struct departing departing;

	uv_loop_t loop;
	struct lws_context *context;
	SSL_CTX *tls; /* of the virtual host, which owns it; NULL: no TLS */
	SSL_CTX *client_tls;
	lws_sorted_usec_list_t sweep;
	struct mail *taken;
	size_t taken_cap;
	bool stopped;

	/* any thread */
	struct mailbox inbox;
	sem_t awake;          /* posted when the thread runs, and for MAIL_PROBE */
	_Atomic int64_t beat; /* µs; read by the tap */
	/* the thread that made the hub */
	pthread_t thread;
	bool started;
};

static int hub_callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len);

static const struct lws_protocols protocols[] = {
	{ HANDSHAKE_PROTOCOL, hub_callback, sizeof(struct conn), 1024, 0, NULL, SEND_BYTES },
	{ NULL, NULL, 0, 0, 0, NULL, 0 },
};

static struct hub *hub_of(struct lws *wsi)
{
	return lws_container_of(lws_context_user(lws_get_context(wsi)), struct hub, conns);
}

/* --- mails ------------------------------------------------------------------------------------------------------ */

static void wake(void *ctx)
{
	struct hub *h = ctx;

	lws_cancel_service(h->context);
}

void hub_post(struct hub *h, const struct mail *mail)
{
	mailbox_post(&h->inbox, mail);
}

static void mail_dirty(struct hub *h, const struct mail *mail)
{
	deliver_note_committed(&h->conns, mail);
	channel_mark(&h->conns.channels, mail->topic);
}

/* The hub may have read the position before the logs were emptied. The mail has the position where the new history begins. */
static void mail_emptied(struct hub *h, const struct mail *mail)
{
	h->facts.published = mail->published;
	session_emptied(&h->conns, mail);
}

static void sweep_in(struct hub *h, int64_t us);

/* The tap posts this mail every second while another process has the slot. Connections that come meanwhile wait until the others have gone. */
static void mail_close(struct hub *h, const struct mail *mail)
{
	if (mail->close.final) {
		h->facts.draining = true;
		visitors_hang_up(&h->visitors);
		depart_for_good(&h->departing, mail->close.wait);
		sweep_in(h, DRAIN_SWEEP_US);
	} else if (!depart_is_under_way(&h->departing)) {
		depart_all(&h->departing, mail->close.wait);
	}
}

static bool show_certificate(struct hub *h, const struct tls_identity *id)
{
	struct fail why;

	if (tls_install(id, h->tls, &why))
		return true;
	log_error("a certificate cannot be used; the one before stays", log_n("hub", h->facts.index),
		  log_s("error", why.text));
	return false;
}

static void mail_edition(struct hub *h, const struct mail *mail)
{
	struct edition *before = h->facts.edition;

	h->facts.edition = mail->edition;
	h->facts.shared = &mail->edition->shared;
	if (session_edition(&h->conns))
		depart_begin(&h->departing, h->facts.shared->conf->limits.drain * 1000);
	edition_unref(before);
}

static void mail_trace(struct hub *h, struct mail *mail)
{
	struct mail answer = { .kind = MAIL_TRACED, .hub = h->facts.index, .number = mail->number };

	sent_find(&h->conns.sent, mail->trace, &answer.traced);
	mail_fini(mail);
	mailbox_post(h->facts.shared->to_tap, &answer);
}

static void take_mail(struct hub *h, struct mail *mail)
{
	switch (mail->kind) {
	case MAIL_SOCKET:
		visitor_take(&h->visitors, mail->socket.fd, &mail->socket.peer);
		return;
	case MAIL_ADMITTED:
	case MAIL_MOVED:
	case MAIL_RENEWED:
	case MAIL_LIMIT:
	case MAIL_CHANGED:
	case MAIL_REFUSED:
		session_mail(&h->conns, mail);
		return;
	case MAIL_DIRTY:
		mail_dirty(h, mail);
		return;
	case MAIL_EPOCH:
		memcpy(h->facts.epoch, mail->epoch, sizeof(h->facts.epoch));
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
	case MAIL_PROBE:
		sem_post(&h->awake);
		return;
	case MAIL_TRACE:
		mail_trace(h, mail);
		return;
	case MAIL_STOP:
		h->stopped = true;
		uv_stop(&h->loop);
		return;
	default:
		fail_never("hub %u received a mail of kind %d", h->facts.index, (int)mail->kind);
	}
}

/* --- turns ------------------------------------------------------------------------------------------------------ */

/* Reads the position first, then takes the mails. Returns the highest position that a mail names. */
static lsn_t take_mails(struct hub *h)
{
	lsn_t needed = 0, published = topiclog_published(h->facts.shared->log);
	size_t n;

	/* The position goes back only when the logs are emptied. Until MAIL_EMPTIED comes, the hub keeps the old position. */
	if (published > h->facts.published)
		h->facts.published = published;
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
	assert(hub_is_here(&h->facts));
	/* The tap publishes before it posts, so a second look at the position finds the one that the mail names. */
	while (take_mails(h) > h->facts.published)
		;
	deliver_turn(&h->conns);
}

/* The library calls this while it makes the virtual host: it hands over its TLS context, and the hub installs the certificate. */
static int begin_tls(struct hub *h, SSL_CTX *context)
{
	h->tls = context;
	h->visitors.tls = true;
	tls_harden(context);
	return show_certificate(h, h->facts.shared->identity) ? 0 : -1;
}

static int hub_callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len)
{
	if (reason == LWS_CALLBACK_OPENSSL_LOAD_EXTRA_SERVER_VERIFY_CERTS)
		return begin_tls(hub_of(wsi), user);
	if (reason == LWS_CALLBACK_EVENT_WAIT_CANCELLED) {
		hub_turn(hub_of(wsi));
		return 0;
	}
	return session_callback(wsi, reason, user, in, len);
}

static void on_sweep(lws_sorted_usec_list_t *sul)
{
	struct hub *h = lws_container_of(sul, struct hub, sweep);
	int64_t now = clock_us(), wall_s = clock_wall_us() / 1000000;

	atomic_store_explicit(&h->beat, now, memory_order_relaxed);
	visitors_sweep(&h->visitors, now);
	session_sweep(&h->conns, now, wall_s);
	depart_stragglers(&h->departing);
	deliver_measure(&h->conns, now);
	sweep_in(h, h->facts.draining ? DRAIN_SWEEP_US : SWEEP_US);
}

static void sweep_in(struct hub *h, int64_t us)
{
	lws_sul_schedule(h->context, 0, &h->sweep, on_sweep, us);
}

/* --- life ------------------------------------------------------------------------------------------------------- */

static void *hub_thread(void *arg)
{
	struct hub *h = arg;

	h->facts.thread = pthread_self();
	h->facts.has_thread = true;
	sweep_in(h, SWEEP_US);
	/* Mails may have come before the loop runs. */
	hub_turn(h);
	sem_post(&h->awake);
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
	/* The hub sends the pings: the library would keep a sorted list with a timer for each connection. */
	static const lws_retry_bo_t no_pings = { 0 };
	const struct conf *conf = h->facts.shared->conf;
	void *loops[1] = { &h->loop };
	struct lws_context_creation_info info = {
		.port = CONTEXT_PORT_NO_LISTEN,
		.protocols = protocols,
		.options =
			LWS_SERVER_OPTION_LIBUV | LWS_SERVER_OPTION_EXPLICIT_VHOSTS | LWS_SERVER_OPTION_VALIDATE_UTF8,
		.foreign_loops = loops,
		.user = &h->conns,
		.gid = (gid_t)-1,
		.uid = (uid_t)-1,
		.timeout_secs = (unsigned)((conf->limits.handshake + 999) / 1000),
		.timeout_secs_ah_idle = (unsigned)((conf->limits.handshake + 999) / 1000) + AH_IDLE_BEYOND,
		.max_http_header_data = (unsigned short)(h->visitors.peeks.head_most + HEADER_NOTES),
		/* A whole TLS record: otherwise the library sometimes reads the rest of a record only when more bytes come, and a head hangs. */
		.pt_serv_buf_size = TLS_RECORD + LWS_PRE,
		.retry_and_idle_policy = &no_pings,
		.server_string = "walpush",
		.vhost_name = "walpush",
		.alpn = "http/1.1", /* HTTP/2 is never spoken */
	};

	if (h->facts.shared->identity) {
		info.options |= LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT | LWS_SERVER_OPTION_CREATE_VHOST_SSL_CTX;
		/* Otherwise the library makes a context with all the system's authorities, for outgoing connections that the hub never makes. */
		h->client_tls = SSL_CTX_new(TLS_client_method());
		info.provided_client_ssl_ctx = h->client_tls;
	}
	info.pcontext = &h->context; /* becomes NULL when the context is gone */
	h->context = lws_create_context(&info);
	if (!h->context)
		return fail_set(why,
				"libwebsockets gives no context: is the package libwebsockets-evlib-uv installed?");
	info.port = CONTEXT_PORT_NO_LISTEN_SERVER;
	h->departing.context = h->context;
	h->visitors.vhost = lws_create_vhost(h->context, &info);
	if (!h->visitors.vhost)
		return fail_set(why, "libwebsockets gives no virtual host");
	return true;
}

static size_t head_most(const struct conf_limits *limits)
{
	size_t n = HEADER_BYTES + (size_t)limits->token_bytes;

	return n < HEADERS_MOST - HEADER_NOTES ? n : HEADERS_MOST - HEADER_NOTES;
}

/* Gives each part what it needs of the others. */
static void wire(struct hub *h)
{
	h->conns.hub = &h->facts;
	h->conns.channels.hub = h->facts.index;
	h->conns.channels.to_tap = h->facts.shared->to_tap;
	h->conns.writers.counts = h->facts.counts;
	h->visitors.hub = &h->facts;
	h->visitors.peeks.loop = &h->loop;
	h->visitors.peeks.head_most = head_most(&h->facts.shared->conf->limits);
	h->departing.conns = &h->conns;
}

struct hub *hub_new(unsigned index, const struct edition *edition, struct fail *why)
{
	struct hub *h = mem_new(sizeof(*h));
	int error;

	h->facts.index = index;
	h->facts.edition = edition_ref(edition);
	h->facts.shared = &h->facts.edition->shared;
	h->facts.counts = metrics_of_hub(h->facts.shared->metrics, index);
	wire(h);
	mailbox_init(&h->inbox, wake, h);
	sem_init(&h->awake, 0, 0);
	atomic_init(&h->beat, clock_us());
	error = uv_loop_init(&h->loop);
	if (error != 0)
		fail_never("hub %u: libuv makes no loop: %s", index, uv_strerror(error));
	if (!make_context(h, why)) {
		hub_free(h);
		return NULL;
	}
	return h;
}

bool hub_start(struct hub *h, struct fail *why)
{
	h->started = thread_start(&h->thread, hub_thread, h, why);
	return h->started;
}

static bool answers(struct hub *h)
{
	struct timespec until;
	int failed;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += WAKE_LIMIT_S;
	do
		failed = sem_clockwait(&h->awake, CLOCK_MONOTONIC, &until);
	while (failed && errno == EINTR);
	return !failed;
}

bool hub_wakes(struct hub *h, struct fail *why)
{
	static const struct mail probe = { .kind = MAIL_PROBE };

	/* The thread takes its mailbox once before its loop. The probe is posted after that, so the thread finds it only if the wake-up works. */
	if (answers(h)) {
		hub_post(h, &probe);
		if (answers(h))
			return true;
	}
	return fail_set(
		why,
		"thread %u cannot be woken: it did not answer in %d s; either the host stands still, or libwebsockets "
		"and its plugin do not fit together: install the packages libwebsockets and libwebsockets-evlib-uv of "
		"one release",
		h->facts.index, WAKE_LIMIT_S);
}

static void drop_mails(struct hub *h)
{
	size_t n = mailbox_take(&h->inbox, &h->taken, &h->taken_cap);

	for (size_t i = 0; i < n; i++)
		mail_fini(&h->taken[i]);
	free(h->taken);
}

/* The library closes its handles on the loop. Some versions need a second call when the handles are closed. */
static void destroy_context(struct hub *h)
{
	if (h->context)
		lws_context_destroy(h->context);
	uv_run(&h->loop, UV_RUN_DEFAULT);
	if (h->context)
		lws_context_destroy(h->context);
	uv_run(&h->loop, UV_RUN_DEFAULT);
	uv_loop_close(&h->loop);
	SSL_CTX_free(h->client_tls);
}

void hub_free(struct hub *h)
{
	if (!h)
		return;
	if (h->started)
		pthread_join(h->thread, NULL);
	h->facts.has_thread = false;
	visitors_fini(&h->visitors);
	destroy_context(h);
	drop_mails(h);
	mailbox_fini(&h->inbox);
	depart_fini(&h->departing);
	conns_fini(&h->conns);
	peeks_fini(&h->visitors.peeks);
	sem_destroy(&h->awake);
	edition_unref(h->facts.edition);
	free(h);
}
