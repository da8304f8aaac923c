// @vitest-environment jsdom
import { QueryClient, QueryClientProvider, useQuery } from '@tanstack/react-query';
import { act, StrictMode, useState, type ReactNode } from 'react';
import { createRoot, type Root } from 'react-dom/client';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { WebSocketClient } from '../src/index.js';
import {
  LiveIndicator,
  useCrateUpdates,
  useNotifications,
  useRequestUpdates,
  useStorageUpdates,
  useWebSocket,
  WebSocketProvider,
  type WebSocketProviderProps,
} from '../src/react/index.js';
import { FakeSocket } from './fake.js';

Object.assign(globalThis, { IS_REACT_ACT_ENVIRONMENT: true });

let root: Root;
let queries: QueryClient;

async function show(children: ReactNode, { key, ...props }: Partial<WebSocketProviderProps> & { key?: string } = {}) {
  await act(async () => {
    root.render(
      <StrictMode>
        <QueryClientProvider client={queries}>
          <WebSocketProvider key={key} url="ws://server" token={() => 'token'} WebSocket={FakeSocket} {...props}>
            {children}
          </WebSocketProvider>
        </QueryClientProvider>
      </StrictMode>,
    );
    await vi.advanceTimersByTimeAsync(0);
  });
}

const pass = (milliseconds: number) => act(() => vi.advanceTimersByTimeAsync(milliseconds));
const server = (does: (socket: FakeSocket) => void) => act(async () => does(FakeSocket.last));
const text = () => document.body.textContent;

function Requests({ fetch }: { fetch: () => unknown }) {
  useRequestUpdates(5);
  const { data } = useQuery({ queryKey: ['requests', 'Withdrawal', 'Pending', 5], queryFn: async () => fetch() });
  return <p>{JSON.stringify(data)}</p>;
}

beforeEach(() => {
  vi.useFakeTimers();
  vi.spyOn(Math, 'random').mockReturnValue(0.999);
  FakeSocket.made = [];
  queries = new QueryClient({ defaultOptions: { queries: { retry: false, staleTime: Infinity, gcTime: Infinity } } });
  document.body.innerHTML = '<div></div>';
  root = createRoot(document.body.firstElementChild!);
});

afterEach(async () => {
  await act(async () => root.unmount());
  await vi.advanceTimersByTimeAsync(10_000);
  const left = [FakeSocket.made.filter((socket) => !socket.closed).length, vi.getTimerCount()];
  vi.useRealTimers();
  vi.restoreAllMocks();
  expect(left, 'sockets and timers left behind').toEqual([0, 0]);
});

describe('refetching', () => {
  it('follows connection_established, and coalesces what comes within 50 ms', async () => {
    const fetch = vi.fn(() => 'rows');
    await show(<Requests fetch={fetch} />);
    expect(FakeSocket.made).toHaveLength(1); // StrictMode mounts twice
    expect(fetch).toHaveBeenCalledTimes(1);
    await server((socket) => socket.establish());
    await pass(49);
    expect(fetch).toHaveBeenCalledTimes(1);
    await pass(1);
    expect(fetch).toHaveBeenCalledTimes(2);

    await server((socket) => [1, 2, 3].forEach((n) => socket.change(`0/200-${n}`)));
    await pass(30);
    await server((socket) => socket.change('0/300-1'));
    await pass(20);
    expect(fetch).toHaveBeenCalledTimes(3);
    await pass(1000);
    expect(fetch).toHaveBeenCalledTimes(3);
  });

  it('follows a resync and a bulk, but not a resumed connection', async () => {
    const fetch = vi.fn(() => 'rows');
    await show(<Requests fetch={fetch} />);
    await server((socket) => socket.establish());
    await pass(100);
    fetch.mockClear();
    await server((socket) => socket.end());
    await pass(500);
    await server((socket) => socket.establish('0/100-0', { resumed: true }));
    await pass(1000);
    expect(fetch).not.toHaveBeenCalled();
    await server((socket) => socket.say({ type: 'resync', reason: 'gap', id: '0/200-0', epoch: 'e1' }));
    await pass(50);
    expect(fetch).toHaveBeenCalledTimes(1);
    await server((socket) => socket.say({ type: 'request.bulk', action: 'bulk', count: 9, id: '0/300-1' }));
    await pass(50);
    expect(fetch).toHaveBeenCalledTimes(2);
    await server((socket) => socket.end());
    await pass(1000);
    await server((socket) => socket.establish('0/900-0'));
    await pass(50);
    expect(fetch).toHaveBeenCalledTimes(3);
  });

  it('never overtakes itself: a slow backend is asked less often, and for the last change as well', async () => {
    let answer = (_: unknown) => {};
    const fetch = vi.fn(() => new Promise((resolve) => (answer = resolve)));
    await show(<Requests fetch={fetch} />);
    await server((socket) => socket.establish());
    await pass(50);
    fetch.mockClear();
    for (let n = 1; n <= 30; n++) {
      await server((socket) => socket.change(`0/200-${n}`));
      await pass(10);
    }
    expect(fetch).toHaveBeenCalledTimes(0); // the one for connection_established is still under way
    await act(async () => answer('old'));
    await pass(1999);
    expect(fetch).toHaveBeenCalledTimes(0); // it took 300 ms: a rest of two seconds
    await pass(1);
    expect(fetch).toHaveBeenCalledTimes(1);
    await act(async () => answer('new'));
    await pass(5000);
    expect(fetch).toHaveBeenCalledTimes(1);
    expect(text()).toBe('"new"');
  });

  it('concerns the stream\'s keys, those that the provider names, or those that the hook chooses', async () => {
    const all = [['audit'], ['crates'], ['requests', 'request.updated'], ['requests', 'x'], ['storage']];
    const keys = () => {
      const owing = all.filter((key) => queries.getQueryState(key)?.isInvalidated).map((key) => JSON.stringify(key));
      queries.clear();
      all.forEach((key) => queries.setQueryData(key, 'rows'));
      return owing;
    };
    keys();
    function All() {
      useRequestUpdates(5, { keys: (change) => [['requests', change.type]] });
      useCrateUpdates(5);
      useStorageUpdates(null);
      return null;
    }
    await show(<All />, { keys: { requests: [['requests'], ['audit']] } });
    const [requests, crates] = FakeSocket.made;
    expect(FakeSocket.made).toHaveLength(2);
    await act(async () => (requests!.establish(), crates!.establish()));
    await pass(50);
    expect(keys()).toEqual(['["audit"]', '["crates"]', '["requests","request.updated"]', '["requests","x"]']);
    await act(async () => requests!.change('0/200-1'));
    expect(keys()).toEqual(['["requests","request.updated"]']);
    await act(async () => requests!.say({ type: 'resync', reason: 'gap', id: '0/300-0', epoch: 'e1' }));
    expect(keys()).toEqual(['["audit"]', '["requests","request.updated"]', '["requests","x"]']);
  });
});

