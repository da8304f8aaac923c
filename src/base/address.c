#include "walpush/base/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#include "walpush/base/texts.h"

static const uint8_t mapped[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF };

static bool is_ipv4(const struct address *a)
{
	return memcmp(a->bytes, mapped, sizeof(mapped)) == 0;
}

static struct address of_ipv4(const void *four_bytes)
{
	struct address a;

	memcpy(a.bytes, mapped, sizeof(mapped));
	memcpy(a.bytes + sizeof(mapped), four_bytes, 4);
	return a;
}

struct address address_of(const struct sockaddr *socket_address)
{
	struct address a = { { 0 } };

	if (socket_address->sa_family == AF_INET)
		return of_ipv4(&((const struct sockaddr_in *)(const void *)socket_address)->sin_addr);
	if (socket_address->sa_family == AF_INET6)
		memcpy(a.bytes, &((const struct sockaddr_in6 *)(const void *)socket_address)->sin6_addr,
		       sizeof(a.bytes));
	return a;
}

bool address_parse(struct slice text, struct address *out)
{
	char terminated[ADDRESS_TEXT_MAX];
	uint8_t four[4];

	if (text.len >= sizeof(terminated) || memchr(text.at, '\0', text.len))
		return false;
	memcpy(terminated, text.at, text.len);
	terminated[text.len] = '\0';
	if (inet_pton(AF_INET, terminated, four) == 1) {
		*out = of_ipv4(four);
		return true;
	}
	return inet_pton(AF_INET6, terminated, out->bytes) == 1;
}

char *address_format(const struct address *a, char out[ADDRESS_TEXT_MAX])
{
	if (is_ipv4(a))
		inet_ntop(AF_INET, a->bytes + sizeof(mapped), out, ADDRESS_TEXT_MAX);
	else
		inet_ntop(AF_INET6, a->bytes, out, ADDRESS_TEXT_MAX);
	return out;
}

struct address address_counted(const struct address *a)
{
	struct address counted = *a;

	if (!is_ipv4(a))
		memset(counted.bytes + 8, 0, 8);
	return counted;
}

static bool same_bits(const struct address *a, const struct address *b, unsigned n)
{
	unsigned whole = n / 8, rest = n % 8;
	uint8_t mask = (uint8_t)(0xFF00u >> rest);

	return memcmp(a->bytes, b->bytes, whole) == 0 &&
	       (rest == 0 || ((a->bytes[whole] ^ b->bytes[whole]) & mask) == 0);
}

/* "10.0.0.0/8" is /104 of the sixteen bytes. */
static bool parse_network(struct slice text, struct address *network, unsigned *bits)
{
	const char *slash = memchr(text.at, '/', text.len);
	size_t n = slash ? (size_t)(slash - text.at) : text.len;
	unsigned width;

	if (!address_parse((struct slice){ text.at, n }, network))
		return false;
	width = memchr(text.at, ':', n) ? 128 : 32;
	*bits = width;
	if (slash) {
		*bits = 0;
		n++;
		if (n == text.len || text.len - n > 3)
			return false;
		for (; n < text.len; n++) {
			if (text.at[n] < '0' || text.at[n] > '9')
				return false;
			*bits = *bits * 10 + (unsigned)(text.at[n] - '0');
		}
	}
	if (*bits > width)
		return false;
	*bits += 128 - width;
	return true;
}

bool address_in(const struct address *a, const struct texts *networks)
{
	for (size_t i = 0; i < networks->n; i++) {
		struct address network;
		unsigned bits;

		if (parse_network(slice_of(networks->at[i].text), &network, &bits) && same_bits(a, &network, bits))
			return true;
	}
	return false;
}

static struct slice trim(struct slice s)
{
	while (s.len && (s.at[0] == ' ' || s.at[0] == '\t')) {
		s.at++;
		s.len--;
	}
	while (s.len && (s.at[s.len - 1] == ' ' || s.at[s.len - 1] == '\t'))
		s.len--;
	return s;
}

/* Some proxies write the port as well: "1.2.3.4:5678", "[::1]:5678". */
static struct slice without_port(struct slice hop)
{
	const char *end = hop.len ? memchr(hop.at, hop.at[0] == '[' ? ']' : ':', hop.len) : NULL;

	if (end && hop.at[0] == '[')
		return (struct slice){ hop.at + 1, (size_t)(end - hop.at) - 1 };
	if (end && !memchr(end + 1, ':', hop.len - (size_t)(end + 1 - hop.at)))
		return (struct slice){ hop.at, (size_t)(end - hop.at) };
	return hop;
}

struct address address_forwarded(const struct address *peer, struct slice forwarded, const struct texts *trusted)
{
	struct address client = *peer;

	while (forwarded.len && address_in(&client, trusted)) {
		const char *comma = memrchr(forwarded.at, ',', forwarded.len);
		size_t at = comma ? (size_t)(comma - forwarded.at) + 1 : 0;
		struct slice hop = trim((struct slice){ forwarded.at + at, forwarded.len - at });

		if (!address_parse(without_port(hop), &client))
			break;
		forwarded.len = comma ? at - 1 : 0;
	}
	return client;
}
