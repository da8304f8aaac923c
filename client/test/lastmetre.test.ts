/** Cases 50, 56 and 58 to 62 of the last metre, and three more of each kind. 57 and 61 are in a browser too: tests/e2e. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { WebSocketClient, type Ended, type WebSocketClientOptions } from '../src/index.js';
import { FakeSocket, jwt } from './fake.js';

let errors: string[];
let ended: Ended[];
let client: WebSocketClient;

function make(options: Partial<WebSocketClientOptions> = {}): WebSocketClient {
  client = new WebSocketClient(all(options));
  return client;
}
const all = (options: Partial<WebSocketClientOptions> = {}): WebSocketClientOptions => ({
  url: 'ws://server',
  token: () => 'token',
  WebSocket: FakeSocket,
  onError: (error) => errors.push(String(error)),
  onEvent: (event) => ended.push(event),
  ...options,
});
const pass = (milliseconds: number) => vi.advanceTimersByTimeAsync(milliseconds);
const settle = () => pass(0);
const after = (milliseconds: number, token: string) => new Promise<string>((give) => setTimeout(give, milliseconds, token));
const never = () => new Promise<string>(() => {});
const types = (listener: ReturnType<typeof vi.fn>) => listener.mock.calls.map(([message]) => message.type ?? message.event);

async function live(options: Partial<WebSocketClientOptions> = {}, listener = vi.fn()) {
  make(options).subscribe('requests', 5, listener);
  await settle();
  FakeSocket.last.establish().pong();
  return listener;
}

beforeEach(() => {
  vi.useFakeTimers();
  vi.setSystemTime(new Date('2026-01-01T00:00:00Z'));
  vi.spyOn(Math, 'random').mockReturnValue(0.999);
  FakeSocket.made = [];
  errors = [];
  ended = [];
});

afterEach(() => {
  client.close();
  expect(vi.getTimerCount(), 'timers left behind').toBe(0);
  vi.useRealTimers();
  vi.restoreAllMocks();
});

describe('50: a token callback that hangs', () => {
  it('is given up with the attempt, and the next attempt asks anew', async () => {
    const token = vi.fn(() => (token.mock.calls.length > 1 ? 'token' : never()));
    make({ token }).subscribe('requests', 5, () => {});
    await pass(19_999);
    expect(token).toHaveBeenCalledTimes(1);
    await pass(501);
    expect(token).toHaveBeenCalledTimes(2);
    FakeSocket.last.establish();
    expect(client.state('requests', 5)).toBe('live');
    expect(client.cause('requests', 5)).toMatchObject({ code: 1006, reason: 'no answer' });
  });

  it('in a renewal does not hold the connection that is cut meanwhile', async () => {
    const token = vi.fn((renew: boolean) => (renew ? never() : jwt(8)));
    await live({ token });
    await pass(6000);
    expect(token.mock.calls).toEqual([[false], [true]]);
    FakeSocket.last.end();
    await pass(25_000);
    FakeSocket.last.establish('0/100-0', { resumed: true }).pong();
    expect(client.state()).toBe('live');
    expect(token.mock.lastCall).toEqual([false]);
  });

  it('does not hold retry()', async () => {
    const token = vi.fn(() => (token.mock.calls.length > 1 ? 'token' : never()));
    make({ token }).subscribe('requests', 5, () => {});
    await pass(1000);
    client.retry();
    await settle();
    FakeSocket.last.establish();
    expect(client.state()).toBe('live');
    expect(errors).toEqual([]);
  });

  it('holds no other stream, and no later one', async () => {
    const token = vi.fn(() => (token.mock.calls.length > 1 ? 'token' : never()));
    make({ token }).subscribe('requests', 5, () => {});
    await pass(10_000);
    client.subscribe('crates', 5, () => {});
    await pass(10_500);
    client.subscribe('storage', 5, () => {});
    await settle();
    expect(FakeSocket.made.map(({ url }) => url.split('/')[4]).sort()).toEqual(['crates', 'requests', 'storage']);
  });

  it('in a renewal in place is asked again after 5 seconds, and the connection stays', async () => {
    const token = vi.fn((renew: boolean) => (renew && token.mock.calls.length < 3 ? never() : jwt(900)));
    vi.mocked(Math.random).mockReturnValue(0);
    await live({ token });
    for (let at = 0; at < 840; at += 20) {
      expect(token).toHaveBeenCalledTimes(1);
      await pass(20_000);
      FakeSocket.last.pong();
    }
    expect(token).toHaveBeenCalledTimes(2);
    await pass(20_000);
    FakeSocket.last.pong();
    await pass(4999);
    expect(token).toHaveBeenCalledTimes(2);
    await pass(1);
    expect(token.mock.calls).toEqual([[false], [true], [true]]);
    expect(FakeSocket.last.sent.filter(({ type }) => type === 'auth')).toHaveLength(2);
    expect(FakeSocket.made).toHaveLength(1);
  });

  it('late, with null, denies nobody', async () => {
    let late = (_: string | null) => {};
    const token = vi.fn(() => (token.mock.calls.length > 1 ? 'token' : new Promise<string | null>((give) => (late = give))));
    make({ token }).subscribe('requests', 5, () => {});
    await pass(20_500);
    FakeSocket.last.establish();
    late(null);
    await settle();
    expect(client.state()).toBe('live');
  });
});

describe('56: a renewal answered by a plain ask', () => {
  const HELLO = { type: 'connection_established', stream: 'requests', epoch: 'e1', id: '0/100-0' };
  /** 40 ms each way on the wire: what a socket with the old token hears, and what one with the new. */
  class Slow extends FakeSocket {
    constructor(url: string) {
      super(url);
      setTimeout(() => this.open(), 80);
    }
    override send(text: string): void {
      super.send(text);
      const { token } = JSON.parse(text);
      if (token) setTimeout(() => (token === 'old' ? this.end(4401) : this.say(HELLO)), 80);
    }
  }

  it.each([0, 120, 180, 210, 240, 270, 300])('a second stream %i ms later denies nobody', async (gap) => {
    const token = vi.fn((renew: boolean) => after(150, renew ? 'new' : 'old'));
    const states: string[] = [];
    make({ token, WebSocket: Slow }).onState(() => states.push(client.state()));
    client.subscribe('requests', 5, () => {});
    await pass(gap);
    client.subscribe('crates', 5, () => {});
    await pass(1200 - gap);
    expect(client.state()).toBe('live');
    expect(states).not.toContain('denied');
    expect(token.mock.calls.filter(([renew]) => renew)).toHaveLength(1);
  });

  it('a plain ask that hangs does not hold the renewal', async () => {
    let plain = 0;
    const token = (renew: boolean) => (renew ? 'new' : plain++ ? never() : 'old');
    make({ token }).subscribe('requests', 5, () => {});
    await settle();
    client.subscribe('crates', 5, () => {});
    await settle();
    FakeSocket.made[0]!.open().end(4401);
    await settle();
    expect(FakeSocket.made.slice(1).map((socket) => socket.open().sent[0].token)).toEqual(['new', 'new']);
  });

  it('a plain ask that answers nobody does not deny who renews', async () => {
    const asked: ((token: string | null) => void)[] = [];
    make({ token: () => new Promise((give) => asked.push(give)) }).subscribe('requests', 5, () => {});
    await settle();
    asked[0]!('old');
    await settle();
    client.subscribe('crates', 5, () => {});
    await settle();
    FakeSocket.last.open().end(4401);
    await settle();
    asked[1]!(null);
    asked[2]!('new');
    await settle();
    expect(FakeSocket.made.slice(1).map((socket) => socket.open().sent[0].token)).toEqual(['new', 'new']);
  });

  it('a second refusal of what was renewed is not answered by it', async () => {
    let n = 0;
    const token = (renew: boolean) => (renew ? `new${++n}` : 'old');
    await live({ token });
    FakeSocket.last.end(4401);
    await settle();
    FakeSocket.last.establish().end(4401);
    await settle();
    expect(FakeSocket.last.open().sent[0].token).toBe('new2');
    expect(client.state()).toBe('catching_up');
  });
});

