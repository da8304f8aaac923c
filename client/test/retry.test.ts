/** The waits, as tables. */
import { expect, it } from 'vitest';
import { waitAfter } from '../src/retry.js';

const most = (code: number, failures: number) => waitAfter(code, failures, 1, 500, 20_000);
const least = (code: number, failures: number) => waitAfter(code, failures, 0, 500, 20_000)[1];

/** The longest waits, in seconds, of a close that comes again and again. */
const inARow = (code: number, times: number) => {
  const waits: number[] = [];
  for (let failures = 0, n = 0; n < times; n++) {
    const [count, wait] = most(code, failures);
    failures = count;
    waits.push(wait / 1000);
  }
  return waits;
};

it.each([
  [1006, [0.5, 1, 2, 4, 8, 16, 20, 20]],
  [1012, [0.5, 1, 2]],
  [4408, [0.5, 1, 2]],
  [1013, [2, 4, 8, 16, 20]],
  [4429, [2, 4, 8, 16, 20]],
  [1002, [16, 20]],
  [1007, [16, 20]],
  [1008, [16, 20]],
  [1009, [16, 20]],
  [4401, [20, 20, 20]],
  [4403, [30, 60, 120, 240, 300, 300]],
])('%i waits for at most %j seconds', (code, waits) => {
  expect(inARow(code, waits.length)).toEqual(waits);
});

it('is full jitter, but half of it for a permission', () => {
  expect([1006, 1013, 4401].map((code) => least(code, 3))).toEqual([0, 0, 0]);
  expect([0, 1, 2, 3, 9].map((failures) => least(4403, failures))).toEqual([15_000, 30_000, 60_000, 120_000, 150_000]);
});

it('never counts down, and never leaves the bounds', () => {
  expect(most(1013, 4)).toEqual([5, 8000]);
  expect(most(1006, 5000)).toEqual([5001, 20_000]);
  expect(most(4403, 5000)).toEqual([5001, 300_000]);
});
