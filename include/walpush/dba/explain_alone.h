/*
 * explain_alone: explains with the database alone, where no running process can be asked.
 *
 * For the command: synchronous, over a connection of its own, read-only. It knows neither what was published nor who is connected.
 */
#ifndef WALPUSH_EXPLAIN_ALONE_H
#define WALPUSH_EXPLAIN_ALONE_H

#include "walpush/explain/explain.h"

/* Of a user or a row. Binds the rules. NULL: `why` says what failed. */
json_t *explain_alone(const struct conf *conf, struct rules *rules, const struct explain_question *q, struct fail *why);

#endif
