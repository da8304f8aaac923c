/*
 * cmd_listen: `walpush listen`, a subscriber for people: one message a line on stdout until the server closes or Ctrl-C.
 */
#include <getopt.h>
#include <libwebsockets.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "walpush/base/buf.h"
#include "cmd.h"
#include "walpush/conf/conf.h"
#include "walpush/token/token.h"

#define LIFETIME 3600 /* seconds of the minted token */

struct listening {
	const char *file;
	const char *user;
	const char *path;
	struct conf *conf;
	struct buf url;     /* path and token */
	struct buf message; /* the fragments received so far */
	unsigned close_code;
	char close_words[124]; /* "": none came */
	bool ended;
	int status;
};

static volatile sig_atomic_t interrupted;

static void on_interrupt(int signal_number)
{
	(void)signal_number;
	interrupted = 1;
}

static int usage(const char *complaint)
{
	fprintf(stderr, "walpush listen: %s\nusage: walpush listen [-c sidecar.conf] --user USER PATH\n", complaint);
	return CMD_USAGE;
}

static int parse_options(int argc, char **argv, struct listening *l)
{
	static const struct option names[] = {
		{ "config", required_argument, NULL, 'c' },
		{ "user", required_argument, NULL, 'u' },
		{ NULL, 0, NULL, 0 },
	};
	int option;

	l->file = "sidecar.conf";
	optind = 0;
	while ((option = getopt_long(argc, argv, ":c:u:", names, NULL)) != -1) {
		if (option == 'c')
			l->file = optarg;
		else if (option == 'u')
			l->user = optarg;
		else
			return usage(option == ':' ? "an option lacks its value" : "unknown option");
	}
	if (!l->user || optind + 1 != argc || argv[optind][0] != '/')
		return usage("a user and one path are needed, such as --user 7 /ws/requests/1/");
	l->path = argv[optind];
	return CMD_FINE;
}

static int make_url(struct listening *l)
{
	struct fail why = { 0 };
	struct token_keys *keys;
	int status = CMD_USAGE;

	l->conf = conf_load(l->file, &why);
	keys = l->conf ? token_keys_new(&l->conf->jwt, &why) : NULL;
	buf_addf(&l->url, "%s?token=", l->path);
	if (!keys)
		fprintf(stderr, "walpush listen: %s\n", why.text);
	else if (!token_mint(keys, &l->conf->jwt, l->user, time(NULL), LIFETIME, &l->url, &why))
		fprintf(stderr, "walpush listen: %s\n", why.text);
	else
		status = CMD_FINE;
	token_keys_free(keys);
	return status;
}

static void end(struct listening *l, int status)
{
	l->ended = true;
	l->status = status;
}

static void take_bytes(struct listening *l, struct lws *wsi, const char *bytes, size_t len)
{
	buf_add(&l->message, bytes, len);
	if (!lws_is_final_fragment(wsi) || lws_remaining_packet_payload(wsi))
		return;
	printf("%.*s\n", (int)l->message.len, l->message.data);
	if (fflush(stdout) != 0)
		end(l, CMD_FAILED);
	buf_clear(&l->message);
}

/* Bytes that a terminal may take for its own are left out. */
static void note_close(struct listening *l, const char *bytes, size_t len)
{
	size_t n = 0;

	if (len < 2)
		return;
	l->close_code = (unsigned)(unsigned char)bytes[0] << 8 | (unsigned char)bytes[1];
	for (size_t i = 2; i < len && n + 1 < sizeof(l->close_words); i++)
		if (bytes[i] >= ' ' && bytes[i] <= '~')
			l->close_words[n++] = bytes[i];
}

static void say_closed(struct listening *l)
{
	if (interrupted)
		return;
	/* The library treats the codes 1012 to 1014, which the registry added later, as an error of the protocol. */
	if (l->close_code == 1002)
		fprintf(stderr, "walpush listen: the server closed with 1012 or 1013 (%s); try again\n",
			l->close_words);
	else if (l->close_code)
		fprintf(stderr, "walpush listen: the server closed with %u (%s); see docs/protocol.md\n", l->close_code,
			l->close_words);
	else
		fputs("walpush listen: the connection broke\n", stderr);
	end(l, CMD_FAILED);
}

static int on_event(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len)
{
	struct listening *l = lws_context_user(lws_get_context(wsi));

	(void)user;
	switch (reason) {
	case LWS_CALLBACK_CLIENT_CONNECTION_ERROR:
		fprintf(stderr, "walpush listen: cannot connect: %s\n", in ? (const char *)in : "refused");
		end(l, CMD_FAILED);
		return 0;
	case LWS_CALLBACK_CLIENT_RECEIVE:
		take_bytes(l, wsi, in, len);
		return 0;
	case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE:
		note_close(l, in, len);
		return 0;
	case LWS_CALLBACK_CLIENT_CLOSED:
		say_closed(l);
		return 0;
	default:
		return 0;
	}
}

static const struct lws_protocols protocols[] = {
	{ "walpush", on_event, 0, 65536, 0, NULL, 0 },
	{ NULL, NULL, 0, 0, 0, NULL, 0 },
};

/* The address of all interfaces is reached on the loopback address. */
static const char *reachable(const char *address)
{
	if (strcmp(address, "0.0.0.0") == 0)
		return "127.0.0.1";
	return strcmp(address, "::") == 0 ? "::1" : address;
}

static int subscribe(struct listening *l)
{
	struct lws_context_creation_info info = {
		.port = CONTEXT_PORT_NO_LISTEN,
		.protocols = protocols,
		.gid = (gid_t)-1,
		.uid = (uid_t)-1,
		.user = l,
	};
	struct lws_client_connect_info to = {
		.address = reachable(l->conf->listen.address),
		.port = (int)l->conf->listen.port,
		.path = l->url.data,
		.ietf_version_or_minus_one = -1,
	};
	struct sigaction action = { .sa_handler = on_interrupt };

	if (l->conf->listen.certificate) {
		info.options = LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT | LWS_SERVER_OPTION_DISABLE_OS_CA_CERTS;
		/* The server is our own, on an address of this host, so any name in its certificate is accepted. */
		to.ssl_connection = LCCSCF_USE_SSL | LCCSCF_ALLOW_SELFSIGNED | LCCSCF_ALLOW_INSECURE |
				    LCCSCF_ALLOW_EXPIRED | LCCSCF_SKIP_SERVER_CERT_HOSTNAME_CHECK;
	}
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	lws_set_log_level(0, NULL);
	to.host = to.address;
	to.context = lws_create_context(&info);
	if (!to.context)
		return CMD_FAILED;
	if (!lws_client_connect_via_info(&to) && !l->ended)
		end(l, CMD_FAILED);
	while (!l->ended && !interrupted)
		lws_service(to.context, 0);
	lws_context_destroy(to.context);
	return l->status;
}

int cmd_listen(int argc, char **argv)
{
	struct listening l = { 0 };
	int status = parse_options(argc, argv, &l);

	if (status == CMD_FINE)
		status = make_url(&l);
	if (status == CMD_FINE)
		status = subscribe(&l);
	if (l.url.data)
		explicit_bzero(l.url.data, l.url.len);
	buf_fini(&l.url);
	buf_fini(&l.message);
	conf_free(l.conf);
	return status;
}
