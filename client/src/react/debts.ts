/**
 * What a message costs one query: a fetch, owed until it is paid. Pure: no cache, no timer, no clock of its own.
 *
 * A debt is paid only by a fetch that began after the message, brought the whole query and succeeded. A debt cannot be
 * read from the cache: `cancelQueries` and `setQueryData` take the mark `isInvalidated` away, and a first fetch that was
 * under way clears it.
 */

/** Milliseconds in which further messages join the first one's refetch. */
export const COALESCE = 50;
/** What was owed during a fetch waits nine times as long as that took, but no longer than two seconds. */
const REST = 9;
const REST_MAX = 2000;
/** The first and the longest wait after a fetch that failed or was cancelled; each doubles the one before. */
const WAIT = 1000;
const WAIT_MAX = 60_000;

/**
 * `owe`: a message came. `borrow`: data came that may be older than a message. `fetch`: a fetch begins that asks for
 * everything. `part`: one that does not, or that is answered from a store. `success`, `error`: how the last one ended; a
 * cancelled one is an error. `recovery`: a fetch may succeed again.
 */
export type DebtInput = 'owe' | 'borrow' | 'fetch' | 'part' | 'success' | 'error' | 'recovery' | undefined;

export type Debt = readonly [
  /** When the oldest message came that is not paid. */
  since: number | undefined,
  /** The fetch under way began after the newest message, and asks for everything. */
  pays: boolean,
  /** When the fetch under way began. */
  began: number | undefined,
  /** The last wait after a failure; 0 after a success. */
  wait: number,
  /** When a fetch may begin, as soon as the query is idle and somebody watches it. */
  due: number,
];

export const PAID: Debt = [undefined, false, undefined, 0, 0];

export function step([since, pays, began, wait, due]: Debt, input: DebtInput, now: number): Debt {
  if (input === 'owe' || input === 'borrow') {
    if (since === undefined) due = now + COALESCE;
    since ??= now;
    pays &&= input === 'borrow'; // what is borrowed is replaced by the fetch under way
  } else if (input === 'fetch' || input === 'part') {
    began = now;
    pays = input === 'fetch';
  } else if (input === 'success') {
    due = now + Math.min(Math.max(COALESCE, REST * (now - (began ?? since ?? now))), REST_MAX); // began unseen: before
    if (pays) since = undefined;
    wait = 0;
    pays = false;
    began = undefined;
  } else if (input === 'error') {
    wait = Math.min(wait * 2 || WAIT, WAIT_MAX);
    due = now + wait;
    pays = false;
    began = undefined;
  } else if (input && wait) due = Math.min(due, now + COALESCE);
  return [since, pays, began, wait, due];
}
