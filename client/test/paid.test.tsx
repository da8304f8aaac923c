// @vitest-environment jsdom
/** What people lost, with the real TanStack Query: shared/cases 51 to 55, and others of their kinds. */
import {
  dehydrate,
  hydrate,
  onlineManager,
  QueryClient,
  QueryClientProvider,
  useInfiniteQuery,
  useQuery,
  useSuspenseQuery,
  type UseQueryOptions,
} from '@tanstack/react-query';
import { act, Suspense, useState, type ReactNode } from 'react';
import { createRoot, type Root } from 'react-dom/client';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { useRequestUpdates, useStale, WebSocketProvider, type UpdateOptions } from '../src/react/index.js';
import { isStale } from '../src/react/queries.js';
import { FakeSocket, LastingSocket } from './fake.js';

Object.assign(globalThis, { IS_REACT_ACT_ENVIRONMENT: true });

const KEY = ['requests', 1];

let root: Root;
let queries: QueryClient;
let database: unknown;
let messages: number;
let onError: (error: unknown) => void;

const pass = (milliseconds: number) => act(() => vi.advanceTimersByTimeAsync(milliseconds));
const wait = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));
const text = () => document.body.textContent;
const data = (key = KEY) => queries.getQueryData(key);

/** Answers with what the database has now, after some milliseconds. */
const slow = (milliseconds: number) =>
  vi.fn(async () => {
    const read = database;
    await wait(milliseconds);
    return read;
  });

/** The database changes, and the message arrives. */
const change = (value: unknown, more: object = {}) =>
  act(async () => {
    database = value;
    FakeSocket.last.change(`0/${(0x200 + ++messages).toString(16)}-1`, { data: null, ...more });
  });

let setPage: (page: ReactNode) => void;
const show = (page: ReactNode) => act(async () => setPage(page));

function Layout({ first, options }: { first: ReactNode; options: UpdateOptions<'requests'> }) {
  const [page, set] = useState(first);
  setPage = set;
  const state = useRequestUpdates(1, options);
  return (
    <>
      <i>{state}</i>
      <Suspense fallback="wait">{page}</Suspense>
    </>
  );
}

/** A layout that stays, as the demo's Shell, and is live; its own refetch is over. */
async function open(first: ReactNode = null, options: UpdateOptions<'requests'> = {}, establish = true) {
  await act(async () => {
    root.render(
      <QueryClientProvider client={queries}>
        <WebSocketProvider url="ws://server" token={() => 'token'} WebSocket={LastingSocket} onError={onError}>
          <Layout first={first} options={options} />
        </WebSocketProvider>
      </QueryClientProvider>,
    );
    await vi.advanceTimersByTimeAsync(0);
  });
  if (!establish) return;
  await act(async () => FakeSocket.last.establish());
  await pass(100);
}

type Options = Partial<UseQueryOptions<unknown>>;

function List({ fetch, ...options }: { fetch: () => Promise<unknown> } & Options) {
  const { data } = useQuery({ queryKey: KEY, queryFn: fetch, ...options });
  return <p>{JSON.stringify(data)}</p>;
}

beforeEach(() => {
  vi.useFakeTimers();
  FakeSocket.made = [];
  database = 'before';
  messages = 0;
  onError = vi.fn();
  queries = new QueryClient({ defaultOptions: { queries: { retry: false, staleTime: Infinity, gcTime: Infinity } } });
  document.body.innerHTML = '<div></div>';
  root = createRoot(document.body.firstElementChild!);
});

afterEach(async () => {
  onlineManager.setOnline(true);
  await act(async () => root.unmount());
  await vi.advanceTimersByTimeAsync(60_000);
  const left = vi.getTimerCount();
  vi.useRealTimers();
  vi.restoreAllMocks();
  expect(left, 'timers left behind').toBe(0);
});

