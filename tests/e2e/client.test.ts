/** The browser package in a real browser, against the real program: a wire that swallows everything, and addresses that change. */
import { createServer, type Server } from 'node:http';
import { connect, createServer as createWire, type AddressInfo, type Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import { build } from 'vite';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { eventually, openBrowser, PATIENCE } from './people.ts';

const CLIENT = fileURLToPath(new URL('../../client', import.meta.url));
const ASHA = 2;
const PAGE = '<!doctype html><script type="module">import { WebSocketClient } from "/client.js"; Object.assign(window, { WebSocketClient })</script>';

/** In front of walpush: dies without a word, as a laptop's network does. */
class Wire {
  dead = false;
  #ends = new Set<Socket>();
  readonly server = createWire((near) => {
    const far = connect(this.target, '127.0.0.1');
    for (const [one, other] of [[near, far], [far, near]] as const) {
      this.#ends.add(one);
      one.on('data', (bytes) => this.dead || other.write(bytes));
      one.on('close', () => this.dead || other.destroy());
      one.on('error', () => {});
    }
  });
  constructor(readonly target: number) {}
  close(): void {
    this.#ends.forEach((end) => end.destroy());
    this.server.close();
  }
}

const listening = async (server: { listen: Server['listen']; address: Server['address'] }) => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return (server.address() as AddressInfo).port;
};

let stage: any;
let browser: Browser;
let server: Server;
let origin: string;
let wires: Wire[] = [];

beforeAll(async () => {
  const { output } = (await build({
    root: CLIENT,
    logLevel: 'silent',
    build: { write: false, minify: false, lib: { entry: 'src/index.ts', formats: ['es'] } },
  }).then((result) => (result as any)[0] ?? result)) as any;
  const code: string = output[0].code;
  server = createServer(({ url }, answer) => {
    const script = url === '/client.js';
    answer.setHeader('content-type', script ? 'text/javascript' : 'text/html');
    answer.end(script ? code : PAGE);
  });
  origin = `http://127.0.0.1:${await listening(server)}`;
  process.env.WALPUSH_ORIGIN = origin;
  const { openStage } = await import('../../client/test/stage.ts');
  [stage, browser] = await Promise.all([openStage(), openBrowser()]);
});

afterAll(async () => {
  await browser?.close();
  wires.forEach((wire) => wire.close());
  server?.close();
  await stage?.end();
});

/** A page with a client, live: window.client, and what it has heard and seen. */
async function open(options: object = {}): Promise<{ page: Page; wire: Wire }> {
  const wire = new Wire(Number(new URL(stage.url).port));
  wires.push(wire);
  const port = await listening(wire.server as any);
  const page = await (await browser.newContext()).newPage();
  await page.goto(origin);
  await page.evaluate(
    ([url, token, more]) => {
      const w = window as any;
      w.errors = [];
      w.heard = [];
      w.states = [];
      w.options = { url, token: () => token, onError: (error: unknown) => w.errors.push(String(error)), ...(more as object) };
      w.client = new w.WebSocketClient(w.options);
      w.client.onState(() => w.states.push([w.client.state(), Date.now()]));
      w.client.subscribe('requests', 1, (message: unknown) => w.heard.push(message));
    },
    [`ws://127.0.0.1:${port}`, await stage.token(ASHA), options] as const,
  );
  return { page, wire };
}

const state = (page: Page) => page.evaluate(() => (window as any).client.state('requests', 1));
const until = (page: Page, wanted: string, patience = PATIENCE) =>
  eventually(async () => expect(await state(page)).toBe(wanted), patience);
const hide = (page: Page, hidden: boolean) =>
  page.evaluate((value) => {
    Object.defineProperty(document, 'hidden', { configurable: true, get: () => value });
    document.dispatchEvent(new Event('visibilitychange'));
  }, hidden);

