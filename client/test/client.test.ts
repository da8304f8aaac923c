import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { compareIds, WebSocketClient, type WebSocketClientOptions } from '../src/index.js';
import { renewalDelay } from '../src/token.js';
import { FakeSocket, jwt } from './fake.js';

let errors: unknown[];
let client: WebSocketClient;
const rejections: unknown[] = [];
process.on('unhandledRejection', (reason) => rejections.push(reason));

function make(options: Partial<WebSocketClientOptions> = {}): WebSocketClient {
  client = new WebSocketClient({
    url: 'ws://server',
    token: () => 'token',
    WebSocket: FakeSocket,
    onError: (error) => errors.push(error),
    ...options,
  });
  return client;
}

/** Lets what has been promised happen, without any time passing. */
const settle = () => vi.advanceTimersByTimeAsync(0);
const pass = (milliseconds: number) => vi.advanceTimersByTimeAsync(milliseconds);

async function live(options: Partial<WebSocketClientOptions> = {}, listener = vi.fn()) {
  make(options).subscribe('requests', 5, listener);
  await settle();
  FakeSocket.last.establish();
  return listener;
}

beforeEach(() => {
  vi.useFakeTimers();
  vi.setSystemTime(new Date('2026-01-01T00:00:00Z'));
  vi.spyOn(Math, 'random').mockReturnValue(0.999);
  FakeSocket.made = [];
  errors = [];
});

afterEach(() => {
  client?.close();
  expect(vi.getTimerCount(), 'timers left behind').toBe(0);
  vi.useRealTimers();
  vi.restoreAllMocks();
  expect(rejections).toEqual([]);
});

describe('event ids', () => {
  it('are compared as numbers, half by half', () => {
    const sorted = ['0/9-1', '0/10-0', '0/10-2', '0/10-10', '0/FFFFFFFF-1', '1/0-0', 'a/0-0', '10/0-0', 'FFFFFFFF/FFFFFFFF-1'];
    for (let i = 0; i < sorted.length; i++) {
      for (let j = 0; j < sorted.length; j++) {
        expect(Math.sign(compareIds(sorted[i]!, sorted[j]!)), `${sorted[i]} ${sorted[j]}`).toBe(Math.sign(i - j));
      }
    }
    expect(compareIds('0/AB-1', '0/ab-1')).toBe(0);
  });

  it('that are none compare as nothing', () => {
    for (const text of ['', '0', '0/1', '1-1', '0/1-', 'x/1-1', '123456789/0-1', '0/1-1 ']) {
      expect(compareIds(text, '0/1-1')).toBeNaN();
    }
  });
});

describe('renewal', () => {
  it('comes a minute before the end, or a quarter of the life', () => {
    const now = Date.now();
    expect(renewalDelay(jwt(900), now)).toBe(840_000);
    expect(renewalDelay(jwt(40), now)).toBe(30_000);
    expect(renewalDelay(jwt(10 ** 9), now)).toBe(86_400_000);
  });

  it('comes at once if it is late, but not twice, and not for what cannot be read', () => {
    expect(renewalDelay(jwt(900, Date.now() - 10 ** 7), Date.now())).toBe(0);
    expect(renewalDelay(jwt(900, Date.now() - 10 ** 7), Date.now(), 5000)).toBe(5000);
    expect(renewalDelay(jwt(8, Date.now() - 10 ** 7), Date.now(), 5000)).toBe(4000);
    for (const token of ['', 'a.b.c', 'token', jwt(900, Date.now(), { exp: 'soon' })]) {
      expect(renewalDelay(token, Date.now())).toBeUndefined();
    }
  });
});

