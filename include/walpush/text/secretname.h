/*
 * secretname: does a column's name suggest that the column contains a secret?
 *
 * For a warning, so a false alarm is better than a missed secret: "token_count" counts as a token. The check compares words in every
 * spelling (api_key, apiKey, APIKey), not parts of words: "pin" does not find "spinner", and "secret" does not find "secretary". Pure.
 */
#ifndef WALPUSH_SECRETNAME_H
#define WALPUSH_SECRETNAME_H

#include <stdbool.h>

bool secretname_is(const char *column);

#endif
