/* The hub as the tap has it: a thread, its mailbox, and sockets. The test is the tap; it waits for what the hub says, and for nothing else. */
#include "home.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <poll.h>
#include <semaphore.h>

#include "walpush/hub/hub.h"
#include "walpush/share/tls.h"

#define OWN "/ws/own/"
#define PATIENCE 20000 /* ms, of a machine that does not answer; a test that passes waits for no part of it */

static struct hub *hub;
static sem_t mails;

static void on_mail(void *ctx)
{
	(void)ctx;
	sem_post(&mails);
}

static struct mail await_mail(enum mail_kind kind)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += PATIENCE / 1000;
	while (home.next_taken == home.n_taken) {
		home.n_taken = mailbox_take(&home.to_tap, &home.taken, &home.taken_cap);
		home.next_taken = 0;
		if (home.n_taken == 0)
			assert_int_equal(sem_clockwait(&mails, CLOCK_MONOTONIC, &until), 0);
	}
	return home_mail(kind);
}

static void make_hub(void)
{
	struct fail why = { 0 };

	hub = hub_new(0, home.facts.edition, &why);
	if (!hub)
		fail_msg("%s", why.text);
}

static void start_hub(void)
{
	struct fail why = { 0 };

	make_hub();
	if (!hub_start(hub, &why) || !hub_wakes(hub, &why))
		fail_msg("%s", why.text);
}

static int open_hub(void **state)
{
	home_open(state);
	mailbox_fini(&home.to_tap);
	mailbox_init(&home.to_tap, on_mail, NULL);
	sem_init(&mails, 0, 0);
	hub = NULL;
	return 0;
}

static void stop_hub(void)
{
	hub_post(hub, &(struct mail){ .kind = MAIL_STOP });
	hub_free(hub);
	hub = NULL;
}

static int close_hub(void **state)
{
	if (hub)
		stop_hub();
	home_close(state);
	sem_destroy(&mails);
	return 0;
}

/* --- clients ------------------------------------------------------------------------------------------------------- */

static struct client *connect_to_hub(void)
{
	struct mail mail = { .kind = MAIL_SOCKET };
	struct client *k = &home.clients[home.n_clients++];
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	fcntl(fds[0], F_SETFL, O_NONBLOCK);
	address_parse(SLICE("10.1.2.3"), &mail.socket.peer);
	gate_accept(home.gate, &home.edition->shared.conf->limits, &mail.socket.peer, false);
	mail.socket.fd = fds[0];
	*k = (struct client){ .fd = fds[1] };
	hub_post(hub, &mail);
	return k;
}

static void await_bytes(struct client *k)
{
	struct pollfd wait = { .fd = k->fd, .events = POLLIN };

	assert_int_equal(poll(&wait, 1, PATIENCE), 1);
	client_pull(k);
}

/* The next message, or "close:CODE". */
static const char *await_text(struct client *k)
{
	unsigned char first;
	const char *text;
	static char close_text[16];

	while (!(text = client_frame(k, &first)))
		await_bytes(k);
	if (first != 0x88)
		return text;
	snprintf(close_text, sizeof(close_text), "close:%u",
		 (unsigned)(unsigned char)text[0] << 8 | (unsigned char)text[1]);
	return close_text;
}

static void ask(struct client *k, const char *path)
{
	char *token = home_token("7", "clerk", "");
	struct buf request = { 0 };

	buf_addf(&request, "GET %s?token=%s HTTP/1.1\r\n" CLIENT_UPGRADE "\r\n", path, token);
	client_say_bytes(k, request.data, request.len);
	buf_fini(&request);
	free(token);
}

static struct client *open_socket(const char *path)
{
	struct client *k = connect_to_hub();
	const char *end;

	ask(k, path);
	do {
		await_bytes(k);
		end = memmem(k->in.data, k->in.len, "\r\n\r\n", 4);
	} while (!end);
	k->read = (size_t)(end + 4 - k->in.data);
	assert_memory_equal(k->in.data, "HTTP/1.1 101", 12);
	return k;
}