describe('58: messages without a type', () => {
  it('are passed on, and the connection stays; the position comes from the next that has one', async () => {
    const listener = await live();
    FakeSocket.last.say({ event: 'request', number: '7' });
    FakeSocket.last.change('0/200-1');
    FakeSocket.last.say({ event: 'request', number: '8' });
    expect(types(listener)).toEqual(['connection_established', 'request', 'request.updated', 'request']);
    FakeSocket.last.end();
    await pass(500);
    expect(FakeSocket.last.query.get('since')).toBe('0/200-1');
    expect(errors).toEqual([]);
  });

  it('a hello of its own admits, is told behind connection_established, and says nothing to resume from', async () => {
    const listener = vi.fn();
    make().subscribe('requests', 5, listener);
    await settle();
    for (let round = 0; round < 2; round++) {
      FakeSocket.last.open().say({ event: 'welcome' });
      FakeSocket.last.pong();
      expect(client.state()).toBe('live');
      const [hello, own] = listener.mock.calls.slice(-2).map(([message]) => message);
      expect(hello).toEqual({ type: 'connection_established', stream: 'requests' });
      expect(own).toEqual({ event: 'welcome' });
      FakeSocket.last.change('0/200-1');
      FakeSocket.last.end();
      await pass(1000);
      expect(FakeSocket.last.query.get('since')).toBeNull();
    }
    expect(FakeSocket.made).toHaveLength(3);
  });

  it.each(['1', 1, null, '', { a: 1 }, ['0/999-1'], '0/1', '0/1-1-1'])('the row\'s number (%j) is no event id', async (id) => {
    const listener = await live();
    FakeSocket.last.say({ type: 'request', id });
    FakeSocket.last.say({ type: 'request', id });
    expect(listener).toHaveBeenCalledTimes(3);
    FakeSocket.last.end();
    await pass(500);
    expect(FakeSocket.last.query.get('since')).toBe('0/100-0');
  });

  it('a hello and a resync without a position are not resumed from', async () => {
    make().subscribe('requests', 5, () => {});
    await settle();
    FakeSocket.last.establish('request 1');
    FakeSocket.last.end();
    await pass(500);
    expect(FakeSocket.last.query.get('since')).toBeNull();
    FakeSocket.last.establish();
    FakeSocket.last.say({ type: 'resync', id: 7, epoch: 'e1' });
    FakeSocket.last.end();
    await pass(1000);
    expect(FakeSocket.last.query.get('since')).toBeNull();
  });

  it('what is no JSON as the first message, or again and again, makes no loop', async () => {
    const listener = vi.fn();
    make().subscribe('requests', 5, listener);
    await settle();
    FakeSocket.last.open().say('<html>');
    for (let n = 0; n < 3; n++) FakeSocket.last.say('<html>');
    FakeSocket.last.pong();
    await pass(20_000);
    FakeSocket.last.pong();
    expect(FakeSocket.made).toHaveLength(1);
    expect(types(listener)).toEqual(['connection_established', 'resync', 'resync', 'resync', 'resync']);
    expect(client.state()).toBe('live');
  });
});

