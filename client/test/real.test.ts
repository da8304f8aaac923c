/** Against the real program: tests/harness/stage.py starts it. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import {
  WebSocketClient,
  type CrateRow,
  type MessageOf,
  type RequestRow,
  type SendbackRow,
  type StorageRow,
  type WebSocketClientOptions,
} from '../src/index.js';
import { openStage, type Stage } from './stage.js';

const ASHA = 2;
const RAVI = 3;
const PATIENCE = 30_000;

let stage: Stage;
let client: WebSocketClient;
let token: string;
const sockets: { url: string; sent: any[]; socket: WebSocket }[] = [];
const rejections: unknown[] = [];
process.on('unhandledRejection', (reason) => rejections.push(reason));

/** The real thing, with a note of what goes out and where. */
class Noted extends WebSocket {
  constructor(url: string) {
    super(url);
    const sent: any[] = [];
    const send = this.send.bind(this);
    this.send = (text: any) => (sent.push(JSON.parse(text)), send(text));
    sockets.push({ url, sent, socket: this });
  }
}

beforeAll(async () => {
  stage = await openStage();
});

afterEach(() => {
  client.close();
  sockets.length = 0;
  expect(rejections).toEqual([]);
});

afterAll(() => stage?.end());

function make(options: Partial<WebSocketClientOptions> = {}): WebSocketClient {
  client = new WebSocketClient({
    url: stage.url,
    token: () => token,
    WebSocket: Noted as any,
    backoff: { base: 50, cap: 500 },
    onError: () => {},
    ...options,
  });
  return client;
}

/** What a listener has heard, and a wait for what it will hear. */
function listen(stream: 'requests' | 'crates' | 'storage' | 'notifications', id: number) {
  const heard: any[] = [];
  let look = () => {};
  const stop = client.subscribe(stream, id, (message: MessageOf<any>) => {
    heard.push(message);
    look();
  });
  const until = (wanted: (message: any) => boolean) =>
    new Promise<any>((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`never came; heard ${JSON.stringify(heard).slice(-2000)}`)), PATIENCE);
      look = () => {
        const found = heard.find(wanted);
        if (found) resolve((clearTimeout(timer), found));
      };
      look();
    });
  return { heard, until, stop };
}

function state(wanted: string, stream = 'requests', id = 1) {
  return new Promise<void>((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`${client.state(stream, id)}, never ${wanted}`)), PATIENCE);
    const look = () => {
      if (client.state(stream, id) !== wanted) return;
      stop();
      clearTimeout(timer);
      resolve();
    };
    const stop = client.onState(look);
    look();
  });
}

const hello = (message: any) => message.type === 'connection_established';
const purpose = (text: string) => (message: any) => message.data?.purpose === text;
const touch = (text: string) => stage.sql('UPDATE requests SET purpose = %s WHERE id = %s', text, stage.request);

it('a change arrives, with the types that the package says', async () => {
  token = await stage.token(ASHA);
  make();
  const requests = listen('requests', 1);
  await requests.until(hello);
  await stage.sql("UPDATE requests SET status = 'Approved', approved_by_id = %s WHERE id = %s", RAVI, stage.request);
  const message: MessageOf<'requests'> = await requests.until((m) => m.action === 'approved');
  if (message.type !== 'request.updated') throw new Error(message.type);
  expect(message).toMatchObject({ request_id: stage.request, status: 'Approved', updated_by: 'ravi' });
  expect(message.data).toMatchObject({ id: stage.request, status: 'Approved', unit: 1, approved_by: RAVI });
});

const YES = true as const;
/** Every member of the types, by the compiler's own word. */
const MEMBERS = {
  requests: {
    id: YES, request_type: YES, crate: YES, unit: YES, request_date: YES, approval_date: YES, issue_date: YES, return_date: YES,
    expected_return_date: YES, approved_by: YES, allocation_date: YES, allocated_by: YES, status: YES, withdrawn_by: YES,
    purpose: YES, full_withdrawal: YES, issued_by: YES, created_at: YES, updated_at: YES,
  } satisfies Record<keyof RequestRow, true>,
  crates: {
    id: YES, barcode: YES, destruction_date: YES, creation_date: YES, created_by: YES, status: YES, storage: YES, unit: YES,
    department_id: YES, section_id: YES, to_central: YES, to_be_retained: YES,
  } satisfies Record<keyof CrateRow, true>,
  storage: {
    id: YES, unit: YES, room_name: YES, rack_name: YES, compartment_name: YES, shelf_name: YES, created_at: YES, updated_at: YES,
  } satisfies Record<keyof StorageRow, true>,
  notifications: {
    id: YES, request: YES, reason: YES, created_at: YES, created_by: YES, sendback_type: YES,
  } satisfies Record<keyof SendbackRow, true>,
};

