#include "walpush/explain/explain.h"

json_t *explain_names(const struct group_names *names, const char *groups, size_t n, size_t most)
{
	json_t *all = json_array();
	struct buf shown = { 0 };

	for (size_t i = 0; i < n && i < most; i++, groups += strlen(groups) + 1) {
		buf_clear(&shown);
		group_name_show(names, slice_of(groups), &shown);
		json_array_append_new(all, json_stringn(buf_slice(&shown).at, shown.len));
	}
	buf_fini(&shown);
	return all;
}