describe('59: a path with a query', () => {
  const search = () => Object.fromEntries(FakeSocket.last.query);

  it.each<[path: string, tokenIn: 'message' | 'query', first: object]>([
    ['/ws/requests/5/?v=2', 'message', { v: '2' }],
    ['/ws/requests/5/?v=2', 'query', { v: '2', token: 'a&b' }],
    ['/ws/requests/5/?v=2&w=a%26b', 'query', { v: '2', w: 'a&b', token: 'a&b' }],
    ['/ws/requests/5/?', 'query', { token: 'a&b' }],
    ['/ws/requests/5/', 'query', { token: 'a&b' }],
  ])('%s with the token in the %s', async (path, tokenIn, first) => {
    await live({ path: () => path, tokenIn, token: () => 'a&b' });
    expect(search()).toEqual(first);
    FakeSocket.last.end();
    await pass(500);
    expect(search()).toEqual({ ...first, since: '0/100-0', epoch: 'e1' });
    expect(FakeSocket.last.url.split('?')).toHaveLength(2);
  });
});

describe('60: what can never work', () => {
  const HINT = 'refused before the upgrade: origin, path, or the server is away';

  it('attempts without an upgrade say so, once', async () => {
    make().subscribe('requests', 5, () => {});
    for (let n = 0; n < 6; n++) {
      await settle();
      expect(errors).toHaveLength(n < 3 ? 0 : 1);
      FakeSocket.last.end();
      await pass(20_000);
    }
    expect(errors).toEqual([`Error: requests/5: 1006 ${HINT}`]);
    expect(client.cause('requests', 5)).toEqual({ stream: 'requests', id: 5, code: 1006, reason: HINT });
  });

  it('but not those behind one that was upgraded', async () => {
    make().subscribe('requests', 5, () => {});
    for (let n = 0; n < 9; n++) {
      await settle();
      if (n % 3 === 2) FakeSocket.last.open();
      FakeSocket.last.end();
      await pass(20_000);
    }
    expect(errors).toEqual([]);
  });

  it('nor a token that throws behind them', async () => {
    make().subscribe('requests', 5, () => {});
    for (let n = 0; n < 3; n++) {
      await settle();
      FakeSocket.last.end();
      await pass(n < 2 ? 20_000 : 0);
    }
    const token = () => {
      throw new Error('502');
    };
    client.configure(all({ token }));
    await pass(20_000);
    expect(client.cause('requests', 5)!.reason).toBe('Error: 502');
  });

  it.each([4429, 1008, 1009])('a close with %i is an error, once, and beside the state', async (code) => {
    await live();
    for (let n = 0; n < 3; n++) {
      FakeSocket.last.open().onclose!({ code, reason: 'too many' });
      await pass(20_000);
    }
    expect(errors).toEqual([`Error: requests/5: ${code} too many`]);
    expect(client.cause('requests', 5)).toEqual({ stream: 'requests', id: 5, code, reason: 'too many' });
    expect(ended).toHaveLength(3);
    FakeSocket.last.establish().end(code);
    expect(errors).toHaveLength(2);
  });

  it('every end is an event, and watchers are told of a new cause', async () => {
    await live();
    FakeSocket.last.end(1012);
    const seen: unknown[] = [];
    client.onState(() => seen.push([client.state(), client.cause('requests', 5)?.code]));
    await pass(500);
    FakeSocket.last.open().end(4429);
    FakeSocket.last.end(4429);
    expect(seen).toContainEqual(['catching_up', 4429]);
    expect(ended.map(({ code }) => code)).toEqual([1012, 4429]);
    expect(client.cause('crates', 1)).toBeUndefined();
  });

  it('an address that is none says so', async () => {
    class Picky extends FakeSocket {
      constructor(url: string) {
        if (url.includes('#')) throw new SyntaxError('no fragment');
        super(url);
      }
    }
    make({ path: () => '/#', WebSocket: Picky }).subscribe('requests', 5, () => {});
    await settle();
    expect(errors).toEqual(['SyntaxError: no fragment']);
    expect(client.cause('requests', 5)?.reason).toBe('SyntaxError: no fragment');
  });
});

