// @vitest-environment jsdom
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { WebSocketClient } from '../src/index.js';
import { FakeSocket } from './fake.js';

let online = true;
let hidden = false;
let client: WebSocketClient;
const connection = new EventTarget();
Object.defineProperty(navigator, 'connection', { value: connection });

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

  it.each([
    ['is looked at again', () => document.dispatchEvent(new Event('visibilitychange'))],
    ['has a network again', () => window.dispatchEvent(new Event('online'))],
    ['has another network', () => connection.dispatchEvent(new Event('change'))],
  ])('that %s does not trust, and is catching up until the pong', async (_, happens) => {
    FakeSocket.last.establish().pong();
    await vi.advanceTimersByTimeAsync(1000);
    happens();
    expect(client.state()).toBe('catching_up');
    expect(FakeSocket.last.sent.filter((m) => m.type === 'ping')).toHaveLength(2);
    FakeSocket.last.change('0/200-1');
    expect(client.state()).toBe('catching_up');
    FakeSocket.last.pong();
    expect(client.state()).toBe('live');
    happens();
    await vi.advanceTimersByTimeAsync(10_000);
    expect(FakeSocket.made[0]!.closed).toBe(true);
    expect(client.state()).toBe('catching_up');
  });

  it('a pong from before is not taken for the answer', async () => {
    FakeSocket.last.establish();
    const before = FakeSocket.last.sent.at(-1).timestamp;
    await vi.advanceTimersByTimeAsync(1000);
    document.dispatchEvent(new Event('visibilitychange'));
    FakeSocket.last.say({ type: 'pong', timestamp: before });
    expect(client.state()).toBe('catching_up');
    FakeSocket.last.pong();
    expect(client.state()).toBe('live');
  });

  it('a watcher that closes the client at the look leaves nothing behind', () => {
    FakeSocket.last.establish().pong();
    client.onState(() => client.close());
    document.dispatchEvent(new Event('visibilitychange'));
    expect(vi.getTimerCount()).toBe(0);
  });

  it.each([
    ['the network is back', () => (network(false), network(true))],
    ['the tab is shown', () => document.dispatchEvent(new Event('visibilitychange'))],
  ])('what is denied stays denied, and is tried again when %s', async (_, happens) => {
    FakeSocket.last.open().end(4403);
    await vi.advanceTimersByTimeAsync(20_000);
    expect(FakeSocket.made).toHaveLength(1);
    happens();
    await vi.advanceTimersByTimeAsync(0);
    expect(client.state()).toBe('denied');
    expect(FakeSocket.made).toHaveLength(2);
    FakeSocket.last.establish();
    expect(client.state()).toBe('live');
  });

  it('another network only makes a connection doubted: it ends no wait, and dials nothing where there is none', async () => {
    for (const end of [() => FakeSocket.last.open().end(4403), () => network(false)]) {
      end();
      connection.dispatchEvent(new Event('change'));
      await vi.advanceTimersByTimeAsync(0);
      expect(FakeSocket.made).toHaveLength(1);
    }
  });

  it('a denial is not tried without a network', async () => {
    FakeSocket.last.open().end(4403);
    network(false);
    await vi.advanceTimersByTimeAsync(29_900);
    expect(FakeSocket.made).toHaveLength(1);
    expect(client.state()).toBe('denied');
  });

  it('a network that comes and goes is no refusal of the server', async () => {
    for (let n = 0; n < 3; n++) {
      network(false);
      network(true);
      await vi.advanceTimersByTimeAsync(0);
    }
    FakeSocket.last.end();
    expect(client.cause('requests', 5)!.reason).toBe('');
  });

  it('a closed client hears of nothing', async () => {
    client.close();
    network(false);
    network(true);
    await vi.advanceTimersByTimeAsync(10 ** 6);
    expect(FakeSocket.made).toHaveLength(1);
  });
});