it('61: a tab that is shown again is not live on a dead wire', async () => {
  const { page, wire } = await open();
  await until(page, 'live');
  await hide(page, true);
  wire.dead = true;
  await stage.sql("UPDATE requests SET purpose = 'unseen' WHERE id = %s", stage.request);
  expect(await state(page)).toBe('live');
  await hide(page, false);
  expect(await state(page)).toBe('catching_up');
  await eventually(async () => {
    const closed = await page.evaluate(() => (window as any).client.cause('requests', 1));
    expect(closed).toMatchObject({ code: 1006, reason: 'no answer' });
  });
  wire.dead = false;
  await until(page, 'live');
  const heard = await page.evaluate(() => (window as any).heard);
  expect(heard.filter((message: any) => message.data?.purpose === 'unseen')).toHaveLength(1);
});

it('61: with the tab in front, a dead wire is noticed within 25 + 10 s, whatever was heard before', async () => {
  const { page, wire } = await open({ heartbeat: 2500, pongWait: 1000 }); // a tenth; the browser itself never notices
  await until(page, 'live');
  await page.waitForTimeout(1600); // the wire dies at a moment between two pings
  await stage.sql("UPDATE requests SET purpose = 'heard' WHERE id = %s", stage.request);
  await page.waitForFunction(() => (window as any).heard.some((message: any) => message.data?.purpose === 'heard'));
  wire.dead = true;
  const died = Date.now();
  await until(page, 'catching_up');
  console.log(`a dead wire: noticed after ${Date.now() - died} ms of at most 3500`);
});

it('61: another network is not trusted', async () => {
  const { page } = await open();
  await until(page, 'live');
  const before = await page.evaluate(() => {
    (navigator as any).connection.dispatchEvent(new Event('change'));
    return (window as any).client.state();
  });
  expect(before).toBe('catching_up');
  await until(page, 'live');
});

it('57: another address: the connection moves and resumes', async () => {
  const { page } = await open({ url: undefined }); // the page's own origin, where nobody listens
  await page.waitForFunction(() => (window as any).client.cause('requests', 1));
  expect(await state(page)).toBe('connecting');
  const move = (url: string) => page.evaluate((to) => (window as any).client.configure({ ...(window as any).options, url: to }), url);
  await move(stage.url);
  await until(page, 'live');
  await move(stage.url.replace('127.0.0.1', 'localhost'));
  await until(page, 'live');
  const hellos = await page.evaluate(() => (window as any).heard.filter((message: any) => message.type === 'connection_established'));
  expect(hellos.map((message: any) => message.resumed ?? false)).toEqual([false, true]);
});

it('60: a stream that does not exist says so', async () => {
  const { page } = await open({ backoff: { base: 50, cap: 100 } });
  await page.evaluate(() => (window as any).client.subscribe('request', 1, () => {}));
  await page.waitForFunction(() => (window as any).errors.length);
  expect(await page.evaluate(() => (window as any).errors)).toEqual([
    'Error: request/1: 1006 refused before the upgrade: origin, path, or the server is away',
  ]);
});

it('50: renewals of three tabs come one after another', async () => {
  const context = await browser.newContext();
  const log: string[] = [];
  await context.exposeFunction('note', (text: string) => void log.push(text));
  const [old, fresh] = [await stage.token(ASHA, -10), await stage.token(ASHA)];
  const pages = await Promise.all([1, 2, 3].map(() => context.newPage()));
  await Promise.all(pages.map((page) => page.goto(origin)));
  await Promise.all(
    pages.map((page) =>
      page.evaluate(
        ([url, stale, good]) => {
          const w = window as any;
          const token = async (renew: boolean) => {
            if (!renew) return stale;
            await w.note('begins');
            await new Promise((resolve) => setTimeout(resolve, 100)); // the backend's answer
            await w.note('ends');
            return good;
          };
          w.client = new w.WebSocketClient({ url, token });
          w.client.subscribe('requests', 1, () => {});
        },
        [stage.url, old, fresh] as const,
      ),
    ),
  );
  await Promise.all(pages.map((page) => until(page, 'live')));
  expect(log).toEqual(['begins', 'ends', 'begins', 'ends', 'begins', 'ends']);
  await context.close();
});
