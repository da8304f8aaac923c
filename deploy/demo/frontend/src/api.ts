/** The backend's endpoints: rows to look at, and what can be done to them. Nothing here refetches: walpush tells. */
import { useMutation, useQuery } from '@tanstack/react-query';
import type { CrateRow, RequestRow, SendbackRow, StorageRow } from 'walpush-client';
import { accessToken } from './auth';
import { toast } from './toasts';

export type Request = RequestRow & { crate_barcode: string; withdrawn_by_name: string | null };
export type Crate = CrateRow & { storage_name: string | null; created_by_name: string };
export type Storage = StorageRow;
export type Note = SendbackRow & { created_by_name: string; request_type: string; crate_barcode: string };

export interface Dashboard {
  requests: Record<RequestRow['status'], number>;
  pending: Record<RequestRow['request_type'], number>;
  crates: Record<CrateRow['status'], number>;
  crates_without_place: number;
  storages: number;
  storages_in_use: number;
}

export interface Step {
  key: string;
  at: string;
  action: string;
  request: number;
  request_type: string;
  crate_barcode: string;
  actor_name: string | null;
  detail: string;
}

export class Refused extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

async function call<T>(method: string, path: string, body?: object): Promise<T> {
  const send = async (renew: boolean) =>
    fetch(`/api/${path}`, {
      method,
      headers: { Authorization: `Bearer ${await accessToken(renew)}`, 'Content-Type': 'application/json' },
      body: body && JSON.stringify(body),
    });
  let answer = await send(false);
  if (answer.status === 401) answer = await send(true);
  const said = await answer.json().catch(() => null);
  if (!answer.ok) throw new Refused(answer.status, reason(said) ?? `${answer.status} ${answer.statusText}`);
  return said;
}

/** The first thing that Django REST framework complains of. */
function reason(said: unknown): string | undefined {
  if (typeof said === 'string') return said;
  return said && typeof said === 'object' ? reason(Object.values(said)[0]) : undefined;
}

/** A backend that is away comes back: what it refused it refuses again, everything else is tried until it works. */
export const retry = (_: number, error: Error) => !(error instanceof Refused && error.status < 500);

const list = <T>(key: readonly unknown[], path: string) =>
  useQuery({ queryKey: key, queryFn: () => call<T>('GET', path) });

export const useRequests = (type: string, status: string, unit: number) =>
  list<Request[]>(['requests', type, status, unit], `requests/?${new URLSearchParams({ type, status, unit: `${unit}` })}`);
export const useCrates = (status: string, unit: number) =>
  list<Crate[]>(['crates', status, unit], `documents/crates/?${new URLSearchParams({ status, unit: `${unit}` })}`);
export const useStorages = (unit: number) => list<Storage[]>(['storage', unit], `storage/?unit=${unit}`);
export const useDashboard = (unit: number) => list<Dashboard>(['dashboard', unit], `dashboard/?unit=${unit}`);
export const useAudit = (unit: number) => list<Step[]>(['audit', unit], `audit/?unit=${unit}&limit=100`);
export const useNotes = () => list<Note[]>(['notifications'], 'notifications/?limit=50');

export interface Doing {
  method?: 'POST' | 'PATCH';
  path: string;
  body?: object;
  done: string;
}

/** Does something to a row. The row itself changes when walpush says so, here as in everybody else's page. */
export function useDo() {
  return useMutation({
    mutationFn: ({ method = 'POST', path, body = {} }: Doing) => call(method, path, body),
    onSuccess: (_, { done }) => toast('done', done),
    onError: (error) => toast('failed', error.message),
  });
}

export async function websocketUrl(): Promise<string> {
  const answer = await fetch('/api/config/');
  if (!answer.ok) throw new Error(`config: ${answer.status}`);
  return (await answer.json()).websocket_url;
}
