/* What needs no database: the keys of tokens, the certificate, the limits of open files and of memory. */
#include "parts.h"

#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

#include "walpush/base/buf.h"
#include "walpush/share/edition.h"
#include "walpush/base/files.h"
#include "walpush/base/memory.h"
#include "walpush/share/tls.h"
#include "walpush/token/token.h"
#include "walpush/token/token_pem.h"

#define SOON_S (14 * 86400)

/* A file that cannot be loaded does not get here. */
void check_configuration(struct check *c)
{
	if (c->conf->listen.compression) {
		check_add(c, CHECK_FAILURE, CHECK_CONF, "listen.compression = false",
			  "listen.compression is not supported yet");
		return;
	}
	check_ok(c, "%s: %zu streams, %zu sections of tables", c->conf->file, c->conf->n_streams, c->conf->n_tables);
}

/* A request without Origin is always admitted. No browser sends such a request, but tools do, so a first try with a tool does not show
 * that the setting is missing. */
void check_origins(struct check *c)
{
	if (c->conf->listen.origins.n)
		check_ok(c, "%zu listed", c->conf->listen.origins.n);
	else
		check_add(c, CHECK_WARNING, CHECK_CONF, "listen.origins = [\"https://app.example.org\"]",
			  "listen.origins is not set: no browser can connect");
}

/* --- keys ----------------------------------------------------------------------------------------------------- */

/* The algorithm that fits the first key; NULL: this key is not a PEM that can be read. */
static const char *fitting_algorithm(const struct conf_jwt *jwt)
{
	static const char *const names[] = { "RS256", "ES256", "ES384", "ES512" };
	struct token_pem pem;
	struct fail why;

	if (jwt->n_keys == 0 || !token_pem_is(jwt->keys[0].key) || !token_pem_read(jwt->keys[0].key, &pem, &why))
		return NULL;
	return names[pem.kind];
}

/* RFC 7518, 3.2: a secret is at least as long as the hash. */
static void check_secret_length(struct check *c)
{
	const struct conf_jwt *jwt = &c->conf->jwt;
	size_t wanted = (size_t)atoi(jwt->algorithm + 2) / 8;

	for (size_t i = 0; i < jwt->n_keys; i++)
		if (strncmp(jwt->algorithm, "HS", 2) == 0 && strlen(jwt->keys[i].key) < wanted)
			check_add(c, CHECK_WARNING, CHECK_WORDS,
				  "give Django and walpush a new one: openssl rand -hex 32",
				  "a key of %zu bytes can be guessed; %s wants at least %zu", strlen(jwt->keys[i].key),
				  jwt->algorithm, wanted);
}

void check_key(struct check *c)
{
	const struct conf_jwt *jwt = &c->conf->jwt;
	struct fail why = { 0 };
	struct token_keys *keys = token_keys_new(jwt, &why);
	const char *fitting = keys ? NULL : fitting_algorithm(jwt);
	struct buf fix = { 0 };
	size_t before = c->n_findings;

	if (keys) {
		check_secret_length(c);
		if (c->n_findings == before)
			check_ok(c, "%s, %zu key%s", jwt->algorithm, jwt->n_keys, jwt->n_keys == 1 ? "" : "s");
	} else if (fitting && strcmp(fitting, jwt->algorithm) != 0) {
		buf_addf(&fix, "jwt.algorithm = \"%s\"", fitting);
		check_add(c, CHECK_FAILURE, CHECK_CONF, fix.data, "line %u: %s", why.line, why.text);
	} else {
		check_add(c, CHECK_FAILURE, CHECK_WORDS, "set the application's key in jwt", "line %u: %s", why.line,
			  why.text);
	}
	token_keys_free(keys);
	buf_fini(&fix);
}

/* --- the certificate ------------------------------------------------------------------------------------------ */

static void check_dates(struct check *c, int64_t expires)
{
	const char *file = c->conf->listen.certificate;
	int64_t now = time(NULL);

	if (expires <= now)
		check_add(c, CHECK_FAILURE, CHECK_WORDS, "renew it", "%s has expired: browsers refuse it", file);
	else if (expires <= now + SOON_S)
		check_add(c, CHECK_WARNING, CHECK_WORDS, "renew it", "%s expires within 14 days", file);
	else
		check_ok(c, "%s fits its key", file);
}