it('the types have the members that the messages have', async () => {
  const SAM = 6;
  token = await stage.token(SAM);
  make();
  const changes = {
    requests: [1, 'UPDATE requests SET purpose = purpose || %s WHERE unit_id = 1', '.'],
    crates: [1, 'UPDATE crates SET to_be_retained = NOT to_be_retained WHERE unit_id = 1'],
    storage: [1, 'UPDATE storages SET shelf_name = %s WHERE unit_id = 1', 'S'],
    notifications: [
      SAM,
      "INSERT INTO sendbacks (request_id, reason, created_by_id, sendback_type) VALUES (%s, 'why', 3, 'Change Request')",
      stage.request,
    ],
  } as const;
  await stage.sql('UPDATE requests SET withdrawn_by_id = %s WHERE id = %s', SAM, stage.request);
  for (const stream of ['requests', 'crates', 'storage', 'notifications'] as const) {
    const [id, text, ...args] = changes[stream];
    const heard = listen(stream, id);
    await heard.until(hello);
    await stage.sql(text, ...args);
    const { data } = await heard.until((m) => m.data);
    expect(Object.keys(data).sort(), stream).toEqual(Object.keys(MEMBERS[stream]).sort());
  }
});

it('with the token in the URL as well', async () => {
  token = await stage.token(ASHA);
  make({ tokenIn: 'query' });
  await listen('requests', 1).until(hello);
  expect(sockets[0]!.url).toContain('token=');
});

it('resumes across a crash of the program: each change once, in order, and no resync', async () => {
  token = await stage.token(ASHA);
  make();
  const requests = listen('requests', 1);
  await requests.until(hello);
  const told: string[] = [];
  for (let round = 0; round < 3; round++) {
    await touch(`${round} before`);
    await requests.until(purpose(`${round} before`));
    await stage.call('kill');
    await state('catching_up');
    await touch(`${round} while`);
    await stage.call('start');
    await touch(`${round} after`);
    await requests.until(purpose(`${round} after`));
    await state('live');
    told.push(`${round} before`, `${round} while`, `${round} after`);
  }
  expect(requests.heard.map((m) => m.data?.purpose).filter(Boolean)).toEqual(told);
  expect(requests.heard.map((m) => m.type)).not.toContain('resync');
  const hellos = requests.heard.filter(hello);
  expect(hellos.map((m) => m.resumed ?? false)).toEqual([false, true, true, true]);
});

it('resumes across an orderly restart, which says 1012', async () => {
  token = await stage.token(ASHA);
  make();
  const requests = listen('requests', 1);
  await requests.until(hello);
  const code = new Promise((resolve) => sockets[0]!.socket.on('close', resolve));
  await stage.call('stop');
  expect(await code).toBe(1012);
  await touch('while it was away');
  await stage.call('start');
  await requests.until(purpose('while it was away'));
  expect(requests.heard.filter(hello).at(-1)).toMatchObject({ resumed: true });
});

it('is told resync where the history does not reach back', async () => {
  token = await stage.token(ASHA);
  make();
  const requests = listen('requests', 1);
  await requests.until(hello);
  const crates = listen('crates', 1);
  await crates.until(hello);
  await stage.sql(
    "INSERT INTO crates (barcode, created_by_id, unit_id, department_id) SELECT 'bulk ' || n, 2, 1, 1 FROM generate_series(1, 3000) n",
  );
  expect(await crates.until((m) => m.type === 'crate.bulk')).toMatchObject({ action: 'bulk', count: 2000 });
  await stage.sql('TRUNCATE sendbacks, requests RESTART IDENTITY');
  expect(await requests.until((m) => m.type === 'resync')).toMatchObject({ reason: 'truncate' });
  await stage.sql("INSERT INTO requests (request_type, crate_id, unit_id, purpose) VALUES ('Storage', %s, 1, 'first')", stage.crate);
  await requests.until(purpose('first'));
  stage.request = 1;
});

it('renews its token in place, without a gap', async () => {
  let asked = 0;
  make({ token: () => (asked++, stage.token(ASHA, 4)) });
  const requests = listen('requests', 1);
  await requests.until(hello);
  for (let n = 0; n < 12; n++) {
    await touch(`renewal ${n}`);
    await requests.until(purpose(`renewal ${n}`));
    await new Promise((resolve) => setTimeout(resolve, 500)); // the token's life is what passes here
  }
  expect(asked).toBeGreaterThanOrEqual(2);
  expect(sockets).toHaveLength(1);
  expect(sockets[0]!.sent.filter((m) => m.type === 'auth').length).toBe(asked);
});

it('renews an expired token once, and resumes', async () => {
  const old = await stage.token(ASHA, -10);
  token = await stage.token(ASHA);
  make({ token: (renew) => (renew ? token : old) });
  await listen('requests', 1).until(hello);
  expect(sockets).toHaveLength(2);
});

it('is denied with a token that nobody signed', async () => {
  make({ token: () => 'a.b.c' });
  listen('requests', 1);
  await state('denied');
  expect(sockets).toHaveLength(2);
  expect(client.cause('requests', 1)).toMatchObject({ code: 4401, reason: 'not a token' });
});

it('is denied what the query does not admit, and tells it nothing', async () => {
  token = await stage.token(ASHA);
  make();
  const foreign = listen('requests', 2);
  await state('denied', 'requests', 2);
  expect(client.cause('requests', 2)).toMatchObject({ code: 4403, reason: 'not admitted' });
  await stage.sql("UPDATE requests SET purpose = 'foreign' WHERE unit_id = 2");
  expect(foreign.heard).toEqual([]);
  expect(sockets).toHaveLength(1);
});