describe('51: a change during a first fetch', () => {
  it('is followed by one more fetch', async () => {
    const fetch = slow(600);
    await open();
    await show(<List fetch={fetch} />);
    await pass(200);
    await change('after');
    await pass(410);
    expect(text()).toBe('live"before"');
    await pass(4000);
    expect(text()).toBe('live"after"');
    expect(fetch).toHaveBeenCalledTimes(2);
  });

  it('so is one that came before connection_established', async () => {
    const fetch = slow(1500);
    await open(<List fetch={fetch} />, {}, false);
    await pass(250);
    database = 'after';
    await pass(250);
    await act(async () => FakeSocket.last.establish());
    await pass(5000);
    expect(text()).toBe('live"after"');
    expect(fetch).toHaveBeenCalledTimes(2);
  });

  it('of a prefetch, which nobody watches: fetched when it is mounted', async () => {
    const fetch = slow(600);
    await open();
    await act(async () => void queries.prefetchQuery({ queryKey: KEY, queryFn: fetch }));
    await pass(200);
    await change('after');
    await pass(10_000);
    expect([data(), fetch.mock.calls.length]).toEqual(['before', 1]);
    await show(<List fetch={fetch} refetchOnMount={false} />);
    await pass(1000);
    expect([data(), fetch.mock.calls.length]).toEqual(['after', 2]);
  });

  it('of a loader: the next loader asks again', async () => {
    const fetch = slow(600);
    await open();
    const load = () => queries.ensureQueryData({ queryKey: KEY, queryFn: fetch, revalidateIfStale: true });
    await act(async () => void load());
    await pass(200);
    await change('after');
    await pass(1000);
    await act(async () => void load());
    await pass(1000);
    expect(data()).toBe('after');
  });

  it('of Suspense', async () => {
    const fetch = slow(600);
    function Suspended() {
      return <p>{String(useSuspenseQuery({ queryKey: KEY, queryFn: fetch }).data)}</p>;
    }
    await open();
    await show(<Suspended />);
    await pass(200);
    await change('after');
    await pass(1000); // React shows it at the end of an act
    await pass(5000);
    expect(text()).toBe('liveafter');
    expect(fetch).toHaveBeenCalledTimes(2);
  });

  it('of a paused fetch', async () => {
    const fetch = slow(600);
    await open();
    onlineManager.setOnline(false);
    await show(<List fetch={fetch} />);
    await change('between');
    await pass(20_000);
    expect(fetch).not.toHaveBeenCalled();
    onlineManager.setOnline(true);
    await pass(5000);
    expect(data()).toBe('between');
  });
});

describe('a first fetch that was cancelled', () => {
  it.each([
    ['a change', () => change('after')],
    ['a resync', () => act(async () => ((database = 'after'), FakeSocket.last.say({ type: 'resync', id: '0/300-0', epoch: 'e1' })))],
  ])('is begun again by %s', async (_, happens) => {
    const fetch = slow(600);
    await open();
    await show(<List fetch={fetch} />);
    await pass(200);
    await act(async () => void queries.cancelQueries({ queryKey: KEY }));
    await pass(100);
    await happens();
    await pass(1000);
    expect([text(), fetch.mock.calls.length]).toEqual(['live"after"', 2]);
  });
});

describe('52: the backend is away at the change', () => {
  let away = false;
  const failing = (milliseconds = 10) => {
    const fetch = slow(milliseconds);
    return vi.fn(async () => {
      const answer = await fetch();
      if (away) throw new Error('502');
      return answer;
    });
  };
  beforeEach(() => void (away = false));

  it('is tried again, with the default retries of TanStack Query', async () => {
    const fetch = failing();
    await open(<List fetch={fetch} retry={3} />);
    away = true;
    await change('after');
    await pass(12_000);
    away = false;
    await pass(20_000);
    expect(text()).toBe('live"after"');
  });

  it('with a growing wait: an hour of 502 is not an hour of questions', async () => {
    const fetch = failing();
    await open(<List fetch={fetch} />);
    await pass(1000);
    away = true;
    fetch.mockClear();
    await change('after');
    await pass(31_500);
    expect(fetch).toHaveBeenCalledTimes(6); // at once, after 1, 2, 4, 8 and 16 s
    await pass(3_600_000);
    expect(fetch.mock.calls.length).toBeLessThan(70);
    away = false;
    await pass(61_000);
    expect(data()).toBe('after');
    fetch.mockClear();
    await pass(600_000);
    expect(fetch).not.toHaveBeenCalled();
  });

  it('at once when another query recovers', async () => {
    const fetch = failing();
    await open(<List fetch={fetch} />);
    away = true;
    await change('after');
    void queries.prefetchQuery({ queryKey: ['other'], queryFn: fetch });
    await pass(40_000);
    away = false;
    fetch.mockClear();
    void queries.prefetchQuery({ queryKey: ['other'], queryFn: fetch });
    await pass(100);
    expect([data(), fetch.mock.calls.length]).toEqual(['after', 2]);
  });

  it('at once when the socket recovers, resumed or not', async () => {
    const fetch = failing();
    await open(<List fetch={fetch} />);
    away = true;
    await change('after');
    await pass(63_500);
    await act(async () => FakeSocket.last.end());
    await pass(500);
    away = false;
    fetch.mockClear();
    await act(async () => FakeSocket.last.establish('0/201-1', { resumed: true }));
    await pass(100);
    expect([data(), fetch.mock.calls.length]).toEqual(['after', 1]);
  });

  it('for a first fetch that failed as well', async () => {
    const fetch = failing();
    await open();
    away = true;
    await show(<List fetch={fetch} />);
    await pass(100);
    await change('after');
    await pass(5000);
    away = false;
    await pass(10_000);
    expect(data()).toBe('after');
  });

  it('is tried again when its list is opened, however long the wait had grown', async () => {
    const fetch = failing();
    await open(<List fetch={fetch} />);
    away = true;
    await change('after');
    await pass(70_000);
    await show(null);
    away = false;
    await show(<List fetch={fetch} refetchOnMount={false} />);
    await pass(100);
    expect(data()).toBe('after');
  });
});

