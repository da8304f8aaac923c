/**
 * From messages to fetches: keeps the debts of one QueryClient's queries (see debts.ts) and pays them.
 *
 * The events of the QueryCache are synchronous, so they are ordered with the messages. A debt is kept for the Query, beside
 * the cache. `told` are the keys under which a message came: data from `initialData`, hydration or a persister may be
 * older than that.
 */

import {
  hashKey,
  matchQuery,
  type Query,
  type QueryCacheNotifyEvent,
  type QueryClient,
  type QueryKey,
} from '@tanstack/react-query';
import { PAID, step, type Debt, type DebtInput } from './debts.js';

/** Milliseconds that a query on the page owes until the page is called stale. */
const STALE = 10_000;
/** More keys than that are not remembered one by one. */
const TOLD_MAX = 500;

const debts = new WeakMap<Query, Debt>();
const timers = new WeakMap<Query, ReturnType<typeof setTimeout>>();
const told = new WeakMap<QueryClient, Map<string, QueryKey>>();

/** The promise that answers the fetch which begins, if it was asked for elsewhere. */
let lent: unknown;

const debtOf = (query: Query) => debts.get(query) ?? PAID;
const watched = (query: Query) => query.getObserversCount() && !query.isStatic?.(); // not in every version 5

/** Moves the debt, and sets the query's timer to what follows. */
function tell(query: Query, input?: DebtInput): void {
  if (!debts.has(query)) {
    const { fetch } = query; // its events do not say what a dehydrated promise answers
    query.fetch = (options, how) => ((lent = how?.initialPromise), fetch.call(query, options, how));
  }
  const debt = step(debtOf(query), input, performance.now());
  debts.set(query, debt);
  if (debt[0] !== undefined) query.invalidate(); // for loaders and mounts; a patch or a cancellation took the mark
  clearTimeout(timers.get(query));
  if (debt[0] !== undefined && watched(query) && query.isActive() && query.state.fetchStatus === 'idle')
    timers.set(
      query,
      setTimeout(() => query.fetch().catch(() => {}), debt[4] - performance.now()), // joins what is under way
    );
}

/** Everything under the key owes a fetch; the ones on the page get it, once for all calls within COALESCE. */
export function invalidate(queries: QueryClient, key: QueryKey): void {
  const cache = queries.getQueryCache();
  let keys = told.get(queries);
  if (!keys) {
    told.set(queries, (keys = new Map()));
    cache.subscribe((event) => hear(queries, event));
    recover(queries); // wraps what is there already
  }
  if (keys.size > TOLD_MAX) keys.clear(), keys.set('', []); // [] is above all keys
  keys.set(hashKey(key), key);
  cache.findAll({ queryKey: key }).forEach((query) => {
    // What is not wanted yet owes nothing: its first fetch is to come.
    if (query.state.status !== 'pending' || query.state.fetchStatus !== 'idle' || query.isActive()) tell(query, 'owe');
  });
}

/** Something works again: what failed is tried again at once. */
export const recover = (queries: QueryClient): void =>
  queries.getQueryCache().getAll().forEach((query) => tell(query, 'recovery'));

function hear(queries: QueryClient, event: QueryCacheNotifyEvent): void {
  const { query, type } = event;
  const { state, options } = query;
  const [, , began, wait] = debtOf(query);
  if (type === 'observerResultsUpdated') return; // comes before its success, and would set the mark again
  let input: DebtInput;
  let borrowed = type === 'added' && state.data !== undefined;
  if (type === 'observerAdded') input = 'recovery';
  if (type === 'updated') {
    const { action } = event;
    if (action.type === 'fetch') {
      // a persister answers first from its store
      borrowed = !!lent || (!!options.persister && state.data === undefined);
      input = borrowed || action.meta?.fetchMore ? 'part' : 'fetch';
    } else if (action.type === 'error') input = 'error';
    else if (action.type === 'success') {
      if (action.manual) borrowed = !!action.dataUpdatedAt;
      else input = 'success';
    } else if (action.type === 'setState') {
      if (began !== undefined && action.state.fetchStatus === 'idle') input = 'error'; // cancelled
      else borrowed = state.data !== undefined && !action.state.fetchStatus; // with it: from another tab, which owes the same
    }
  }
  tell(query, input);
  if (borrowed) told.get(queries)!.forEach((queryKey) => matchQuery({ queryKey }, query) && tell(query, 'borrow'));
  if (input === 'success' && wait) recover(queries);
}

/** True while something on the page owes a fetch for STALE. */
export const isStale = (queries: QueryClient): boolean =>
  queries
    .getQueryCache()
    .getAll()
    .some((query) => watched(query) && debtOf(query)[0]! + STALE <= performance.now());
