#include "pgvalue.h"
#include "walpush/change/render.h"

void render_value(const struct column *value, uint32_t type, uint32_t element, struct buf *out)
{
	struct pgtext text;

	if (!value || value->kind == VALUE_NULL) {
		buf_add(out, "null", 4);
		return;
	}
	text = (struct pgtext){ value->value, true };
	if (value->kind != VALUE_STRING && type != PG_NUMERIC)
		buf_add_slice(out, value->value);
	else if (element)
		pgvalue_composed(text, pgvalue_array, element, out);
	else
		pgvalue_scalar(text, type, out);
}

void render_sql_value(const struct sqlrows *rows, size_t row, const char *column, struct buf *out)
{
	int at = rows && row < rows->n_rows ? sqlrows_column(rows, column) : -1;
	const char *text = at < 0 ? NULL : sqlrows_get(rows, row, (size_t)at);

	if (text)
		pgvalue_scalar((struct pgtext){ slice_of(text), false }, rows->types[at], out);
	else
		buf_add(out, "null", 4);
}

bool render_is_json(const char *text)
{
	return pgvalue_is_json(slice_of(text));
}

void render_timestamp(struct slice pg, struct buf *out)
{
	if (!pgvalue_timestamp(pg, true, out))
		buf_add_json(out, pg);
}
