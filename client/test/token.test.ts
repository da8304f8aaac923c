/** Who asks, who shares, and whose answer counts: interleavings of one asker, as a table. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { tokenAsker, type Asker } from '../src/token.js';

interface Asked {
  renew: boolean;
  give(token: string | null): void;
  fail(): void;
}

let asked: Asked[];
let asker: Asker;
let told: Record<string, string | null>;

beforeEach(() => {
  vi.useFakeTimers();
  asked = [];
  told = {};
  asker = tokenAsker(
    (renew) => new Promise((give, reject) => asked.push({ renew, give, fail: () => reject(new Error('no backend')) })),
  );
});

afterEach(() => {
  asker.forget();
  expect(vi.getTimerCount(), 'timers left behind').toBe(0);
  vi.useRealTimers();
});

/** What one step of a table does. */
const STEPS: Record<string, (who: string) => unknown> = {
  asks: (who) => get(who),
  refused: (who) => get(who, 'old'),
  'refused again': (who) => get(who, 'new'),
  good: (n) => asked[+n]!.give('good'),
  old: (n) => asked[+n]!.give('old'),
  new: (n) => asked[+n]!.give('new'),
  newer: (n) => asked[+n]!.give('newer'),
  nobody: (n) => asked[+n]!.give(null),
  fails: (n) => asked[+n]!.fail(),
  '20 s pass': () => vi.advanceTimersByTimeAsync(20_000),
  '15 s pass': () => vi.advanceTimersByTimeAsync(15_000),
  forget: () => asker.forget(),
};

async function get(who: string, stale?: string): Promise<void> {
  try {
    told[who] = await asker.get(stale);
  } catch (error) {
    told[who] = String(error);
  }
}

const GIVEN_UP = 'Error: token: no answer';

// A step is "what: who", or "what: the number of the ask"; then what each was told, and which asks renewed.
it.each<[name: string, steps: string[], told: Record<string, string | null>, renewals: boolean[]]>([
  ['one ask serves all', ['asks: a', 'asks: b', 'good: 0'], { a: 'good', b: 'good' }, [false]],
  ['each ask asks anew', ['asks: a', 'good: 0', 'asks: b', 'new: 1'], { a: 'good', b: 'new' }, [false, false]],
  ['one renewal serves all', ['refused: a', 'refused: b', 'new: 0'], { a: 'new', b: 'new' }, [true]],
  ['a plain ask joins a renewal', ['refused: a', 'asks: b', 'new: 0'], { a: 'new', b: 'new' }, [true]],
  ['who was refused is not served by a plain ask', ['asks: b', 'refused: a', 'old: 0', 'new: 1'], { a: 'new', b: 'new' }, [false, true]],
  ['nor by its late answer', ['asks: b', 'refused: a', 'new: 1', 'old: 0', 'refused: c'], { a: 'new', b: 'new', c: 'new' }, [false, true]],
  ['nor by one that is over', ['asks: b', 'good: 0', 'refused: a', 'new: 1'], { b: 'good', a: 'new' }, [false, true]],
  ['who comes late gets what was renewed', ['refused: a', 'new: 0', 'refused: b'], { a: 'new', b: 'new' }, [true]],
  ['but not if that was refused', ['refused: a', 'new: 0', 'refused again: a', 'newer: 1'], { a: 'newer' }, [true, true]],
  ['nor if a plain ask brought another since', ['refused: a', 'new: 0', 'asks: b', 'good: 1', 'refused: c', 'newer: 2'], { a: 'new', b: 'good', c: 'newer' }, [true, false, true]],
  ['a failure reaches all who wait', ['asks: a', 'asks: b', 'fails: 0'], { a: 'Error: no backend', b: 'Error: no backend' }, [false]],
  ['and the next ask asks anew', ['asks: a', 'fails: 0', 'asks: a', 'good: 1'], { a: 'good' }, [false, false]],
  ['a plain ask that fails behind a renewal harms nobody', ['asks: b', 'refused: a', 'fails: 0', 'new: 1'], { a: 'new', b: 'new' }, [false, true]],
  ['no answer is given up, for all', ['asks: a', '15 s pass', 'asks: b', '20 s pass'], { a: GIVEN_UP, b: GIVEN_UP }, [false]],
  ['and asked anew, by all', ['asks: a', '20 s pass', 'asks: a', 'asks: b', 'good: 1'], { a: 'good', b: 'good' }, [false, false]],
  ['a renewal is given up too', ['refused: a', '20 s pass', 'asks: a', 'good: 1'], { a: 'good' }, [true, false]],
  ['its late answer changes nothing', ['refused: a', '20 s pass', 'refused: a', 'newer: 1', 'new: 0', 'refused: b'], { a: 'newer', b: 'newer' }, [true, true]],
  ['nor does a late null', ['refused: a', '20 s pass', 'refused: a', 'newer: 1', 'nobody: 0', 'refused: b'], { a: 'newer', b: 'newer' }, [true, true]],
  ['nor before the newer one answers', ['refused: a', '20 s pass', 'refused: a', 'nobody: 0', 'newer: 1', 'refused: b'], { a: 'newer', b: 'newer' }, [true, true]],
  ['null is an answer', ['asks: a', 'nobody: 0'], { a: null }, [false]],
  ['null of a renewal serves nobody later', ['refused: a', 'nobody: 0', 'refused: b', 'new: 1'], { a: null, b: 'new' }, [true, true]],
  ['forgetting ends the ask', ['asks: a', 'forget: ', 'asks: b', 'new: 1', 'old: 0'], { a: 'undefined', b: 'new' }, [false, false]],
  ['and what was renewed', ['refused: a', 'new: 0', 'forget: ', 'refused: b', 'newer: 1'], { a: 'new', b: 'newer' }, [true, true]],
])('%s', async (_, steps, wanted, renewals) => {
  for (const step of steps) {
    const [what, who] = step.split(': ');
    void STEPS[what!]!(who ?? '');
    await vi.advanceTimersByTimeAsync(0);
  }
  expect(told).toEqual(wanted);
  expect(asked.map(({ renew }) => renew)).toEqual(renewals);
});

