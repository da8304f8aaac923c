import { useEffect, useRef } from 'react';
import { useAudit, type Step } from '../api';
import { When } from '../ui';

const WORDS: Record<string, string> = {
  requested: 'asked for',
  approved: 'approved',
  rejected: 'rejected',
  sent_back: 'sent back',
  allocated: 'gave a place to',
  issued: 'issued',
  returned: 'took back',
};

/** What happened, the newest first; what was not there a moment ago slides in. */
export function Steps({ steps }: { steps: Step[] | undefined }) {
  const known = useRef<Set<string>>(undefined);
  const before = known.current;
  useEffect(() => {
    if (steps) known.current = new Set([...(known.current ?? []), ...steps.map((step) => step.key)]);
  }, [steps]);
  return (
    <ol className="steps">
      {steps?.map((step) => (
        <li key={step.key} className={before && !before.has(step.key) ? 'new' : ''} data-action={step.action}>
          <span>
            <b>{step.actor_name ?? 'Somebody'}</b> {WORDS[step.action] ?? step.action} <b>{step.crate_barcode}</b>
            <small>
              {step.request_type} request {step.request}: {step.detail}
            </small>
          </span>
          <When at={step.at} />
        </li>
      ))}
    </ol>
  );
}

export function Audit({ unit }: { unit: number }) {
  const { data, error } = useAudit(unit);
  return (
    <section className="card">
      <Steps steps={data} />
      {!data && <p className="quiet">{error?.message ?? 'Loading…'}</p>}
    </section>
  );
}
