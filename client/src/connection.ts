/**
 * One socket of one stream and id, from the first listener to the last, across every loss.
 *
 *     open ── token ── socket ── connection_established ── live
 *       ▲                                                   │ any end
 *       └────────────── wait (full jitter) ◀────────────────┘
 *
 * What survives a loss is `since` and `epoch`: the last event told, from which the server resumes. A listener hears
 * connection_established first, then every change behind its id, once and in commit order, or a resync.
 */

import { compareIds } from './eventid.js';
import type { Established } from './messages.js';
import { renewalDelay } from './token.js';

/**
 * connecting: never established yet. live: what is shown is what is true, within milliseconds. catching_up: was live, and
 * is coming back. offline: the browser has no network, or nothing is subscribed. denied: may not listen.
 */
export type LiveState = 'connecting' | 'live' | 'catching_up' | 'offline' | 'denied';

/** What is used of the browser's WebSocket. */
export interface Socket {
  onopen: ((event: any) => void) | null;
  onmessage: ((event: any) => void) | null;
  onclose: ((event: any) => void) | null;
  onerror: ((event: any) => void) | null;
  send(text: string): void;
  close(code?: number): void;
}

/** What a connection needs of the client; times in milliseconds. */
export interface Host {
  /** The current token, or a newer one than `stale`; null: there is nobody to be. */
  token(stale?: string): Promise<string | null>;
  changed(): void;
  report(error: unknown): void;
  heartbeat: number;
  pongWait: number;
  backoff: { base: number; cap: number };
}

/** Makes a socket, still connecting; `sends`: the token is not in its URL, and is to be sent as the first message. */
export type Dial = (token: string, since?: string, epoch?: string) => { socket: Socket; sends: boolean };

export type Listener = (message: any) => unknown;

type Timer = ReturnType<typeof setTimeout> | undefined;

/** Until connection_established: the server's own limits for a handshake and an admission are 10 s and 5 s. */
const ESTABLISH_WAIT = 20_000;
/** A connection that lived so long was a good one: the next attempt comes soon. */
const GOOD_LIFE = 5000;

/** Where the count of failures starts after a close that asks for patience: up to 2 s, and up to 16 s. */
const PATIENCE: Record<number, number> = { 1013: 2, 4429: 2, 1002: 5, 1007: 5, 1008: 5, 1009: 5 };

export class Connection {
  state: LiveState = 'connecting';

  #host: Host;
  #dial: Dial;
  /** And whether each has heard a connection_established yet. */
  #listeners = new Map<Listener, boolean>();
  #socket: Socket | undefined;
  /** Neither open nor trying: denied, or nobody listens. */
  #idle = false;
  /** Grows with each attempt and each end: what comes late from an earlier one is told by it, and ignored. */
  #turn = 0;
  #failures = 0;
  #refused = 0;
  #stale: string | undefined;
  #since: string | undefined;
  #epoch: string | undefined;
  #hello: Established | undefined;
  #wasLive = false;
  #born = 0;
  #heard = 0;
  #retry: Timer;
  #deadline: Timer;
  #beat: Timer;
  #renewal: Timer;
  #linger: Timer;

  constructor(host: Host, dial: Dial) {
    this.#host = host;
    this.#dial = dial;
    void this.#open();
  }

  get used(): boolean {
    return this.#listeners.size > 0;
  }

