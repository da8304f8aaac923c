/** The connection manager: who listens to what, one socket a stream and id, one token for all. */

import { openConnection, type Connection, type Ended, type Host, type Listener, type LiveState, type Socket } from './connection.js';
import type { MessageOf, Stream } from './messages.js';
import { tokenAsker } from './token.js';

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
  /** What went wrong in a listener or in `token`, and what keeps a stream from ever opening. Default: the console. */
  onError?: (error: unknown) => void;
  /** Each end of a connection or an attempt, with its close code and reason. */
  onEvent?: (event: Ended) => void;
}

/** Worst first: what the whole page is. */
const RANK: LiveState[] = ['offline', 'catching_up', 'connecting', 'denied', 'live'];

export class WebSocketClient {
  #connections = new Map<string, Connection>();
  #watchers = new Set<() => void>();
  #host: Host;
  #asker = tokenAsker((renew) => this.#host.options.token(renew));

  constructor(options: WebSocketClientOptions) {
    this.#host = {
      options,
      token: this.#asker.get,
      changed: () => [...this.#watchers].forEach((watcher) => this.#watchers.has(watcher) && this.#guard(watcher)),
      report: (error) => {
        try {
          (this.#host.options.onError ?? console.error)(error);
        } catch {
          // it was told
        }
      },
      ended: (event) => {
        this.#host.changed();
        this.#guard(() => this.#host.options.onEvent?.(event));
      },
      fresh: (token) => this.#connections.forEach((connection) => connection.fresh(token)),
    };
  }

  /** Other options from now on, all of them. Connections move if their address is another one now. */
  configure(options: WebSocketClientOptions): void {
    this.#host.options = options;
    this.#connections.forEach((connection) => this.#guard(connection.move));
  }

  /**
   * Calls the listener with what this stream says: connection_established first, then each change once, in commit
   * order. All listeners of a stream and id share a socket. Returns what ends it.
   */
  subscribe<S extends Stream>(stream: S, id: string | number, listener: (message: MessageOf<S>) => unknown): () => void {
    const key = `${stream}/${id}`;
    // Each subscription its own, even if two share a function.
    const own: Listener = (message) => listener(message);
    const connection = this.#connections.get(key) ?? openConnection(this.#host, stream, id, () => this.#remove(key, connection));
    if (!this.#connections.size) this.#listen(true);
    this.#connections.set(key, connection);
    connection.join(own);
    return () => connection.leave(own);
  }

  /** Ends all subscriptions of this stream and id, at once. */
  unsubscribe(stream: Stream, id: string | number): void {
    const key = `${stream}/${id}`;
    this.#remove(key, this.#connections.get(key));
  }

  /** Of one stream and id, or the worst of all; offline where nobody listens. */
  state(stream?: Stream, id?: string | number): LiveState {
    const of = stream === undefined ? [...this.#connections.values()] : [this.#connections.get(`${stream}/${id}`)];
    const states = of.map((connection) => connection?.state());
    return RANK.find((state) => states.includes(state)) ?? 'offline';
  }

  /** How the last connection or attempt of this stream and id ended. */
  cause(stream: Stream, id: string | number): Ended | undefined {
    return this.#connections.get(`${stream}/${id}`)?.cause();
  }

  /** Calls the watcher whenever a state may have changed. Returns what ends it. */
  onState(watcher: () => void): () => void {
    const own = () => watcher();
    this.#watchers.add(own);
    return () => void this.#watchers.delete(own);
  }

  /** After a login or a new permission: tries again what was denied. */
  retry(): void {
    this.#asker.forget();
    this.#connections.forEach((connection) => connection.reopen());
  }

  /** Logout: closes everything and forgets the token and every listener. */
  close(): void {
    this.#connections.forEach((connection) => connection.end());
    this.#connections.clear();
    this.#asker.forget();
    this.#listen(false);
    this.#host.changed();
  }

  #guard(call: () => unknown): void {
    try {
      call();
    } catch (error) {
      this.#host.report(error);
    }
  }

  #remove(key: string, connection?: Connection): void {
    if (!connection) return;
    connection.end();
    if (this.#connections.get(key) !== connection) return;
    this.#connections.delete(key);
    if (!this.#connections.size) this.#listen(false);
    this.#host.changed();
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
    (navigator as { connection?: EventTarget }).connection?.[how]('change', this.#online);
  }
}
