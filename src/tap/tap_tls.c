/* tap_tls: the certificate, read at the start and again on SIGHUP. */
#include <string.h>

#include "parts.h"
#include "walpush/base/clock.h"
#include "walpush/base/log.h"
#include "walpush/share/tls.h"
#include "walpush/base/timetext.h"

static bool is_over(const struct tls_identity *id)
{
	return tls_expires(id) <= clock_wall_us() / 1000000;
}

bool tap_begin_tls(struct tap *t, struct fail *why)
{
	const struct conf_listen *conf = &t->now.conf->listen;

	if (!conf->certificate)
		return true;
	t->shared.identity = tls_read(conf->certificate, conf->certificate_key, why);
	if (!t->shared.identity)
		return false;
	/* Only a warning, because no client could connect without a certificate either. */
	if (is_over(t->shared.identity))
		log_warn("the certificate has expired", log_s("file", conf->certificate),
			 log_s("expired", timetext_s((char[TIMETEXT_MAX]){ 0 }, tls_expires(t->shared.identity))),
			 log_fix("renew it"));
	return true;
}

static bool read_again(const struct conf_listen *conf, struct tls_identity **out, struct fail *why)
{
	*out = tls_read(conf->certificate, conf->certificate_key, why);
	return *out && (!is_over(*out) || fail_set(why, "listen.certificate: %s expired on %s", conf->certificate,
						   timetext_s((char[TIMETEXT_MAX]){ 0 }, tls_expires(*out))));
}

/* The hubs receive the new certificate by mail. `shared.identity` stays the first one until the end, because the hubs share it. */
void tap_reload_certificate(struct tap *t)
{
	struct mail mail = { .kind = MAIL_CERTIFICATE };
	struct tls_identity *id = NULL;
	struct fail why = { 0 };

	if (!t->now.conf->listen.certificate)
		return;
	if (!read_again(&t->now.conf->listen, &id, &why)) {
		log_error("the certificate is not reloaded; the one before stays", log_s("error", why.text));
	} else {
		log_info("certificate reloaded", log_s("file", t->now.conf->listen.certificate),
			 log_s("expires", timetext_s((char[TIMETEXT_MAX]){ 0 }, tls_expires(id))));
		for (unsigned i = 0; i < t->n_hubs; i++) {
			mail.identity = tls_ref(id);
			hub_post(t->hubs[i], &mail);
		}
	}
	tls_unref(id);
}
