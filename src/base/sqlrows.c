#include "walpush/base/sqlrows.h"

#include <stdlib.h>
#include <string.h>

#include "walpush/base/mem.h"

struct sqlrows *sqlrows_new(size_t n_rows, size_t n_columns)
{
	struct sqlrows *r = mem_new(sizeof(*r));

	r->n_rows = n_rows;
	r->n_columns = n_columns;
	r->names = mem_new_array(n_columns, sizeof(*r->names));
	r->types = mem_new_array(n_columns, sizeof(*r->types));
	/* mem_new_array ends the process if a product overflows, so `values` is allocated as rows. */
	r->values = mem_new_array(n_rows, (n_columns ? n_columns : 1) * sizeof(*r->values));
	return r;
}

void sqlrows_free(struct sqlrows *r)
{
	if (!r)
		return;
	for (size_t i = 0; i < r->n_rows * r->n_columns; i++)
		free(r->values[i]);
	for (size_t i = 0; i < r->n_columns; i++)
		free(r->names[i]);
	free(r->values);
	free(r->names);
	free(r->types);
	free(r);
}

void sqlrows_name(struct sqlrows *r, size_t column, const char *name)
{
	free(r->names[column]);
	r->names[column] = mem_text(name);
}

void sqlrows_set(struct sqlrows *r, size_t row, size_t column, const char *value)
{
	char **at = &r->values[row * r->n_columns + column];

	free(*at);
	*at = value ? mem_text(value) : NULL;
}

const char *sqlrows_get(const struct sqlrows *r, size_t row, size_t column)
{
	return r->values[row * r->n_columns + column];
}

int sqlrows_column(const struct sqlrows *r, const char *name)
{
	for (size_t i = 0; i < r->n_columns; i++)
		if (r->names[i] && strcmp(r->names[i], name) == 0)
			return (int)i;
	return -1;
}
