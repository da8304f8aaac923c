/*
 * admission: how a connection gets its seats, and how they change: the hub's side. Hub thread.
 *
 *     hub                              tap
 *     token is verified ── ADMIT ────▶ runs the stream's admit query
 *                       ◀─ ADMITTED ── seats, or REFUSED
 *     a newer token     ── RENEW ────▶ runs it with the new claims; the token in force holds meanwhile
 *                       ◀─ RENEWED ─── the new ticket, and other seats if the groups differ
 *                       ◀─ MOVED ───── permission changed: other seats
 *
 * Each token that the hub sends to the tap has a number. `asked` is the newest token, `answered` is the newest of the tap's answers; while
 * they differ, a renewal is open. renewal.h says which mails of the tap count while a renewal is open.
 */
#ifndef WALPUSH_HUB_ADMISSION_H
#define WALPUSH_HUB_ADMISSION_H

#include "conn.h"

/* Verifies the request's token, and asks the tap for admission. */
void admission_ask(struct conn *c);
/* The same with the token of a message. */
void admission_ask_with(struct conn *c, const char *token);
/* A token that replaces the one in force, or one that still waits for its answer. */
void admission_renew(struct conn *c, const char *token);
/* Goes over to the hub's edition. False: this edition has changed or removed the connection's stream, so the client must connect again. */
bool admission_follow(struct conn *c);

/* --- the tap's answers; nothing is delivered before all mails of the turn are taken --- */
/* Takes the mail's seats and ticket. */
void admission_admitted(struct conn *c, const struct mail *mail);
void admission_moved(struct conn *c, const struct mail *mail);
/* Takes the mail's ticket, and its seats if it has any. */
void admission_renewed(struct conn *c, const struct mail *mail);

#endif
