/** Reads the times of a JSON Web Token. Nothing is verified: the server does that. */

const DAY = 86_400_000;

/**
 * Milliseconds until the token should be renewed: a minute before it expires, or a quarter of its life if that is less.
 * Never at once, so that a wrong clock makes no loop; the server's 4401 mends what comes too late. A token that cannot
 * be read is left to the server.
 */
export function renewalDelay(token: string, now: number): number | undefined {
  try {
    const body = token.split('.')[1]!.replace(/-/g, '+').replace(/_/g, '/');
    const { exp, iat } = JSON.parse(atob(body)) as { exp?: unknown; iat?: unknown };
    if (typeof exp !== 'number') return undefined;
    const life = typeof iat === 'number' ? (exp - iat) * 1000 : Infinity;
    const lead = Math.min(60_000, life / 4);
    return Math.min(Math.max(exp * 1000 - now - lead, Math.min(5000, life / 2)), DAY);
  } catch {
    return undefined;
  }
}
