/**
 * Who is logged in: the two tokens of SimpleJWT, kept for this tab, and a new access token when one is wanted.
 *
 * A refresh that the backend refuses is a logout; one that cannot reach it throws, and whoever asked tries again.
 */
import { useSyncExternalStore } from 'react';

export interface Me {
  id: number;
  username: string;
  full_name: string;
  role_name: string | null;
  is_superuser: boolean;
  units: { id: number; unit_code: string; unit_name: string }[];
}

interface Session {
  access: string;
  refresh: string;
  user: Me;
}

const KEY = 'session';
const watchers = new Set<() => void>();
let session: Session | null = JSON.parse(sessionStorage.getItem(KEY) ?? 'null');
let refreshing: Promise<string | null> | undefined;

function become(next: Session | null): void {
  session = next;
  if (next) sessionStorage.setItem(KEY, JSON.stringify(next));
  else sessionStorage.removeItem(KEY);
  watchers.forEach((watcher) => watcher());
}

export function useMe(): Me | null {
  return useSyncExternalStore(
    (changed) => (watchers.add(changed), () => void watchers.delete(changed)),
    () => session?.user ?? null,
  );
}

export const logout = () => become(null);

export async function login(username: string, password: string): Promise<void> {
  const answer = await post('/api/token/', { username, password });
  if (answer.status === 401) throw new Error('This name and password are not known.');
  if (!answer.ok) throw new Error('The server is not well. Please try again.');
  become(await answer.json());
}

/** For requests and for the WebSocket alike. */
export async function accessToken(renew: boolean): Promise<string | null> {
  if (!session || !renew) return session?.access ?? null;
  refreshing ??= refresh().finally(() => (refreshing = undefined));
  return refreshing;
}

async function refresh(): Promise<string | null> {
  const old = session!;
  const answer = await post('/api/token/refresh/', { refresh: old.refresh });
  if (answer.status === 401) {
    if (session === old) become(null);
    return null;
  }
  if (!answer.ok) throw new Error(`refresh: ${answer.status}`);
  const { access } = await answer.json();
  if (session === old) become({ ...old, access });
  return access;
}

function post(path: string, body: object): Promise<Response> {
  return fetch(path, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(body),
  });
}