describe('53: patch, and what else takes the mark away', () => {
  const row = (id: number, text = 'x') => ({ id, text });

  it('leaves an unmounted list owing: the new row is there when it is opened', async () => {
    database = [row(1)];
    const fetch = slow(10);
    await open(<List fetch={fetch} />, { patch: true });
    await show(null);
    await change([row(1), row(2)], { type: 'request.created', data: row(2) });
    await pass(8);
    await change([row(1, 'y'), row(2)], { data: row(1, 'y') });
    await pass(35);
    await change([row(1, 'z'), row(2)], { data: row(1, 'z') });
    await pass(1000);
    expect(data()).toEqual([row(1, 'z')]);
    expect(queries.getQueryState(KEY)!.isInvalidated).toBe(true);
    await show(<List fetch={fetch} />);
    await pass(100);
    expect(data()).toEqual(database);
  });

  it('a query that has paid is not marked any more', async () => {
    const fetch = slow(10);
    await open(<List fetch={fetch} />);
    await pass(1000);
    await change('after');
    await pass(1000);
    expect(data()).toBe('after');
    expect(queries.getQueryState(KEY)!.isInvalidated).toBe(false);
  });

  it('a patch that comes late is owed under the first key too, whatever narrower keys say', async () => {
    database = [row(1)];
    const fetch = slow(10);
    await open(<List fetch={fetch} />, { patch: true, keys: () => [['requests', 5]] }); // the row has left unit 5
    await pass(1000);
    await change(database, { type: 'request.deleted', action: 'moved' , data: { id: 1 } });
    expect(data()).toEqual([]);
    await pass(1000);
    expect(data()).toEqual([row(1)]);
  });

  it.each([
    ['setQueryData', () => queries.setQueryData(KEY, 'mine')],
    ['cancelQueries', () => queries.cancelQueries({ queryKey: KEY })],
    ['a patch and a cancellation', () => (queries.setQueryData(KEY, 'mine'), queries.cancelQueries({ queryKey: KEY }))],
  ])('%s while the refetch is under way, or before it', async (_, disturb) => {
    for (const at of [10, 100]) {
      database = 'before';
      const fetch = slow(100);
      queries.clear();
      if (at === 10) await open();
      await show(<List fetch={fetch} />);
      await pass(1000);
      await change('after');
      await pass(at);
      await act(async () => void disturb());
      await pass(5000);
      expect(data()).toBe('after');
      await show(null);
    }
  });

  it('a page that cancels, to write what it expects, is not overtaken at once', async () => {
    const fetch = slow(100);
    await open(<List fetch={fetch} />);
    await pass(1000);
    await change('after');
    await pass(100);
    await act(async () => (queries.cancelQueries({ queryKey: KEY }), queries.setQueryData(KEY, 'expected')));
    await pass(900);
    expect(data()).toBe('expected');
    await pass(1000);
    expect(data()).toBe('after');
  });

  it('a list that shows nothing of the mark: refetchOnMount false', async () => {
    const fetch = slow(10);
    await open(<List fetch={fetch} />);
    await show(null);
    await change('after');
    await pass(1000);
    expect(fetch).toHaveBeenCalledTimes(2);
    queries.setQueryData(KEY, 'patched');
    await show(<List fetch={fetch} refetchOnMount={false} />);
    await pass(100);
    expect(data()).toBe('after');
  });

  it('a disabled list waits until it is enabled', async () => {
    const fetch = slow(10);
    await open(<List fetch={fetch} />);
    await show(<List fetch={fetch} enabled={false} />);
    fetch.mockClear();
    await change('after');
    await pass(1000);
    expect(fetch).not.toHaveBeenCalled();
    await act(async () => void queries.setQueryData(KEY, 'patched'));
    await show(<List fetch={fetch} enabled />);
    await pass(100);
    expect(data()).toBe('after');
  });

  it('a list that was never asked for owes nothing', async () => {
    const fetch = slow(10);
    await open(<List fetch={fetch} enabled={false} />);
    await change('after');
    await pass(11_000);
    expect(isStale(queries)).toBe(false);
    await show(<List fetch={fetch} enabled />);
    await pass(1000);
    expect(fetch).toHaveBeenCalledTimes(1);
  });

  it('staleTime static is exempt', async () => {
    const fetch = slow(10);
    await open(<List fetch={fetch} staleTime="static" />);
    await pass(100);
    await change('after');
    await pass(20_000);
    expect([data(), fetch.mock.calls.length]).toEqual(['before', 1]);
  });

  it.each([
    ['keys', { keys: () => { throw new Error('keys'); } }],
    ['patching', { patch: true }],
  ])('where %s throws, all keys of the stream owe, and the error is told', async (_, options) => {
    const fetch = slow(10);
    await open(<List fetch={fetch} />, options);
    const broken = { get id() { throw new Error('row'); } };
    if ('patch' in options) queries.setQueryData(['requests', 'x'], [broken]);
    await change('after', { data: { id: 1 } });
    await pass(1000);
    expect(data()).toBe('after');
    expect(onError).toHaveBeenCalled();
    if (!('patch' in options)) return;
    queries.removeQueries({ queryKey: ['requests', 'x'] });
    queries.setQueryData(['requests', 'x'], [{ id: 1, text: 'x' }]);
    await change('after', { data: { id: 1, text: 'y' } });
    expect(data(['requests', 'x'] as any)).toEqual([{ id: 1, text: 'y' }]);
  });
});

