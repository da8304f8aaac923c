/* Any message: what is taken for a ping or an auth is one to jansson too, and a pong gives back the timestamp of its ping. */
#include <assert.h>
#include <stdint.h>

#include "walpush/text/clientmsg.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int depth_of(const json_t *value)
{
	const char *key;
	json_t *each;
	int deepest = 0;
	size_t i;

	if (!json_is_object(value) && !json_is_array(value))
		return 0;
	json_array_foreach(value, i, each) deepest = depth_of(each) > deepest ? depth_of(each) : deepest;
	json_object_foreach((json_t *)value, key, each) deepest = depth_of(each) > deepest ? depth_of(each) : deepest;
	return deepest + 1;
}

static void check_pong(const struct clientmsg *m, json_t *root)
{
	struct buf out = { 0 };
	json_t *pong;

	clientmsg_pong(m, &out);
	pong = json_loadb(out.data, out.len, JSON_REJECT_DUPLICATES, NULL);
	assert(pong);
	assert(strcmp(json_string_value(json_object_get(pong, "type")), "pong") == 0);
	assert(json_object_size(pong) == (m->timestamp ? 2 : 1));
	assert(!m->timestamp || json_equal(json_object_get(pong, "timestamp"), json_object_get(root, "timestamp")));
	json_decref(pong);
	buf_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice text = { (const char *)data, size };
	struct clientmsg m;
	json_t *root;

	clientmsg_parse(text, &m);
	if (m.kind != CLIENTMSG_OTHER) {
		root = json_loadb(text.at, text.len, JSON_REJECT_DUPLICATES, NULL);
		assert(json_is_object(root) && depth_of(root) <= 16);
		if (m.kind == CLIENTMSG_PING)
			check_pong(&m, root);
		else
			assert(strcmp(m.token, json_string_value(json_object_get(root, "token"))) == 0);
		json_decref(root);
	}
	clientmsg_fini(&m);
	assert(!m.root);
	return 0;
}
