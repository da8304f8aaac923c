// @vitest-environment jsdom
/** Case 57: the provider's properties may change. */
import { act } from 'react';
import { createRoot, type Root } from 'react-dom/client';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { LiveIndicator, useWebSocket, WebSocketProvider, type WebSocketProviderProps } from '../src/react/index.js';
import { FakeSocket } from './fake.js';

(globalThis as any).IS_REACT_ACT_ENVIRONMENT = true;

let root: Root;
const heard = vi.fn();

function Listens() {
  useWebSocket('requests', 5, heard);
  return null;
}

const show = (props: Partial<WebSocketProviderProps>) =>
  act(async () =>
    root.render(
      <WebSocketProvider WebSocket={FakeSocket} token={() => 'token'} {...props}>
        <Listens />
        <LiveIndicator stream="requests" id={5} />
        <LiveIndicator stream="crates" id={5} className="nobody" />
      </WebSocketProvider>,
    ),
  );
const hosts = () => FakeSocket.made.map(({ url }) => new URL(url).host);
const state = (of = 'walpush-live') => document.querySelector<HTMLElement>(`.${of}`)!.dataset.state;

beforeEach(() => {
  FakeSocket.made = [];
  heard.mockReset();
  const page = document.createElement('div');
  document.body.replaceChildren(page);
  root = createRoot(page);
});
afterEach(() => act(async () => root.unmount()));

it('a url that is known later is used from then on', async () => {
  await show({});
  expect(hosts()).toEqual(['localhost:3000']);
  await show({ url: 'ws://server' });
  expect(hosts()).toEqual(['localhost:3000', 'server']);
  expect(FakeSocket.made[0]!.closed).toBe(true);
  await act(async () => void FakeSocket.last.establish());
  expect(state()).toBe('live');
});

it('a url that changes moves the connection', async () => {
  await show({ url: 'ws://one' });
  await act(async () => void FakeSocket.last.establish());
  await show({ url: 'ws://two' });
  expect(hosts()).toEqual(['one', 'two']);
  expect(state()).toBe('catching_up');
});

it('path and tokenIn too; a render that changes neither moves nothing', async () => {
  const path = (prefix: string) => (stream: string) => `/${prefix}/${stream}`;
  await show({ url: 'ws://one', path: path('a') });
  await show({ url: 'ws://one', path: path('a') });
  expect(FakeSocket.made).toHaveLength(1);
  await show({ url: 'ws://one', path: path('b') });
  await show({ url: 'ws://one', path: path('b'), tokenIn: 'query' });
  expect(FakeSocket.made.map(({ url }) => url)).toEqual([
    'ws://one/a/requests',
    'ws://one/b/requests',
    'ws://one/b/requests?token=token',
  ]);
});

it('onError is the one of the last render', async () => {
  const [first, second] = [vi.fn(), vi.fn()];
  await show({ url: 'ws://one', onError: first });
  await show({ url: 'ws://one', onError: second });
  await act(async () => FakeSocket.last.establish().say('no json'));
  expect(first).not.toHaveBeenCalled();
  expect(second).toHaveBeenCalledTimes(1);
});

it('without a token it is nobody', async () => {
  await show({ url: 'ws://one', token: undefined as any });
  expect(state()).toBe('denied');
  expect(FakeSocket.made).toHaveLength(0);
});

it('62: an indicator of a stream that nobody uses says offline', async () => {
  await show({ url: 'ws://one' });
  expect([state(), state('nobody')]).toEqual(['connecting', 'offline']);
  await act(async () => void FakeSocket.last.establish());
  expect([state(), state('nobody')]).toEqual(['live', 'offline']);
});

it('a hook that is about to listen does not say offline, not for one frame, nor for another id', async () => {
  const states: string[] = [];
  function Says({ id }: { id: number | null }) {
    states.push(`${id} ${useWebSocket('requests', id, heard)}`);
    return null;
  }
  for (const id of [5, 6, null]) {
    await act(async () =>
      root.render(
        <WebSocketProvider WebSocket={FakeSocket} token={() => 'token'}>
          <Says id={id} />
        </WebSocketProvider>,
      ),
    );
    if (id) await act(async () => void FakeSocket.last.establish());
  }
  const told = states.filter((state, i) => state !== states[i - 1]);
  expect(told).toEqual(['5 connecting', '5 live', '6 connecting', '6 live', 'null offline']);
});
