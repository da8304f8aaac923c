/*
 * intake parts: making an intake in a world of the caller's own, for tests. The files of the intake have a header each:
 *
 *   intake.c     receipt, the head's turn, flow control
 *   emit.c       a row that is the head, from its bytes to the messages of the transaction
 *   ahead.c      questions of the rows behind the head
 *   skip.c       a row that cannot be handled
 *   look.c       a transaction that says that DDL is a part of it
 *   visible.c    "visible first": which transactions a snapshot has seen
 *   queue.c      records in the order of commits
 *   record.c     one of them
 *   answers.c    what the sections of a row want to know
 *   questions.c  the same questions, asked once for all rows that share them
 *   bind.c       a record decoded and laid out by the columns of its table
 *   outside.c    SQL, the time, a timer, memory
 */
#ifndef WALPUSH_INTAKE_PARTS_H
#define WALPUSH_INTAKE_PARTS_H

#include "outside.h"
#include "walpush/intake/intake.h"

/* As intake_new. `outside` must outlive the intake. */
struct intake *intake_new_in(const struct outside *outside, const struct conf_limits *limits,
			     struct metrics_counts *counts, const struct intake_calls *calls, void *ctx);

#endif
