/** When to try again. Pure: the caller adds the chance and the clock. */

/** A connection that lived so many milliseconds was a good one: the next attempt comes soon. */
export const GOOD_LIFE = 5000;

/** A close that asks for patience, and the failures that it counts for: waits of up to 2 s, and up to 16 s. */
export const PATIENCE: Record<number, number> = { 1013: 2, 4429: 2, 1002: 5, 1007: 5, 1008: 5, 1009: 5 };

/**
 * The failures to count now, and the least and the most milliseconds to wait. Full jitter: a thousand pages that lost the
 * same server come back at a thousand moments. A permission comes back slowly (4403: 30 s, 1, 2, 4, 5 minutes), and a
 * token that was refused twice needs a person (4401).
 */
export function waitAfter(code: number, failures: number, base: number, cap: number): [failures: number, least: number, most: number] {
  const count = Math.max(failures, PATIENCE[code] ?? 0);
  const grown = (first: number, most: number) => Math.min(most, first * 2 ** Math.min(count, 16));
  const denied = code === 4403 && grown(30_000, 300_000);
  return [count + 1, denied ? denied / 2 : 0, denied || (code === 4401 ? cap : grown(base, cap))];
}