/* Returns the connection's id. */
static uint64_t admit(struct client *k, const char *topics)
{
	struct mail mail = await_mail(MAIL_ADMIT);

	home_say_yes(&mail);
	home_seats(&mail, topics, mail.given.id);
	hub_post(hub, &mail);
	assert_non_null(strstr(await_text(k), "connection_established"));
	return mail.connection;
}

/* As the tap does it: first the logs, then the position, then the mail. */
static void tell(unsigned topic, lsn_t lsn, const char *text)
{
	struct mail news = { .kind = MAIL_DIRTY, .topic = home.topics[topic], .published = lsn + 1 };

	home_append(topic, lsn, 1, text);
	topiclog_publish(home.log, lsn + 1);
	hub_post(hub, &news);
}

#define assert_next(client, text) assert_string_equal(await_text(client), text)

/* --- tests --------------------------------------------------------------------------------------------------------- */

static void from_the_socket_to_the_message(void **state)
{
	struct client *k;

	(void)state;
	start_hub();
	hub_post(hub, &(struct mail){ .kind = MAIL_EPOCH, .epoch = "e1" });
	k = open_socket(OWN);
	admit(k, "01");
	tell(0, 100, "a");
	assert_next(k, "a");
	tell(2, 200, "of a group that it does not receive");
	tell(1, 300, "b");
	assert_next(k, "b");
	assert_true(hub_beat(hub) > 0);
}

/* All of one turn: the position first, then the mails. A limit that was posted before an append is seen before what was appended. */
static void a_limit_holds_what_is_appended_after_it(void **state)
{
	struct mail limit = { .kind = MAIL_LIMIT };
	struct client *k, *other;
	uint64_t id;

	(void)state;
	start_hub();
	k = open_socket(OWN);
	id = admit(k, "0");
	other = open_socket(OWN);
	admit(other, "0");
	limit.connection = id;
	for (lsn_t lsn = 1000; lsn < 1500; lsn += 10) {
		limit.limit = lsn;
		hub_post(hub, &limit);
		tell(0, lsn, "held");
		limit.limit = LSN_MAX;
		assert_next(other, "held"); /* the hub has delivered this one */
		client_pull(k);
		assert_int_equal(k->in.len, k->read);
		hub_post(hub, &limit);
		assert_next(k, "held");
	}
}

static void another_history(void **state)
{
	struct mail mail = { .kind = MAIL_MOVED,
			     .given = { .limit = LSN_MAX, .id = { 50, 0 }, .reason = RESYNC_EPOCH } };
	struct client *k;

	(void)state;
	start_hub();
	k = open_socket(OWN);
	mail.connection = admit(k, "0");
	tell(0, 100, "a");
	assert_next(k, "a");
	topiclog_reset(home.log, 50);
	hub_post(hub, &(struct mail){ .kind = MAIL_EPOCH, .epoch = "e2" });
	hub_post(hub, &(struct mail){ .kind = MAIL_EMPTIED, .published = 50 });
	home_seats(&mail, "0", mail.given.id);
	hub_post(hub, &mail);
	tell(0, 60, "b");
	assert_next(k, "{\"again\":\"epoch\"}");
	assert_next(k, "b");
}

/* A hub may see the position of another history before the mail that says so. Two connections that are admitted show that it has had its turn. */
static void another_history_before_its_mail(void **state)
{
	struct mail mail = { .kind = MAIL_MOVED,
			     .given = { .limit = LSN_MAX, .id = { 50, 0 }, .reason = RESYNC_EPOCH } };
	struct client *k, *others[2];
	struct mail admit_mails[2];

	(void)state;
	start_hub();
	k = open_socket(OWN);
	mail.connection = admit(k, "0");
	tell(0, 100, "a");
	assert_next(k, "a");
	for (unsigned i = 0; i < 2; i++) {
		others[i] = open_socket(OWN);
		admit_mails[i] = await_mail(MAIL_ADMIT);
	}
	topiclog_reset(home.log, 50);
	home_append(0, 60, 1, "b");
	topiclog_publish(home.log, 61);
	hub_post(hub, &(struct mail){ .kind = MAIL_DIRTY, .topic = home.topics[0] });
	for (unsigned i = 0; i < 2; i++) {
		home_say_yes(&admit_mails[i]);
		admit_mails[i].given.limit = 0;
		hub_post(hub, &admit_mails[i]);
		assert_non_null(strstr(await_text(others[i]), "connection_established"));
	}
	hub_post(hub, &(struct mail){ .kind = MAIL_EMPTIED, .published = 50 });
	home_seats(&mail, "0", mail.given.id);
	hub_post(hub, &mail);
	assert_next(k, "{\"again\":\"epoch\"}");
	hub_post(hub, &(struct mail){ .kind = MAIL_DIRTY, .topic = home.topics[0], .published = 61 });
	assert_next(k, "b");
}

