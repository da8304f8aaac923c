/* mem: allocation that cannot fail. What cannot be had ends the process with one line on stderr. */
#ifndef WALPUSH_MEM_H
#define WALPUSH_MEM_H

#include <stdbool.h>
#include <stddef.h>

#include "walpush/base/slice.h"

void *mem_new(size_t size);                 /* zeroed */
void *mem_new_array(size_t n, size_t size); /* zeroed; overflow ends the process */
void *mem_resize(void *old, size_t n, size_t size);
/* What an allocation of so many bytes takes of the process's memory: glibc adds 8, and counts in steps of 16 from 32 on. */
size_t mem_cost(size_t size);
/* Called by any thread when an allocation failed. True: there is more by now, and it is tried once more. */
typedef bool mem_more(void);
void mem_set_relief(mem_more *relief);
/* Could so much be had at this moment? Nothing is kept. */
bool mem_is_there(size_t bytes);
char *mem_text(const char *text);
char *mem_text_of(struct slice s);
/* Into an array of `cap` bytes, cut where it does not fit, always terminated. */
void mem_copy_text(char *to, size_t cap, const char *from);

#endif