  /** Calls the listener with all that comes. One who joins an open connection hears from where on it is complete. */
  join(listener: Listener): void {
    clearTimeout(this.#linger);
    this.#listeners.set(listener, false);
    if (this.#idle) void this.#open();
    else if (this.#hello) void Promise.resolve().then(() => this.#listeners.get(listener) === false && this.#greet(listener));
  }

  /** `gone` is called if nobody has joined for so many milliseconds after the last has left. */
  leave(listener: Listener, linger: number, gone: () => void): void {
    if (this.#listeners.delete(listener) && !this.used) this.#linger = setTimeout(gone, linger);
  }

  /** The network is back, or somebody looks at the page again: do not wait, and do not trust. */
  wake(): void {
    if (this.#retry !== undefined) void this.#open();
    else if (this.#hello) this.#ping();
    else if (!this.#idle) this.#settle();
  }

  /** The network is gone, and with it the socket; what it would have said is resumed. */
  sleep(): void {
    if (!this.#idle) this.#wait(this.#host.backoff.cap);
  }

  /** A new attempt even if denied: somebody has logged in. */
  reopen(): void {
    this.#stale = undefined;
    this.#refused = 0;
    if (!this.#hello) void this.#open();
  }

  /** For good. */
  end(): void {
    clearTimeout(this.#linger);
    this.#listeners.clear();
    this.#drop();
  }

  // --- an attempt ---------------------------------------------------------------------------------------------------

  async #open(): Promise<void> {
    const turn = this.#drop();
    this.#idle = false;
    this.#deadline = setTimeout(() => this.#lost(), ESTABLISH_WAIT);
    this.#settle();
    try {
      const token = await this.#host.token(this.#stale);
      if (turn !== this.#turn) return;
      if (token === null) return this.#deny();
      this.#stale = undefined;
      this.#connect(token);
    } catch (error) {
      this.#host.report(error);
      if (turn === this.#turn) this.#lost();
    }
  }

  #connect(token: string): void {
    const { socket, sends } = this.#dial(token, this.#since, this.#epoch);
    this.#socket = socket;
    socket.onopen = () => {
      if (sends) this.#say({ type: 'auth', token });
    };
    socket.onmessage = (event) => this.#receive(event.data, token);
    socket.onclose = (event) => this.#closed(event.code, token);
    socket.onerror = () => {}; // onclose follows
  }

  // --- what comes ---------------------------------------------------------------------------------------------------

  #receive(text: unknown, token: string): void {
    let message: any;
    try {
      message = JSON.parse(text as string);
      if (typeof message?.type !== 'string') throw new TypeError('not a message of walpush');
    } catch (error) {
      this.#host.report(error);
      return this.#lost();
    }
    this.#heard = Date.now();
    if (this.#hello) this.#deadline = void clearTimeout(this.#deadline);

    switch (message.type) {
      case 'pong':
        // It was asked for behind connection_established, so all that was missed has come before it.
        return this.#hello && this.#to('live');
      case 'auth_ok':
        if (message.epoch) this.#epoch = message.epoch;
        return;
      case 'connection_established':
        return this.#established(message, token);
      case 'resync':
        this.#since = message.id;
        this.#epoch = message.epoch;
        break;
      default:
        if (message.id && this.#since && compareIds(message.id, this.#since) <= 0) return;
        if (message.id) this.#since = message.id;
    }
    if (!this.used) return this.#rest();
    for (const listener of [...this.#listeners.keys()]) this.#tell(listener, message);
  }

  #established(hello: Established, token: string): void {
    this.#hello = hello;
    this.#born = Date.now();
    this.#refused = 0;
    if (!hello.resumed || !this.#since) this.#since = hello.id;
    this.#epoch = hello.epoch;
    this.#ping();
    this.#beat = setInterval(() => {
      if (Date.now() - this.#heard > this.#host.heartbeat / 2) this.#ping();
    }, this.#host.heartbeat);
    this.#renewLater(token);
    this.#wasLive = true;
    this.#to(hello.resumed ? 'catching_up' : 'live');
    for (const listener of [...this.#listeners.keys()]) this.#greet(listener);
  }

  /** `resumed` is true for those only who heard what came before. */
  #greet(listener: Listener): void {
    const known = this.#listeners.get(listener);
    if (!this.#hello || known === undefined) return;
    this.#listeners.set(listener, true);
    const { resumed: _, ...anew } = this.#hello;
    this.#tell(listener, known ? this.#hello : { ...anew, id: this.#since });
  }

  #tell(listener: Listener, message: unknown): void {
    try {
      const done = listener(message);
      if (done instanceof Promise) done.catch(this.#host.report);
    } catch (error) {
      this.#host.report(error);
    }
  }

  // --- what goes ----------------------------------------------------------------------------------------------------

  #say(message: object): void {
    try {
      this.#socket?.send(JSON.stringify(message));
    } catch {
      this.#lost(); // it is closing already
    }
  }

  #ping(): void {
    clearTimeout(this.#deadline);
    this.#deadline = setTimeout(() => this.#lost(), this.#host.pongWait);
    this.#say({ type: 'ping', timestamp: Date.now() });
  }

  #renewLater(token: string, least = 0): void {
    const delay = renewalDelay(token, Date.now(), least);
    clearTimeout(this.#renewal);
    if (delay !== undefined) this.#renewal = setTimeout(() => void this.#renew(token), delay);
  }

  /** In place, without a gap. If no token can be had now, the old one is good for a while yet. */
  async #renew(old: string): Promise<void> {
    const turn = this.#turn;
    try {
      const token = await this.#host.token(old);
      if (turn !== this.#turn) return;
      if (token === null) return this.#deny();
      if (token !== old) this.#say({ type: 'auth', token });
      if (turn === this.#turn) this.#renewLater(token, 30_000);
    } catch (error) {
      this.#host.report(error);
      if (turn === this.#turn) this.#renewLater(old, 5000);
    }
  }

  // --- ends ---------------------------------------------------------------------------------------------------------

  #closed(code: number, token: string): void {
    if (code === 4403) return this.#deny();
    if (code === 4401) {
      this.#stale = token;
      if (!this.#refused++) return void this.#open();
      // A new token, and refused as well. Somebody must act; until then ask now and then.
      this.#to('denied');
      return this.#wait(this.#host.backoff.cap);
    }
    this.#failures = Math.max(this.#failures, PATIENCE[code] ?? 0);
    this.#lost();
  }

  #lost(): void {
    if (this.#born && Date.now() - this.#born > GOOD_LIFE) this.#failures = 0;
    const { base, cap } = this.#host.backoff;
    this.#wait(Math.min(cap, base * 2 ** Math.min(this.#failures++, 16)));
  }

  /** Full jitter: a thousand pages that lost the same server come back at a thousand moments. */
  #wait(most: number): void {
    this.#drop();
    this.#retry = setTimeout(() => void this.#open(), Math.random() * most);
    this.#settle();
  }

  #deny(): void {
    this.#drop();
    this.#idle = true;
    this.#to('denied');
  }

  /** A message came and nobody was there to hear it. Who comes now starts anew, for a resumed stream would lack it. */
  #rest(): void {
    this.#drop();
    this.#idle = true;
    this.#since = this.#epoch = undefined;
  }

  /** Ends what there is, without a word from it any more. */
  #drop(): number {
    for (const timer of [this.#retry, this.#deadline, this.#beat, this.#renewal]) clearTimeout(timer);
    this.#retry = this.#deadline = this.#beat = this.#renewal = undefined;
    const socket = this.#socket;
    this.#socket = this.#hello = undefined;
    this.#born = 0;
    if (socket) {
      socket.onopen = socket.onmessage = socket.onclose = null;
      try {
        socket.close();
      } catch {
        // it never was one
      }
    }
    return ++this.#turn;
  }

  // --- state --------------------------------------------------------------------------------------------------------

  #settle(): void {
    if (this.#hello) return;
    if (this.state === 'denied' && this.#refused) return; // until one is accepted
    const offline = globalThis.navigator?.onLine === false;
    this.#to(offline ? 'offline' : this.#wasLive ? 'catching_up' : 'connecting');
  }

  #to(state: LiveState): void {
    if (this.state === state) return;
    this.state = state;
    this.#host.changed();
  }
}
