/*
 * goodbye: a close frame and its words. Pure.
 *
 * The words say why, for the developer of a page: a browser shows them as CloseEvent.reason. They are literals of the source, so they never hold a
 * value of a row, a token or a name of the configuration.
 */
#ifndef WALPUSH_HUB_GOODBYE_H
#define WALPUSH_HUB_GOODBYE_H

#include <stddef.h>

/* RFC 6455, section 5.5: 125 bytes of payload, two of them for the code. */
#define GOODBYE_WORDS_MAX 123
#define GOODBYE_MAX (2 + 2 + GOODBYE_WORDS_MAX)

/* What is said with this code where nothing more is known; "" for a code that a configuration chose. */
const char *goodbye_words(unsigned code);
/* Writes the frame, and cuts words that are too long. Returns its length. */
size_t goodbye_frame(unsigned code, const char *words, unsigned char out[GOODBYE_MAX]);

#endif
