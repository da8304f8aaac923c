#include "walpush/token/token_pem.h"

#include <string.h>

#include "walpush/base/buf.h"

#define BEGIN "-----BEGIN "
#define END "-----END "
#define DASHES "-----"

enum { DER_INTEGER = 0x02, DER_BIT_STRING = 0x03, DER_SEQUENCE = 0x30 };

/* RFC 7518, section 3.3: RSA keys below 2048 bits must not be used. The modulus of 2048 bits has this many bytes. */
#define RSA_BYTES_MIN 256

/* The whole AlgorithmIdentifier of each kind. */
static const struct {
	const char *name;
	struct slice identifier;
} kinds[] = {
	[TOKEN_PEM_RSA] = { "RSA", { "\x30\x0D\x06\x09\x2A\x86\x48\x86\xF7\x0D\x01\x01\x01\x05\x00", 15 } },
	[TOKEN_PEM_P256] = { "EC P-256",
			     { "\x30\x13\x06\x07\x2A\x86\x48\xCE\x3D\x02\x01\x06\x08\x2A\x86\x48\xCE\x3D\x03\x01\x07",
			       21 } },
	[TOKEN_PEM_P384] = { "EC P-384",
			     { "\x30\x10\x06\x07\x2A\x86\x48\xCE\x3D\x02\x01\x06\x05\x2B\x81\x04\x00\x22", 18 } },
	[TOKEN_PEM_P521] = { "EC P-521",
			     { "\x30\x10\x06\x07\x2A\x86\x48\xCE\x3D\x02\x01\x06\x05\x2B\x81\x04\x00\x23", 18 } },
};

const char *token_pem_name(enum token_pem_kind kind)
{
	return kinds[kind].name;
}

bool token_pem_is(const char *text)
{
	return strstr(text, BEGIN) != NULL;
}

static int base64_value(char c)
{
	static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const char *found = c ? strchr(alphabet, c) : NULL;

	return found ? (int)(found - alphabet) : -1;
}

/* Base64 with line ends. False: there are headers ("Proc-Type: …") or other text that is not base64. */
static bool decode_body(struct slice body, struct buf *der)
{
	unsigned bits = 0, n_bits = 0, n_pads = 0;

	for (size_t i = 0; i < body.len; i++) {
		int value = base64_value(body.at[i]);

		if (strchr("\r\n \t", body.at[i]))
			continue;
		if (body.at[i] == '=' && n_pads < 2) {
			n_pads++;
			continue;
		}
		if (value < 0 || n_pads)
			return false;
		bits = bits << 6 | (unsigned)value;
		n_bits += 6;
		if (n_bits >= 8) {
			n_bits -= 8;
			buf_add_char(der, (char)(bits >> n_bits));
		}
	}
	return der->len > 0;
}

/* Takes the first element of `der`: *body is its content, *whole the element with its head. */
static bool der_take(struct slice *der, unsigned char tag, struct slice *body, struct slice *whole)
{
	const unsigned char *s = (const unsigned char *)der->at;
	size_t head = 2, len;

	if (der->len < head || s[0] != tag)
		return false;
	len = s[1];
	if (len >= 0x80) { /* one or two bytes of length follow; that is enough for every key */
		head += len - 0x80;
		if (head < 3 || head > 4 || der->len < head)
			return false;
		len = head == 3 ? s[2] : (size_t)s[2] << 8 | s[3];
	}
	if (len > der->len - head)
		return false;
	*whole = (struct slice){ der->at, head + len };
	*body = (struct slice){ der->at + head, len };
	der->at += head + len;
	der->len -= head + len;
	return true;
}

static bool kind_of(struct slice identifier, enum token_pem_kind *out)
{
	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
		if (slice_equal(identifier, kinds[i].identifier)) {
			*out = (enum token_pem_kind)i;
			return true;
		}
	return false;
}

static bool read_der(struct slice der, struct token_pem *out, struct fail *why)
{
	struct slice outer, identifier, body, whole;

	if (!der_take(&der, DER_SEQUENCE, &outer, &whole) || der.len)
		return fail_set(why, "the key is cut or damaged");
	if (out->private && !der_take(&outer, DER_INTEGER, &body, &whole))
		return fail_set(why, "the key is damaged");
	if (!der_take(&outer, DER_SEQUENCE, &body, &identifier))
		return fail_set(why, "the key is damaged");
	if (!kind_of(identifier, &out->kind))
		return fail_set(why, "the key is neither RSA nor on the curves P-256, P-384, P-521");
	if (out->private)
		return true;
	if (!der_take(&outer, DER_BIT_STRING, &body, &whole) || outer.len)
		return fail_set(why, "the key is damaged");
	if (out->kind == TOKEN_PEM_RSA && body.len < RSA_BYTES_MIN)
		return fail_set(why, "an RSA key needs 2048 bits or more");
	return true;
}

static bool read_label(struct slice label, struct token_pem *out, struct fail *why)
{
	out->private = slice_equal(label, SLICE("PRIVATE KEY"));
	if (out->private || slice_equal(label, SLICE("PUBLIC KEY")))
		return true;
	if (slice_equal(label, SLICE("CERTIFICATE")))
		return fail_set(why, "this is a certificate; take its key: openssl x509 -pubkey -noout -in FILE");
	if (slice_equal(label, SLICE("RSA PUBLIC KEY")))
		return fail_set(why, "convert the key: openssl rsa -RSAPublicKey_in -pubout -in FILE");
	return fail_set(why, "\"%.*s\" is not understood; give the public key: openssl pkey -pubout -in FILE",
			(int)label.len, label.at);
}

static bool ends_with_label(const char *tail, struct slice label)
{
	const size_t end = strlen(END);

	return strncmp(tail, END, end) == 0 && strncmp(tail + end, label.at, label.len) == 0 &&
	       strncmp(tail + end + label.len, DASHES, strlen(DASHES)) == 0;
}

bool token_pem_read(const char *text, struct token_pem *out, struct fail *why)
{
	const char *begin = strstr(text, BEGIN), *end, *tail;
	struct buf der = { 0 };
	struct slice label;
	bool ok;

	if (!begin)
		return fail_set(why, "a PEM text is needed, \"-----BEGIN PUBLIC KEY-----\" and so on");
	label.at = begin + strlen(BEGIN);
	end = strstr(label.at, DASHES);
	tail = end ? strstr(end + strlen(DASHES), DASHES) : NULL;
	label.len = end ? (size_t)(end - label.at) : 0;
	/* The label of a cut text may contain line ends. A label that is too long is not put into a message. */
	if (!tail || label.len > 32 || memchr(label.at, '\n', label.len))
		return fail_set(why, "the PEM text is cut");
	if (!read_label(label, out, why))
		return false;
	if (!ends_with_label(tail, label))
		return fail_set(why, "the PEM text is cut");
	if (strstr(tail, BEGIN))
		return fail_set(why, "the PEM text holds more than one key; give each its own entry in jwt.keys");
	end += strlen(DASHES);
	if (decode_body((struct slice){ end, (size_t)(tail - end) }, &der))
		ok = read_der(buf_slice(&der), out, why);
	else
		ok = fail_set(why, "the PEM text is damaged or encrypted");
	buf_fini(&der);
	return ok;
}
