/** Puts messages' rows into TanStack Query's cache, until the refetch has brought them. A patch pays no debt. */

import { hashKey, type QueryClient, type QueryKey } from '@tanstack/react-query';

type Row = { id?: unknown; updated_at?: unknown; [column: string]: unknown };

const isObject = (value: unknown): value is Record<string, unknown> => Object(value) === value;

/** Milliseconds between patches: a hundred changes a second must not be a hundred renderings. */
const PACE = 32;

type Patch = [row: Row, deleted: boolean];

const patches = new WeakMap<QueryClient, Map<string, Patch[]>>();

/**
 * Puts a message's row into what is cached under the key: in a row, a list of rows, a page of Django REST framework's
 * (`results`) or an infinite query's pages. Rows are updated and deleted; inserting is left to the refetch, which knows
 * filters and order. It is done at once if nothing was patched just now, and else with all that comes within PACE.
 */
export function patchQueries(queries: QueryClient, key: QueryKey, change: Patch): void {
  const hash = hashKey(key);
  let waiting = patches.get(queries)!;
  if (!waiting) patches.set(queries, (waiting = new Map()));
  const run = (): void => {
    const changes = waiting.get(hash)!;
    waiting.delete(hash);
    if (!changes.length) return;
    waiting.set(hash, []);
    setTimeout(run, PACE); // first, because a row may throw
    queries.setQueriesData({ queryKey: key }, (cached: unknown) => {
      const patched = changes.reduce((value, one) => patch(value, one), cached);
      return patched === cached ? undefined : patched; // undefined leaves the query as it is
    });
  };
  const before = waiting.get(hash);
  if (before) before.push(change);
  else waiting.set(hash, [change]), run();
}

function patch(cached: unknown, change: Patch, depth = 0): unknown {
  const [data, deleted] = change;
  if (!isObject(cached) || depth > 3) return cached;
  if (Array.isArray(cached)) return patchList(cached, change, depth);
  if (cached.id !== undefined) return cached.id === data.id && !deleted ? merge(cached, data) : cached;
  for (const member of ['results', 'pages']) {
    const list = cached[member];
    const patched = Array.isArray(list) ? patchList(list, change, depth) : list;
    if (patched !== list) return { ...cached, [member]: patched };
  }
  return cached;
}

function patchList(list: unknown[], change: Patch, depth: number): unknown[] {
  const [data, deleted] = change;
  const kept = deleted ? list.filter((row) => (row as Row | null)?.id !== data.id) : list;
  const patched = kept.map((row) => patch(row, change, depth + 1));
  return patched.length === list.length && patched.every((row, i) => row === list[i]) ? list : patched;
}

/** Only what the row has and is no object: a serializer may nest what the message tells as a key. */
function merge(row: Row, data: Row): Row {
  if (Date.parse(row.updated_at as string) > Date.parse(data.updated_at as string)) return row; // a refetch was faster
  let merged = row;
  for (const [column, value] of Object.entries(data)) {
    if (column in row && row[column] !== value && !isObject(row[column])) merged = { ...merged, [column]: value };
  }
  return merged;
}
