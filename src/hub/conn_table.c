#include "conn_table.h"

#include "walpush/base/fail.h"

#define NEVER CONN_NEVER
#define IGNORE CONN_IGNORE
#define HANG_UP CONN_HANG_UP

/* clang-format off */
static const struct row {
	const char *name;
	unsigned char act[CONN_STATES];
} table[CONN_EVENTS] = {
	/*                                         UNBORN       NEW           WAIT_AUTH      ADMITTING       OPEN             CLOSING         LEAVING         GONE */
	[CONN_ON_UPGRADE]     = { "upgrade",     { CONN_BEGIN,  HANG_UP,      HANG_UP,       HANG_UP,        HANG_UP,         HANG_UP,        HANG_UP,        HANG_UP } },
	[CONN_ON_ESTABLISHED] = { "established", { HANG_UP,     CONN_ARRIVE,  HANG_UP,       HANG_UP,        HANG_UP,         HANG_UP,        HANG_UP,        HANG_UP } },
	[CONN_ON_BYTES]       = { "bytes",       { HANG_UP,     HANG_UP,      CONN_READ,     CONN_READ,      CONN_READ,       IGNORE,         IGNORE,         IGNORE } },
	[CONN_ON_PONG]        = { "pong",        { HANG_UP,     HANG_UP,      CONN_HEAR,     CONN_HEAR,      CONN_HEAR,       IGNORE,         IGNORE,         IGNORE } },
	[CONN_ON_WRITABLE]    = { "writable",    { HANG_UP,     IGNORE,       CONN_WRITE,    CONN_WRITE,     CONN_WRITE,      CONN_GOODBYE,   IGNORE,         IGNORE } },
	[CONN_ON_PEER_CLOSE]  = { "peer-close",  { HANG_UP,     HANG_UP,      CONN_LEAVE,    CONN_LEAVE,     CONN_LEAVE,      CONN_PART,      HANG_UP,        IGNORE } },
	[CONN_ON_TIMER]       = { "timer",       { IGNORE,      IGNORE,       IGNORE,        IGNORE,         IGNORE,          IGNORE,         IGNORE,         HANG_UP } },
	[CONN_ON_DROP]        = { "drop",        { IGNORE,      CONN_END,     CONN_END,      CONN_END,       CONN_END,        CONN_END,       CONN_END,       IGNORE } },
	[CONN_ON_DESTROY]     = { "destroy",     { IGNORE,      CONN_END,     CONN_END,      CONN_END,       CONN_END,        CONN_END,       CONN_END,       IGNORE } },

	[CONN_ON_AUTH]        = { "auth",        { NEVER,       NEVER,        CONN_ASK,      CONN_RENEW,     CONN_RENEW,      NEVER,          NEVER,          NEVER } },
	[CONN_ON_PING]        = { "ping",        { NEVER,       NEVER,        CONN_REPLY,    CONN_REPLY,     CONN_REPLY,      NEVER,          NEVER,          NEVER } },

	[CONN_ON_ADMITTED]    = { "admitted",    { NEVER,       NEVER,        NEVER,         CONN_ADMIT,     NEVER,           CONN_GIVE_BACK, CONN_GIVE_BACK, CONN_GIVE_BACK } },
	[CONN_ON_MOVED]       = { "moved",       { NEVER,       NEVER,        NEVER,         NEVER,          CONN_MOVE,       CONN_GIVE_BACK, CONN_GIVE_BACK, CONN_GIVE_BACK } },
	[CONN_ON_RENEWED]     = { "renewed",     { NEVER,       NEVER,        NEVER,         NEVER,          CONN_TAKE,       CONN_GIVE_BACK, CONN_GIVE_BACK, CONN_GIVE_BACK } },
	[CONN_ON_LIMIT]       = { "limit",       { NEVER,       NEVER,        NEVER,         NEVER,          CONN_LIMIT,      IGNORE,         IGNORE,         IGNORE } },
	[CONN_ON_CHANGED]     = { "changed",     { NEVER,       NEVER,        NEVER,         NEVER,          CONN_NOTE_CHANGE, IGNORE,        IGNORE,         IGNORE } },
	[CONN_ON_REFUSED]     = { "refused",     { NEVER,       NEVER,        NEVER,         CONN_CLOSE,     CONN_LAST_WORD,  IGNORE,         IGNORE,         IGNORE } },
	[CONN_ON_EMPTIED]     = { "emptied",     { NEVER,       IGNORE,       IGNORE,        IGNORE,         CONN_RESTART,    IGNORE,         IGNORE,         NEVER } },
	[CONN_ON_EDITION]     = { "edition",     { NEVER,       CONN_FOLLOW,  CONN_FOLLOW,   CONN_FOLLOW,    CONN_FOLLOW,     IGNORE,         IGNORE,         NEVER } },

	[CONN_ON_CLOSE]       = { "close",       { NEVER,       HANG_UP,      CONN_CLOSE,    CONN_CLOSE,     CONN_CLOSE,      IGNORE,         IGNORE,         IGNORE } },

	[CONN_ON_LATE]        = { "late",        { NEVER,       NEVER,        CONN_GIVE_UP,  NEVER,          NEVER,           HANG_UP,        HANG_UP,        NEVER } },
	[CONN_ON_AGE]         = { "age",         { NEVER,       HANG_UP,      CONN_CLOSE,    CONN_CLOSE,     CONN_CLOSE,      IGNORE,         IGNORE,         NEVER } },
	[CONN_ON_STALL]       = { "stall",       { NEVER,       HANG_UP,      CONN_CLOSE,    CONN_CLOSE,     CONN_CLOSE,      IGNORE,         IGNORE,         NEVER } },
	[CONN_ON_EXPIRY]      = { "expiry",      { NEVER,       NEVER,        NEVER,         CONN_EXPIRE,    CONN_EXPIRE,     IGNORE,         IGNORE,         NEVER } },
	[CONN_ON_SILENCE]     = { "silence",     { NEVER,       HANG_UP,      HANG_UP,       HANG_UP,        HANG_UP,         IGNORE,         IGNORE,         NEVER } },
	[CONN_ON_QUIET]       = { "quiet",       { NEVER,       IGNORE,       CONN_PROBE,    CONN_PROBE,     CONN_PROBE,      IGNORE,         IGNORE,         NEVER } },
};
/* clang-format on */

static const char *const states[CONN_STATES] = { "unborn", "new",     "wait-auth", "admitting",
						 "open",   "closing", "leaving",   "gone" };

enum conn_act conn_table_act(enum conn_state state, enum conn_event event)
{
	if ((unsigned)state >= CONN_STATES || (unsigned)event >= CONN_EVENTS)
		fail_never("conn: no pair of state %d and event %d", (int)state, (int)event);
	return (enum conn_act)table[event].act[state];
}

const char *conn_table_state(enum conn_state state)
{
	return states[state];
}

const char *conn_table_event(enum conn_event event)
{
	return table[event].name;
}
