/** The state machine of debts: tables of interleavings, then random histories against an oracle that replays them. */
import { describe, expect, it } from 'vitest';
import { PAID, step, type Debt, type DebtInput } from '../src/react/debts.js';
import { randomOf } from './random.js';

type Input = Exclude<DebtInput, undefined>;

const after = (history: string): Debt => {
  let now = 0;
  return history.split(' ').filter(Boolean).reduce<Debt>((debt, word) => {
    if (/^\d/.test(word)) return (now += Number(word)), debt;
    return step(debt, word as Input, now);
  }, PAID);
};

describe('who pays', () => {
  it.each([
    ['', false],
    ['owe', true],
    ['owe fetch', true],
    ['owe fetch success', false],
    ['fetch owe success', true], // began before
    ['fetch owe success fetch success', false],
    ['owe fetch owe success', true],
    ['owe fetch error', true],
    ['owe fetch error fetch success', false],
    ['owe part success', true], // one page
    ['owe fetch part success', true], // «load more» cancels the refetch
    ['owe part fetch success', false], // the refetch cancels «load more»
    ['part owe success', true],
    ['owe fetch error success', true], // cancelled, then data from elsewhere
    ['owe success', true], // of a fetch that nobody saw begin
    ['borrow', true],
    ['borrow fetch success', false],
    ['fetch borrow success', false], // the answer is newer than what was borrowed
    ['fetch owe borrow success', true],
    ['part borrow success', true],
    ['owe recovery', true],
    ['owe fetch recovery success', false],
  ])('%s: owes %s', (history, owes) => {
    expect(after(history)[0] !== undefined).toBe(owes);
  });
});

describe('since when', () => {
  it.each([
    ['100 owe 50 owe', 100],
    ['100 owe 50 fetch 50 error 50 owe', 100],
    ['100 owe fetch 50 owe 50 success', 100],
    ['100 owe fetch 50 success 50 owe', 200],
    ['0 owe 10 owe', 0], // a clock may begin at 0
  ])('%s: %d', (history, since) => {
    expect(after(history)[0]).toBe(since);
  });
});

describe('when the next fetch may begin', () => {
  it.each([
    ['100 owe', 150],
    ['100 owe 30 owe', 150],
    ['100 borrow', 150],
    ['owe fetch 100 owe 100 success', 200 + 1800],
    ['owe fetch 1 owe success', 51],
    ['owe fetch 8000 owe success', 10_000],
    ['owe 300 success', 300 + 2000], // nobody saw it begin
    ['owe fetch 8000 success 10 owe', 8060], // nothing was owed in between
    ['owe fetch error', 1000],
    ['owe fetch error 1000 fetch error', 3000],
    ['owe fetch error fetch error fetch error', 4000],
    [`owe ${'fetch error '.repeat(20)}`, 60_000],
    ['owe fetch error fetch error fetch success owe fetch error', 1000],
    ['owe fetch error 10 recovery', 60],
    ['owe fetch error 990 recovery', 1000], // never later
    ['owe fetch 8000 owe success 10 recovery', 10_000], // nothing had failed
    ['owe fetch error 10 owe', 1000],
  ])('%s: %d', (history, due) => {
    expect(after(history)[4]).toBe(due);
  });
});

/** Reads the whole history each time, and knows no state. */
function oracle(history: readonly (readonly [Input, number])[]) {
  const inputs = history.map(([input]) => input);
  const ends = (input: Input | undefined) => input === 'success' || input === 'error';
  // a fetch that pays: its success, and between begin and end nothing but what disturbs it not
  const payments = inputs.flatMap((input, at) => {
    if (input !== 'success') return [];
    for (let back = at - 1; back >= 0; back--) {
      const before = inputs[back]!;
      if (before === 'fetch') return [at];
      if (before === 'part' || before === 'owe' || ends(before)) return [];
    }
    return [];
  });
  const paid = payments.at(-1) ?? -1;
  const first = history.findIndex(([input], at) => at > paid && (input === 'owe' || input === 'borrow'));
  const failures = inputs.slice(inputs.lastIndexOf('success') + 1).filter((input) => input === 'error').length;
  return { since: history[first]?.[1], wait: failures && Math.min(1000 * 2 ** (failures - 1), 60_000) };
}

describe('random histories', () => {
  it('end as the oracle says', () => {
    const seed = Number(process.env.SEED ?? Date.now() % 1e9);
    const random = randomOf(seed);
    const INPUTS = ['owe', 'owe', 'borrow', 'fetch', 'fetch', 'part', 'success', 'success', 'error', 'recovery'] as const;
    for (let round = 0; round < 5000; round++) {
      const history: [Input, number][] = [];
      let debt = PAID;
      let now = 0;
      for (let n = random.below(14); n >= 0; n--) {
        now += random.pick([0, 1, 40, 700, 5000]);
        const before = debt;
        const input = random.pick(INPUTS);
        history.push([input, now]);
        debt = step(debt, input, now);
        const { since, wait } = oracle(history);
        const said = `seed ${seed}: ${JSON.stringify(history)}`;
        expect([debt[0], debt[3]], said).toEqual([since, wait]);
        if (input === 'error') expect(debt[4], said).toBe(now + wait);
        if (input === 'success') {
          expect(debt[4], said).toBeGreaterThanOrEqual(now + 50);
          expect(debt[4], said).toBeLessThanOrEqual(now + 2000);
        }
        if (input === 'recovery') expect(debt[4], said).toBe(before[3] ? Math.min(before[4], now + 50) : before[4]);
      }
    }
  });
});
