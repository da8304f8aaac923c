/**
 * One socket of one stream and id, from the first listener to the last, across every loss.
 *
 *     open ── token ── socket ── connection_established ── live
 *       ▲                                                   │ any end
 *       └────────────── wait (retry.ts) ◀───────────────────┘
 *
 * What survives a loss is `since` and `epoch`: the last event told, from which the server resumes. A listener hears
 * connection_established first, then every change behind its id, once and in commit order, or a resync.
 *
 * Watchers and listeners may close the client while they are told. So a function tells them last, or looks at `turn` after.
 */

import type { WebSocketClientOptions } from './client.js';
import { compareIds, eventId } from './eventid.js';
import type { Established } from './messages.js';
import { GOOD_LIFE, PATIENCE, waitAfter } from './retry.js';
import { GIVE_UP, renewalDelay } from './token.js';

/**
 * connecting: never established yet. live: what is shown is what is true, within milliseconds. catching_up: was live, and
 * is coming back, or a pong is awaited. offline: the browser has no network, or nobody listens. denied: may not listen.
 */
export type LiveState = 'connecting' | 'live' | 'catching_up' | 'offline' | 'denied';

/** The end of a connection or of an attempt. */
export interface Ended {
  stream: string;
  id: string | number;
  /** The close code: docs/protocol.md. 1006 without an answer or an upgrade. */
  code: number;
  /**
   * The words of the close, such as "token expired", "token for another audience", "not admitted" or "shutting down"; or what is known instead.
   * For the developer: a page decides by the code, because the words may change.
   */
  reason: string;
}

/** What is used of the browser's WebSocket. */
export interface Socket {
  onopen: ((event: any) => void) | null;
  onmessage: ((event: any) => void) | null;
  onclose: ((event: any) => void) | null;
  onerror: ((event: any) => void) | null;
  send(text: string): void;
  close(code?: number): void;
}

/** What a connection needs of the client. */
export interface Host {
  /** The latest: another render may bring others. */
  options: WebSocketClientOptions;
  /** The current token, or a newer one than `stale`; null: there is nobody to be. */
  token(stale?: string): string | null | Promise<string | null>;
  changed(): void;
  /** An error, or nothing. */
  report(error: unknown): void;
  /** Calls what is not ours, and reports what it throws or rejects with. */
  guard(call: () => unknown): void;
  /** The server has accepted this token, or it comes from a renewal. */
  fresh(token: string): void;
}

export type Listener = (message: any) => unknown;

export type Connection = ReturnType<typeof openConnection>;

type Timer = ReturnType<typeof setTimeout> | undefined;

/** Attempts in a row without an upgrade, after which the developer is told. */
export const SHUT = 3;
const HINT = 'refused before the upgrade: origin, path, or the server is away';

