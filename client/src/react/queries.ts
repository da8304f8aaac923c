/** From a message to TanStack Query's cache: what is refetched, how often, and what is patched until then. */

import { hashKey, type QueryClient, type QueryKey } from '@tanstack/react-query';

/** Milliseconds in which further messages join the first one's refetch. */
export const COALESCE = 50;
/** A page spends at most a tenth of its time refetching a key, but waits no longer than two seconds. */
const REST = 9;
const REST_MAX = 2000;
/** A refetch that takes longer than that is not waited for: newer messages start it again. */
const HUNG = 5000;

interface Refetch {
  due: boolean;
  running: boolean;
  timer?: ReturnType<typeof setTimeout> | undefined;
}

const refetches = new WeakMap<QueryClient, Map<string, Refetch>>();

/** Marks everything under the key as stale and refetches what is on the page; once for all calls within COALESCE. */
export function invalidate(queries: QueryClient, key: QueryKey): void {
  let known = refetches.get(queries);
  if (!known) refetches.set(queries, (known = new Map()));
  const hash = hashKey(key);
  let refetch = known.get(hash);
  if (!refetch) known.set(hash, (refetch = { due: false, running: false }));
  refetch.due = true;
  if (!refetch.running) refetch.timer ??= setTimeout(() => void run(queries, key, hash, refetch), COALESCE);
}

async function run(queries: QueryClient, key: QueryKey, hash: string, refetch: Refetch): Promise<void> {
  const start = Date.now();
  refetch.timer = undefined;
  refetch.due = false;
  refetch.running = true;
  let hung: ReturnType<typeof setTimeout> | undefined;
  try {
    await Promise.race([
      queries.invalidateQueries({ queryKey: key }),
      new Promise<void>((resolve) => (hung = setTimeout(resolve, HUNG))),
    ]);
  } catch {
    // The query has the error, and shows it.
  }
  clearTimeout(hung);
  refetch.running = false;
  if (!refetch.due) return void refetches.get(queries)?.delete(hash);
  const rest = Math.min(Math.max(COALESCE, REST * (Date.now() - start)), REST_MAX);
  refetch.timer = setTimeout(() => void run(queries, key, hash, refetch), rest);
}

type Row = { id?: unknown; updated_at?: unknown; [column: string]: unknown };

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null;

/** Milliseconds between patches: a hundred changes a second must not be a hundred renderings. */
const PACE = 32;

type Patch = [row: Row, deleted: boolean];

const patches = new WeakMap<QueryClient, Map<string, Patch[]>>();

/** Patches at once if nothing was patched just now, and else with all that comes within PACE. See patchNow. */
export function patchQueries(queries: QueryClient, key: QueryKey, row: Row, deleted: boolean): void {
  let waiting = patches.get(queries);
  if (!waiting) patches.set(queries, (waiting = new Map()));
  const hash = hashKey(key);
  const before = waiting.get(hash);
  if (before) return void before.push([row, deleted]);
  patchNow(queries, key, [[row, deleted]]);
  rest(queries, key, hash, waiting);
}

function rest(queries: QueryClient, key: QueryKey, hash: string, waiting: Map<string, Patch[]>): void {
  const mine: Patch[] = [];
  waiting.set(hash, mine);
  setTimeout(() => {
    waiting.delete(hash);
    if (!mine.length) return;
    patchNow(queries, key, mine);
    rest(queries, key, hash, waiting);
  }, PACE);
}

/**
 * Puts messages' rows into what is cached under the key: in a row, a list of rows, a page of Django REST framework's
 * (`results`) or an infinite query's pages. Rows are updated and deleted; inserting is left to the refetch, which knows
 * filters and order.
 */
function patchNow(queries: QueryClient, key: QueryKey, changes: Patch[]): void {
  queries.setQueriesData({ queryKey: key }, (cached: unknown) => {
    const patched = changes.reduce((value, [row, deleted]) => patch(value, row, deleted, 0), cached);
    return patched === cached ? undefined : patched; // undefined leaves the query as it is
  });
}

function patch(cached: unknown, data: Row, deleted: boolean, depth: number): unknown {
  if (!isObject(cached) || depth > 3) return cached;
  if (Array.isArray(cached)) return patchList(cached, data, deleted, depth);
  if (cached.id !== undefined) return cached.id === data.id && !deleted ? merge(cached, data) : cached;
  for (const member of ['results', 'pages']) {
    const list = cached[member];
    const patched = Array.isArray(list) ? patchList(list, data, deleted, depth) : list;
    if (patched !== list) return { ...cached, [member]: patched };
  }
  return cached;
}

function patchList(list: unknown[], data: Row, deleted: boolean, depth: number): unknown[] {
  const kept = deleted ? list.filter((row) => !isObject(row) || row.id === undefined || row.id !== data.id) : list;
  const patched = kept.map((row) => patch(row, data, deleted, depth + 1));
  return patched.length === list.length && patched.every((row, i) => row === list[i]) ? list : patched;
}

/** Only what the row has and is no object: a serializer may nest what the message tells as a key. */
function merge(row: Row, data: Row): Row {
  const known = Date.parse(String(row.updated_at));
  if (known > Date.parse(String(data.updated_at))) return row; // a refetch was faster
  const merged = { ...row };
  let changed = false;
  for (const [column, value] of Object.entries(data)) {
    if (!(column in row) || row[column] === value || isObject(row[column])) continue;
    merged[column] = value;
    changed = true;
  }
  return changed ? merged : row;
}
