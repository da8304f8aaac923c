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

export interface WebSocketClient {
  /** Other options from now on, in place of all earlier ones. Connections move if their address is another one now. */
  configure(options: WebSocketClientOptions): void;
  /**
   * Calls the listener with what this stream says: connection_established first, then each change once, in commit
   * order. All listeners of a stream and id share a socket. Returns what ends it.
   */
  subscribe<S extends Stream>(stream: S, id: string | number, listener: (message: MessageOf<S>) => unknown): () => void;
  /** Ends all subscriptions of this stream and id, at once. */
  unsubscribe(stream: Stream, id: string | number): void;
  /** Of one stream and id, or the worst of all; offline where nobody listens. */
  state(stream?: Stream, id?: string | number): LiveState;
  /** How the last connection or attempt of this stream and id ended. */
  cause(stream: Stream, id: string | number): Ended | undefined;
  /** Calls the watcher whenever a state may have changed. Returns what ends it. */
  onState(watcher: () => void): () => void;
  /** After a login or a new permission: tries again what was denied. */
  retry(): void;
  /** Logout: closes everything and forgets the token and every listener. */
  close(): void;
}

/** A closure, because a minifier shortens the names of variables only. */
function makeClient(options: WebSocketClientOptions): WebSocketClient {
  const connections = new Map<string, Connection>();
  const watchers = new Set<() => void>();
  const asker = tokenAsker((renew) => host.options.token(renew));
  const keyOf = (stream?: string, id?: string | number) => `${stream}/${id}`;

  const host: Host = {
    options,
    token: asker.get,
    changed: () => [...watchers].forEach((watcher) => watchers.has(watcher) && host.guard(watcher)),
    report(error) {
      try {
        if (error) (host.options.onError ?? console.error)(error);
      } catch {
        // it was told
      }
    },
    guard: (call) => void (async () => call())().catch(host.report),
    fresh: (token) => connections.forEach((connection) => connection.fresh(token)),
  };

  const online = ({ type }: Event) => connections.forEach((connection) => connection.wake(type === 'change'));
  const offline = () => connections.forEach((connection) => connection.sleep());
  const visible = (event: Event) => document.hidden || online(event);

  const listen = (how: 'addEventListener' | 'removeEventListener') => {
    if (typeof document === 'undefined') return;
    window[how]('online', online);
    window[how]('offline', offline);
    document[how]('visibilitychange', visible);
    (navigator as { connection?: EventTarget }).connection?.[how]('change', online);
  };

  const remove = (key: string, connection = connections.get(key)) => {
    connection?.end();
    if (!connection || connections.get(key) !== connection) return;
    connections.delete(key);
    if (!connections.size) listen('removeEventListener');
    host.changed();
  };

  return {
    configure(latest) {
      host.options = latest;
      connections.forEach((connection) => host.guard(connection.move));
    },

    subscribe(stream, id, listener) {
      const key = keyOf(stream, id);
      // Each subscription its own, even if two share a function.
      const own: Listener = (message) => listener(message);
      const connection = connections.get(key) ?? openConnection(host, stream, id, () => remove(key, connection));
      if (!connections.size) listen('addEventListener');
      connections.set(key, connection);
      connection.join(own);
      return () => connection.leave(own);
    },

    unsubscribe: (stream, id) => remove(keyOf(stream, id)),

    state(stream, id) {
      const of = stream === undefined ? [...connections.values()] : [connections.get(keyOf(stream, id))];
      const states = of.map((connection) => connection?.state());
      return RANK.find((state) => states.includes(state)) ?? 'offline';
    },

    cause: (stream, id) => connections.get(keyOf(stream, id))?.cause(),

    onState(watcher) {
      const own = () => watcher();
      watchers.add(own);
      return () => void watchers.delete(own);
    },

    retry() {
      asker.forget();
      connections.forEach((connection) => connection.reopen());
    },

    close() {
      asker.forget();
      connections.forEach((connection, key) => remove(key, connection));
    },
  };
}

export const WebSocketClient = makeClient as unknown as new (options: WebSocketClientOptions) => WebSocketClient;