describe('57: options that change', () => {
  it('a connection moves to the new address, at once, and resumes there', async () => {
    await live();
    client.configure(all({ url: 'ws://other' }));
    expect(FakeSocket.made[0]!.closed).toBe(true);
    expect(client.state()).toBe('catching_up');
    await settle();
    expect(FakeSocket.last.url).toBe('ws://other/ws/requests/5/?since=0%2F100-0&epoch=e1');
  });

  it.each<[string, Partial<WebSocketClientOptions>, string]>([
    ['path', { path: (stream, id) => `/${stream}.${id}` }, 'ws://server/requests.5'],
    ['tokenIn', { tokenIn: 'query' }, 'ws://server/ws/requests/5/?since=0%2F100-0&epoch=e1&token=token'],
  ])('%s too', async (_, options, start) => {
    await live();
    client.configure(all(options));
    await settle();
    expect(FakeSocket.made).toHaveLength(2);
    expect(FakeSocket.last.url.startsWith(start)).toBe(true);
  });

  it('another path begins anew: what was heard elsewhere says nothing of what was missed here', async () => {
    const at = (place: string) => all({ path: (stream, id) => `/${place}/${stream}/${id}` });
    await live(at('north'));
    for (const place of ['south', 'north']) {
      FakeSocket.last.change('0/300-1');
      client.configure(at(place));
      await settle();
      expect(FakeSocket.last.url).toBe(`ws://server/${place}/requests/5`);
      FakeSocket.last.establish();
    }
  });

  it('a render does not try again what waits for its token, before the first socket or on its way to another address', async () => {
    const token = vi.fn(() => {
      throw new Error('502');
    });
    make({ token }).subscribe('requests', 5, () => {});
    await settle();
    for (let n = 0; n < 9; n++) client.configure(all({ token })), await settle();
    expect(token).toHaveBeenCalledTimes(1);
    client.configure(all());
    await pass(500);
    FakeSocket.last.establish();
    for (let n = 0; n < 9; n++) client.configure(all({ token, url: 'ws://other', tokenIn: 'query' })), await settle();
    expect(token.mock.calls.length).toBeLessThanOrEqual(3);
  });

  it('what names the same address moves nothing', async () => {
    await live({ path: (stream, id) => `/${stream}/${id}` });
    client.configure(all({ path: (stream, id) => `/${stream}/${id}` }));
    await settle();
    expect(FakeSocket.made).toHaveLength(1);
    expect(client.state()).toBe('live');
  });

  it('what waits or is denied moves as well, and what asks for its token goes on', async () => {
    let give = (_: string) => {};
    await live();
    FakeSocket.last.end(4403);
    client.configure(all({ url: 'ws://other' }));
    await settle();
    FakeSocket.last.end(1013);
    client.configure(all({ url: 'ws://third', token: () => new Promise((resolve) => (give = resolve)) }));
    await settle();
    client.configure(all({ url: 'ws://fourth' }));
    give('late');
    await settle();
    expect(FakeSocket.made.map(({ url }) => url.split('/')[2])).toEqual(['server', 'other', 'fourth']);
    expect(FakeSocket.last.open().sent).toEqual([{ type: 'auth', token: 'late' }]);
  });

  it('a render does not prolong an attempt that waits for its token', async () => {
    make({ token: never }).subscribe('requests', 5, () => {});
    await pass(15_000);
    client.configure(all({ token: never }));
    await pass(5000);
    expect(client.cause('requests', 5)).toMatchObject({ reason: 'no answer' });
  });

  it('a path that throws harms no other stream', async () => {
    await live();
    client.subscribe('crates', 5, () => {});
    await settle();
    FakeSocket.last.establish();
    const path = (stream: string) => {
      if (stream === 'requests') throw new Error('no path');
      return '/crates';
    };
    client.configure(all({ path }));
    await settle();
    expect(FakeSocket.last.url).toContain('ws://server/crates');
    expect(errors).toEqual(['Error: no path']);
  });

  it('callbacks and times are the latest', async () => {
    const later = vi.fn();
    await live();
    client.configure(all({ onError: later, heartbeat: 1000 }));
    FakeSocket.last.say('no json');
    expect(later).toHaveBeenCalledTimes(1);
    await pass(1000);
    expect(FakeSocket.last.sent.filter(({ type }) => type === 'ping')).toHaveLength(2);
  });
});

