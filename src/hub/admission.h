/*
 * admission: how a connection comes to its seats, and what becomes of them: the hub's side. Hub thread.
 *
 *     hub                              tap
 *     token is verified ── ADMIT ────▶ asks the stream's admit query
 *                       ◀─ ADMITTED ── seats, or REFUSED
 *     a newer token     ── RENEW ────▶ asks with its claims; the connection goes on by the token in force
 *                       ◀─ RENEWED ─── its ticket, and other seats if it has others
 *                       ◀─ MOVED ───── permission changed: other seats
 *
 * Each token that the tap is asked about has a number. `asked` is the newest, `answered` is the newest of the tap's answers; while they differ
 * a renewal is open. Which of the tap's words count meanwhile, renewal.h says.
 */
#ifndef WALPUSH_HUB_ADMISSION_H
#define WALPUSH_HUB_ADMISSION_H

#include "conn.h"

/* With the request's token: verifies it, and asks the tap. */
void admission_ask(struct conn *c);
/* The same with the token of a message. */
void admission_ask_with(struct conn *c, const char *token);
/* A token in place of the one before, or of one that still waits for its answer. */
void admission_renew(struct conn *c, const char *token);
/* To the hub's edition. False: that does not know the connection's stream as it was, so it must connect anew. */
bool admission_follow(struct conn *c);

/* --- the tap's answers; nothing is delivered before all mails of the turn are taken --- */
/* The mail's seats and ticket. */
void admission_admitted(struct conn *c, const struct mail *mail);
void admission_moved(struct conn *c, const struct mail *mail);
/* The mail's ticket, and its seats if it has others. */
void admission_renewed(struct conn *c, const struct mail *mail);

#endif
