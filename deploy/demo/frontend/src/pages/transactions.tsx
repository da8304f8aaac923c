import { memo, useState } from 'react';
import { useCrates, useDo, useRequests, useStorages, type Doing, type Request } from '../api';
import { useMe, type Me } from '../auth';
import { Choice, Dialog, Pill, Rows, useFlash, When } from '../ui';
import { mayAdminister, placeName } from '../roles';

const TYPES = ['Storage', 'Withdrawal', 'Destruction'];
const STATUSES = ['Pending', 'Sent Back', 'Approved', 'Issued', 'Returned', 'Completed', 'Rejected'];

type Action = 'approve' | 'reject' | 'send-back' | 'allocate-storage' | 'issue' | 'return' | 'update';
const NAMES: Record<Action, [string, string]> = {
  approve: ['Approve', 'Approved'],
  reject: ['Reject', 'Rejected'],
  'send-back': ['Send back', 'Sent back'],
  'allocate-storage': ['Allocate', 'Allocated'],
  issue: ['Issue', 'Issued'],
  return: ['Return', 'Returned'],
  update: ['Edit', 'Handed in again'],
};
const WANTS: Partial<Record<Action, ('reason' | 'storage' | 'purpose')[]>> = {
  update: ['purpose'],
  reject: ['reason'],
  'send-back': ['reason'],
  'allocate-storage': ['storage'],
  return: ['storage', 'reason'],
};

/** What this person can do to the request now. The backend decides; this only spares them buttons that it would refuse. */
function actionsFor(me: Me, { status, request_type, withdrawn_by }: Request): Action[] {
  const own: Action[] = withdrawn_by === me.id && (status === 'Pending' || status === 'Sent Back') ? ['update'] : [];
  const all = me.is_superuser || me.role_name === 'System Admin';
  const head: Action[] = [];
  const keeper: Action[] = [];
  if (status === 'Pending') head.push('approve', 'send-back', 'reject');
  if (status === 'Approved') head.push('reject');
  if (status === 'Approved' && request_type === 'Storage') keeper.push('allocate-storage');
  if (status === 'Approved' && request_type === 'Withdrawal') keeper.push('issue');
  if (status === 'Issued' && request_type === 'Withdrawal') keeper.push('return');
  if (all) return [...keeper, ...head, ...own];
  return [...own, ...(me.role_name === 'Section Head' ? head : me.role_name === 'Store Head' ? keeper : [])];
}

export function Transactions({ unit }: { unit: number }) {
  const [type, setType] = useState('');
  const [status, setStatus] = useState('');
  const [making, setMaking] = useState(false);
  const [asking, setAsking] = useState<{ action: Action; request: Request }>();
  const { data, error } = useRequests(type, status, unit);
  const { mutate } = useDo();
  const me = useMe();

  function start(action: Action, request: Request) {
    if (WANTS[action]) setAsking({ action, request });
    else mutate(doing(action, request));
  }

  return (
    <>
      <div className="filters">
        <Choice label="Type" value={type} of={TYPES} onChange={setType} />
        <Choice label="Status" value={status} of={STATUSES} onChange={setStatus} />
        <button className="primary" onClick={() => setMaking(true)}>
          New request
        </button>
      </div>
      {making && <Make unit={unit} onClose={() => setMaking(false)} onAnswer={(body) => mutate({ path: 'requests/', body, done: 'Asked' })} />}
      <Rows data={data} error={error} empty="No such request." columns={['Nr', 'Type', 'Crate', 'For', 'Asked by', 'Asked', 'Status', '']}>
        {me && data?.map((request) => <Row key={request.id} request={request} me={me} onAction={start} />)}
      </Rows>
      {asking && (
        <Ask
          {...asking}
          unit={unit}
          onClose={() => setAsking(undefined)}
          onAnswer={(body) => mutate(doing(asking.action, asking.request, body))}
        />
      )}
    </>
  );
}

const doing = (action: Action, request: Request, body: object = {}): Doing => ({
  method: action === 'update' ? 'PATCH' : 'POST',
  path: `requests/${action === 'update' ? `${request.request_type.toLowerCase()}/` : ''}${request.id}/${action}/`,
  body,
  done: `${NAMES[action][1]} request ${request.id}`,
});

const Row = memo(
  function Row({ request, me, onAction }: { request: Request; me: Me; onAction: (action: Action, request: Request) => void }) {
    const flash = useFlash(request.status);
    return (
      <tr className={flash ? 'flash' : ''} data-request={request.id}>
        <td className="number">{request.id}</td>
        <td>{request.request_type}</td>
        <td>{request.crate_barcode}</td>
        <td className="wide">{request.purpose}</td>
        <td>{request.withdrawn_by_name}</td>
        <td>
          <When at={request.request_date} />
        </td>
        <td>
          <Pill>{request.status}</Pill>
        </td>
        <td className="actions">
          {actionsFor(me, request).map((action) => (
            <button key={action} data-action={action} onClick={() => onAction(action, request)}>
              {NAMES[action][0]}
            </button>
          ))}
        </td>
      </tr>
    );
  },
  // The callback works on the request it is given, whichever render it is from.
  (before, after) => before.request === after.request && before.me === after.me,
);

function Ask({ action, request, unit, onClose, onAnswer }: {
  action: Action;
  request: Request;
  unit: number;
  onClose: () => void;
  onAnswer: (body: object) => void;
}) {
  const me = useMe();
  const wants = WANTS[action] ?? [];
  const storages = useStorages(unit);
  return (
    <Dialog
      title={`${NAMES[action][0]} request ${request.id}`}
      ready={!wants.includes('storage') || !!storages.data}
      onClose={onClose}
      onAnswer={(form) => onAnswer(Object.fromEntries(form))}
    >
      {wants.includes('storage') && mayAdminister(me) && (
        <label>
          Place
          <select name="storage" required>
            {storages.data?.map((place) => (
              <option key={place.id} value={place.id}>
                {placeName(place)}
              </option>
            ))}
          </select>
        </label>
      )}
      {wants.includes('purpose') && <Purpose text={request.purpose} />}
      {wants.includes('reason') && (
        <label>
          Why?
          <textarea name="reason" required rows={3} />
        </label>
      )}
    </Dialog>
  );
}

const Purpose = ({ text }: { text?: string }) => (
  <label>
    What for?
    <textarea name="purpose" required rows={3} defaultValue={text} />
  </label>
);

function Make({ unit, onClose, onAnswer }: { unit: number; onClose: () => void; onAnswer: (body: object) => void }) {
  const crates = useCrates('Active', unit);
  return (
    <Dialog
      title="New request"
      ready={!!crates.data}
      onClose={onClose}
      onAnswer={(form) => onAnswer({ unit, ...Object.fromEntries(form) })}
    >
      <label>
        To do what?
        <select name="request_type" required defaultValue="Withdrawal">
          {TYPES.map((type) => (
            <option key={type}>{type}</option>
          ))}
        </select>
      </label>
      <label>
        Crate
        <select name="crate" required>
          {crates.data?.map(({ id, barcode }) => (
            <option key={id} value={id}>
              {barcode}
            </option>
          ))}
        </select>
      </label>
      <Purpose />
    </Dialog>
  );
}