describe('patching', () => {
  const row = (id: number, more: object = {}) => ({ id, status: 'Pending', updated_at: '2026-01-01T00:00:00.000001Z', ...more });
  const data = { id: 1, status: 'Approved', unit: 5, crate: 7, updated_at: '2026-01-01T00:00:01Z' };

  async function patched(cached: unknown, more: object = {}) {
    await show(<Requests fetch={() => new Promise(() => {})} />, { patch: true });
    queries.setQueryData(['requests', 'x'], cached);
    await server((socket) => socket.establish());
    await server((socket) => socket.change('0/200-1', { data, ...more }));
    return queries.getQueryData(['requests', 'x']);
  }

  it('updates rows wherever they are cached', async () => {
    const other = row(2);
    expect(await patched([row(1), other])).toEqual([row(1, { status: 'Approved', updated_at: data.updated_at }), other]);
    const page = (queries.getQueryData(['requests', 'x']) as unknown[])[1];
    expect(page).toBe(other);
  });

  it('in pages, infinite pages and single rows', async () => {
    expect(await patched({ count: 1, results: [row(1)] })).toMatchObject({ count: 1, results: [{ status: 'Approved' }] });
    queries.setQueryData(['requests', 'y'], { pages: [{ results: [row(1)] }, [row(1)]], pageParams: [0, 1] });
    queries.setQueryData(['requests', 'z'], row(1));
    await pass(32);
    await server((socket) => socket.change('0/300-1', { data }));
    expect(queries.getQueryData(['requests', 'y'])).toMatchObject({
      pages: [{ results: [{ status: 'Approved' }] }, [{ status: 'Approved' }]],
    });
    expect(queries.getQueryData(['requests', 'z'])).toMatchObject({ status: 'Approved' });
  });

  it('leaves nested objects, newer rows and other queries alone', async () => {
    const nested = [row(1, { unit: { id: 5, name: 'Pune' } })];
    expect(await patched(nested)).toMatchObject([{ status: 'Approved', unit: { id: 5, name: 'Pune' } }]);
    const newer = queries.setQueryData(['requests', 'x'], [row(1, { updated_at: '2026-01-02T00:00:00Z' })]);
    queries.setQueryData(['audit'], [row(1)]);
    const at = queries.getQueryState(['requests', 'x'])!.dataUpdateCount;
    await pass(32);
    await server((socket) => socket.change('0/300-1', { data }));
    expect(queries.getQueryData(['requests', 'x'])).toBe(newer);
    expect(queries.getQueryState(['requests', 'x'])!.dataUpdateCount).toBe(at);
    expect(queries.getQueryData(['audit'])).toEqual([row(1)]);
  });

  it('of many changes at once is one, and the last wins', async () => {
    await patched([row(1)]);
    await pass(100);
    const set = vi.spyOn(queries, 'setQueriesData');
    for (let n = 0; n < 20; n++) {
      await server((socket) => socket.change(`0/300-${n}`, { data: { ...data, status: `Status ${n}` } }));
    }
    expect(queries.getQueryData(['requests', 'x'])).toMatchObject([{ status: 'Status 0' }]);
    await pass(32);
    expect(queries.getQueryData(['requests', 'x'])).toMatchObject([{ status: 'Status 19' }]);
    expect(set).toHaveBeenCalledTimes(2);
  });

  it('removes deleted rows', async () => {
    const deletion = { type: 'request.deleted', action: 'deleted', data: { id: 1 } };
    expect(await patched({ results: [row(1), row(2)] }, deletion)).toEqual({ results: [row(2)] });
  });

  it('passes over what is told without data', async () => {
    const cached = [row(1)];
    expect(await patched(cached, { data: null, truncated: true })).toBe(cached);
  });
});

