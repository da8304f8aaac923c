#include "walpush/share/renewal.h"

#include "walpush/base/fail.h"

enum renewal_verdict renewal_judge(const struct renewal_token *t)
{
	if (!t->is_valid)
		return RENEWAL_NO_TOKEN;
	if (!t->is_same_user)
		return RENEWAL_NOT_THEIRS;
	if (!t->has_claims)
		return RENEWAL_NO_CLAIM;
	return t->same_claims && !t->is_asked ? RENEWAL_AT_ONCE : RENEWAL_ASKED;
}

bool renewal_is_void(enum renewal_word word, uint32_t number, uint32_t asked, uint32_t answered)
{
	return number != (word == RENEWAL_SAYS_WHICH ? asked : answered);
}

lsn_t renewal_limit(bool is_void, lsn_t held, lsn_t told)
{
	return is_void && held < told ? held : told;
}

/* clang-format off */
static const unsigned char acts[RENEWAL_STATES][RENEWAL_CLAIMS] = {
	/*                    OF_THE_ASKED   IN_FORCE      OTHERS */
	[RENEWAL_COMING] = { RENEWAL_NEVER, RENEWAL_JOIN, RENEWAL_ASK },
	[RENEWAL_NONE]   = { RENEWAL_NEVER, RENEWAL_TAKE, RENEWAL_ASK },
	[RENEWAL_OPEN]   = { RENEWAL_JOIN,  RENEWAL_TAKE, RENEWAL_ASK },
	[RENEWAL_DENIED] = { RENEWAL_JOIN,  RENEWAL_ASK,  RENEWAL_ASK },
};
/* clang-format on */

enum renewal_act renewal_act(enum renewal_state state, enum renewal_claims claims)
{
	if ((unsigned)state >= RENEWAL_STATES || (unsigned)claims >= RENEWAL_CLAIMS ||
	    acts[state][claims] == RENEWAL_NEVER)
		fail_never("renewal: no pair of state %d and claims %d", (int)state, (int)claims);
	return (enum renewal_act)acts[state][claims];
}

bool renewal_tells_epoch(bool same_claims, bool is_moved)
{
	return !same_claims && !is_moved;
}