describe('of several tabs', () => {
  /** One lock of the browser: who holds it, and who waits. */
  let queue: (() => Promise<unknown>)[];
  let held: boolean;
  const request = (_: string, use: () => Promise<unknown>) =>
    new Promise((resolve, reject) => {
      queue.push(() => use().then(resolve, reject));
      next();
    });
  const next = () => {
    if (held || !queue.length) return;
    held = true;
    const free = () => ((held = false), next());
    queue.shift()!().then(free, free);
  };
  const tabs = (n: number) => Array.from({ length: n }, () => tokenAsker((renew) => new Promise((give) => asked.push({ renew, give, fail() {} }))));
  const settle = () => vi.advanceTimersByTimeAsync(0);

  beforeEach(() => {
    queue = [];
    held = false;
    vi.stubGlobal('document', {});
    vi.spyOn(Math, 'random').mockReturnValue(0.5);
  });
  afterEach(() => {
    vi.unstubAllGlobals();
    vi.restoreAllMocks();
  });

  it('renewals come one after another where there is a lock', async () => {
    vi.stubGlobal('navigator', { locks: { request } });
    const answers = tabs(3).map((tab) => tab.get('old'));
    for (const n of [1, 2, 3]) {
      await settle();
      expect(asked).toHaveLength(n);
      asked[n - 1]!.give(`new${n}`);
    }
    expect(await Promise.all(answers)).toEqual(['new1', 'new2', 'new3']);
  });

  it('plain asks do not wait for the lock', async () => {
    vi.stubGlobal('navigator', { locks: { request } });
    const [a, b] = tabs(2);
    void a!.get('old');
    const plain = b!.get();
    await settle();
    expect(asked.map(({ renew }) => renew)).toEqual([true, false]);
    asked[1]!.give('good');
    expect(await plain).toBe('good');
    a!.forget();
  });

  it('a tab that hangs holds the others for 5 seconds at most', async () => {
    vi.stubGlobal('navigator', { locks: { request } });
    const [a, b] = tabs(2);
    void (a!.get('old') as Promise<unknown>).catch(() => {});
    const second = b!.get('old');
    await vi.advanceTimersByTimeAsync(4499);
    expect(asked).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(1);
    expect(asked).toHaveLength(2);
    asked[1]!.give('new');
    expect(await second).toBe('new');
    a!.forget();
    await settle();
    expect(held).toBe(false);
    expect(asked).toHaveLength(2);
  });

  it('who gave up does not renew when the lock comes', async () => {
    vi.stubGlobal('navigator', { locks: { request } });
    const [a, b] = tabs(2);
    void a!.get('old');
    const second = (b!.get('old') as Promise<unknown>).catch((reason) => reason);
    b!.forget();
    expect(await second).toBeUndefined();
    asked[0]!.give('new');
    await settle();
    expect(asked).toHaveLength(1);
    expect(held).toBe(false);
  });

  it('without a lock they come at random moments of a second', async () => {
    vi.stubGlobal('navigator', {});
    vi.mocked(Math.random).mockReturnValueOnce(0.1).mockReturnValueOnce(0.9);
    tabs(2).forEach((tab) => void tab.get('old'));
    await vi.advanceTimersByTimeAsync(100);
    expect(asked).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(799);
    expect(asked).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(1);
    expect(asked).toHaveLength(2);
    asked.forEach(({ give }) => give('new'));
    await settle();
  });
});