describe('subscribing', () => {
  it('sends the token in the first message, and nothing of it in the URL', async () => {
    make({ token: async () => 'secret' }).subscribe('requests', 5, () => {});
    await settle();
    expect(FakeSocket.last.url).toBe('ws://server/ws/requests/5/');
    FakeSocket.last.open();
    expect(FakeSocket.last.sent).toEqual([{ type: 'auth', token: 'secret' }]);
  });

  it('sends it in the URL where that is wanted', async () => {
    make({ tokenIn: 'query', path: (stream, id) => `/live/${stream}-${id}` }).subscribe('crates', 'a&b', () => {});
    await settle();
    expect(FakeSocket.last.url).toBe('ws://server/live/crates-a&b?token=token');
    expect(FakeSocket.last.open().sent).toEqual([]);
  });

  it('shares a socket among the users of a stream and id, and no other', async () => {
    make();
    const [a, b] = [vi.fn(), vi.fn()];
    client.subscribe('requests', 5, a);
    client.subscribe('requests', '5', b);
    client.subscribe('requests', 6, vi.fn());
    client.subscribe('crates', 5, vi.fn());
    await settle();
    expect(FakeSocket.made.map((socket) => new URL(socket.url).pathname)).toEqual([
      '/ws/requests/5/',
      '/ws/requests/6/',
      '/ws/crates/5/',
    ]);
    FakeSocket.made[0]!.establish().change('0/200-1');
    expect(a.mock.calls.map(([m]) => m.type)).toEqual(['connection_established', 'request.updated']);
    expect(b.mock.calls).toEqual(a.mock.calls);
  });

  it('asks once for a token that several wait for', async () => {
    const token = vi.fn(async () => 'token');
    make({ token });
    for (const stream of ['requests', 'crates', 'storage']) client.subscribe(stream, 5, () => {});
    await settle();
    expect(FakeSocket.made).toHaveLength(3);
    expect(token).toHaveBeenCalledTimes(1);
  });

  it('tells a late listener from where on the stream is complete', async () => {
    await live();
    FakeSocket.last.change('0/200-1');
    const late = vi.fn();
    client.subscribe('requests', 5, late);
    expect(late).not.toHaveBeenCalled();
    await settle();
    expect(late.mock.calls).toEqual([
      [{ type: 'connection_established', stream: 'requests', epoch: 'e1', id: '0/200-1' }],
    ]);
  });

  it('tells nobody "resumed" who had not listened before', async () => {
    const first = await live();
    FakeSocket.last.end();
    const late = vi.fn();
    client.subscribe('requests', 5, late);
    await pass(500);
    FakeSocket.last.establish('0/100-0', { resumed: true });
    expect(first.mock.lastCall![0]).toMatchObject({ resumed: true });
    expect(late.mock.lastCall![0]).toEqual({ type: 'connection_established', stream: 'requests', epoch: 'e1', id: '0/100-0' });
  });

  it('closes the socket when the last user has gone, a moment later', async () => {
    make();
    const stop = [client.subscribe('requests', 5, () => {}), client.subscribe('requests', 5, () => {})];
    await settle();
    FakeSocket.last.establish();
    stop[0]!();
    await pass(2000);
    expect(FakeSocket.last.closed).toBe(false);
    stop[1]!();
    stop[1]!();
    await pass(999);
    expect(FakeSocket.last.closed).toBe(false);
    await pass(1);
    expect(FakeSocket.last.closed).toBe(true);
    expect(client.state()).toBe('offline');
  });

  it('finds the socket open again within that moment', async () => {
    make();
    client.subscribe('requests', 5, () => {})();
    const again = vi.fn();
    client.subscribe('requests', 5, again);
    await pass(2000);
    FakeSocket.last.establish();
    expect(FakeSocket.made).toHaveLength(1);
    expect(again).toHaveBeenCalledTimes(1);
  });

  it('starts anew if a change came while nobody listened', async () => {
    make();
    const stop = client.subscribe('requests', 5, () => {});
    await settle();
    FakeSocket.last.establish();
    stop();
    FakeSocket.last.change('0/200-1');
    expect(FakeSocket.last.closed).toBe(true);
    client.subscribe('requests', 5, () => {});
    await settle();
    expect(FakeSocket.made).toHaveLength(2);
    expect(FakeSocket.last.query.get('since')).toBeNull();
  });

  it('ends at once on unsubscribe', async () => {
    await live();
    client.unsubscribe('requests', 5);
    expect(FakeSocket.last.closed).toBe(true);
    client.unsubscribe('requests', 5);
  });

  it('goes on with the others when a listener throws or rejects', async () => {
    const listener = vi.fn();
    make();
    client.subscribe('requests', 5, () => {
      throw new Error('thrown');
    });
    client.subscribe('requests', 5, async () => {
      throw new Error('rejected');
    });
    client.subscribe('requests', 5, listener);
    await settle();
    FakeSocket.last.establish();
    await settle();
    expect(listener).toHaveBeenCalledTimes(1);
    expect(errors.map(String)).toEqual(['Error: thrown', 'Error: rejected']);
  });
});

