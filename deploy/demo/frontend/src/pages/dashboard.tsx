import { useAudit, useDashboard } from '../api';
import { useFlash } from '../ui';
import { Steps } from './audit';

const ORDER = ['Pending', 'Sent Back', 'Approved', 'Issued', 'Returned', 'Completed', 'Rejected'] as const;

function Kpi({ name, value, of }: { name: string; value: number | undefined; of?: number | undefined }) {
  const flash = useFlash(value);
  return (
    <div className={`card kpi ${flash ? 'flash' : ''}`} data-kpi={name}>
      <b>{value ?? '–'}</b>
      <span>{name}</span>
      {of !== undefined && value !== undefined && <meter min={0} max={of || 1} value={value} aria-label={`${value} of ${of}`} />}
    </div>
  );
}

export function Dashboard({ unit }: { unit: number }) {
  const { data } = useDashboard(unit);
  const audit = useAudit(unit);
  const total = data && Object.values(data.crates).reduce((sum, n) => sum + n, 0);
  const most = data ? Math.max(1, ...Object.values(data.requests)) : 1;
  return (
    <>
      <section className="kpis">
        <Kpi name="Pending" value={data?.requests.Pending} />
        <Kpi name="To issue or allocate" value={data?.requests.Approved} />
        <Kpi name="Out of the store" value={data?.requests.Issued} />
        <Kpi name="Crates in store" value={data?.crates.Active} of={total} />
        <Kpi name="Without a place" value={data?.crates_without_place} />
        <Kpi name="Places in use" value={data?.storages_in_use} of={data?.storages} />
      </section>
      <div className="columns">
        <section className="card">
          <h2>Requests by status</h2>
          <dl className="bars">
            {ORDER.map((status) => (
              <div key={status} data-status={status.toLowerCase().replace(' ', '-')}>
                <dt>{status}</dt>
                <dd>
                  <i style={{ width: `${((data?.requests[status] ?? 0) / most) * 100}%` }} />
                  <span>{data?.requests[status] ?? '–'}</span>
                </dd>
              </div>
            ))}
          </dl>
        </section>
        <section className="card">
          <h2>Just now</h2>
          <Steps steps={audit.data?.slice(0, 8)} />
        </section>
      </div>
    </>
  );
}
