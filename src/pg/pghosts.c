#include "pghosts.h"

#include <libpq-fe.h>
#include <stdlib.h>
#include <string.h>

#include "walpush/base/mem.h"

#define PORT_DEFAULT "5432" /* libpq's */

/* --- lists ---------------------------------------------------------------------------------------------------------- */

static bool is_given(const char *list)
{
	return list && *list;
}

static size_t count(const char *list)
{
	size_t n = 1;

	for (; *list; list++)
		n += *list == ',';
	return n;
}

/* The i-th part, "" if the list is not given. */
static char *part(const char *list, size_t i)
{
	if (!is_given(list))
		return mem_text("");
	while (i--)
		list = strchr(list, ',') + 1;
	return mem_text_of((struct slice){ list, strcspn(list, ",") });
}

/* Adds one part; `i` parts are before it. */
static void add_part(struct buf *list, size_t i, const char *text)
{
	if (i)
		buf_add_char(list, ',');
	buf_add_text(list, text);
}

/* --- hosts ---------------------------------------------------------------------------------------------------------- */

static bool is_socket(const char *host)
{
	return *host == '\0' || *host == '/' || *host == '@';
}

/* Do the lists have the same length? If they do not, libpq reports its own error, and looks up nothing. */
static bool fit(const char *host, const char *hostaddr, const char *port)
{
	size_t n = count(host);

	return (!is_given(hostaddr) || count(hostaddr) == n) &&
	       (!is_given(port) || count(port) == 1 || count(port) == n);
}

void pghosts_parse(const char *host, const char *hostaddr, const char *port, struct pghosts *out)
{
	*out = (struct pghosts){ 0 };
	if (!is_given(host) || !fit(host, hostaddr, port))
		return;
	out->n = count(host);
	out->at = mem_new_array(out->n, sizeof(*out->at));
	for (size_t i = 0; i < out->n; i++) {
		struct pghost *h = &out->at[i];

		h->host = part(host, i);
		h->hostaddr = part(hostaddr, i);
		h->port = part(port, is_given(port) && count(port) > 1 ? i : 0);
		h->is_name = !*h->hostaddr && !is_socket(h->host) && !resolve_is_address(h->host);
		out->n_names += h->is_name;
	}
}

void pghosts_fini(struct pghosts *h)
{
	for (size_t i = 0; i < h->n; i++) {
		free(h->at[i].host);
		free(h->at[i].hostaddr);
		free(h->at[i].port);
	}
	free(h->at);
	*h = (struct pghosts){ 0 };
}

/* --- the options as libpq completes them ---------------------------------------------------------------------------- */

/*
 * Only libpq knows how it completes a connection string. PQconninfoParse does not complete it, and PQconndefaults does not know a `service` in
 * it. A PGconn has the completed options. With an impossible `sslmode` libpq gives up before it uses the network.
 */
static PQconninfoOption *complete(const char *url)
{
	const char *const keys[] = { "dbname", "sslmode", NULL }, *const values[] = { url, "impossible", NULL };
	PGconn *conn = PQconnectStartParams(keys, values, 1);
	PQconninfoOption *options = conn ? PQconninfo(conn) : NULL;

	PQfinish(conn);
	return options;
}

void pghosts_read(const char *url, struct pghosts *out)
{
	PQconninfoOption *options = complete(url);
	const char *host = NULL, *hostaddr = NULL, *port = NULL;

	for (const PQconninfoOption *o = options; o && o->keyword; o++) {
		if (strcmp(o->keyword, "host") == 0)
			host = o->val;
		else if (strcmp(o->keyword, "hostaddr") == 0)
			hostaddr = o->val;
		else if (strcmp(o->keyword, "port") == 0)
			port = o->val;
	}
	pghosts_parse(host, hostaddr, port, out);
	PQconninfoFree(options);
}

/* --- with addresses ------------------------------------------------------------------------------------------------- */

static size_t add_host(struct pghosts_lists *l, size_t n, const struct pghost *h, const char *address)
{
	add_part(&l->host, n, h->host);
	add_part(&l->hostaddr, n, address);
	/* A list of one empty part means no list to libpq, so libpq would use the port of the connection string. */
	add_part(&l->port, n, *h->port ? h->port : PORT_DEFAULT);
	return n + 1;
}

bool pghosts_lists(const struct pghosts *h, struct pghosts_lists *out, struct fail *why)
{
	const struct pghost *missing = pghosts_missing(h);
	size_t n = 0;

	*out = (struct pghosts_lists){ 0 };
	for (size_t i = 0; i < h->n; i++) {
		if (!h->at[i].is_name)
			n = add_host(out, n, &h->at[i], h->at[i].hostaddr);
		for (size_t a = 0; h->at[i].is_name && a < h->at[i].answer.n; a++)
			n = add_host(out, n, &h->at[i], h->at[i].answer.addresses[a]);
	}
	if (!n && missing)
		resolve_fail(why, missing->host, &missing->answer);
	return n || !missing;
}

void pghosts_lists_fini(struct pghosts_lists *l)
{
	buf_fini(&l->host);
	buf_fini(&l->hostaddr);
	buf_fini(&l->port);
}

const struct pghost *pghosts_missing(const struct pghosts *h)
{
	for (size_t i = 0; i < h->n; i++)
		if (h->at[i].is_name && !h->at[i].answer.n)
			return &h->at[i];
	return NULL;
}