describe('54: load more', () => {
  let sent: string[];
  const page = vi.fn();
  let more: () => void;
  function Pages({ time = 500 }) {
    const list = useInfiniteQuery({
      queryKey: KEY,
      queryFn: async ({ pageParam }) => {
        const read = database;
        page(pageParam);
        await wait(time);
        return `${String(read)} ${pageParam}`;
      },
      initialPageParam: 0,
      getNextPageParam: (_, all) => all.length,
      getPreviousPageParam: () => -1,
    });
    more = () => void list.fetchNextPage().catch(() => {});
    sent = list.data?.pages ?? [];
    return null;
  }
  const start = async (time?: number) => {
    database = 'old';
    await open(<Pages {...(time ? { time } : {})} />);
    await pass(5000);
  };

  it('while a refetch is under way: the change is not lost', async () => {
    await start();
    await change('new');
    await pass(250);
    await act(async () => more());
    await pass(8000);
    expect(sent).toEqual(['new 0', 'new 1']);
  });

  it('and a change while it is under way: the click is not lost', async () => {
    await start(800);
    await act(async () => more());
    await pass(200);
    await change('new');
    await pass(800);
    expect(sent).toHaveLength(2);
    await pass(8000);
    expect(sent).toEqual(['new 0', 'new 1']);
  });

  it('begun and ended between the message and its refetch', async () => {
    await start(20);
    await change('new');
    await act(async () => more());
    await pass(30);
    expect(sent).toEqual(['old 0', 'new 1']);
    await pass(5000);
    expect(sent).toEqual(['new 0', 'new 1']);
  });

  it('every click of a busy unit', async () => {
    await start(300);
    for (let n = 0; n < 40; n++) {
      await change(`new ${n}`);
      await pass(100);
      if (n % 20 === 0) await act(async () => more());
    }
    await pass(20_000);
    expect(sent).toEqual(['new 39 0', 'new 39 1', 'new 39 2']);
  });

  it('that is cancelled', async () => {
    await start();
    await act(async () => more());
    await pass(100);
    await change('new');
    await act(async () => void queries.cancelQueries({ queryKey: KEY }));
    await pass(8000);
    expect(sent).toEqual(['new 0']);
  });
});

