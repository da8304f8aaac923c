/* mem: allocation that cannot fail. If there is no memory, the process ends with one line on stderr. */
#ifndef WALPUSH_MEM_H
#define WALPUSH_MEM_H

#include <stdbool.h>
#include <stddef.h>

#include "walpush/base/slice.h"

void *mem_new(size_t size);                 /* zeroed */
void *mem_new_array(size_t n, size_t size); /* zeroed; overflow ends the process */
void *mem_resize(void *old, size_t n, size_t size);
/* Bytes of memory that an allocation of `size` bytes takes: glibc adds 8 and rounds up to a multiple of 16, at least 32. */
size_t mem_cost(size_t size);
/* Called by any thread when an allocation failed. True: there is more memory now, and the allocation is tried once more. */
typedef bool mem_more(void);
void mem_set_relief(mem_more *relief);
/* Could so many bytes be allocated now? Nothing stays allocated. */
bool mem_is_there(size_t bytes);
char *mem_text(const char *text);
char *mem_text_of(struct slice s);
/* Copies to an array of `cap` bytes; cuts a text that does not fit; always terminates it. */
void mem_copy_text(char *to, size_t cap, const char *from);

#endif