/** `gone` is called if nobody has joined for `linger` milliseconds after the last has left. */
export function openConnection(host: Host, stream: string, id: string | number, gone: () => void) {
  /** And whether each has heard a connection_established yet. */
  const listeners = new Map<Listener, boolean>();
  let state: LiveState = 'connecting';
  let cause: Ended | undefined;
  let said = '';
  let address = '';
  let place: string | undefined;
  let tokenIn: string | undefined;
  let socket: Socket | undefined;
  let hello: Established | undefined;
  let token: string | undefined;
  let stale: string | undefined;
  let since: string | undefined;
  let epoch: string | undefined;
  /** Grows with each attempt and each end: what comes late from an earlier one is told by it, and ignored. */
  let turn = 0;
  let failures = 0;
  let refused = 0;
  let shut = 0;
  let born = Infinity;
  let pinged = 0;
  /** The close code that says so; 1: nobody is logged in. */
  let denied = 0;
  let wasLive = false;
  /** Waits for the next attempt. */
  let retry: Timer;
  /** Set while there is an attempt or a connection: until it is given up, or until the next ping. */
  let pulse: Timer;
  let renewal: Timer;
  let linger: Timer;

  // --- state --------------------------------------------------------------------------------------------------------

  const to = (next: LiveState) => {
    if (state === next) return;
    state = next;
    host.changed();
  };

  const settle = () => {
    if (hello) return;
    to(denied ? 'denied' : globalThis.navigator?.onLine === false ? 'offline' : wasLive ? 'catching_up' : 'connecting');
  };

  // --- ends ---------------------------------------------------------------------------------------------------------

  /** Ends what there is, without a word from it any more. */
  const drop = () => {
    [retry, pulse, renewal].forEach(clearTimeout);
    if (socket) {
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.close();
    }
    retry = pulse = socket = hello = undefined;
    pinged = 0;
    born = Infinity;
    return ++turn;
  };

  const wait = (milliseconds: number) => {
    drop();
    retry = setTimeout(open, milliseconds);
    settle();
  };

  const closed = (code: number, reason = '') => {
    const refusal = socket?.onopen && ++shut >= SHUT; // it never opened, or onopen would be gone
    if (refusal) reason = HINT;
    const ended = (cause = { stream, id, code, reason });
    if (code === 4401) stale = token;
    if (code === 4401 && !refused++) open();
    else {
      const first = (code === 4401 || code === 4403) && denied !== (denied = code);
      if (first || Date.now() - born > GOOD_LIFE) failures = 0;
      const { base, cap } = host.options.backoff ?? { base: 500, cap: 20_000 };
      const [count, pause] = waitAfter(code, failures, Math.random(), base, cap);
      failures = count;
      wait(pause);
    }
    if ((PATIENCE[code] || refusal) && said !== (said = `${stream}/${id}: ${code} ${reason}`)) host.report(new Error(said));
    host.changed();
    host.guard(() => host.options.onEvent?.(ended));
  };

  // --- what goes ----------------------------------------------------------------------------------------------------

  const say = (message: object) => socket?.send(JSON.stringify(message));

  /** One timer: the connection is dead if nothing comes behind a ping; a ping is due if nothing came for a while. */
  const watch = () => {
    const { heartbeat = 25_000, pongWait = 10_000 } = host.options;
    clearTimeout(pulse);
    pulse = pinged ? setTimeout(closed, pongWait, 1006, 'no answer') : setTimeout(ping, heartbeat);
  };

  const ping = () => {
    pinged = Date.now();
    say({ type: 'ping', timestamp: pinged });
    watch();
  };

  /** Tabs that have the same token renew it at different moments. */
  const renewIn = (milliseconds: number | undefined) => {
    clearTimeout(renewal);
    if (milliseconds! >= 0) renewal = setTimeout(renew, milliseconds! * (1 - Math.random() / 20));
  };

  /** Asks for a token, and goes on with it if nothing else has begun meanwhile. */
  const ask = async (old: string | undefined, use: (next: string) => void, fail: (error: unknown) => void) => {
    const mine = turn;
    try {
      const next = await host.token(old);
      if (mine !== turn) return;
      if (next !== null) return use(next);
      // Nobody is logged in: until somebody comes, looks or retries.
      token = undefined;
      denied = 1;
      drop();
      settle();
    } catch (error) {
      host.report(error);
      if (mine === turn) fail(error);
    }
  };

  /** In place, without a gap. If no token can be had now, the old one is good for a while yet. */
  const renew = () => {
    const use = (next: string) => {
      if (next !== token) say({ type: 'auth', token: (token = next) });
      renewIn(renewalDelay(next, Date.now(), 30_000));
      host.fresh(next);
    };
    void ask(token, use, () => renewIn(5000));
  };

  // --- an attempt ---------------------------------------------------------------------------------------------------

  /** Where to go now. It forgets `since` if that is another path than before. */
  const where = () => {
    const { url, path } = host.options;
    const before = place;
    place = path ? path(stream, id) : `/ws/${stream}/${encodeURIComponent(id)}/`;
    if (place !== before) since = epoch = undefined; // what was heard there says nothing of what is missing here
    return (url ?? location.origin.replace(/^http/, 'ws')) + place;
  };

  const dial = (next: string) => {
    const { WebSocket: Kind = globalThis.WebSocket } = host.options;
    address = where();
    const query = new URLSearchParams(since && epoch ? { since, epoch } : {});
    token = next;
    stale = undefined;
    tokenIn = host.options.tokenIn;
    const sends = tokenIn !== 'query';
    if (!sends) query.set('token', token);
    const mark = address.includes('?') ? '&' : '?';
    socket = new Kind(address + (`${query}` && mark + query)) as Socket;
    socket.onopen = () => {
      socket!.onopen = null;
      shut = 0;
      if (sends) say({ type: 'auth', token });
    };
    socket.onmessage = (event) => receive(event.data);
    socket.onclose = (event) => closed(event.code, event.reason);
    socket.onerror = () => {}; // onclose follows
  };

  const open = () => {
    const mine = drop();
    pulse = setTimeout(closed, GIVE_UP, 1006, 'no answer');
    settle();
    if (mine === turn) void ask(stale, dial, (error) => closed(1006, `${error}`));
  };

  const reopen = () => {
    stale = undefined;
    denied = 0;
    refused = failures = 0;
    open();
  };

  // --- what comes ---------------------------------------------------------------------------------------------------

  const tell = (listener: Listener, message: unknown) => host.guard(() => listener(message));

  /** `resumed` is true for those only who heard what came before. */
  const greet = (known: boolean, listener: Listener) => {
    if (!hello) return;
    listeners.set(listener, true);
    tell(listener, known ? hello : { ...hello, resumed: undefined, id: since });
  };

  const established = (message: Established) => {
    hello = message;
    born = Date.now();
    wasLive = true;
    denied = 0;
    refused = 0;
    said = '';
    if (!message.resumed || !since) since = eventId(message.id);
    epoch = message.epoch;
    ping();
    renewIn(renewalDelay(token!, born));
    to(message.resumed ? 'catching_up' : 'live');
    listeners.forEach(greet);
    host.fresh(token!);
  };

  const receive = (text: string) => {
    let message: any;
    let broken: unknown;
    try {
      message = JSON.parse(text);
      message.type; // null has no members
    } catch (error) {
      broken = error;
      message = { type: 'resync', reason: 'unreadable', id: since, epoch };
    }
    const { type, id } = message;
    if (type === 'pong' && message.timestamp === pinged) pinged = 0;
    if (hello) watch();

    if (type === 'connection_established') return established(message);
    if (type === 'auth_ok') return void (epoch = message.epoch ?? epoch);
    // What was missed comes before the pong, because the ping went behind connection_established.
    if (type === 'pong') return hello && !pinged && to('live');
    // The first message admits. One of the configuration's own does not say from where on the stream is complete.
    if (!hello) established({ type: 'connection_established', stream });
    if (type === 'resync') {
      since = eventId(id);
      epoch = message.epoch;
    } else {
      if (compareIds(id, since!) <= 0) return;
      since = eventId(id) ?? since;
    }
    if (listeners.size) listeners.forEach((known, listener) => known && tell(listener, message));
    else {
      // Nobody was there to hear it. Who comes now starts anew, for a resumed stream would lack it.
      drop();
      since = epoch = undefined;
    }
    host.report(broken);
  };

  // --- what the client calls ----------------------------------------------------------------------------------------

  return {
    /** undefined: nobody listens. */
    state: () => (listeners.size ? state : undefined),

    /** Of the last end. */
    cause: () => cause,

    /** Calls the listener with all that comes. One who joins an open connection hears from where on it is complete. */
    join(listener: Listener) {
      clearTimeout(linger);
      listeners.set(listener, false);
      if (!pulse && (denied || !retry)) reopen();
      queueMicrotask(() => listeners.get(listener) === false && greet(false, listener));
      host.changed();
    },

    leave(listener: Listener) {
      if (!listeners.delete(listener) || listeners.size) return;
      linger = setTimeout(gone, host.options.linger ?? 1000);
      host.changed();
    },

    /** The network is back, or somebody looks at the page again: do not trust, and do not wait. With `doubt`, wait as before. */
    wake(doubt?: boolean) {
      if (hello) {
        ping();
        to('catching_up');
      } else if (pulse) settle();
      else if (listeners.size && !doubt) open();
    },

    /** The network is gone, and with it the socket; what it would have said is resumed. */
    sleep() {
      if (pulse) wait(20_000);
      else settle();
    },

    /** A new attempt even if denied: somebody has logged in. */
    reopen() {
      if (!hello) reopen();
    },

    /** A token that others have been accepted with may open what was denied with an earlier one. */
    fresh(other: string) {
      if (denied && !pulse && other !== token) open();
    },

    /** To another address, if the options say so now. Once: a render must not end the wait that follows. */
    move() {
      if (address && (socket || retry) && (address !== (address = where()) || tokenIn !== (tokenIn = host.options.tokenIn))) reopen();
    },

    /** For good. */
    end() {
      clearTimeout(linger);
      listeners.clear();
      drop();
    },
  };
}