describe('61: a dead wire', () => {
  it.each([0, 1000, 12_000, 13_000, 24_000, 24_999])('is noticed within 35 s of the last message, %i ms after the pong', async (heard) => {
    await live();
    await pass(heard);
    FakeSocket.last.change('0/200-1');
    await pass(34_999);
    expect(client.state()).toBe('live');
    await pass(1);
    expect(client.state()).toBe('catching_up');
    expect(client.cause('requests', 5)).toMatchObject({ code: 1006, reason: 'no answer' });
  });

  it('what is heard behind a ping puts the end off, but does not answer it', async () => {
    await live();
    await pass(25_000);
    for (let n = 1; n < 5; n++) {
      await pass(9000);
      FakeSocket.last.change(`0/200-${n}`);
    }
    expect(FakeSocket.last.closed).toBe(false);
    await pass(10_000);
    expect(FakeSocket.made[0]!.closed).toBe(true);
  });
});

describe('62: the state of nothing', () => {
  it('is offline: never subscribed, left, ended, closed', async () => {
    make();
    expect([client.state(), client.state('requests', 5)]).toEqual(['offline', 'offline']);
    const stop = client.subscribe('requests', 5, () => {});
    expect([client.state(), client.state('requests', 5), client.state('requests', 6)]).toEqual(['connecting', 'connecting', 'offline']);
    stop();
    expect([client.state(), client.state('requests', 5)]).toEqual(['offline', 'offline']);
    client.subscribe('requests', 5, () => {});
    client.unsubscribe('requests', 5);
    expect(client.state('requests', 5)).toBe('offline');
    client.subscribe('requests', 5, () => {});
    client.close();
    expect([client.state(), client.state('requests', 5)]).toEqual(['offline', 'offline']);
  });

  it('who listens again within the moment is told the state', async () => {
    const listener = vi.fn();
    make();
    const stop = client.subscribe('requests', 5, listener);
    await settle();
    FakeSocket.last.establish();
    const seen: string[] = [];
    client.onState(() => seen.push(client.state('requests', 5)));
    stop();
    client.subscribe('requests', 5, listener);
    expect(seen).toEqual(['offline', 'live']);
  });

  it('what nobody listens to does not make a page offline', async () => {
    await live();
    client.subscribe('crates', 5, () => {})();
    expect(client.state()).toBe('live');
  });
});

