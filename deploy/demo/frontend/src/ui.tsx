/** What several pages use. */
import { useEffect, useRef, useState, type ReactNode } from 'react';

export const Pill = ({ children }: { children: string }) => (
  <span className="pill" data-status={children.toLowerCase().replace(/\W/g, '-')}>
    {children}
  </span>
);

const FORMAT = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'short' });
export const When = ({ at }: { at: string | null }) =>
  at ? <time dateTime={at}>{FORMAT.format(new Date(at))}</time> : <>–</>;

/** True for a moment after the value has changed, so that the eye finds what moved. */
export function useFlash(value: unknown): boolean {
  const before = useRef(value);
  const [flash, setFlash] = useState(false);
  useEffect(() => {
    const first = before.current === undefined;
    if (before.current === value) return;
    before.current = value;
    if (first) return;
    setFlash(true);
    const timer = setTimeout(() => setFlash(false), 1600);
    return () => clearTimeout(timer);
  }, [value]);
  return flash;
}

/** A table's frame: what is shown while there is nothing, and while the server is away. */
export function Rows({ data, error, columns, empty, children }: {
  data: unknown[] | undefined;
  error: Error | null;
  columns: string[];
  empty: string;
  children: ReactNode;
}) {
  const say = error ? error.message : data ? (data.length ? null : empty) : 'Loading…';
  return (
    <div className="card table">
      <table>
        <thead>
          <tr>
            {columns.map((name) => (
              <th key={name}>{name}</th>
            ))}
          </tr>
        </thead>
        <tbody>{children}</tbody>
      </table>
      {say && <p className="quiet">{say}</p>}
    </div>
  );
}

export function Choice({ label, value, of, onChange }: {
  label: string;
  value: string;
  of: readonly string[];
  onChange: (value: string) => void;
}) {
  return (
    <div className="choice" role="group" aria-label={label}>
      {['', ...of].map((one) => (
        <button key={one} aria-pressed={one === value} onClick={() => onChange(one)}>
          {one || 'All'}
        </button>
      ))}
    </div>
  );
}

/** A question in a dialog. It closes when it is answered, and with Escape; `ready`: what there is to choose from is there. */
export function Dialog({ title, ready = true, onClose, onAnswer, children }: {
  title: string;
  ready?: boolean;
  onClose: () => void;
  onAnswer: (form: FormData) => void;
  children: ReactNode;
}) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => dialog.current?.showModal(), []);
  return (
    <dialog ref={dialog} onClose={onClose}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          onAnswer(new FormData(event.currentTarget));
          onClose();
        }}
      >
        <h2>{title}</h2>
        {children}
        <footer>
          <button type="button" onClick={onClose}>
            Cancel
          </button>
          <button className="primary" disabled={!ready}>
            OK
          </button>
        </footer>
      </form>
    </dialog>
  );
}