void check_certificate(struct check *c)
{
	const struct conf_listen *listen = &c->conf->listen;
	struct fail why = { 0 };
	struct tls_identity *id;

	if (!listen->certificate) {
		check_ok(c, "none: a proxy in front does TLS");
		return;
	}
	id = tls_read(listen->certificate, listen->certificate_key, &why);
	if (id)
		check_dates(c, tls_expires(id));
	else
		check_add(c, CHECK_FAILURE, CHECK_WORDS,
			  "let listen.certificate and listen.certificate-key name a PEM chain, leaf first, and its key",
			  "%s", why.text);
	tls_unref(id);
}

/* --- files ---------------------------------------------------------------------------------------------------- */

void check_file_limit(struct check *c)
{
	unsigned hubs = edition_hubs(c->conf);
	int64_t wanted = c->conf->limits.connections, kept = (int64_t)files_kept(hubs);
	struct rlimit limit;
	struct buf fix = { 0 };
	struct fail why;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_max == RLIM_INFINITY) {
		check_ok(c, "no limit");
		return;
	}
	if (!files_suffice(limit.rlim_max, hubs, &why)) {
		check_add(c, CHECK_FAILURE, CHECK_WORDS, "raise the limit of open files (ulimit -n, LimitNOFILE)", "%s",
			  why.text);
		return;
	}
	if (wanted + kept <= (int64_t)limit.rlim_max) {
		check_ok(c, "%llu open files: enough for %lld connections", (unsigned long long)limit.rlim_max,
			 wanted ? (long long)wanted : (long long)limit.rlim_max - kept);
		return;
	}
	buf_addf(&fix, "limits.connections = %lld", (long long)limit.rlim_max - kept);
	check_add(c, CHECK_FAILURE, CHECK_CONF, fix.data,
		  "the process may open %llu files, too few for limits.connections = %lld (systemd: LimitNOFILE=)",
		  (unsigned long long)limit.rlim_max, (long long)wanted);
	buf_fini(&fix);
}

/* --- memory --------------------------------------------------------------------------------------------------- */

#define MIB (1u << 20)
/* Bytes for code, threads and libraries; a connection needs little. */
#define MEMORY_BASE (48u * MIB)

/* The largest power of two that fits together with the other memory for a record, so that the advised number works. */
static uint64_t fitting_record(uint64_t room)
{
	uint64_t bytes = MIB;

	while (memory_for_record(bytes * 2) <= room)
		bytes *= 2;
	return bytes;
}

void check_memory(struct check *c)
{
	uint64_t limit = memory_limit(), record = memory_record_bytes((uint64_t)c->conf->limits.record_bytes);
	uint64_t others = MEMORY_BASE + (uint64_t)c->conf->limits.log_bytes, needs = others + memory_for_record(record);
	struct buf fix = { 0 };

	if (limit == MEMORY_UNLIMITED) {
		check_ok(c, "no limit; a row of limits.record-bytes and limits.log-bytes take up to %llu MiB",
			 (unsigned long long)needs / MIB);
		return;
	}
	if (needs <= limit) {
		check_ok(c, "%llu MiB, of which up to %llu are used", (unsigned long long)limit / MIB,
			 (unsigned long long)needs / MIB);
		return;
	}
	if (limit > others + memory_for_record(MIB)) {
		buf_addf(&fix, "limits.record-bytes = \"%llu MiB\"",
			 (unsigned long long)fitting_record(limit - others) / MIB);
		check_add(c, CHECK_WARNING, CHECK_CONF, fix.data,
			  "the process may have %llu MiB, and a row of %llu MiB (limits.record-bytes) beside "
			  "limits.log-bytes needs "
			  "%llu: such a row may become a resync",
			  (unsigned long long)limit / MIB, (unsigned long long)record / MIB,
			  (unsigned long long)needs / MIB);
	} else {
		buf_addf(&fix, "limits.log-bytes = \"%llu MiB\"", (unsigned long long)limit / 4 / MIB);
		check_add(c, CHECK_WARNING, CHECK_CONF, fix.data,
			  "the process may have %llu MiB, too few for limits.log-bytes and a row beside them",
			  (unsigned long long)limit / MIB);
	}
	buf_fini(&fix);
}