describe('messages', () => {
  it('are told once each, whatever comes twice', async () => {
    const listener = await live();
    for (const id of ['0/200-1', '0/200-2', '0/200-2', '0/200-1', '0/FF-9', '0/200-10', '1/0-1']) FakeSocket.last.change(id);
    expect(listener.mock.calls.slice(1).map(([m]) => m.id)).toEqual(['0/200-1', '0/200-2', '0/200-10', '1/0-1']);
  });

  it('continue from a resync, even backwards', async () => {
    const listener = await live();
    FakeSocket.last.change('0/900-1');
    FakeSocket.last.say({ type: 'resync', reason: 'epoch', id: '0/300-0', epoch: 'e2' });
    FakeSocket.last.change('0/300-0');
    FakeSocket.last.change('0/300-1');
    expect(listener.mock.calls.slice(1).map(([m]) => m.id)).toEqual(['0/900-1', '0/300-0', '0/300-1']);
    FakeSocket.last.end();
    await pass(500);
    expect(Object.fromEntries(FakeSocket.last.query)).toEqual({ since: '0/300-1', epoch: 'e2' });
  });

  it('of unknown kinds are told, pongs and auth_ok are not', async () => {
    const listener = await live();
    FakeSocket.last.pong();
    FakeSocket.last.say({ type: 'auth_ok', expires_at: 'x' });
    FakeSocket.last.say({ type: 'weather', id: '0/200-1' });
    FakeSocket.last.say({ type: 'greeting' });
    expect(listener.mock.calls.slice(1).map(([m]) => m.type)).toEqual(['weather', 'greeting']);
  });

  it('of a renewal with other claims, auth_ok names the epoch to resume with', async () => {
    await live();
    FakeSocket.last.say({ type: 'auth_ok', expires_at: 'x' });
    FakeSocket.last.end();
    await pass(500);
    expect(FakeSocket.last.query.get('epoch')).toBe('e1');
    FakeSocket.last.establish('0/100-0', { resumed: true });
    FakeSocket.last.say({ type: 'auth_ok', expires_at: 'x', epoch: 'e2' });
    FakeSocket.last.end();
    await pass(1000);
    expect(Object.fromEntries(FakeSocket.last.query)).toEqual({ since: '0/100-0', epoch: 'e2' });
  });

  it.each(['not json', 'null', '{"type":'])('that are none (%s) count as a resync, and the connection stays', async (text) => {
    const listener = await live();
    FakeSocket.last.say(text);
    expect(errors).toHaveLength(1);
    expect(listener.mock.lastCall![0]).toEqual({ type: 'resync', reason: 'unreadable', id: '0/100-0', epoch: 'e1' });
    FakeSocket.last.change('0/200-1');
    expect(listener.mock.lastCall![0].id).toBe('0/200-1');
    expect(FakeSocket.made).toHaveLength(1);
    expect(FakeSocket.last.closed).toBe(false);
  });

  it.each(['[]', '5', '"text"', '{"id":"0/300-1"}'])('of an unknown form (%s) are passed on', async (text) => {
    const listener = await live();
    FakeSocket.last.say(text);
    expect(errors).toEqual([]);
    expect(listener.mock.lastCall![0]).toEqual(JSON.parse(text));
  });
});

