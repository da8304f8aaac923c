/*
 * intake parts: makes an intake with another `outside`, for tests. Each file of the intake has its own header:
 *
 *   intake.c     receipt, handling of the head, flow control
 *   emit.c       makes messages from the row at the head
 *   ahead.c      questions of the rows after the head
 *   skip.c       rows that cannot be handled
 *   look.c       transactions with DDL
 *   visible.c    "visible first": the transactions that a snapshot has seen
 *   queue.c      records in the order of commits
 *   record.c     one record
 *   answers.c    the answers that the sections of a row need
 *   questions.c  queries, each sent once for all rows that share it
 *   breaker.c    texts that are not asked at present, and probe.c, which finds out when they can be
 *   horizon.c    which commits answers may know
 *   heard.c      waits until the log has brought them
 *   later.c      what they changed
 *   bind.c       decodes a record, and orders its values by the columns of its table
 *   outside.c    SQL, the time, timers, memory
 */
#ifndef WALPUSH_INTAKE_PARTS_H
#define WALPUSH_INTAKE_PARTS_H

#include "outside.h"
#include "walpush/intake/intake.h"

/* As intake_new. `outside` must outlive the intake. */
struct intake *intake_new_in(const struct outside *outside, const struct conf_limits *limits,
			     struct metrics_counts *counts, const struct intake_calls *calls, void *ctx);

#endif
