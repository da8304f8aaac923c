/** A browser, and people in it: each with a session of their own, as in another room. */
import { chromium, type Browser, type Page, type WebSocket } from 'playwright-core';
import type { Stage } from './stage.ts';

export const PASSWORD = 'walpush-demo';
export const PATIENCE = 90_000 * Number(process.env.WALPUSH_TEST_SLOWDOWN ?? 1);
const ARGS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-dev-shm-usage',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

export const openBrowser = (): Promise<Browser> =>
  chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ARGS });

export interface Heard {
  url: string;
  message: any;
}

/** A page with somebody in front of it, and what it said and heard. */
export class Person {
  /** Of /api/, since the last forget(). */
  asked: string[] = [];
  heard: Heard[] = [];
  said: Heard[] = [];
  sockets: WebSocket[] = [];
  troubles: string[] = [];
  #loads = 0;
  #waiting = 0;
  #busy = 0;

  private constructor(readonly page: Page) {
    page.setDefaultTimeout(PATIENCE);
    page.on('load', () => this.#loads++);
    page.on('pageerror', (error) => this.troubles.push(String(error)));
    page.on('request', (request) => {
      const { pathname } = new URL(request.url());
      this.#waiting++;
      this.#busy = Date.now();
      if (pathname.startsWith('/api/')) this.asked.push(`${request.method()} ${pathname}`);
    });
    const answered = () => {
      this.#waiting--;
      this.#busy = Date.now();
    };
    page.on('requestfinished', answered);
    page.on('requestfailed', answered);
    page.on('websocket', (socket) => {
      this.sockets.push(socket);
      const read = (frame: { payload: string | Buffer }) => ({ url: socket.url(), message: JSON.parse(String(frame.payload)) });
      socket.on('framereceived', (frame) => this.heard.push(read(frame)));
      socket.on('framesent', (frame) => this.said.push(read(frame)));
    });
  }

  static async open(browser: Browser, options: object = {}): Promise<Person> {
    const context = await browser.newContext({ viewport: { width: 1180, height: 720 }, locale: 'en-GB', ...options });
    return new Person(await context.newPage());
  }

  /** Through the form, as people do, the first time; then with the session of that time, which saves the hashing. */
  static async logIn(browser: Browser, stage: Stage, name: string, at = 'transactions', options: object = {}): Promise<Person> {
    const person = await Person.open(browser, options);
    const { page } = person;
    const known = stage.sessions.get(name);
    if (known) await page.addInitScript((session) => sessionStorage.setItem('session', session), known);
    await page.goto(`${stage.address}/#/${at}`);
    if (!known) await person.fillIn(name);
    await person.state('live');
    stage.sessions.set(name, await page.evaluate(() => sessionStorage.getItem('session')!));
    // What connection_established asks for has been fetched; from here on, only what walpush says.
    await person.quiet();
    person.forget();
    return person;
  }

  /** Until everything is answered, and nothing more was asked for so many milliseconds. */
  quiet(rest = 500): Promise<void> {
    return eventually(async () => {
      if (this.#waiting || Date.now() - this.#busy < rest) throw new Error(`${this.#waiting} requests are not answered`);
    });
  }

  async fillIn(name: string): Promise<void> {
    await this.page.fill('[name=username]', name);
    await this.page.fill('[name=password]', PASSWORD);
    await this.page.click('form .primary');
  }

  forget(): void {
    this.asked = [];
    this.heard = [];
    this.said = [];
  }

  go(at: string): Promise<void> {
    return this.page.evaluate((hash) => void (location.hash = hash), `#/${at}`);
  }

  state(wanted: string): Promise<unknown> {
    return this.page.waitForSelector(`.live[data-state=${wanted}]`);
  }

  /** Until a request's row shows the status. */
  sees(request: number, status: string): Promise<unknown> {
    return this.page.waitForSelector(`[data-request="${request}"] .pill:text-is("${status}")`);
  }

  async press(request: number, action: string): Promise<void> {
    await this.page.click(`[data-request="${request}"] [data-action=${action}]`);
  }

  /** What the table says: id and status, from above. */
  rows(): Promise<[number, string][]> {
    return this.page.$$eval('[data-request]', (rows) =>
      rows.map((row): [number, string] => [Number((row as HTMLElement).dataset.request), row.querySelector('.pill')!.textContent!]),
    );
  }

  get loads(): number {
    return this.#loads;
  }

  /** The page was loaded once, and no error went uncaught. */
  async leave(): Promise<void> {
    const { troubles, loads } = this;
    await this.page.context().close();
    if (troubles.length) throw new Error(`errors in the page: ${troubles.join('; ')}`);
    if (loads !== 1) throw new Error(`the page was loaded ${loads} times`);
  }
}

/** Until the check passes: for what the page comes to show. */
export async function eventually(check: () => Promise<void>, patience = PATIENCE): Promise<void> {
  for (const end = Date.now() + patience; ; ) {
    try {
      return await check();
    } catch (error) {
      if (Date.now() > end) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

export const percentile = (values: number[], p: number): number =>
  [...values].sort((a, b) => a - b)[Math.min(values.length - 1, Math.floor((values.length * p) / 100))]!;
