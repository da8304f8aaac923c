/** Puts messages' rows into TanStack Query's cache, until the refetch has brought them. A patch pays no debt. */

import { hashKey, type QueryClient, type QueryKey } from '@tanstack/react-query';

type Row = { id?: unknown; updated_at?: unknown; [column: string]: unknown };

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null;

/** Milliseconds between patches: a hundred changes a second must not be a hundred renderings. */
const PACE = 32;

type Patch = [row: Row, deleted: boolean];

const patches = new WeakMap<QueryClient, Map<string, Patch[]>>();

/** Patches at once if nothing was patched just now, and else with all that comes within PACE. See patchNow. */
export function patchQueries(queries: QueryClient, key: QueryKey, row: Row, deleted: boolean): void {
  const hash = hashKey(key);
  let waiting = patches.get(queries)!;
  if (!waiting) patches.set(queries, (waiting = new Map()));
  const run = (): void => {
    const mine = waiting.get(hash)!;
    waiting.delete(hash);
    if (!mine.length) return;
    waiting.set(hash, []);
    patchNow(queries, key, mine);
    setTimeout(run, PACE);
  };
  const before = waiting.get(hash) ?? [];
  if (before.push([row, deleted]) < 2 && !waiting.has(hash)) waiting.set(hash, before), run();
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
