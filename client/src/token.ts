/** The token: one ask for all streams of a client, and when to renew. Nothing is verified: the server does that. */

type Token = string | null;

interface Ask {
  renew: boolean;
  answer: Promise<Token>;
  /** Ends the ask. What its callback says later changes nothing. */
  settle: (answer?: Token | Promise<Token>) => void;
}

export interface Asker {
  /** The current token, or one that a renewal has brought, if `stale` is about to expire or was refused. */
  get(stale?: string): Promise<Token>;
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
export function tokenAsker(ask: (renew: boolean) => unknown): Asker {
  let current: Ask | undefined;
  /** From a renewal, and no plain ask has been answered since. */
  let renewed: Token | undefined;

  function begin(renew: boolean): Ask {
    let resolve: (answer: any) => void;
    let begun = false;
    const run = () => {
      if (begun || current !== mine) return;
      begun = true;
      const answer = (async () => (await ask(renew)) ?? null)() as Promise<Token>;
      const done = (token?: Token) => {
        if (current === mine) renewed = renew ? token : undefined;
        mine.settle(answer);
      };
      answer.then(done, () => done());
    };
    const mine: Ask = {
      renew,
      answer: new Promise((settle) => (resolve = settle)),
      settle(answer = Promise.reject()) {
        clearTimeout(limit);
        clearTimeout(turn);
        if (current === mine) current = undefined;
        resolve(answer);
      },
    };
    const before = current;
    current = mine;
    before?.settle(mine.answer);
    const limit = setTimeout(() => mine.settle(Promise.reject(new Error('walpush: no answer from token()'))), GIVE_UP);
    let turn: ReturnType<typeof setTimeout> | undefined;
    if (renew && typeof document === 'object') {
      const locks: LockManager | undefined = navigator.locks;
      turn = setTimeout(run, Math.random() * 1000 + (locks ? OTHERS : 0));
      locks?.request('walpush-token', () => (run(), mine.answer)).catch(() => {});
    } else run();
    return mine;
  }

  return {
    get(stale) {
      const renew = stale !== undefined;
      if (renew && renewed && renewed !== stale) return Promise.resolve(renewed);
      return (current && (current.renew || !renew) ? current : begin(renew)).answer;
    },
    forget() {
      renewed = undefined;
      current?.settle();
    },
  };
}

const DAY = 86_400_000;

/**
 * Milliseconds until the token should be renewed: a minute before it expires, or a quarter of its life if that is less,
 * but not before `least` or half of its life: a renewal that did not help, because a clock is wrong, must not make a loop.
 * A token that cannot be read is left to the server, whose 4401 also repairs what comes too late.
 */
export function renewalDelay(token: string, now: number, least = 0): number | undefined {
  try {
    const body = token.split('.')[1]!.replace(/-/g, '+').replace(/_/g, '/');
    const { exp, iat } = JSON.parse(atob(body)) as { exp?: unknown; iat?: unknown };
    if (typeof exp !== 'number') return undefined;
    const life = typeof iat === 'number' ? (exp - iat) * 1000 : Infinity;
    const lead = Math.min(60_000, life / 4);
    return Math.min(Math.max(exp * 1000 - now - lead, Math.min(least, life / 2)), DAY);
  } catch {
    return undefined;
  }
}
