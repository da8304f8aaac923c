/** Ten pages, and a hundred changes a second: they stay responsive, and do not grow. E2E_SECONDS says how long. */
import type { Browser, CDPSession } from 'playwright-core';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { eventually, openBrowser, percentile, Person } from './people.ts';
import { openStage, type Stage } from './stage.ts';

const NORTH = 1;
const PAGES = 10;
const RATE = 100;
const SECONDS = Number(process.env.E2E_SECONDS ?? 20);
const WHERE = ['transactions', 'dashboard', 'audit', 'crates'];

let stage: Stage;
let browser: Browser;

beforeAll(async () => {
  [stage, browser] = await Promise.all([openStage(), openBrowser()]);
});

afterAll(async () => {
  await browser?.close();
  await stage?.end();
});

/** From here on the page notes how late its timers are, and its long tasks. */
function watch() {
  const noted = { late: [] as number[], tasks: [] as number[], shown: 0 };
  Object.assign(window, { noted });
  const PACE = 20;
  let due = performance.now() + PACE;
  const tick = () => {
    noted.late.push(performance.now() - due);
    due = performance.now() + PACE;
    setTimeout(tick, PACE);
  };
  setTimeout(tick, PACE);
  new PerformanceObserver((list) => list.getEntries().forEach((entry) => noted.tasks.push(entry.duration))).observe({ type: 'longtask' });
  new MutationObserver(() => noted.shown++).observe(document.querySelector('main')!, { subtree: true, childList: true, characterData: true });
}

/** Bytes that are in use, after the garbage has gone. */
async function heap(devtools: CDPSession): Promise<number> {
  await devtools.send('HeapProfiler.collectGarbage');
  return (await devtools.send('Runtime.getHeapUsage')).usedSize;
}

const MB = (bytes: number) => (bytes / 2 ** 20).toFixed(1);

it(`ten pages, ${RATE} changes a second for ${SECONDS} seconds`, async () => {
  const people: Person[] = [];
  for (let n = 0; n < PAGES; n++) people.push(await Person.logIn(browser, stage, 'asha', WHERE[n % WHERE.length]));
  const devtools = await Promise.all(people.map(({ page }) => page.context().newCDPSession(page)));
  const heaps = async () => {
    const sizes = [];
    for (const session of devtools) sizes.push(await heap(session));
    return sizes;
  };
  await Promise.all(people.map(({ page }) => page.evaluate(watch)));

  const warm = Math.min(10, SECONDS / 2);
  await stage.call('load', { unit: NORTH, seconds: warm, rate: RATE });
  await stage.call('loaded');
  const before = await heaps();
  people.forEach((person) => person.forget());
  await stage.call('load', { unit: NORTH, seconds: SECONDS - warm, rate: RATE });
  const { changes } = await stage.call('loaded');
  const after = await heaps();

  const statuses = await stage.sql('SELECT id, status FROM requests WHERE unit_id = %s ORDER BY id DESC', NORTH);
  for (const person of people.filter(({ page }) => page.url().endsWith('transactions'))) {
    await eventually(async () => expect(await person.rows()).toEqual(statuses));
  }
  for (const person of people) {
    await eventually(async () => {
      expect(person.heard.filter(({ message }) => message.type === 'request.updated')).toHaveLength(changes);
    });
  }
  const noted = await Promise.all(people.map(({ page }) => page.evaluate(() => (window as any).noted)));
  const late = noted.flatMap((page) => page.late);
  const tasks = noted.flatMap((page) => page.tasks);
  const growth = after.map((bytes, n) => bytes - before[n]!);
  const fetched = people.reduce((sum, person) => sum + person.asked.length, 0);
  console.log(
    `${changes} changes in ${SECONDS - warm} s, all told to each of ${PAGES} pages, which fetched ${fetched} times\n` +
      `timers late: p50 ${percentile(late, 50).toFixed(1)} ms, p95 ${percentile(late, 95).toFixed(1)} ms, p99 ${percentile(late, 99).toFixed(0)} ms\n` +
      `long tasks: ${tasks.length} of over 50 ms, together ${tasks.reduce((a, b) => a + b, 0).toFixed(0)} ms of ${PAGES * SECONDS} s, longest ${Math.max(0, ...tasks).toFixed(0)} ms\n` +
      `heap of a page: ${MB(Math.max(...before))} MB before, ${MB(Math.max(...after))} MB after, most growth ${MB(Math.max(...growth))} MB`,
  );
  expect(noted.filter((_, n) => WHERE[n % WHERE.length] === 'transactions').every((page) => page.shown > 5)).toBe(true);
  expect(Math.max(...growth)).toBeLessThan(5 * 2 ** 20);
  await Promise.all(people.map((person) => person.leave()));
}, 900_000);