describe('55: an endpoint that is slower than the changes', () => {
  async function busy(fetch: () => Promise<unknown>, seconds: number) {
    const shown = new Set<string>();
    await open(<List fetch={fetch} />);
    for (let n = 1; n <= seconds; n++) {
      await change(n);
      await pass(1000);
      shown.add(text()!);
    }
    return shown;
  }

  it('is shown, answer for answer, and once more at the end', async () => {
    const fetch = slow(8000);
    const shown = await busy(fetch, 40);
    expect(shown.size).toBeGreaterThanOrEqual(4);
    await pass(20_000);
    expect(data()).toBe(40);
    expect(fetch.mock.calls.length).toBeLessThanOrEqual(7);
  });

  it('no answer is thrown away', async () => {
    let aborted = 0;
    const signals = vi.fn(async ({ signal }: any) => {
      signal.addEventListener('abort', () => aborted++);
      await wait(6000);
      return database;
    });
    await busy(signals as any, 30);
    await pass(20_000);
    expect([data(), aborted]).toEqual([30, 0]);
  });

  it('of half a minute', async () => {
    const shown = await busy(slow(30_000), 70);
    expect(shown).toContain('live"before"');
    await pass(70_000);
    expect(data()).toBe(70);
  });

  it('a fast one spends at most a tenth of its time refetching', async () => {
    const fetch = slow(100);
    await open(<List fetch={fetch} />);
    await pass(1000);
    fetch.mockClear();
    for (let n = 1; n <= 200; n++) {
      await change(n);
      await pass(50);
    }
    expect(fetch.mock.calls.length).toBeLessThanOrEqual(11);
    await pass(2000);
    expect(data()).toBe(200);
  });
});