describe('a listener or watcher while it is told', () => {
  it('that throws harms nobody, even where onError throws too', async () => {
    const onError = vi.fn(() => {
      throw new Error('onError');
    });
    const [watcher, listener] = [vi.fn(), vi.fn()];
    const bad = () => {
      throw new Error('bad');
    };
    make({ onError, onEvent: bad }).onState(bad);
    client.onState(watcher);
    client.subscribe('requests', 5, bad);
    client.subscribe('requests', 5, listener);
    await settle();
    FakeSocket.last.establish().pong();
    FakeSocket.last.change('0/200-1');
    FakeSocket.last.end();
    await pass(500);
    expect(types(listener)).toEqual(['connection_established', 'request.updated']);
    expect(watcher.mock.calls.length).toBeGreaterThan(2);
    expect(FakeSocket.made).toHaveLength(2);
    expect(onError.mock.calls.length).toBeGreaterThan(4);
  });

  it('that stops another one: it hears nothing more', async () => {
    make();
    const second = vi.fn();
    client.subscribe('requests', 5, ({ type }) => type === 'request.updated' && stop());
    const stop = client.subscribe('requests', 5, second);
    const watcher = vi.fn();
    client.onState(() => quit());
    const quit = client.onState(watcher);
    await settle();
    FakeSocket.last.establish();
    FakeSocket.last.change('0/200-1');
    expect(types(second)).toEqual(['connection_established']);
    expect(watcher).not.toHaveBeenCalled();
  });

  it.each(['connecting', 'live', 'catching_up', 'denied'])('a watcher that closes the client when it is %s leaves nothing behind', async (wanted) => {
    make();
    await settle();
    client.onState(() => client.state() === wanted && client.close());
    client.subscribe('requests', 5, () => {});
    await settle();
    if (wanted !== 'connecting') FakeSocket.last.establish();
    if (wanted === 'catching_up') FakeSocket.last.end();
    if (wanted === 'denied') FakeSocket.last.end(4403);
    expect(client.state()).toBe('offline');
    expect(FakeSocket.made.every(({ closed }) => closed)).toBe(true);
    expect(vi.getTimerCount()).toBe(0);
  });

  it('a watcher that closes the client as an attempt begins: no token is asked for', async () => {
    const token = vi.fn(() => 'token');
    await live({ token });
    FakeSocket.last.end(4403);
    client.onState(() => client.state() === 'catching_up' && client.close());
    client.retry();
    await settle();
    expect(token).toHaveBeenCalledTimes(1);
    expect(vi.getTimerCount()).toBe(0);
  });

  it.each(['connection_established', 'request.updated', 'resync'])('a listener that closes the client at %s leaves nothing behind', async (wanted) => {
    make();
    const second = vi.fn();
    client.subscribe('requests', 5, ({ type }) => type === wanted && client.close());
    client.subscribe('requests', 5, second);
    await settle();
    FakeSocket.last.establish();
    FakeSocket.last.change('0/200-1');
    FakeSocket.last.say('no json');
    expect(types(second)).not.toContain(wanted);
    expect(vi.getTimerCount()).toBe(0);
  });

  it('that listens to more hears connection_established first', async () => {
    const more = vi.fn();
    make();
    let stop: (() => void) | undefined;
    client.subscribe('requests', 5, ({ type }) => type === 'request.updated' && (stop ??= client.subscribe('requests', 5, more)));
    await settle();
    FakeSocket.last.establish();
    FakeSocket.last.change('0/200-1');
    await settle();
    FakeSocket.last.change('0/200-2');
    expect(types(more)).toEqual(['connection_established', 'request.updated']);
    expect(more.mock.calls[0]![0].id).toBe('0/200-1');
  });
});