static void changed_and_refused(void **state)
{
	struct mail about = { .kind = MAIL_LIMIT, .limit = 100 };
	struct client *k;

	(void)state;
	start_hub();
	k = open_socket(OWN);
	about.connection = admit(k, "0");
	hub_post(hub, &about);
	about.kind = MAIL_CHANGED;
	hub_post(hub, &about);
	about.kind = MAIL_REFUSED;
	about.code = 4403;
	hub_post(hub, &about);
	assert_next(k, "close:4403");
	await_mail(MAIL_ENDED);
	await_mail(MAIL_LEFT);
}

static void another_edition(void **state)
{
	struct mail mail = { .kind = MAIL_EDITION };
	struct client *stays, *goes;
	char *other = mem_text(HOME_CONF);

	(void)state;
	start_hub();
	stays = open_socket(OWN);
	admit(stays, "0");
	goes = open_socket("/ws/closing/");
	admit(goes, "1");
	memcpy(strstr(other, "groups = [ \"g\" ]\n    resync"), "groups = [ \"h\" ]", 16);
	mail.edition = home_edition(other);
	hub_post(hub, &mail);
	assert_next(goes, "close:1012");
	tell(0, 100, "a");
	assert_next(stays, "a");
	free(other);
}

/* Another process has the slot: all go, and those that come meanwhile go with the next mail. Then the process stops. */
static void everybody_goes(void **state)
{
	struct mail mail = { .kind = MAIL_CLOSE };
	struct client *k, *silent;

	(void)state;
	home_use("per-address = 50", "handshake = 300"); /* s: its time is not what ends the silent one */
	start_hub();
	k = open_socket(OWN);
	admit(k, "0");
	hub_post(hub, &mail);
	hub_post(hub, &mail);
	assert_next(k, "close:1012");
	await_mail(MAIL_ENDED);
	await_mail(MAIL_LEFT);
	silent = connect_to_hub();
	mail.close.final = true;
	hub_post(hub, &mail);
	while (!silent->ended)
		await_bytes(silent);
	client_close(k);
	await_mail(MAIL_GONE);
}

/* What nobody will take any more is freed: mails that came after the last turn, with all that they hold. */
static void the_end_frees_what_is_in_the_mailbox(void **state)
{
	struct mail mail = { .kind = MAIL_ADMITTED };
	struct client *k;

	(void)state;
	make_hub(); /* and not started: nothing is taken */
	k = connect_to_hub();
	home_seats(&mail, "012", mail.given.id);
	hub_post(hub, &mail);
	hub_post(hub, &(struct mail){ .kind = MAIL_EDITION, .edition = edition_ref(home.edition) });
	hub_free(hub);
	hub = NULL;
	client_pull(k);
	assert_true(k->ended);
	for (unsigned t = 0; t < 3; t++)
		topic_unsubscribe(home.log, home.topics[t], 0);
	assert_int_equal(atomic_load(&home.edition->refs), 2); /* the test's own two */
	hub_free(NULL);
}

/* Open connections, of which some wait, and a socket without a request. */
static void the_end_closes_what_is_open(void **state)
{
	struct client *open, *asks, *silent;

	(void)state;
	start_hub();
	open = open_socket(OWN);
	admit(open, "0");
	asks = open_socket(OWN);
	await_mail(MAIL_ADMIT);
	ticket_unref(home.taken[home.next_taken - 1].asked.ticket);
	silent = connect_to_hub();
	stop_hub();
	client_pull(open);
	client_pull(asks);
	client_pull(silent);
	assert_true(open->ended && asks->ended && silent->ended);
}

