/* The format of a single text. Each function returns NULL, or says what the text should be. No message shows the text itself. */
#include <arpa/inet.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "parts.h"
#include "walpush/text/host.h"
#include "walpush/text/origin.h"
#include "walpush/text/pgurl.h"

const char *conf_accept_url(const char *text)
{
	return pgurl_trouble(text);
}

const char *conf_accept_redis(const char *text)
{
	if ((strncmp(text, "redis://", 8) == 0 && text[8]) || (strncmp(text, "rediss://", 9) == 0 && text[9]))
		return NULL;
	return "redis://host:port/number (rediss:// for TLS)";
}

/* NAMEDATALEN and ReplicationSlotValidateName of PostgreSQL. */
const char *conf_accept_slot(const char *text)
{
	size_t n = strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789_");

	return text[n] == '\0' && n <= 63 ? NULL : "at most 63 lower-case letters, digits and underscores";
}

static int address_bits(const char *text)
{
	unsigned char address[16];

	if (inet_pton(AF_INET, text, address) == 1)
		return 32;
	return inet_pton(AF_INET6, text, address) == 1 ? 128 : 0;
}

const char *conf_accept_address(const char *text)
{
	return address_bits(text) ? NULL : "an IP address without brackets, such as 127.0.0.1, 0.0.0.0 or ::";
}

/* The value of a text of decimal digits, at most `max`; -1: the text is not such a number. */
static long small_number(const char *text, long max)
{
	size_t n = strspn(text, "0123456789");

	if (n == 0 || n > 5 || text[n] != '\0' || atol(text) > max)
		return -1;
	return atol(text);
}

const char *conf_accept_proxy(const char *text)
{
	static const char should[] = "an IP address or a network, such as 10.0.0.0/8";
	const char *slash = strchr(text, '/');
	size_t n = slash ? (size_t)(slash - text) : strlen(text);
	char address[INET6_ADDRSTRLEN];
	int bits;

	if (n >= sizeof(address))
		return should;
	memcpy(address, text, n);
	address[n] = '\0';
	bits = address_bits(address);
	return bits && (!slash || small_number(slash + 1, bits) >= 0) ? NULL : should;
}

const char *conf_accept_origin(const char *text)
{
	struct fail why;

	return origin_check(text, &why)
		       ? NULL
		       : "\"*\" or scheme://host or scheme://host:port, without a path or a slash at the end";
}

const char *conf_accept_host(const char *text)
{
	return host_is_name(text) ? NULL : "the name of a host, such as walpush.example.org, without a port";
}

/* It is sent in a header, as it is. */
const char *conf_accept_admin_token(const char *text)
{
	size_t n = 0;

	while (text[n] > 0x20 && text[n] < 0x7F)
		n++;
	return text[n] == '\0' && n >= 16 && n <= 1024
		       ? NULL
		       : "16 to 1024 characters without blanks, such as what `openssl rand -hex 24` prints";
}

const char *conf_accept_path(const char *text)
{
	return *text == '/' ? NULL : "a path that begins with a slash, such as /ws/requests/<int:unit_id>/";
}

const char *conf_accept_message(const char *text)
{
	json_t *json = json_loads(text, JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL, NULL);
	bool ok = json_is_object(json);

	json_decref(json);
	return ok ? NULL : "a JSON object, such as {\\\"type\\\":\\\"changed\\\",\\\"id\\\":\\\"{id}\\\"}";
}

const char *conf_accept_resync(const char *text)
{
	if (strcmp(text, "close") == 0 || !conf_accept_message(text))
		return NULL;
	return "\"close\" or a JSON object";
}

/* The zone is written to the options of a session, where a blank would begin another option. */
const char *conf_accept_timezone(const char *text)
{
	size_t n = strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+-/");

	return text[n] == '\0' && n <= 63 ? NULL : "a time zone's IANA name, such as UTC or Europe/Berlin";
}

static bool is_table(const char *text)
{
	const char *dot = strchr(text, '.');

	return !dot || (dot > text && dot[1] && !strchr(dot + 1, '.'));
}

const char *conf_accept_table(const char *text)
{
	return is_table(text) && !strchr(text, '*') ? NULL
						    : "\"table\" or \"schema.table\", one table: without a \"*\"";
}

const char *conf_accept_tables(const char *text)
{
	const char *dot = strchr(text, '.'), *star = strchr(text, '*');

	if (!is_table(text))
		return "\"table\" or \"schema.table\"";
	if (!star || (dot && star < dot && !strchr(star + 1, '*')))
		return NULL;
	return "\"schema.table\" with one \"*\" in the schema, such as \"tenant_*.orders\"; a table has its name in "
	       "full";
}
