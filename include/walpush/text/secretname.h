/*
 * secretname: does a column look, by its name alone, as if it held a secret?
 *
 * For a warning, so a false alarm is better than silence: "token_count" counts as a token. Words are looked at, however
 * the name is written (api_key, apiKey, APIKey), and not parts of words: "pin" does not find "spinner", nor "secret"
 * "secretary". Pure.
 */
#ifndef WALPUSH_SECRETNAME_H
#define WALPUSH_SECRETNAME_H

#include <stdbool.h>

bool secretname_is(const char *column);

#endif