describe('a lost connection', () => {
  it('resumes behind the last message, and catches up', async () => {
    const listener = await live();
    FakeSocket.last.change('0/200-1');
    expect(client.state('requests', 5)).toBe('live');
    FakeSocket.last.end();
    expect(client.state('requests', 5)).toBe('catching_up');
    await pass(500);
    expect(Object.fromEntries(FakeSocket.last.query)).toEqual({ since: '0/200-1', epoch: 'e1' });
    FakeSocket.last.establish('0/200-1', { resumed: true });
    expect(client.state('requests', 5)).toBe('catching_up');
    FakeSocket.last.change('0/300-1');
    FakeSocket.last.pong();
    expect(client.state('requests', 5)).toBe('live');
    expect(listener.mock.calls.map(([m]) => m.resumed ?? m.id)).toEqual(['0/100-0', '0/200-1', true, '0/300-1']);
  });

  it('starts from the new id where the server could not resume', async () => {
    const listener = await live();
    FakeSocket.last.change('5/200-1');
    FakeSocket.last.end();
    await pass(500);
    FakeSocket.last.establish('0/50-0', { epoch: 'e2' }).change('0/50-1');
    expect(listener.mock.lastCall![0].id).toBe('0/50-1');
  });

  it('is tried again for ever, with full jitter between half a second and twenty', async () => {
    make().subscribe('requests', 5, () => {});
    await settle();
    for (const most of [500, 1000, 2000, 4000, 8000, 16_000, 20_000, 20_000, 20_000]) {
      const before = FakeSocket.made.length;
      FakeSocket.last.end();
      await pass(most * 0.999 - 1);
      expect(FakeSocket.made).toHaveLength(before);
      await pass(1);
      expect(FakeSocket.made).toHaveLength(before + 1);
      expect(client.state()).toBe('connecting');
    }
    vi.mocked(Math.random).mockReturnValue(0);
    FakeSocket.last.end();
    await settle();
    expect(FakeSocket.made).toHaveLength(11);
  });

  it('that was good is tried again soon, one that dies young ever later', async () => {
    await live();
    for (const most of [500, 1000, 2000]) {
      FakeSocket.last.end();
      const before = FakeSocket.made.length;
      await pass(most * 0.999 - 1);
      expect(FakeSocket.made).toHaveLength(before);
      await pass(1);
      FakeSocket.last.establish();
    }
    await pass(5001);
    FakeSocket.last.end();
    const before = FakeSocket.made.length;
    await pass(500);
    expect(FakeSocket.made).toHaveLength(before + 1);
  });

  it('is noticed by a ping without an answer', async () => {
    await live();
    FakeSocket.last.pong();
    await pass(24_999);
    expect(FakeSocket.last.sent.filter((m) => m.type === 'ping')).toHaveLength(1);
    await pass(1);
    expect(FakeSocket.last.sent.filter((m) => m.type === 'ping')).toHaveLength(2);
    FakeSocket.last.pong();
    await pass(25_000);
    await pass(9999);
    expect(FakeSocket.last.closed).toBe(false);
    await pass(1);
    expect(FakeSocket.made[0]!.closed).toBe(true);
    expect(client.state()).toBe('catching_up');
  });

  it('is not suspected while messages come', async () => {
    await live();
    FakeSocket.last.pong();
    for (let i = 1; i < 100; i++) {
      await pass(1000);
      FakeSocket.last.change(`0/200-${i}`);
    }
    expect(FakeSocket.last.sent.filter((m) => m.type === 'ping')).toHaveLength(1);
    expect(FakeSocket.made).toHaveLength(1);
  });

  it('is given up if nothing is established in time', async () => {
    make().subscribe('requests', 5, () => {});
    await settle();
    FakeSocket.last.open();
    await pass(20_000);
    expect(FakeSocket.made[0]!.closed).toBe(true);
    await pass(500);
    expect(FakeSocket.made).toHaveLength(2);
  });

  it('says nothing any more', async () => {
    const listener = await live();
    const old = FakeSocket.last;
    const { onmessage, onclose } = old;
    old.end();
    await pass(500);
    expect(old.onmessage).toBeNull();
    expect([onmessage, onclose]).not.toContain(null);
    old.change('0/999-1');
    expect(listener).toHaveBeenCalledTimes(1);
  });
});

