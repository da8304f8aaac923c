/** The token: one ask for all streams of a client, and when to renew. Nothing is verified: the server does that. */

type Token = string | null;
type Timer = ReturnType<typeof setTimeout> | undefined;

export interface Asker {
  /** The current token, or one that a renewal has brought, if `stale` is about to expire or was refused. */
  get(stale?: string): Token | Promise<Token>;
  /** Gives up the ask under way and forgets what was known; who waits gets a rejection without a reason. */
  forget(): void;
}

/** Milliseconds until an ask is given up. As long as an attempt to connect. */
export const GIVE_UP = 20_000;
/** Milliseconds: the longest that a tab waits for the renewals of others; another tab may hang. */
const OTHERS = 4000;

/**
 * Who was refused never gets the token of a plain ask. So a renewal ends the plain ask before it and answers for it too.
 * Tabs renew one after another (`navigator.locks`) or at random moments, because each renewal may void the refresh token
 * that another tab is about to use.
 */
export function tokenAsker(ask: (renew: boolean) => Token | undefined | Promise<Token | undefined>): Asker {
  let current: Promise<Token> | undefined;
  let renewing = false;
  /** Ends the current ask. What its callback says later changes nothing. */
  let settle = (_: Promise<Token>) => {};
  /** From a renewal, and no plain ask has been answered since. */
  let renewed: Token = null;

  const begin = (renew: boolean) => {
    const before = settle;
    let limit: Timer;
    let turn: Timer;
    const mine = new Promise<Token>((resolve) => {
      settle = (answer) => {
        [limit, turn].forEach(clearTimeout);
        if (current === mine) current = undefined;
        resolve(answer);
      };
    });
    const end = settle;
    current = mine;
    renewing = renew;
    before(mine);
    limit = setTimeout(() => end(Promise.reject(new Error('token: no answer'))), GIVE_UP);

    const run = async () => {
      await new Promise<unknown>((go) => {
        if (!renew || typeof document === 'undefined') return go(0);
        const locks: LockManager | undefined = navigator.locks;
        turn = setTimeout(go, Math.random() * 1000 + (locks ? OTHERS : 0));
        locks?.request('walpush-token', () => (go(0), mine)).catch(() => {});
      });
      const token = (current === mine && (await ask(renew))) || null;
      if (current === mine) renewed = renew ? token : null;
      return token;
    };
    const answer = run();
    const done = () => end(answer);
    answer.then(done, done);
    return mine;
  };

  return {
    get(stale) {
      const renew = stale !== undefined;
      if (renew && renewed && renewed !== stale) return renewed;
      return current && renewing >= renew ? current : begin(renew);
    },
    forget() {
      renewed = null;
      if (current) settle(Promise.reject());
    },
  };
}

/**
 * Milliseconds until the token should be renewed: a minute before it expires, or a quarter of its life if that is less,
 * but not before `least` or half of its life: a renewal that did not help, because a clock is wrong, must not make a loop.
 * It is a day at most. A token that cannot be read is left to the server, whose 4401 also repairs what comes too late.
 */
export function renewalDelay(token: string, now: number, least = 0): number | undefined {
  try {
    const body = token.split('.')[1]!.replace(/-/g, '+').replace(/_/g, '/');
    const { exp, iat } = JSON.parse(atob(body)) as { exp?: unknown; iat?: number };
    if (typeof exp !== 'number') return;
    const life = (exp - iat!) * 1000 || Infinity;
    const lead = Math.min(60_000, life / 4);
    return Math.min(Math.max(exp * 1000 - now - lead, Math.min(least, life / 2)), 86_400_000);
  } catch {
    // no token of this form
  }
}
