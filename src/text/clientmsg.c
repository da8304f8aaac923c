#include "walpush/text/clientmsg.h"

/* Bytes. No valid message is larger: the longest token (TOKEN_LENGTH_MAX) and a little more. limits.message-bytes is usually lower. */
#define LENGTH_MAX (128 * 1024)
#define DEPTH_MAX 16

/*
 * Are brackets nested at most DEPTH_MAX deep? jansson allows a depth of 2048, with recursion when it parses and when it frees. Malformed
 * JSON may pass this check; jansson refuses it later.
 */
static bool is_shallow(struct slice text)
{
	bool in_string = false;
	int depth = 0;

	for (size_t i = 0; i < text.len; i++) {
		char c = text.at[i];

		if (in_string && c == '\\')
			i++;
		else if (c == '"')
			in_string = !in_string;
		else if (!in_string && (c == '{' || c == '['))
			depth++;
		else if (!in_string && (c == '}' || c == ']'))
			depth--;
		if (depth > DEPTH_MAX)
			return false;
	}
	return true;
}

static enum clientmsg_kind classify(struct clientmsg *m)
{
	/* NULL if the value is not a string, or `root` is not an object. */
	const char *type = json_string_value(json_object_get(m->root, "type"));

	if (type && strcmp(type, "ping") == 0) {
		m->timestamp = json_object_get(m->root, "timestamp");
		return CLIENTMSG_PING;
	}
	if (type && strcmp(type, "auth") == 0) {
		m->token = json_string_value(json_object_get(m->root, "token"));
		return m->token ? CLIENTMSG_AUTH : CLIENTMSG_OTHER;
	}
	return CLIENTMSG_OTHER;
}

void clientmsg_parse(struct slice text, struct clientmsg *out)
{
	*out = (struct clientmsg){ .kind = CLIENTMSG_OTHER };
	if (text.len > LENGTH_MAX || !is_shallow(text))
		return;
	out->root = json_loadb(text.at, text.len, JSON_REJECT_DUPLICATES, NULL);
	out->kind = classify(out);
}

void clientmsg_fini(struct clientmsg *m)
{
	json_decref(m->root);
	*m = (struct clientmsg){ .kind = CLIENTMSG_OTHER };
}

static int add_to_buf(const char *bytes, size_t n, void *out)
{
	buf_add(out, bytes, n);
	return 0;
}

/*
 * Writes the fewest digits (15 to 17; source: IEEE 754 double) with which every number of `value` reads back the same: a client that sent
 * 0.1 receives 0.1 and not 0.10000000000000001.
 */
static void add_value(const json_t *value, struct buf *out)
{
	size_t start = out->len;

	for (size_t digits = 15; digits <= 17; digits++) {
		json_t *again;
		bool same;

		out->len = start;
		json_dump_callback(value, add_to_buf, out,
				   JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(digits));
		again = json_loadb(out->data + start, out->len - start, JSON_DECODE_ANY, NULL);
		same = json_equal(value, again);
		json_decref(again);
		if (same)
			return;
	}
}

void clientmsg_pong(const struct clientmsg *ping, struct buf *out)
{
	buf_add_text(out, "{\"type\":\"pong\"");
	if (ping->timestamp) {
		buf_add_text(out, ",\"timestamp\":");
		add_value(ping->timestamp, out);
	}
	buf_add_char(out, '}');
}
