import { useState } from 'react';
import { useCrates, useDo, useStorages, type Crate } from '../api';
import { useMe } from '../auth';
import { mayAdminister, placeName } from '../roles';
import { Choice, Dialog, Pill, Rows, useFlash } from '../ui';

export function Crates({ unit }: { unit: number }) {
  const [status, setStatus] = useState('');
  const [moving, setMoving] = useState<Crate>();
  const { data, error } = useCrates(status, unit);
  const storages = useStorages(unit);
  const { mutate } = useDo();
  const may = mayAdminister(useMe());
  return (
    <>
      <div className="filters">
        <Choice label="Status" value={status} of={['Active', 'Withdrawn', 'Archived', 'Destroyed']} onChange={setStatus} />
      </div>
      <Rows data={data} error={error} empty="No such crate." columns={['Barcode', 'Place', 'Made by', 'Destroy after', 'Status', '']}>
        {data?.map((crate) => <Row key={crate.id} crate={crate} onMove={may ? setMoving : undefined} />)}
      </Rows>
      {moving && (
        <Dialog
          title={`Relocate ${moving.barcode}`}
          ready={!!storages.data}
          onClose={() => setMoving(undefined)}
          onAnswer={(form) =>
            mutate({
              path: `documents/crates/${moving.id}/relocate/`,
              body: Object.fromEntries(form),
              done: `Relocated ${moving.barcode}`,
            })
          }
        >
          <label>
            New place
            <select name="storage" required defaultValue={moving.storage ?? undefined}>
              {storages.data?.map((place) => (
                <option key={place.id} value={place.id}>
                  {placeName(place)}
                </option>
              ))}
            </select>
          </label>
        </Dialog>
      )}
    </>
  );
}

function Row({ crate, onMove }: { crate: Crate; onMove: ((crate: Crate) => void) | undefined }) {
  const flash = useFlash(`${crate.status} ${crate.storage}`);
  return (
    <tr className={flash ? 'flash' : ''} data-crate={crate.id}>
      <td>{crate.barcode}</td>
      <td className="wide">{crate.storage_name ?? '–'}</td>
      <td>{crate.created_by_name}</td>
      <td>{crate.destruction_date ?? '–'}</td>
      <td>
        <Pill>{crate.status}</Pill>
      </td>
      <td className="actions">
        {onMove && (
          <button data-action="relocate" onClick={() => onMove(crate)}>
            Relocate
          </button>
        )}
      </td>
    </tr>
  );
}
