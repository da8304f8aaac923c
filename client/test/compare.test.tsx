// @vitest-environment jsdom
/**
 * Patches and refetches against a fresh fetch: random changes, fetches that are slow, fail or are cancelled, mounts, load
 * more, a backend that goes away. After each few steps it becomes quiet, and what is cached must be what the server has.
 */
import {
  dehydrate,
  hydrate,
  InfiniteQueryObserver,
  onlineManager,
  QueryClient,
  QueryClientProvider,
  QueryObserver,
  type QueryKey,
} from '@tanstack/react-query';
import { act } from 'react';
import { createRoot, type Root } from 'react-dom/client';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { useRequestUpdates, WebSocketProvider } from '../src/react/index.js';
import { isStale } from '../src/react/queries.js';
import { FakeSocket, LastingSocket } from './fake.js';
import { randomOf, type Random } from './random.js';

const STEPS = Number(process.env.STEPS ?? 100);
const STEPS_A_ROUND = 10;
const PAGE = 3;

interface Row {
  id: number;
  open: boolean;
  text: string;
  updated_at: string;
}

/** Answers with what it had at a moment between the question and the answer, as a database does. */
class Server {
  rows = new Map<number, Row>();
  away = false;
  fastest = 0;
  slowest = 400;
  asked = 0;
  #clock = 0;
  #last = 0;
  constructor(readonly random: Random) {}

  all = () => [...this.rows.values()].sort((a, b) => a.id - b.id);
  open = () => this.all().filter((row) => row.open);
  page = (from: number) => this.all().slice(from, from + PAGE);

  async ask<T>(read: () => T, signal?: AbortSignal): Promise<T> {
    this.asked++;
    const whole = this.fastest + this.random.below(this.slowest - this.fastest);
    const until = this.random.below(whole + 1);
    if (signal?.aborted) throw new Error('aborted');
    if (until) await new Promise((resolve) => setTimeout(resolve, until));
    const answer = structuredClone(read());
    await new Promise((resolve) => setTimeout(resolve, whole - until));
    if (this.away) throw new Error('502');
    return answer;
  }

