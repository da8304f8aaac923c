/* wsload_options: what the load client is asked to do, from its command line. A mistake there ends it with status 2. */
#ifndef WALPUSH_BENCH_WSLOAD_OPTIONS_H
#define WALPUSH_BENCH_WSLOAD_OPTIONS_H

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define STORMS_MAX 16

struct options {
	struct sockaddr_in server;
	const char *host;
	const char *path;
	const char *token, *tokens;
	uint32_t port, connections, expect, slow, sources, inflight, timeout; /* timeout in seconds */
	uint32_t groups, storms, linger;                                      /* linger in milliseconds */
	bool latency;
	bool loose; /* the server is another one: its messages have no ids */
	bool until_closed;
};

_Noreturn static inline void options_usage(void)
{
	fprintf(stderr, "usage: wsload --port P --path PATH [options]\n"
			"  --groups G       connection n puts 1 + n modulo G in place of the path's %% (1)\n"
			"  --host ADDR      IPv4 address of the server (127.0.0.1)\n"
			"  --token TOKEN    sent as ?token=\n"
			"  --tokens FILE    a token a line; connection n sends that of line 1 + n modulo their number\n"
			"  --connections N  how many subscribers (1)\n"
			"  --expect M       changes each must receive; 0: stay until SIGTERM (0)\n"
			"  --slow K         the first K of them do not read once they are connected (0)\n"
			"  --sources S      spread over 127.0.0.2 … 127.0.0.(S+1) (1: the system's choice)\n"
			"  --inflight F     handshakes at a time (128)\n"
			"  --timeout S      give up after so many seconds without progress (60)\n"
			"  --linger MS      wait so long for changes too many before closing (0)\n"
			"  --storms K       hang up and come back, all at once, K times, once all are connected (0)\n"
			"  --until-closed   the server must close them all, with 1012; says when that was\n"
			"  --loose          the messages have no ids: only their number and sameness are checked\n"
			"  --latency        measure from the message's updated_at to its receipt\n");
	exit(2);
}

static inline uint32_t options_number(const char *text)
{
	char *end;
	errno = 0;
	unsigned long n = strtoul(text, &end, 10);
	if (errno || end == text || *end || *text == '-' || n > UINT32_MAX)
		options_usage();
	return (uint32_t)n;
}

static inline void options_parse(struct options *o, int argc, char **argv)
{
	*o = (struct options){
		.host = "127.0.0.1", .connections = 1, .sources = 1, .inflight = 128, .timeout = 60, .groups = 1
	};
	const struct {
		const char *name;
		uint32_t *number; /* either this */
		const char **text;
	} table[] = {
		{ "port", &o->port, NULL },       { "connections", &o->connections, NULL },
		{ "expect", &o->expect, NULL },   { "slow", &o->slow, NULL },
		{ "sources", &o->sources, NULL }, { "inflight", &o->inflight, NULL },
		{ "timeout", &o->timeout, NULL }, { "host", NULL, &o->host },
		{ "path", NULL, &o->path },       { "token", NULL, &o->token },
		{ "groups", &o->groups, NULL },   { "storms", &o->storms, NULL },
		{ "linger", &o->linger, NULL },   { "tokens", NULL, &o->tokens },
	};
	enum { VALUED = sizeof table / sizeof *table };
	struct option longs[VALUED + 4] = { [VALUED] = { "latency", no_argument, NULL, VALUED },
					    [VALUED + 1] = { "loose", no_argument, NULL, VALUED + 1 },
					    [VALUED + 2] = { "until-closed", no_argument, NULL, VALUED + 2 } };
	for (int i = 0; i < VALUED; i++)
		longs[i] = (struct option){ table[i].name, required_argument, NULL, i };
	for (int i; (i = getopt_long(argc, argv, "", longs, NULL)) != -1;) {
		if (i == VALUED)
			o->latency = true;
		else if (i == VALUED + 1)
			o->loose = true;
		else if (i == VALUED + 2)
			o->until_closed = true;
		else if (i < 0 || i > VALUED)
			options_usage();
		else if (table[i].number)
			*table[i].number = options_number(optarg);
		else
			*table[i].text = optarg;
	}
	o->server = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons((uint16_t)o->port) };
	if (optind != argc || !o->path || o->port - 1 > 65534 || !o->connections || o->slow > o->connections ||
	    o->sources - 1 > 249 || !o->inflight || !o->groups || o->storms > STORMS_MAX || (o->storms && o->loose) ||
	    inet_pton(AF_INET, o->host, &o->server.sin_addr) != 1)
		options_usage();
}

#endif
