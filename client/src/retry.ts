/** When to try again. Pure: the caller adds the chance and the clock. */

/** A connection that lived so many milliseconds was a good one: the next attempt comes soon. */
export const GOOD_LIFE = 5000;

/** A close that asks for patience, and the failures that it counts for: waits of up to 2 s, and up to 16 s. */
export const PATIENCE: Record<number, number> = { 1013: 2, 4429: 2, 1002: 5, 1007: 5, 1008: 5, 1009: 5 };

/**
 * The failures to count from now on, and the milliseconds to wait; `chance` is from 0 to 1. Full jitter: a thousand pages
 * that lost the same server come back at a thousand moments. A permission comes back slowly: 4403 waits for half to the
 * whole of 30 s, 1, 2, 4, 5 minutes. A token that was refused twice (4401) needs a person, so the wait does not grow.
 */
export function waitAfter(code: number, failures: number, chance: number, base: number, cap: number): [failures: number, wait: number] {
  const count = Math.max(failures, PATIENCE[code] ?? 0);
  if (code === 4403) (base = 30_000), (cap = 300_000), (chance = (1 + chance) / 2);
  if (code === 4401) base = cap;
  return [count + 1, Math.min(cap, base * 2 ** count) * chance];
}
