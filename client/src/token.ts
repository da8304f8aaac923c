/** Reads the times of a JSON Web Token. Nothing is verified: the server does that. */

const DAY = 86_400_000;

/**
 * Milliseconds until the token should be renewed: a minute before it expires, or a quarter of its life if that is less,
 * but not before `least` or half of its life: a renewal that did not help, because a clock is wrong, must not make a loop.
 * A token that cannot be read is left to the server, whose 4401 also mends what comes too late.
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