/* --- TLS ----------------------------------------------------------------------------------------------------------- */

static void write_pem(FILE *certificate, FILE *key, const char *name)
{
	EVP_PKEY *pair = EVP_EC_gen("P-256");
	X509 *x = X509_new();

	ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
	X509_gmtime_adj(X509_getm_notBefore(x), -60);
	X509_gmtime_adj(X509_getm_notAfter(x), 3600);
	X509_set_pubkey(x, pair);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1,
				   0);
	X509_set_issuer_name(x, X509_get_subject_name(x));
	X509_sign(x, pair, EVP_sha256());
	PEM_write_X509(certificate, x);
	PEM_write_PrivateKey(key, pair, NULL, NULL, 0, NULL, NULL);
	X509_free(x);
	EVP_PKEY_free(pair);
}

static struct tls_identity *identity_of(const char *name)
{
	char certificate[] = "/tmp/walpush-cert-XXXXXX", key[] = "/tmp/walpush-key-XXXXXX";
	FILE *c = fdopen(mkstemp(certificate), "w"), *k = fdopen(mkstemp(key), "w");
	struct fail why = { 0 };
	struct tls_identity *id;

	write_pem(c, k, name);
	fclose(c);
	fclose(k);
	id = tls_read(certificate, key, &why);
	if (!id)
		fail_msg("%s", why.text);
	unlink(certificate);
	unlink(key);
	return id;
}

/* A WebSocket over TLS: whose certificate is shown? */
static void open_tls(SSL_CTX *context, const char *name)
{
	struct client *k = connect_to_hub();
	SSL *ssl = SSL_new(context);
	char answer[4096], subject[64] = "";
	X509 *shown;
	int n;

	SSL_set_fd(ssl, k->fd);
	assert_int_equal(SSL_connect(ssl), 1);
	shown = SSL_get1_peer_certificate(ssl);
	X509_NAME_get_text_by_NID(X509_get_subject_name(shown), NID_commonName, subject, sizeof(subject));
	assert_string_equal(subject, name);
	X509_free(shown);
	snprintf(answer, sizeof(answer), "GET " OWN " HTTP/1.1\r\n" CLIENT_UPGRADE "\r\n");
	assert_int_equal(SSL_write(ssl, answer, (int)strlen(answer)), strlen(answer));
	n = SSL_read(ssl, answer, sizeof(answer));
	assert_true(n > 12);
	assert_memory_equal(answer, "HTTP/1.1 101", 12);
	SSL_free(ssl);
}

static void over_tls(void **state)
{
	SSL_CTX *context = SSL_CTX_new(TLS_client_method());
	struct tls_identity *first = identity_of("first");
	struct edition *plain = home.facts.edition;

	(void)state;
	home.world.identity = first;
	home.facts.edition = home_edition(HOME_CONF);
	home.facts.shared = &home.facts.edition->shared;
	start_hub();
	open_tls(context, "first");
	hub_post(hub, &(struct mail){ .kind = MAIL_CERTIFICATE, .identity = identity_of("second") });
	open_tls(context, "second");
	stop_hub();
	edition_unref(plain);
	tls_unref(first);
	SSL_CTX_free(context);
}

#define ON_A_THREAD(test) cmocka_unit_test_setup_teardown(test, open_hub, close_hub)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ON_A_THREAD(from_the_socket_to_the_message),
		ON_A_THREAD(a_limit_holds_what_is_appended_after_it),
		ON_A_THREAD(another_history),
		ON_A_THREAD(another_history_before_its_mail),
		ON_A_THREAD(changed_and_refused),
		ON_A_THREAD(another_edition),
		ON_A_THREAD(everybody_goes),
		ON_A_THREAD(the_end_frees_what_is_in_the_mailbox),
		ON_A_THREAD(the_end_closes_what_is_open),
		ON_A_THREAD(over_tls),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