describe('close codes', () => {
  it.each([1012, 4408, 1006, 1001, 1000])('%i: again, with since', async (code) => {
    await live();
    FakeSocket.last.end(code);
    await pass(500);
    expect(FakeSocket.last.query.get('since')).toBe('0/100-0');
  });

  it.each([1013, 4429])('%i: again, but later', async (code) => {
    await live();
    FakeSocket.last.end(code);
    await pass(1900);
    expect(FakeSocket.made).toHaveLength(1);
    await pass(100);
    expect(FakeSocket.made).toHaveLength(2);
    expect(FakeSocket.last.query.get('since')).toBe('0/100-0');
  });

  it('4403: denied, and tried again slowly, or at once when somebody subscribes', async () => {
    await live();
    FakeSocket.last.end(4403);
    expect(client.state('requests', 5)).toBe('denied');
    for (const most of [30_000, 60_000, 120_000, 240_000, 300_000, 300_000]) {
      const before = FakeSocket.made.length;
      await pass(most * 0.9995 - 1);
      expect(FakeSocket.made).toHaveLength(before);
      await pass(1);
      expect(FakeSocket.made).toHaveLength(before + 1);
      expect(client.state('requests', 5)).toBe('denied');
      FakeSocket.last.open().end(4403);
    }
    client.subscribe('requests', 5, () => {});
    await settle();
    expect(FakeSocket.made).toHaveLength(8);
    expect(client.state('requests', 5)).toBe('catching_up');
    FakeSocket.last.establish();
    expect(client.state('requests', 5)).toBe('live');
  });

  it('4401: a new token, at once; resumed', async () => {
    const token = vi.fn(async (renew: boolean) => (renew ? 'new' : 'old'));
    await live({ token });
    FakeSocket.last.end(4401);
    await settle();
    expect(token.mock.calls).toEqual([[false], [true]]);
    expect(FakeSocket.last.open().sent).toEqual([{ type: 'auth', token: 'new' }]);
    expect(FakeSocket.last.query.get('since')).toBe('0/100-0');
    expect(client.state()).toBe('catching_up');
  });

  it('4401 for the new token as well: denied, and asked again now and then', async () => {
    const token = vi.fn(async (renew: boolean) => (renew ? 'new' : 'old'));
    await live({ token });
    FakeSocket.last.end(4401);
    await settle();
    FakeSocket.last.open().end(4401);
    expect(client.state()).toBe('denied');
    await pass(19_900);
    expect(FakeSocket.made).toHaveLength(2);
    await pass(100);
    expect(FakeSocket.made).toHaveLength(3);
    expect(client.state()).toBe('denied');
    FakeSocket.last.establish('0/100-0', { resumed: true }).pong();
    expect(client.state()).toBe('live');
  });

  it('4401 of several connections renews once', async () => {
    let n = 0;
    const token = vi.fn(async (renew: boolean) => (renew ? `new${++n}` : 'old'));
    make({ token });
    client.subscribe('requests', 5, () => {});
    client.subscribe('crates', 5, () => {});
    await settle();
    const [a, b] = FakeSocket.made;
    a!.establish();
    b!.establish();
    a!.end(4401);
    await settle();
    b!.end(4401);
    await settle();
    expect(n).toBe(1);
    expect(FakeSocket.made.slice(2).map((socket) => socket.open().sent[0].token)).toEqual(['new1', 'new1']);
  });
});

