import { QueryClient, QueryClientProvider, useQuery, useQueryClient } from '@tanstack/react-query';
import { useEffect, useState, useSyncExternalStore, type ReactNode } from 'react';
import {
  LiveIndicator,
  useCrateUpdates,
  useRequestUpdates,
  useStorageUpdates,
  WebSocketProvider,
} from 'walpush-client/react';
import { retry, websocketUrl } from './api';
import { accessToken, logout, useMe, type Me } from './auth';
import { Bell } from './bell';
import { Audit } from './pages/audit';
import { Crates } from './pages/crates';
import { Dashboard } from './pages/dashboard';
import { Login } from './pages/login';
import { Storage } from './pages/storage';
import { Transactions } from './pages/transactions';
import { mayAdminister } from './roles';
import { Toasts } from './toasts';

/** Which queries show what: a request's step is on the dashboard and in the audit trail as well. */
const KEYS = {
  requests: [['requests'], ['dashboard'], ['audit']],
  crates: [['crates'], ['dashboard']],
  storage: [['storage'], ['crates'], ['dashboard']],
  notifications: [['notifications'], ['audit']],
};

const PAGES: Record<string, { title: string; page: (props: { unit: number }) => ReactNode; admin?: boolean }> = {
  dashboard: { title: 'Dashboard', page: Dashboard },
  transactions: { title: 'Transactions', page: Transactions },
  crates: { title: 'Crates', page: Crates },
  storage: { title: 'Storage', page: Storage, admin: true },
  audit: { title: 'Audit trail', page: Audit },
};

export function App() {
  const me = useMe();
  return (
    <>
      {me ? <LoggedIn key={me.id} me={me} /> : <Login />}
      <Toasts />
    </>
  );
}

/** With a cache of its own: what one user saw, the next does not. */
function LoggedIn({ me }: { me: Me }) {
  const [queries] = useState(makeQueries);
  return (
    <QueryClientProvider client={queries}>
      <Connected me={me} />
    </QueryClientProvider>
  );
}

// Nothing is fetched again on a guess: not after a while, not on focus, not on reconnect. walpush says when.
const makeQueries = () =>
  new QueryClient({
    defaultOptions: {
      queries: {
        staleTime: Infinity,
        refetchOnWindowFocus: false,
        refetchOnReconnect: false,
        retry,
        retryDelay: (attempt) => Math.min(500 * 2 ** attempt, 5000),
      },
    },
  });

function Connected({ me }: { me: Me }) {
  const { data: url } = useQuery({ queryKey: ['config'], queryFn: websocketUrl });
  if (!url) return <p className="waiting">Waiting for the server…</p>;
  return (
    <WebSocketProvider url={url} token={accessToken} keys={KEYS} patch onError={quiet}>
      <Shell me={me} />
    </WebSocketProvider>
  );
}

/** A server that is away is seen in the indicator. */
const quiet = (error: unknown) => void (error instanceof TypeError || console.error(error));

const hash = () => location.hash.slice(2) || 'dashboard';
const onHash = (changed: () => void) => {
  addEventListener('hashchange', changed);
  return () => removeEventListener('hashchange', changed);
};

function Shell({ me }: { me: Me }) {
  const [unit, setUnit] = useState(me.units[0]?.id ?? 0);
  const admin = mayAdminister(me);
  const at = useSyncExternalStore(onHash, hash);
  const shown = Object.entries(PAGES).filter(([, page]) => admin || !page.admin);
  const { title, page: Page } = Object.fromEntries(shown)[at] ?? PAGES.dashboard!;

  const access = useRequestUpdates(unit || null);
  useCrateUpdates(unit || null);
  useStorageUpdates(admin && unit ? unit : null);

  return (
    <div className="shell">
      <nav>
        <h1>
          <img src="/crate.svg" alt="" /> Crate Store
        </h1>
        {shown.map(([name, { title }]) => (
          <a key={name} href={`#/${name}`} aria-current={name === at ? 'page' : undefined}>
            {title}
          </a>
        ))}
      </nav>
      <div>
        <header>
          <h2>{title}</h2>
          {me.units.length > 1 && (
            <select aria-label="Unit" value={unit} onChange={(event) => setUnit(Number(event.target.value))}>
              {me.units.map(({ id, unit_name }) => (
                <option key={id} value={id}>
                  {unit_name}
                </option>
              ))}
            </select>
          )}
          <LiveIndicator className="live" />
          <Bell user={me.id} />
          <span className="who">
            {me.full_name}
            <small>
              {me.role_name ?? 'superuser'}
              {me.units.length === 1 && `, ${me.units[0]!.unit_name}`}
            </small>
          </span>
          <button onClick={logout}>Log out</button>
        </header>
        <main>{access === 'denied' || !unit ? <Denied /> : <Page key={unit} unit={unit} />}</main>
      </div>
    </div>
  );
}

function Denied() {
  const queries = useQueryClient();
  useEffect(() => queries.removeQueries({ type: 'inactive' }), [queries]);
  return (
    <section className="card denied" role="alert">
      <h2>No access</h2>
      <p>You do not belong to this unit any more. Whoever administers it can take you in again; then log in once more.</p>
    </section>
  );
}
