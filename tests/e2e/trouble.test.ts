/** What breaks, and that the page ends equal to the database: without a reload and, within the window, without a full refetch. */
import { spawn, type ChildProcess } from 'node:child_process';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { eventually, openBrowser, PATIENCE, Person } from './people.ts';
import { openStage, type Stage } from './stage.ts';

const NORTH = 1;
const FRONTEND = fileURLToPath(new URL('../../deploy/demo/frontend', import.meta.url));
/** Short, so that tokens expire while the tests look on. */
const TOKEN_SECONDS = 6;

let stage: Stage;
let browser: Browser;
let preview: number;

beforeAll(async () => {
  preview = await freePort();
  [stage, browser] = await Promise.all([
    openStage({ accessSeconds: TOKEN_SECONDS, origins: [`http://127.0.0.1:${preview}`] }),
    openBrowser(),
  ]);
});

afterAll(async () => {
  await browser?.close();
  await stage?.end();
});

const logIn = (name: string, at?: string) => Person.logIn(browser, stage, name, at);

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

let last = 0;
/** Changes a request, by SQL: nobody's click is answered by it. */
async function change(): Promise<[number, string]> {
  const [row] = await stage.sql(
    "UPDATE requests SET status = CASE status WHEN 'Approved' THEN 'Pending' ELSE 'Approved' END, updated_at = now()" +
      ' WHERE id = (SELECT id FROM requests WHERE unit_id = %s ORDER BY id OFFSET %s LIMIT 1) RETURNING id, status',
    NORTH,
    last++ % 10,
  );
  return row as [number, string];
}

const equal = (person: Person) =>
  eventually(async () => {
    expect(await person.rows()).toEqual(await stage.sql('SELECT id, status FROM requests WHERE unit_id = %s ORDER BY id DESC', NORTH));
  });

const hellos = (person: Person) =>
  person.heard.map(({ message }) => message).filter((message) => message.type === 'connection_established');

type Deed = (people: Person[]) => Promise<void>;

/** Behind a slow fetch a page rests for up to two seconds before the next, which a message may have asked for. */
const RESTED = 2500;

/**
 * Two pages, one on what changes while something is broken, one on what does not: the first ends equal to the database,
 * the second fetches nothing at all.
 */
async function resumesAcross(broken: Deed, mend: Deed, state: string): Promise<void> {
  const [requests, crates] = await Promise.all([logIn('asha'), logIn('asha', 'crates')]);
  const both = [requests, crates];
  await Promise.all(both.map((person) => person.quiet(RESTED)));
  await broken(both);
  await Promise.all(both.map((person) => person.state(state)));
  both.forEach((person) => person.forget());
  for (let n = 0; n < 5; n++) await change();
  await mend(both);
  await Promise.all(both.map((person) => person.state('live')));
  await equal(requests);
  const [row, status] = await change();
  await requests.sees(row, status);
  for (const person of both) {
    expect(hellos(person).length).toBeGreaterThanOrEqual(3);
    expect(hellos(person).every((message) => message.resumed)).toBe(true);
    expect(person.heard.filter(({ message }) => message.type === 'resync')).toEqual([]);
  }
  expect(crates.asked.filter((one) => one.startsWith('GET'))).toEqual([]);
  expect(requests.asked.filter((one) => /crates|storage|dashboard|audit|notifications/.test(one))).toEqual([]);
  await Promise.all(both.map((person) => person.leave()));
}

it('the connection is cut', () =>
  resumesAcross(
    async () => stage.wire.cut(),
    async () => stage.wire.mend(),
    'catching_up',
  ));

it('the connection is cut until the token has expired', () =>
  resumesAcross(
    async () => {
      stage.wire.cut();
      await new Promise((resolve) => setTimeout(resolve, (TOKEN_SECONDS + 1) * 1000)); // that is what passes here
    },
    async () => stage.wire.mend(),
    'catching_up',
  ));

it('the sidecar is killed, and started again', () =>
  resumesAcross(
    () => stage.service('walpush', 'kill'),
    () => stage.service('walpush', 'start'),
    'catching_up',
  ));

it('the sidecar is stopped, and started again', () =>
  resumesAcross(
    () => stage.service('walpush', 'stop'),
    () => stage.service('walpush', 'start'),
    'catching_up',
  ));

it('the laptop goes offline, and comes back', () =>
  resumesAcross(
    async (people) => void (await Promise.all(people.map(({ page }) => page.context().setOffline(true)))),
    async (people) => void (await Promise.all(people.map(({ page }) => page.context().setOffline(false)))),
    'offline',
  ));

it('walpush and the backend are both away for a while', async () => {
  const person = await logIn('asha');
  await stage.service('backend', 'kill');
  await stage.service('walpush', 'kill');
  await person.state('catching_up');
  await change();
  await stage.service('walpush', 'start');
  await person.state('live');
  await stage.service('backend', 'start');
  const [row, status] = await change();
  await person.sees(row, status);
  await equal(person);
  await person.leave();
});

it('a token expires: renewed in place, again and again, on the same connection, without a gap', async () => {
  const person = await logIn('asha');
  const sockets = person.sockets.length;
  const end = Date.now() + 2.5 * TOKEN_SECONDS * 1000;
  let changes = 0;
  while (Date.now() < end) {
    const [row, status] = await change();
    changes++;
    await person.sees(row, status);
  }
  const renewals = person.said.filter(({ url, message }) => message.type === 'auth' && url.includes('/requests/'));
  expect(renewals.length).toBeGreaterThanOrEqual(2);
  expect(person.heard.filter(({ message }) => message.type === 'auth_ok').length).toBeGreaterThanOrEqual(2);
  expect(person.sockets).toHaveLength(sockets);
  expect(person.heard.filter(({ message }) => message.type === 'request.updated')).toHaveLength(changes);
  await person.leave();
});

it('a page that is opened while backend and sidecar are down recovers by itself', async () => {
  const served = await servePage(preview);
  try {
    await logIn('asha').then((person) => person.leave());
    const session = stage.sessions.get('asha')!;
    await stage.service('walpush', 'kill');
    await stage.service('backend', 'kill');
    const person = await Person.open(browser);
    await person.page.addInitScript((text) => sessionStorage.setItem('session', text), session);
    await person.page.goto(`http://127.0.0.1:${preview}/#/transactions`);
    await person.page.waitForSelector('text=Waiting for the server');
    await stage.service('backend', 'start');
    await eventually(async () => expect((await person.rows()).length).toBeGreaterThan(5));
    await person.state('connecting');
    await stage.service('walpush', 'start');
    await person.state('live');
    const [row, status] = await change();
    await person.sees(row, status);
    await equal(person);
    await person.leave();
  } finally {
    served.kill();
  }
});

/** The built page from somewhere else than the backend: a page can be open when that is down. */
async function servePage(port: number): Promise<ChildProcess> {
  const vite = spawn(process.execPath, [`${FRONTEND}/node_modules/vite/bin/vite.js`, 'preview', '--host=127.0.0.1', `--port=${port}`, '--strictPort'], {
    cwd: FRONTEND,
    env: { ...process.env, BACKEND: stage.address },
    stdio: 'ignore',
  });
  await eventually(async () => void (await fetch(`http://127.0.0.1:${port}/`)), PATIENCE);
  return vite;
}