describe('the token', () => {
  it('is renewed in place before it expires', async () => {
    let n = 0;
    const token = vi.fn(async () => jwt(900, Date.now(), { n: ++n }));
    vi.mocked(Math.random).mockReturnValue(0); // the latest of the moments among which tabs are spread
    await live({ token });
    FakeSocket.last.pong();
    for (let at = 0; at < 820; at += 20) {
      await pass(20_000);
      FakeSocket.last.pong();
    }
    await pass(19_999);
    expect(token).toHaveBeenCalledTimes(1);
    await pass(1);
    expect(token.mock.calls).toEqual([[false], [true]]);
    const auths = FakeSocket.last.sent.filter((m) => m.type === 'auth');
    expect(auths).toHaveLength(2);
    expect(auths[1].token).not.toBe(auths[0].token);
    expect(FakeSocket.made).toHaveLength(1);
  });

  it('that is about to expire is renewed at once; with a wrong clock that makes no loop', async () => {
    const token = vi.fn(async () => jwt(900, Date.now() - 900_000));
    await live({ token });
    FakeSocket.last.pong();
    await pass(28_500);
    FakeSocket.last.pong();
    expect(token.mock.calls).toEqual([[false], [true]]);
    await pass(2);
    expect(token).toHaveBeenCalledTimes(3);
  });

  it('that cannot be had is asked for again', async () => {
    const token = vi.fn(async () => {
      if (token.mock.calls.length < 3) throw new Error('no backend');
      return 'token';
    });
    make({ token }).subscribe('requests', 5, () => {});
    await pass(500 + 1000);
    expect(errors.map(String)).toEqual(['Error: no backend', 'Error: no backend']);
    expect(FakeSocket.made).toHaveLength(1);
  });

  it('of nobody is a denial', async () => {
    let user: string | null = null;
    make({ token: () => user }).subscribe('requests', 5, () => {});
    await pass(10 ** 6);
    expect(client.state()).toBe('denied');
    expect(FakeSocket.made).toHaveLength(0);
    user = 'token';
    client.retry();
    await settle();
    FakeSocket.last.establish();
    expect(client.state()).toBe('live');
  });

  it('that cannot be renewed now is good until it ends', async () => {
    let calls = 0;
    const token = async () => {
      if (++calls > 1) throw new Error('no backend');
      return jwt(40);
    };
    await live({ token });
    FakeSocket.last.pong();
    await pass(30_000);
    FakeSocket.last.pong();
    await pass(6000);
    FakeSocket.last.pong();
    expect(FakeSocket.last.closed).toBe(false);
    expect(errors.length).toBeGreaterThan(0);
    expect(client.state()).toBe('live');
  });

  it('that never comes is not waited for', async () => {
    const token = vi.fn(() => new Promise<string>(() => {}));
    make({ token }).subscribe('requests', 5, () => {});
    await pass(20_000);
    expect(client.state()).toBe('connecting');
    client.close();
  });
});

describe('logout', () => {
  it('closes everything, and nothing comes back', async () => {
    const listener = await live();
    client.subscribe('crates', 5, listener);
    await settle();
    client.close();
    expect(FakeSocket.made.every((socket) => socket.closed)).toBe(true);
    await pass(10 ** 6);
    expect(FakeSocket.made).toHaveLength(2);
    expect(client.state()).toBe('offline');
  });

  it('while a token is awaited opens no socket', async () => {
    let give = (_: string) => {};
    make({ token: () => new Promise<string>((resolve) => (give = resolve)) }).subscribe('requests', 5, () => {});
    await settle();
    client.close();
    give('late');
    await pass(10 ** 6);
    expect(FakeSocket.made).toHaveLength(0);
  });

  it('leaves a client that can be used again', async () => {
    await live();
    client.close();
    client.subscribe('requests', 5, () => {});
    await settle();
    FakeSocket.last.establish();
    expect(client.state()).toBe('live');
    expect(FakeSocket.last.query.get('since')).toBeNull();
  });
});

describe('the state', () => {
  it('of a page is the worst of its connections', async () => {
    make();
    const seen: string[] = [];
    client.onState(() => seen.push(client.state()));
    client.subscribe('requests', 5, () => {});
    client.subscribe('crates', 5, () => {});
    await settle();
    const [a, b] = FakeSocket.made;
    a!.establish();
    expect(client.state()).toBe('connecting');
    b!.establish();
    expect(client.state()).toBe('live');
    a!.end();
    expect(client.state()).toBe('catching_up');
    b!.end(4403);
    expect(client.state()).toBe('catching_up');
    await pass(500);
    FakeSocket.last.establish();
    expect(client.state()).toBe('denied');
    expect(seen.filter((state, i) => state !== seen[i - 1])).toEqual(['connecting', 'live', 'catching_up', 'denied']);
  });
});
