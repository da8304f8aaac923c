/** The connection manager: who listens to what, one socket a stream and id, one token for all. */

import { Connection, type Dial, type Host, type Listener, type LiveState, type Socket } from './connection.js';
import type { MessageOf, Stream } from './messages.js';

export interface WebSocketClientOptions {
  /**
   * The access token, or null if nobody is logged in. `renew` is true when the last one is about to expire or was
   * refused: get a new one then. It may fail; the client asks again.
   */
  token: (renew: boolean) => Promise<string | null> | string | null;
  /** Where walpush listens, "wss://live.example.org". Default: the page's own origin. */
  url?: string;
  /** Default: `/ws/${stream}/${id}/`. */
  path?: (stream: string, id: string | number) => string;
  /** How the token travels: in the first message (default), or in ?token=, which proxies write to their logs. */
  tokenIn?: 'message' | 'query';
  /** Milliseconds between pings on a silent connection, and until an answer is overdue. Defaults 25000 and 10000. */
  heartbeat?: number;
  pongWait?: number;
  /** Milliseconds: the longest waits before the first and before any attempt. Defaults 500 and 20000. */
  backoff?: { base: number; cap: number };
  /** Milliseconds that a connection outlives its last listener, so that another page finds it open. Default 1000. */
  linger?: number;
  /** For tests, and where there is no global one. */
  WebSocket?: new (url: string) => Socket;
  /** What went wrong in a listener or in `token`. Default: the console. */
  onError?: (error: unknown) => void;
}

/** Worst first: what the whole page is. */
const RANK: LiveState[] = ['offline', 'catching_up', 'connecting', 'denied', 'live'];

export class WebSocketClient {
  #options: WebSocketClientOptions;
  #connections = new Map<string, Connection>();
  #watchers = new Set<() => void>();
  #host: Host;
  #token: string | null | undefined;
  #asking: Promise<string | null> | undefined;

  constructor(options: WebSocketClientOptions) {
    this.#options = options;
    this.#host = {
      token: (stale) => this.#getToken(stale),
      changed: () => this.#watchers.forEach((watcher) => watcher()),
      report: (error) => (options.onError ?? console.error)(error),
      heartbeat: options.heartbeat ?? 25_000,
      pongWait: options.pongWait ?? 10_000,
      backoff: options.backoff ?? { base: 500, cap: 20_000 },
    };
  }

  /**
   * Calls the listener with what this stream says: connection_established first, then each change once, in commit
   * order. All listeners of a stream and id share a socket. Returns what ends it.
   */
  subscribe<S extends Stream>(stream: S, id: string | number, listener: (message: MessageOf<S>) => unknown): () => void {
    const key = `${stream}/${id}`;
    // Each subscription its own, even if two share a function.
    const own: Listener = (message) => listener(message);
    let connection = this.#connections.get(key);
    if (!connection) {
      if (!this.#connections.size) this.#listen(true);
      connection = new Connection(this.#host, this.#dial(stream, id));
      this.#connections.set(key, connection);
      connection.join(own);
      this.#host.changed();
    } else {
      connection.join(own);
    }
    const joined = connection;
    return () => joined.leave(own, this.#options.linger ?? 1000, () => this.#remove(key, joined));
  }

  /** Ends all subscriptions of this stream and id, at once. */
  unsubscribe(stream: Stream, id: string | number): void {
    const key = `${stream}/${id}`;
    const connection = this.#connections.get(key);
    if (connection) this.#remove(key, connection);
  }

  /** Of one stream and id, or the worst of all. */
  state(stream?: Stream, id?: string | number): LiveState {
    if (stream !== undefined) return this.#connections.get(`${stream}/${id}`)?.state ?? 'connecting';
    const states = [...this.#connections.values()].map((connection) => connection.state);
    return RANK.find((state) => states.includes(state)) ?? 'offline';
  }

  /** Calls the watcher whenever a state may have changed. Returns what ends it. */
  onState(watcher: () => void): () => void {
    const own = () => watcher();
    this.#watchers.add(own);
    return () => void this.#watchers.delete(own);
  }

  /** After a login or a new permission: tries again what was denied. */
  retry(): void {
    this.#token = undefined;
    this.#connections.forEach((connection) => connection.reopen());
  }

  /** Logout: closes everything and forgets the token and every listener. */
  close(): void {
    this.#connections.forEach((connection) => connection.end());
    this.#connections.clear();
    this.#token = this.#asking = undefined;
    this.#listen(false);
    this.#host.changed();
  }

  #remove(key: string, connection: Connection): void {
    connection.end();
    if (this.#connections.get(key) !== connection) return;
    this.#connections.delete(key);
    if (!this.#connections.size) this.#listen(false);
    this.#host.changed();
  }

  /** Asked once for all who wait. Who finds its token stale gets the one that another has renewed meanwhile. */
  #getToken(stale: string | undefined): Promise<string | null> {
    if (stale !== undefined && this.#token && this.#token !== stale) return Promise.resolve(this.#token);
    if (!this.#asking) {
      const asking = (async () => this.#options.token(stale !== undefined))();
      const done = (token?: string | null) => {
        if (this.#asking !== asking) return;
        this.#asking = undefined;
        this.#token = token;
      };
      asking.then(done, () => done());
      this.#asking = asking;
    }
    return this.#asking;
  }

  #dial(stream: string, id: string | number): Dial {
    const { url, path, tokenIn, WebSocket: Kind = globalThis.WebSocket } = this.#options;
    const sends = tokenIn !== 'query';
    return (token, since, epoch) => {
      const base = url ?? location.origin.replace(/^http/, 'ws');
      const where = path ? path(stream, id) : `/ws/${stream}/${encodeURIComponent(id)}/`;
      const query = new URLSearchParams(since && epoch ? { since, epoch } : {});
      if (!sends) query.set('token', token);
      return { socket: new Kind(`${base}${where}${query.toString() && `?${query}`}`), sends };
    };
  }

  // The same functions each time, so that they can be taken off again.
  #online = () => this.#connections.forEach((connection) => connection.wake());
  #offline = () => this.#connections.forEach((connection) => connection.sleep());
  #visible = () => {
    if (!document.hidden) this.#online();
  };

  #listen(on: boolean): void {
    if (typeof window === 'undefined') return;
    const how = on ? 'addEventListener' : 'removeEventListener';
    window[how]('online', this.#online);
    window[how]('offline', this.#offline);
    document[how]('visibilitychange', this.#visible);
  }
}
