/* texts: strings of the configuration, each with its line, so that an error can name it. Owned by the configuration. */
#ifndef WALPUSH_TEXTS_H
#define WALPUSH_TEXTS_H

#include <stddef.h>

struct text {       /* a string of the file, and its line */
	char *text; /* NULL: not set */
	unsigned line;
};

struct texts {
	struct text *at;
	size_t n;
};

#endif
