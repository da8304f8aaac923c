import { useState } from 'react';
import { useCrates, useDo, useStorages, type Storage as Place } from '../api';
import { placeName } from '../roles';
import { Dialog, useFlash } from '../ui';

export function Storage({ unit }: { unit: number }) {
  const storages = useStorages(unit);
  const crates = useCrates('', unit);
  const [adding, setAdding] = useState(false);
  const { mutate } = useDo();
  const rooms = [...new Set(storages.data?.map((place) => place.room_name))].sort();
  return (
    <>
      <div className="filters">
        <button className="primary" onClick={() => setAdding(true)}>
          New place
        </button>
      </div>
      {!storages.data && <p className="quiet">{storages.error?.message ?? 'Loading…'}</p>}
      {rooms.map((room) => (
        <section key={room}>
          <h2>{room}</h2>
          <div className="places">
            {storages.data
              ?.filter((place) => place.room_name === room)
              .sort((a, b) => placeName(a).localeCompare(placeName(b)))
              .map((place) => (
                <PlaceCard
                  key={place.id}
                  place={place}
                  barcodes={(crates.data ?? []).filter((crate) => crate.storage === place.id).map((crate) => crate.barcode)}
                />
              ))}
          </div>
        </section>
      ))}
      {adding && (
        <Dialog
          title="New place"
          onClose={() => setAdding(false)}
          onAnswer={(form) => mutate({ path: 'storage/', body: { unit, ...Object.fromEntries(form) }, done: 'Made a place' })}
        >
          {(['room_name', 'rack_name', 'compartment_name'] as const).map((name) => (
            <label key={name}>
              {name.replace('_name', '')}
              <input name={name} required maxLength={100} />
            </label>
          ))}
        </Dialog>
      )}
    </>
  );
}

function PlaceCard({ place, barcodes }: { place: Place; barcodes: string[] }) {
  const flash = useFlash(barcodes.join(' '));
  return (
    <div className={`card place ${flash ? 'flash' : ''}`} data-storage={place.id}>
      <h3>{[place.rack_name, place.compartment_name, place.shelf_name].filter(Boolean).join(' / ')}</h3>
      {barcodes.length ? barcodes.map((barcode) => <code key={barcode}>{barcode}</code>) : <span className="quiet">empty</span>}
    </div>
  );
}