describe('4403', () => {
  it('is tried again at once when another stream is accepted with another token', async () => {
    let token = 'one';
    make({ token: () => token });
    client.subscribe('requests', 5, () => {});
    client.subscribe('crates', 5, () => {});
    await settle();
    const [requests, crates] = FakeSocket.made;
    crates!.establish();
    requests!.open().end(4403);
    await settle();
    expect(FakeSocket.made).toHaveLength(2);
    token = 'two';
    crates!.end(4401);
    await settle();
    FakeSocket.last.establish('0/100-0', { resumed: true });
    await settle();
    expect(FakeSocket.made).toHaveLength(4);
    expect(FakeSocket.last.url).toContain('requests');
  });

  it('and when another stream renews in place', async () => {
    let n = 0;
    vi.mocked(Math.random).mockReturnValue(0);
    make({ token: () => jwt(40, Date.now(), { n: ++n }) });
    client.subscribe('requests', 5, () => {});
    client.subscribe('crates', 5, () => {});
    await settle();
    const [requests, crates] = FakeSocket.made;
    crates!.establish().pong();
    await pass(19_000);
    requests!.open().end(4403); // tried again at 34 s at the earliest
    crates!.change('0/100-1');
    await pass(10_999);
    expect(FakeSocket.made).toHaveLength(2);
    await pass(1);
    expect(FakeSocket.made).toHaveLength(3);
  });

  it('but not when it is accepted with the same one', async () => {
    make();
    client.subscribe('requests', 5, () => {});
    client.subscribe('crates', 5, () => {});
    await settle();
    const [requests, crates] = FakeSocket.made;
    crates!.establish();
    requests!.open().end(4403);
    crates!.end();
    await pass(500);
    FakeSocket.last.establish('0/100-0', { resumed: true });
    await settle();
    expect(FakeSocket.made).toHaveLength(3);
  });

  it('of two streams with a new token at each ask is no loop', async () => {
    let n = 0;
    make({ token: () => `token${++n}` });
    client.subscribe('requests', 5, () => {});
    client.subscribe('crates', 5, () => {});
    await settle();
    for (let round = 0; round < 5; round++) {
      FakeSocket.made.filter(({ closed }) => !closed).forEach((socket) => socket.open().end(4403));
      await pass(1000);
    }
    expect(FakeSocket.made).toHaveLength(2);
  });
});
