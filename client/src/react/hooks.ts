import { useQueryClient, type QueryKey } from '@tanstack/react-query';
import { useCallback, useEffect, useRef, useState, useSyncExternalStore } from 'react';
import { isResync, type ChangeOf, type LiveState, type MessageOf, type SendbackMessage, type Stream } from '../index.js';
import { useLive } from './context.js';
import { patchQueries } from './patch.js';
import { invalidate, isStale, recover } from './queries.js';

type Id = string | number | null | undefined;

const isNothing = (id: Id) => id == null; // or undefined

/** The state of one stream and id, or without them the worst of all; offline where there is nothing to listen to. */
export function useLiveState(stream?: Stream, id?: Id): LiveState {
  const { client } = useLive();
  const watch = useCallback((changed: () => void) => client.onState(changed), [client]);
  const read = () => (stream !== undefined && isNothing(id) ? 'offline' : client.state(stream, id ?? undefined));
  return useSyncExternalStore<LiveState>(watch, read, () => 'connecting');
}

/** True while a query on the page has owed a fetch for ten seconds: the backend is away, or slower than that. */
export function useStale(): boolean {
  const queries = useQueryClient();
  return useSyncExternalStore(everySecond, () => isStale(queries), () => false);
}

const everySecond = (look: () => void) => {
  const timer = setInterval(look, 1000);
  return () => clearInterval(timer);
};

/** Listens while the component is there; with an id of null or undefined it does not. Returns the state. */
export function useWebSocket<S extends Stream>(
  stream: S,
  id: Id,
  listener: (message: MessageOf<S>) => unknown,
): LiveState {
  const { client } = useLive();
  const latest = useRef(listener);
  const joined = useRef<Id>(null);
  useEffect(() => {
    latest.current = listener;
  });
  useEffect(() => {
    joined.current = id;
    return isNothing(id) ? undefined : client.subscribe(stream, id!, (m) => latest.current(m));
  }, [client, stream, id]);
  const state = useLiveState(stream, id);
  return isNothing(id) || joined.current === id ? state : 'connecting'; // it will listen in a moment
}

export interface UpdateOptions<S extends string> {
  /** Which queries a change concerns, if not all that the provider names for the stream. */
  keys?: (change: ChangeOf<S>) => readonly QueryKey[];
  /** As the provider's. */
  patch?: boolean;
  /** Called with each change, for whatever else is to be done. */
  onChange?: (change: ChangeOf<S>) => void;
}

function useUpdates<S extends Stream>(stream: S, id: Id, options: UpdateOptions<S> = {}): LiveState {
  const live = useLive();
  const queries = useQueryClient();
  return useWebSocket(stream, id, (message) => {
    const all = live.keys[stream] ?? [[stream]];
    const owe = (key: QueryKey) => invalidate(queries, key);
    if (isResync(message)) all.forEach(owe);
    if (message.type === 'connection_established') return recover(queries); // resumed: what was missed follows
    if (isResync(message)) return;
    const change = message as ChangeOf<S>;
    const { type, data } = message as { type: string; data?: { id: Id } | null };
    try {
      if ((options.patch ?? live.patch) && !isNothing(data?.id) && all[0]) {
        patchQueries(queries, all[0], [data, type.endsWith('.deleted')]);
        owe(all[0]); // a patch may come late
      }
      (options.keys?.(change) ?? all).forEach(owe);
    } catch (error) {
      all.forEach(owe); // nobody knows which
      throw error;
    }
    options.onChange?.(change);
  });
}

/** Keeps what shows the unit's requests true: `['requests', …]`, or the keys that the provider names. */
export const useRequestUpdates = (unitId: Id, options?: UpdateOptions<'requests'>): LiveState =>
  useUpdates('requests', unitId, options);

export const useCrateUpdates = (unitId: Id, options?: UpdateOptions<'crates'>): LiveState =>
  useUpdates('crates', unitId, options);

/** For the unit's administrators only; give it null for others. */
export const useStorageUpdates = (unitId: Id, options?: UpdateOptions<'storage'>): LiveState =>
  useUpdates('storage', unitId, options);

/** A note that concerns the user. */
export type Notification = Exclude<SendbackMessage, { action: 'deleted' | 'moved' | 'bulk' }>;

export interface Notifications {
  state: LiveState;
  /** What came while the page was open, newest first, at most 50. */
  notifications: Notification[];
  unread: number;
  markRead: () => void;
  dismiss: (id: string) => void;
}

const KEPT = 50;

/** The user's own messages; `onNotification` is called for each once, for a toast. */
export function useNotifications(userId: Id, onNotification?: (notification: Notification) => void): Notifications {
  const [notifications, setNotifications] = useState<Notification[]>([]);
  const [unread, setUnread] = useState(0);
  useEffect(() => () => (setNotifications([]), setUnread(0)), [userId]);
  const state = useUpdates('notifications', userId, {
    onChange: (change) => {
      if (change.type !== 'sendback.created') return;
      setNotifications((known) => [change as Notification, ...known].slice(0, KEPT));
      setUnread((count) => count + 1);
      onNotification?.(change as Notification);
    },
  });
  const markRead = useCallback(() => setUnread(0), []);
  const dismiss = useCallback((id: string) => setNotifications((known) => known.filter((one) => one.id !== id)), []);
  return { state, notifications, unread, markRead, dismiss };
}