describe('hooks', () => {
  it('tell the latest listener, and stop with the component', async () => {
    const heard: string[] = [];
    let setName = (_: string) => {};
    function Page() {
      const [name, set] = useState('a');
      setName = set;
      useWebSocket('crates', name === 'gone' ? null : 5, (message) => void heard.push(`${name} ${message.type}`));
      return null;
    }
    await show(<Page />);
    await server((socket) => socket.establish());
    await act(async () => setName('b'));
    await server((socket) => socket.change('0/200-1'));
    await act(async () => setName('gone'));
    await pass(1000);
    expect(FakeSocket.last.closed).toBe(true);
    expect(FakeSocket.made).toHaveLength(1);
    expect(heard).toEqual(['a connection_established', 'b request.updated']);
  });

  it('show the state', async () => {
    function Page() {
      expect(useCrateUpdates(null)).toBe('offline');
      return <b>{useRequestUpdates(5)}</b>;
    }
    await show([<Page key="1" />, <LiveIndicator key="2" labels={{ live: 'Up to date' }} />]);
    const indicator = document.querySelector<HTMLElement>('[role=status]')!;
    expect([text(), indicator.dataset.state]).toEqual(['connectingConnecting', 'connecting']);
    await server((socket) => socket.establish());
    expect([text(), indicator.dataset.state]).toEqual(['liveUp to date', 'live']);
    await server((socket) => socket.end());
    expect(text()).toBe('catching_upCatching up');
    await pass(500);
    await server((socket) => socket.open().end(4403));
    expect(text()).toBe('deniedNo access');
    await pass(60);
  });

  it('keep the user\'s notifications', async () => {
    const toast = vi.fn();
    let all: ReturnType<typeof useNotifications>;
    function Page() {
      all = useNotifications(7, toast);
      return null;
    }
    const note = (n: number, type = 'sendback.created') => ({ type, action: 'sent_back', sendback_id: n, id: `0/200-${n}`, reason: 'why' });
    await show(<Page />);
    expect(new URL(FakeSocket.last.url).pathname).toBe('/ws/notifications/7/');
    await server((socket) => socket.establish());
    await server((socket) => [1, 2, 2].forEach((n) => socket.say(note(n))));
    await server((socket) => socket.say(note(3, 'sendback.updated')));
    expect(all!.notifications.map((one) => one.sendback_id)).toEqual([2, 1]);
    expect([all!.unread, toast.mock.calls.length]).toEqual([2, 2]);
    await act(async () => (all.markRead(), all.dismiss('0/200-1')));
    expect([all!.unread, all!.notifications.length]).toEqual([0, 1]);
    await server((socket) => Array.from({ length: 60 }, (_, n) => socket.say(note(n + 4))));
    expect(all!.notifications).toHaveLength(50);
    await pass(100);
  });
});

describe('the provider', () => {
  it('takes a client made elsewhere, and leaves it open', async () => {
    const client = new WebSocketClient({ url: 'ws://server', token: () => 'token', WebSocket: FakeSocket });
    const close = vi.spyOn(client, 'close');
    await show(<Requests fetch={() => 1} />, { client });
    await act(async () => root.render(null));
    expect(close).not.toHaveBeenCalled();
    client.close();
  });

  it('asks the latest token callback, and closes with its key', async () => {
    await show(<Requests fetch={() => 1} />, { token: () => 'a', key: 'asha' });
    await show(<Requests fetch={() => 1} />, { token: () => 'b', key: 'asha' });
    await server((socket) => socket.establish());
    expect(FakeSocket.last.sent[0]).toEqual({ type: 'auth', token: 'a' });
    await server((socket) => socket.end(4401));
    await pass(1000); // without navigator.locks, tabs renew at random moments
    await server((socket) => socket.open());
    expect(FakeSocket.last.sent[0]).toEqual({ type: 'auth', token: 'b' });
    const [before] = FakeSocket.made.slice(-1);
    await show(<Requests fetch={() => 1} />, { token: () => 'c', key: 'ravi' });
    expect(before!.closed).toBe(true);
    await server((socket) => socket.open());
    expect(FakeSocket.last.sent[0]).toEqual({ type: 'auth', token: 'c' });
    expect(FakeSocket.last.query.get('since')).toBeNull();
    await pass(100);
  });
});
