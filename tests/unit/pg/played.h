/*
 * played: a PostgreSQL server that the test plays, message by message, on a Unix socket. For the tests of what speaks to one through libpq.
 *
 * One loop turns for both sides: whatever the server waits for, the client's loop runs meanwhile, so nothing sleeps. PLAYED_PATIENCE bounds
 * what never comes.
 */
#ifndef TEST_PLAYED_H
#define TEST_PLAYED_H

#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "walpush/base/buf.h"
#include "walpush/base/clock.h"

#define PLAYED_PATIENCE 20000000 /* µs */
#define PLAYED_MORE 4096

struct played {
	struct event_base *loop;
	int listener, peer; /* -1: nobody is connected */
	char directory[32], path[64], url[256];
	struct buf in;      /* what came and was not taken yet */
	struct buf message; /* the last one taken */
};

static inline void played_open(struct played *p)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };

	*p = (struct played){ .loop = event_base_new(), .peer = -1, .directory = "/tmp/walpush-played-XXXXXX" };
	assert_non_null(mkdtemp(p->directory));
	snprintf(p->path, sizeof(p->path), "%s/.s.PGSQL.5432", p->directory);
	snprintf(p->url, sizeof(p->url),
		 "postgresql:///app?host=%s&port=5432&user=walpush&password=x&sslmode=disable&gssencmode=disable",
		 p->directory);
	strcpy(at.sun_path, p->path);
	p->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_int_equal(bind(p->listener, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(listen(p->listener, 5), 0);
}

static inline void played_hang_up(struct played *p)
{
	if (p->peer >= 0)
		close(p->peer);
	p->peer = -1;
	buf_clear(&p->in);
}

static inline void played_close(struct played *p)
{
	played_hang_up(p);
	close(p->listener);
	unlink(p->path);
	rmdir(p->directory);
	buf_fini(&p->in);
	buf_fini(&p->message);
	event_base_free(p->loop);
}

static inline void played_turn(struct played *p)
{
	event_base_loop(p->loop, EVLOOP_NONBLOCK);
}

/* --- what the client sends -------------------------------------------------------------------------------------- */

static inline uint32_t played_number(const char *at)
{
	const unsigned char *b = (const unsigned char *)at;

	return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

/* False: it hung up. */
static inline bool played_wait_bytes(struct played *p, size_t n)
{
	int64_t until = clock_us() + PLAYED_PATIENCE;

	while (p->in.len < n) {
		ssize_t got;

		played_turn(p);
		got = recv(p->peer, buf_reserve(&p->in, PLAYED_MORE), PLAYED_MORE, MSG_DONTWAIT);
		if (got == 0 || (got < 0 && errno == ECONNRESET))
			return false;
		if (got > 0)
			p->in.len += (size_t)got;
		if (clock_us() > until)
			fail_msg("the client does not send what it should");
	}
	return true;
}

/* A message's body into p->message, terminated. 0: the client hung up. The first message of a connection has no kind: 1. */
static inline char played_take(struct played *p, bool has_kind)
{
	size_t head = has_kind ? 5 : 4, len;
	char kind;

	if (!played_wait_bytes(p, head))
		return 0;
	kind = has_kind ? *p->in.data : 1;
	len = played_number(p->in.data + head - 4) - 4;
	assert_true(played_wait_bytes(p, head + len));
	buf_clear(&p->message);
	buf_add(&p->message, p->in.data + head, len);
	p->in.len -= head + len;
	memmove(p->in.data, p->in.data + head + len, p->in.len);
	return kind;
}

/* The text of the query that comes next. */
static inline const char *played_query(struct played *p)
{
	assert_int_equal(played_take(p, true), 'Q');
	return p->message.data;
}

/* --- what the server sends -------------------------------------------------------------------------------------- */

static inline void played_add_number(struct buf *out, uint32_t n)
{
	for (int shift = 24; shift >= 0; shift -= 8)
		buf_add_char(out, (char)(n >> shift));
}

static inline void played_say(struct played *p, char kind, const void *body, size_t len)
{
	struct buf out = { 0 };

	buf_add_char(&out, kind);
	played_add_number(&out, (uint32_t)len + 4);
	if (len)
		buf_add(&out, body, len);
	assert_int_equal(send(p->peer, out.data, out.len, MSG_NOSIGNAL), out.len);
	buf_fini(&out);
}

static inline void played_ready(struct played *p)
{
	played_say(p, 'Z', "I", 1);
}

/* An error, without what follows it. */
static inline void played_error(struct played *p, const char *severity, const char *sqlstate, const char *text)
{
	struct buf out = { 0 };

	buf_addf(&out, "S%s%cV%s%cC%s%cM%s%c", severity, 0, severity, 0, sqlstate, 0, text, 0);
	buf_add_char(&out, '\0');
	played_say(p, 'E', out.data, out.len);
	buf_fini(&out);
}

/* The answer of a simple query with one row, "a|b|-", where - is NULL; NULL: no row. */
static inline void played_rows(struct played *p, size_t n_columns, const char *row)
{
	struct buf out = { 0 };

	buf_add_char(&out, '\0');
	buf_add_char(&out, (char)n_columns);
	for (size_t i = 0; i < n_columns; i++) {
		buf_add(&out, "c", 2);
		buf_add(&out, "\0\0\0\0\0\0\0\0\0\31\377\377\377\377\377\377\0\0", 18);
	}
	played_say(p, 'T', out.data, out.len);
	buf_clear(&out);
	buf_add_char(&out, '\0');
	buf_add_char(&out, (char)n_columns);
	for (const char *at = row; at;) {
		size_t len = strcspn(at, "|");
		bool is_null = len == 1 && *at == '-';

		played_add_number(&out, is_null ? UINT32_MAX : (uint32_t)len);
		if (!is_null)
			buf_add(&out, at, len);
		at = at[len] ? at + len + 1 : NULL;
	}
	if (row)
		played_say(p, 'D', out.data, out.len);
	played_say(p, 'C', "SELECT 1", 9);
	played_ready(p);
	buf_fini(&out);
}

/* Accepts who connects, as far as its first message: what it asks for at the start. */
static inline void played_accept(struct played *p)
{
	int64_t until = clock_us() + PLAYED_PATIENCE;

	played_hang_up(p);
	while (p->peer < 0) {
		played_turn(p);
		p->peer = accept4(p->listener, NULL, NULL, SOCK_CLOEXEC);
		if (clock_us() > until)
			fail_msg("the client does not connect");
	}
	assert_int_equal(played_take(p, false), 1);
}

/* And lets it in. */
static inline void played_let_in(struct played *p)
{
	played_accept(p);
	played_say(p, 'R', "\0\0\0\0", 4);
	played_say(p, 'S', "server_version\00017.0", 20);
	played_say(p, 'K', "\0\0\0\1\0\0\0\2", 8);
	played_ready(p);
}

/* --- replication ------------------------------------------------------------------------------------------------ */

static inline void played_add_lsn(struct buf *out, uint64_t n)
{
	played_add_number(out, (uint32_t)(n >> 32));
	played_add_number(out, (uint32_t)n);
}

static inline void played_record(struct played *p, uint64_t end, const char *text)
{
	struct buf out = { 0 };

	buf_add_char(&out, 'w');
	played_add_lsn(&out, end);
	played_add_lsn(&out, end);
	played_add_lsn(&out, 0);
	buf_add_text(&out, text);
	played_say(p, 'd', out.data, out.len);
	buf_fini(&out);
}

static inline void played_keepalive(struct played *p, uint64_t end, bool reply)
{
	struct buf out = { 0 };

	buf_add_char(&out, 'k');
	played_add_lsn(&out, end);
	played_add_lsn(&out, 0);
	buf_add_char(&out, reply);
	played_say(p, 'd', out.data, out.len);
	buf_fini(&out);
}

struct played_status { /* what the client confirms */
	uint64_t written, flushed;
	bool demands_reply;
};

static inline struct played_status played_status(struct played *p)
{
	const char *at;

	assert_int_equal(played_take(p, true), 'd');
	assert_int_equal(p->message.len, 34);
	at = p->message.data;
	assert_int_equal(*at, 'r');
	return (struct played_status){ (uint64_t)played_number(at + 1) << 32 | played_number(at + 5),
				       (uint64_t)played_number(at + 9) << 32 | played_number(at + 13), at[33] };
}

#endif