  change(): object {
    const { random } = this;
    const kind = random.pick(['created', 'updated', 'updated', 'updated', 'deleted']);
    const known = random.pick(this.all());
    const id = kind === 'created' || !known ? ++this.#last : known.id;
    const updated_at = new Date(Date.UTC(2026, 0, 1) + ++this.#clock).toISOString();
    const row: Row = { id, open: random.chance(0.5), text: `text ${this.#clock}`, updated_at };
    if (kind === 'deleted') this.rows.delete(id);
    else this.rows.set(id, row);
    return { type: `request.${kind}`, action: kind, request_id: id, data: kind === 'deleted' ? { id } : row };
  }
}

let root: Root;
let queries: QueryClient;

const KEYS = { all: ['requests', 'all'], open: ['requests', 'open'], pages: ['requests', 'pages'] } as const;

/** The three lists, each of them there or not. */
function listsOf(server: Server, random: Random) {
  const mounted = new Map<string, () => void>();
  const some = { refetchOnMount: false, refetchOnWindowFocus: false, refetchOnReconnect: false };
  const simple = (queryKey: QueryKey, read: () => unknown) => ({
    queryKey,
    queryFn: ({ signal }: { signal: AbortSignal }) => server.ask(read, random.chance(0.5) ? signal : undefined),
  });
  const options = {
    all: simple(KEYS.all, server.all),
    open: simple(KEYS.open, server.open),
    pages: {
      queryKey: KEYS.pages,
      queryFn: ({ pageParam }: { pageParam: unknown }) => server.ask(() => server.page(pageParam as number)),
      initialPageParam: 0,
      getNextPageParam: (last: unknown[], pages: unknown[]) => (last.length < PAGE ? undefined : pages.length * PAGE),
    },
  };
  const names = ['all', 'open', 'pages'] as const;
  let pages: InfiniteQueryObserver<any, any, any, any, any>;
  const enabled: Record<string, QueryObserver<any, any, any, any, any>> = {};
  return {
    names,
    mounted,
    options,
    mount(name: (typeof names)[number], more: object = random.chance(0.5) ? some : {}) {
      if (mounted.has(name)) return;
      const observer =
        name === 'pages'
          ? (pages = new InfiniteQueryObserver(queries, { ...options.pages, ...more } as any))
          : (enabled[name] = new QueryObserver<any, any, any, any, any>(queries, { ...options[name], ...more } as any));
      mounted.set(name, observer.subscribe(() => {}));
    },
    unmount(name: string) {
      mounted.get(name)?.();
      mounted.delete(name);
    },
    able(name: 'all' | 'open', able: boolean) {
      if (mounted.has(name)) enabled[name]!.setOptions({ ...enabled[name]!.options, enabled: able });
    },
    more: () => void (mounted.has('pages') && pages.fetchNextPage().catch(() => {})),
  };
}

function Layout() {
  return <>{useRequestUpdates(5)}</>;
}

beforeEach(() => {
  vi.useFakeTimers();
  FakeSocket.made = [];
  queries = new QueryClient({
    defaultOptions: { queries: { retry: false, staleTime: Infinity, gcTime: Infinity, networkMode: 'online' } },
  });
  document.body.innerHTML = '<div></div>';
  root = createRoot(document.body.firstElementChild!);
});

afterEach(async () => {
  onlineManager.setOnline(true);
  root.unmount();
  queries.clear();
  await vi.advanceTimersByTimeAsync(100_000);
  vi.useRealTimers();
});

describe.each([false, true])('patch: %s', (patch) => {
  it('once it is quiet, every list is what the server answers', async () => {
    const seed = Number(process.env.SEED ?? 16);
    const random = randomOf(seed);
    const server = new Server(random);
    const lists = listsOf(server, random);
    const done: string[] = [];
    const pass = (ms: number) => vi.advanceTimersByTimeAsync(ms);
    Object.assign(globalThis, { IS_REACT_ACT_ENVIRONMENT: true });
    await act(async () =>
      root.render(
        <QueryClientProvider client={queries}>
          <WebSocketProvider url="ws://server" token={() => 'token'} WebSocket={LastingSocket} patch={patch}>
            <Layout />
          </WebSocketProvider>
        </QueryClientProvider>,
      ),
    );
    Object.assign(globalThis, { IS_REACT_ACT_ENVIRONMENT: false });
    await pass(0);
    FakeSocket.last.establish();
    let messages = 0;
    let constants = 0;
    const constant = new QueryObserver(queries, {
      queryKey: ['requests', 'constant'],
      queryFn: async () => ++constants,
      staleTime: 'static',
    });
    const leave = constant.subscribe(() => {});
    const steps: Record<string, () => unknown> = {
      change: () => FakeSocket.last.say({ ...server.change(), id: `0/${(++messages + 4096).toString(16)}-1` }),
      mount: () => lists.mount(random.pick(lists.names)),
      unmount: () => lists.unmount(random.pick(lists.names)),
      more: () => lists.more(),
      cancel: () => queries.cancelQueries({ queryKey: random.pick(Object.values(KEYS)) }),
      write: () => queries.setQueriesData({ queryKey: KEYS.all }, (rows: Row[] | undefined) => rows && [...rows]),
      optimistic: () => (steps.write!(), queries.cancelQueries({ queryKey: KEYS.all })),
      away: () => (server.away = true),
      back: () => (server.away = false),
      slow: () => (server.slowest = random.pick([30, 400, 9000])),
      disable: () => lists.able(random.pick(['all', 'open']), false),
      enable: () => (lists.able('all', true), lists.able('open', true)),
      offline: () => onlineManager.setOnline(false),
      online: () => onlineManager.setOnline(true),
      refetch: () => void queries.refetchQueries({ queryKey: random.pick(Object.values(KEYS)) }, { cancelRefetch: random.chance(0.5) }),
      prefetch: () => void queries.prefetchQuery(lists.options.open),
      seed: () => {
        if (lists.mounted.has('open')) return;
        const elsewhere = new QueryClient({ defaultOptions: { dehydrate: { shouldDehydrateQuery: () => true } } });
        const data = structuredClone(server.open()); // read on a server or by an earlier page, on its way since
        let stored = true;
        const kind = random.pick(['initialData', 'hydrated', 'promised', 'stored']);
        if (kind === 'promised') void elsewhere.prefetchQuery({ queryKey: KEYS.open, queryFn: () => server.ask(() => {}).then(() => data), networkMode: 'always' });
        else elsewhere.setQueryData(KEYS.open, data, { updatedAt: Date.now() + 5000 });
        steps.change!();
        queries.removeQueries({ queryKey: KEYS.open });
        if (kind === 'hydrated' || kind === 'promised') hydrate(queries, dehydrate(elsewhere));
        lists.mount('open', {
          initialData: kind === 'initialData' ? data : undefined,
          persister: kind === 'stored' ? async (ask: any, context: any) => (stored ? ((stored = false), data) : ask(context)) : undefined,
          refetchOnMount: kind === 'hydrated' ? false : undefined,
        });
      },
    };
    const names = [...Object.keys(steps), ...Array(8).fill('change'), 'mount', 'mount', 'more', 'more', 'optimistic', 'back', 'online', 'enable'];
    for (let round = 0; round < STEPS / STEPS_A_ROUND; round++) {
      done.length = 0;
      for (let n = 0; n < STEPS_A_ROUND; n++) {
        const name = random.pick(names);
        const wait = random.pick([0, 0, 5, 20, 60, 300, 2000]);
        done.push(`${name} ${wait}`);
        steps[name]!();
        await pass(wait);
      }
      server.away = false;
      onlineManager.setOnline(true);
      server.slowest = 400;
      await pass(1);
      steps.enable!();
      lists.names.forEach((name) => lists.mount(name, { refetchOnMount: false }));
      await pass(75_000); // the longest wait, and what was slow
      expect(FakeSocket.last.closed).toBe(false);
      const said = `seed ${seed}, round ${round}: ${done.join(', ')}`;
      expect(queries.getQueryData(KEYS.all), said).toEqual(server.all());
      expect(queries.getQueryData(KEYS.open), said).toEqual(server.open());
      const { pages } = queries.getQueryData(KEYS.pages) as { pages: Row[][] };
      expect(pages.flat(), said).toEqual(server.all().slice(0, pages.length * PAGE));
      expect(isStale(queries), said).toBe(false);

      if (round % 4 === 0) {
        // away for long: asked seldom, and at once when the socket is back
        server.away = true;
        steps.change!();
        await pass(100_000);
        expect(isStale(queries), said).toBe(true);
        server.asked = 0;
        await pass(120_000);
        expect(server.asked, said).toBeLessThanOrEqual(3 * 3);
        FakeSocket.last.end();
        await pass(500);
        server.away = false;
        FakeSocket.last.establish(`0/${(++messages + 4096).toString(16)}-1`, { resumed: true });
        await pass(50 + 10 * 400);
        expect(queries.getQueryData(KEYS.all), said).toEqual(server.all());
        expect(queries.getQueryData(KEYS.open), said).toEqual(server.open());
      } else if (round % 4 === 1) {
        // a change during the first fetch
        lists.names.forEach((name) => lists.unmount(name));
        Object.values(KEYS).forEach((queryKey) => queries.removeQueries({ queryKey }));
        server.fastest = 100;
        lists.names.forEach((name) => lists.mount(name, {}));
        await pass(60);
        steps.change!();
        await pass(3000);
        expect(queries.getQueryData(KEYS.all), said).toEqual(server.all());
        expect(queries.getQueryData(KEYS.open), said).toEqual(server.open());
        server.fastest = 0;
        // what is disabled is left alone, and owes meanwhile
        lists.unmount('pages');
        lists.able('all', false);
        lists.able('open', false);
        server.asked = 0;
        steps.change!();
        await pass(3000);
        expect(server.asked, said).toBe(0);
        steps.enable!();
        await pass(1000);
        expect(queries.getQueryData(KEYS.all), said).toEqual(server.all());
        // a loader asks again for what nobody watches, whatever was written since
        lists.unmount('open');
        steps.change!();
        await pass(100);
        queries.setQueryData(KEYS.open, (rows: Row[] | undefined) => rows && [...rows]);
        void queries.prefetchQuery(lists.options.open);
        await pass(1000);
        expect(queries.getQueryData(KEYS.open), said).toEqual(server.open());
      } else if (round % 4 === 2) {
        // what is written while a fetch runs is no answer of the server: the fetch fails, and another one brings the change
        server.fastest = 100;
        steps.change!();
        await pass(100);
        steps.write!();
        queries.setQueryData(KEYS.open, (rows: Row[] | undefined) => rows && [...rows]);
        server.away = true;
        await pass(400);
        server.away = false;
        await pass(3000);
        server.fastest = 0;
        expect(queries.getQueryData(KEYS.all), said).toEqual(server.all());
        expect(queries.getQueryData(KEYS.open), said).toEqual(server.open());
      } else {
        // many changes: one refetch of each list after another, and a rest; each refetch is let end, and shown
        lists.unmount('pages');
        let shown = 0;
        const forget = queries.getQueryCache().subscribe((event) => {
          if (event.type === 'updated' && event.action.type === 'success' && !event.action.manual) shown++;
        });
        server.asked = 0;
        [server.fastest, server.slowest] = [150, 200];
        for (let n = 0; n < 200; n++) {
          steps.change!();
          await pass(50);
        }
        forget();
        server.fastest = 0;
        expect(server.asked, said).toBeLessThanOrEqual(2 * 25);
        expect(shown, said).toBeGreaterThanOrEqual(server.asked - 2);
        expect(shown, said).toBeGreaterThan(2);
      }
    }
    expect(constants).toBe(1); // static is exempt
    lists.names.forEach((name) => lists.unmount(name));
    leave();
  }, 300_000);
});
