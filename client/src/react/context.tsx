import type { QueryKey } from '@tanstack/react-query';
import { createContext, useContext, useEffect, useMemo, useState, type ReactNode } from 'react';
import { WebSocketClient, type WebSocketClientOptions } from '../index.js';

/** Which queries show a stream's rows. The first key is where the rows themselves stand; see `patch`. */
export type StreamKeys = Record<string, readonly QueryKey[]>;

export interface WebSocketContextValue {
  client: WebSocketClient;
  keys: StreamKeys;
  patch: boolean;
}

export const WebSocketContext = createContext<WebSocketContextValue | null>(null);

export interface WebSocketProviderProps extends Partial<WebSocketClientOptions> {
  children?: ReactNode;
  /** One made elsewhere. Without it the provider makes one of its other properties, and closes it when it goes. */
  client?: WebSocketClient;
  /** Default: the stream's name, `{ requests: [['requests']], … }`. */
  keys?: StreamKeys;
  /** Put `data` into cached rows at once, before the refetch has brought them. Default false. */
  patch?: boolean;
}

const NO_KEYS: StreamKeys = {};

const nobody = () => null;

/**
 * Its properties may change: connections move to another `url`, `path` or `tokenIn`. Give it a `key` with the user's id, so
 * that a logout closes every connection and the next user gets new ones.
 */
export function WebSocketProvider(props: WebSocketProviderProps): ReactNode {
  const { children, client: given, keys = NO_KEYS, patch = false, token = nobody, ...rest } = props;
  const options = { token, ...rest };
  const [own] = useState(() => given ?? new WebSocketClient(options));
  const client = given ?? own;
  useEffect(() => {
    if (!given) own.configure(options);
  });
  useEffect(() => (given ? undefined : () => own.close()), [given, own]);
  const value = useMemo(() => ({ client, keys, patch }), [client, keys, patch]);
  return <WebSocketContext.Provider value={value}>{children}</WebSocketContext.Provider>;
}

export function useLive(): WebSocketContextValue {
  const value = useContext(WebSocketContext);
  if (!value) throw new Error('walpush: no <WebSocketProvider> around it');
  return value;
}