describe('data from elsewhere that may be older than a message', () => {
  const older = (state: object = {}) => {
    const other = new QueryClient({ defaultOptions: { queries: { gcTime: Infinity }, dehydrate: { shouldDehydrateQuery: () => true } } });
    other.setQueryData(KEY, 'before', { updatedAt: Date.now() + 5000, ...state });
    return dehydrate(other);
  };

  it.each([0, 1])('initialData, after %d messages', async (count) => {
    const fetch = slow(10);
    await open(null, {}, false);
    if (count) await change('after');
    await show(<List fetch={fetch} initialData="before" />);
    await pass(1000);
    expect([data(), fetch.mock.calls.length]).toEqual(count ? ['after', 1] : ['before', 0]);
    await act(async () => void queries.cancelQueries());
    await pass(1000);
    expect(fetch).toHaveBeenCalledTimes(count);
  });

  it('hydration, of a query that is new or known', async () => {
    const fetch = slow(10);
    await open();
    await change('after');
    hydrate(queries, older());
    await show(<List fetch={fetch} refetchOnMount={false} />);
    await pass(100);
    expect(data()).toBe('after');
    await act(async () => hydrate(queries, older()));
    expect(data()).toBe('before');
    await pass(100);
    expect([data(), fetch.mock.calls.length]).toEqual(['after', 2]);
  });

  it('the promise of a query that was dehydrated while it was pending', async () => {
    const fetch = slow(10);
    const other = new QueryClient({ defaultOptions: { queries: { gcTime: Infinity }, dehydrate: { shouldDehydrateQuery: () => true } } });
    void other.prefetchQuery({ queryKey: KEY, queryFn: slow(300) });
    await open();
    await change('after');
    hydrate(queries, dehydrate(other));
    await show(<List fetch={fetch} />);
    await pass(5000);
    expect([data(), fetch.mock.calls.length]).toEqual(['after', 1]);
  });

  it.each(['mounted', 'cached', 'new, with a default queryFn'])('such a promise for a query that is %s', async (how) => {
    const fetch = slow(10);
    queries.setDefaultOptions({ queries: { ...queries.getDefaultOptions().queries, queryFn: fetch } });
    await open(how[0] === 'n' ? null : <List fetch={fetch} refetchOnMount={false} />);
    await pass(1000);
    if (how === 'cached') await show(null);
    const other = new QueryClient({ defaultOptions: { queries: { gcTime: Infinity }, dehydrate: { shouldDehydrateQuery: () => true } } });
    void other.prefetchQuery({ queryKey: KEY, queryFn: slow(300) });
    await change('after');
    await act(async () => hydrate(queries, dehydrate(other)));
    await show(<List fetch={fetch} />);
    await pass(5000);
    expect(text()).toBe('live"after"');
  });

  it('but not the state of another tab, which owes the same', async () => {
    const fetch = slow(100);
    await open(<List fetch={fetch} />);
    await pass(1000);
    fetch.mockClear();
    const query = queries.getQueryCache().find({ queryKey: KEY })!;
    for (let n = 0; n < 5; n++) {
      await act(async () => query.setState({ ...query.state, data: 'theirs' })); // as broadcastQueryClient
      await pass(1000);
    }
    expect([data(), fetch.mock.calls.length]).toEqual(['theirs', 0]);
  });

  it('a persister', async () => {
    const fetch = slow(10);
    let stored = true;
    const persister: any = async (ask: any, context: any) => (stored ? ((stored = false), 'before') : ask(context));
    await open();
    await change('after');
    await show(<List fetch={fetch} persister={persister} />);
    await pass(1000);
    expect([data(), fetch.mock.calls.length]).toEqual(['after', 1]);
  });

  it('what is written with a time of its own', async () => {
    const fetch = slow(10);
    await open();
    await change('after');
    queries.setQueryData(KEY, 'before', { updatedAt: 1 });
    await show(<List fetch={fetch} refetchOnMount={false} />);
    await pass(1000);
    expect(data()).toBe('after');
  });

  it('what a page writes itself owes nothing, nor does another key', async () => {
    const fetch = slow(10);
    await open();
    await change('after');
    queries.setQueryData(KEY, 'mine');
    queries.setQueryData(['crates'], 'before', { updatedAt: 1 });
    await show([<List key="1" fetch={fetch} />, <List key="2" fetch={fetch} queryKey={['crates']} />]);
    await pass(1000);
    expect(fetch).not.toHaveBeenCalled();
  });

  it('after messages under very many keys', async () => {
    const fetch = slow(10);
    await open(null, { keys: (one: any) => [['requests', one.request_id]] });
    queries.setQueryData(['crates'], 'theirs');
    for (let n = 0; n < 600; n++) await change('after', { request_id: n + 2 });
    expect(queries.getQueryState(['crates'])!.isInvalidated).toBe(false);
    await show(<List fetch={fetch} queryKey={['requests', 2]} initialData="before" />);
    await pass(1000);
    expect(data(['requests', 2] as any)).toBe('after');
  });
});

describe('stale', () => {
  const stale: boolean[] = [];
  function Stale() {
    stale.push(useStale());
    return null;
  }

  it('is true after 10 s owed, until it is paid, and the state is live', async () => {
    let time = 10;
    const fetch = async () => {
      const read = database;
      await wait(time);
      return read;
    };
    await open(<><Stale /><List fetch={fetch} /></>);
    await pass(1000);
    time = 20_000;
    expect(stale.at(-1)).toBe(false);
    await change('after');
    await pass(9_500);
    expect(stale.at(-1)).toBe(false);
    await pass(1500);
    expect(stale.at(-1)).toBe(true);
    expect(text()).toBe('live"before"');
    await pass(11_000);
    expect(text()).toBe('live"after"');
    expect(stale.at(-1)).toBe(false);
  });

  it('not for what is not on the page', async () => {
    const fetch = slow(10);
    await open(<><Stale /><List fetch={fetch} /></>);
    await show(<Stale />);
    await change('after');
    await pass(20_000);
    expect(stale.at(-1)).toBe(false);
  });

  it('nor for what is static; but for what is disabled', async () => {
    const fetch = slow(10);
    await open(<List fetch={fetch} />);
    await show(<><Stale /><List fetch={fetch} staleTime="static" /></>);
    await change('after');
    await pass(20_000);
    expect(stale.at(-1)).toBe(false);
    await show(<><Stale /><List fetch={fetch} enabled={false} /></>);
    await pass(2000);
    expect(stale.at(-1)).toBe(true);
  });
});
