#include "walpush/text/pgurl.h"

#include <stdbool.h>
#include <string.h>

#include "walpush/base/address.h"

/* Bytes. A shorter password may be in a message by chance. */
#define PASSWORD_LEAST 4

#define EXAMPLE "postgresql://user:password@host:5432/name"
#define ENCODED "; in user and password write @ as %40, : as %3A, / as %2F, ? as %3F, # as %23, % as %25"

static const char unreadable[] = "a connection string that libpq understands, such as " EXAMPLE ENCODED;
static const char several_signs[] =
	"a connection string with one @, between password and host, such as " EXAMPLE ENCODED;
static const char no_host[] = "a connection string in which host and port are such, as in " EXAMPLE ENCODED;
static const char no_name[] = "a connection string in which user and database are names, as in " EXAMPLE ENCODED;

static const char *behind_scheme(const char *url)
{
	static const char *const schemes[] = { "postgresql://", "postgres://" };

	for (size_t i = 0; i < sizeof(schemes) / sizeof(*schemes); i++)
		if (strncmp(url, schemes[i], strlen(schemes[i])) == 0)
			return url + strlen(schemes[i]);
	return NULL;
}

/* For libpq the password ends at the first '@' before the first '/'. Any other '@' before the query is part of a password that is not
 * percent-encoded. */
static bool has_one_sign(const char *rest)
{
	const char *sign = rest + strcspn(rest, "@/");
	const char *host = *sign == '@' ? sign + 1 : rest;
	const char *query = host + strcspn(host, "?");

	return !memchr(host, '@', (size_t)(query - host));
}

/* One entry of a list with commas. "/dir" and "@name" are sockets, and a zone may follow an address. */
static bool is_host(struct slice host)
{
	static const char of_names[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-_";
	const char *zone = host.len ? memchr(host.at, '%', host.len) : NULL;
	struct slice bare = { host.at, zone ? (size_t)(zone - host.at) : host.len };
	struct address ignored;

	if (host.len == 0)
		return true;
	if (host.at[0] == '/' || host.at[0] == '@')
		return !memchr(host.at + 1, '@', host.len - 1);
	if (memchr(host.at, ':', host.len) || zone)
		return address_parse(bare, &ignored);
	for (size_t i = 0; i < host.len; i++)
		if (!host.at[i] || !strchr(of_names, host.at[i]))
			return false;
	return true;
}

static bool are_hosts(const char *list)
{
	for (;;) {
		size_t n = strcspn(list, ",");

		if (!is_host((struct slice){ list, n }))
			return false;
		if (!list[n])
			return true;
		list += n + 1;
	}
}

static bool are_ports(const char *list)
{
	return list[strspn(list, "0123456789, ")] == '\0';
}

/* A user or a database with one of these characters is a misread part of a URL, or of the notation of another driver. */
static bool is_user(const char *text)
{
	return !strpbrk(text, ":/;=");
}

static bool is_database(const char *text)
{
	return !strpbrk(text, ";=") && !strstr(text, "://");
}

static const char *trouble_of(const char *keyword, const char *value)
{
	if (strcmp(keyword, "host") == 0 || strcmp(keyword, "hostaddr") == 0)
		return are_hosts(value) ? NULL : no_host;
	if (strcmp(keyword, "port") == 0)
		return are_ports(value) ? NULL : no_host;
	if (strcmp(keyword, "user") == 0)
		return is_user(value) ? NULL : no_name;
	if (strcmp(keyword, "dbname") == 0)
		return is_database(value) ? NULL : no_name;
	return NULL;
}

const char *pgurl_trouble(const char *url)
{
	const char *rest = behind_scheme(url), *trouble = NULL;
	PQconninfoOption *parts;

	if (rest && !has_one_sign(rest))
		return several_signs;
	parts = PQconninfoParse(url, NULL);
	if (!parts)
		return unreadable;
	for (const PQconninfoOption *p = parts; p->keyword && !trouble; p++)
		if (p->val)
			trouble = trouble_of(p->keyword, p->val);
	PQconninfoFree(parts);
	return trouble;
}

/* A password that is a part of a shown text, for example of the user's name, appears in every message that has this text. */
bool pgurl_reveals(const char *message, const char *password, const char *const *shown, size_t n_shown)
{
	if (!password || strlen(password) < PASSWORD_LEAST || !strstr(message, password))
		return false;
	for (size_t i = 0; i < n_shown; i++)
		if (shown[i] && strstr(shown[i], password))
			return false;
	return true;
}

const char *pgurl_error(const PGconn *conn)
{
	const char *const shown[] = { PQuser(conn), PQdb(conn), PQhost(conn) };
	const char *message = PQerrorMessage(conn);

	if (pgurl_reveals(message, PQpass(conn), shown, sizeof(shown) / sizeof(*shown)))
		return "the connection failed; what was said about it repeats the password, and is not shown";
	return message;
}
