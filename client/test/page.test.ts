// @vitest-environment jsdom
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { WebSocketClient } from '../src/index.js';
import { FakeSocket } from './fake.js';

let online = true;
let hidden = false;
let client: WebSocketClient;

beforeEach(async () => {
  vi.useFakeTimers();
  vi.spyOn(Math, 'random').mockReturnValue(0.999);
  vi.spyOn(navigator, 'onLine', 'get').mockImplementation(() => online);
  vi.spyOn(document, 'hidden', 'get').mockImplementation(() => hidden);
  FakeSocket.made = [];
  online = true;
  hidden = false;
  client = new WebSocketClient({ token: () => 'token', WebSocket: FakeSocket });
  client.subscribe('requests', 5, () => {});
  await vi.advanceTimersByTimeAsync(0);
});

afterEach(() => {
  client.close();
  expect(vi.getTimerCount()).toBe(0);
  vi.useRealTimers();
  vi.restoreAllMocks();
});

function network(on: boolean): void {
  online = on;
  window.dispatchEvent(new Event(on ? 'online' : 'offline'));
}

describe('in a page', () => {
  it('the server is the page\'s own origin, unless told otherwise', () => {
    expect(FakeSocket.last.url).toBe('ws://localhost:3000/ws/requests/5/');
  });

  it('without network it is offline, and resumes at once when that is back', async () => {
    FakeSocket.last.establish();
    network(false);
    expect(FakeSocket.last.closed).toBe(true);
    expect(client.state()).toBe('offline');
    await vi.advanceTimersByTimeAsync(5000);
    expect(FakeSocket.made).toHaveLength(1);
    network(true);
    await vi.advanceTimersByTimeAsync(0);
    expect(client.state()).toBe('catching_up');
    expect(FakeSocket.last.query.get('since')).toBe('0/100-0');
    FakeSocket.last.establish('0/100-0', { resumed: true }).pong();
    expect(client.state()).toBe('live');
  });

  it('a browser that is wrong about its network is not believed for ever', async () => {
    online = false;
    FakeSocket.last.end();
    expect(client.state()).toBe('offline');
    await vi.advanceTimersByTimeAsync(500);
    FakeSocket.last.establish();
    expect(client.state()).toBe('live');
  });

  it('that is looked at again does not wait', async () => {
    for (let i = 0; i < 8; i++) {
      FakeSocket.last.end();
      await vi.advanceTimersByTimeAsync(20_000);
    }
    FakeSocket.last.end();
    const before = FakeSocket.made.length;
    hidden = true;
    document.dispatchEvent(new Event('visibilitychange'));
    await vi.advanceTimersByTimeAsync(0);
    expect(FakeSocket.made).toHaveLength(before);
    hidden = false;
    document.dispatchEvent(new Event('visibilitychange'));
    await vi.advanceTimersByTimeAsync(0);
    expect(FakeSocket.made).toHaveLength(before + 1);
  });

  it('that is looked at again does not trust', async () => {
    FakeSocket.last.establish().pong();
    document.dispatchEvent(new Event('visibilitychange'));
    expect(FakeSocket.last.sent.filter((m) => m.type === 'ping')).toHaveLength(2);
    await vi.advanceTimersByTimeAsync(10_000);
    expect(FakeSocket.made[0]!.closed).toBe(true);
  });

  it('what is denied stays denied, whatever the network does', async () => {
    FakeSocket.last.end(4403);
    network(false);
    network(true);
    document.dispatchEvent(new Event('visibilitychange'));
    await vi.advanceTimersByTimeAsync(10 ** 6);
    expect(client.state()).toBe('denied');
    expect(FakeSocket.made).toHaveLength(1);
  });

  it('a closed client hears of nothing', async () => {
    client.close();
    network(false);
    network(true);
    await vi.advanceTimersByTimeAsync(10 ** 6);
    expect(FakeSocket.made).toHaveLength(1);
  });
});