it('stops when the permission goes, and starts when it is asked to again', async () => {
  token = await stage.token(ASHA);
  make();
  const requests = listen('requests', 1);
  await requests.until(hello);
  await stage.call('revoke', { user: ASHA, unit: 1 });
  await state('denied');
  await touch('not for asha');
  await stage.call('grant', { user: ASHA, unit: 1 });
  client.retry();
  await state('live');
  await touch('for asha again');
  await requests.until(purpose('for asha again'));
  expect(requests.heard.some(purpose('not for asha'))).toBe(false);
});

it('hears its own notifications, its crates, and nothing of other units', async () => {
  token = await stage.token(ASHA);
  make();
  const crates = listen('crates', 1);
  const notes = listen('notifications', ASHA);
  await Promise.all([crates.until(hello), notes.until(hello)]);
  await stage.sql('UPDATE requests SET withdrawn_by_id = %s WHERE id = %s', ASHA, stage.request);
  await stage.sql(
    "INSERT INTO sendbacks (request_id, reason, created_by_id, sendback_type) VALUES (%s, 'wrong shelf', %s, 'Change Request')",
    stage.request,
    RAVI,
  );
  expect(await notes.until((m) => m.type === 'sendback.created')).toMatchObject({ reason: 'wrong shelf', updated_by: 'ravi' });
  await stage.sql('UPDATE crates SET storage_id = NULL WHERE id = %s', stage.crate);
  await crates.until((m) => m.action === 'relocated');
});

it('closes its connections at logout', async () => {
  token = await stage.token(ASHA);
  make();
  await Promise.all([listen('requests', 1).until(hello), listen('crates', 1).until(hello)]);
  const closed = sockets.map(({ socket }) => new Promise((resolve) => socket.on('close', resolve)));
  client.close();
  await Promise.all(closed);
  expect(client.state()).toBe('offline');
});

describe('58: templates of the configuration\'s own', () => {
  const configure = async (settings: object) => {
    await stage.call('stop');
    await stage.call('configure', { settings });
    await stage.call('start');
  };
  afterAll(() => configure({}));

  it('a message without a type is passed on, and what follows it is heard', async () => {
    await configure({ 'tables.requests.fields': null, 'tables.requests.message': '{ "event": "request", "number": "{id}", "why": "{purpose}" }' });
    token = await stage.token(ASHA);
    make();
    const requests = listen('requests', 1);
    await requests.until(hello);
    await touch('first');
    await requests.until((m) => m.why === 'first');
    await touch('second');
    expect(await requests.until((m) => m.why === 'second')).toEqual({ event: 'request', number: stage.request, why: 'second' });
    expect(sockets).toHaveLength(1);
    expect(client.state()).toBe('live');
  });

  it('a row\'s number is no event id: the connection resumes', async () => {
    await configure({ 'tables.requests.fields': null, 'tables.requests.message': '{ "type": "request", "id": "{id}", "why": "{purpose}" }' });
    token = await stage.token(ASHA);
    make();
    const requests = listen('requests', 1);
    await requests.until(hello);
    await touch('before');
    await requests.until((m) => m.why === 'before');
    await stage.call('kill');
    await state('catching_up');
    await touch('while');
    await stage.call('start');
    await requests.until((m) => m.why === 'while');
    expect(requests.heard.filter(hello).at(-1)).toMatchObject({ resumed: true });
    expect(requests.heard.map((m) => m.type)).not.toContain('resync');
  });

  it('a hello without a type is live, and refetched at each return', async () => {
    await configure({ 'streams.requests.hello': '{ "event": "welcome" }' });
    token = await stage.token(ASHA);
    make();
    const requests = listen('requests', 1);
    await requests.until((m) => m.event === 'welcome');
    await state('live');
    await touch('before');
    await requests.until(purpose('before'));
    await stage.call('kill');
    await state('catching_up');
    await stage.call('start');
    await state('live');
    await touch('after');
    await requests.until(purpose('after'));
    expect(requests.heard.filter(hello)).toEqual([
      { type: 'connection_established', stream: 'requests' },
      { type: 'connection_established', stream: 'requests' },
    ]);
    expect(requests.heard[0].type).toBe('connection_established');
  });
});

it('59: a path with a query of its own is resumed', async () => {
  token = await stage.token(ASHA);
  make({ path: (stream, id) => `/ws/${stream}/${id}/?v=2`, tokenIn: 'query' });
  const requests = listen('requests', 1);
  await requests.until(hello);
  sockets[0]!.socket.terminate();
  await requests.until((m) => m.resumed);
});

it('60: an unknown stream says why', async () => {
  token = await stage.token(ASHA);
  const errors: string[] = [];
  make({ onError: (error) => errors.push(String(error)) });
  client.subscribe('request', 1, () => {});
  await expect.poll(() => errors, { timeout: PATIENCE }).toEqual([
    'Error: request/1: 1006 refused before the upgrade: origin, path, or the server is away',
  ]);
});
