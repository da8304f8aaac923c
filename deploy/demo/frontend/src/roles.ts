import type { Storage } from './api';
import type { Me } from './auth';

/** Whom the unit's storage places concern, as sidecar.conf has it. */
export function mayAdminister(me: Me | null): boolean {
  return !!me && (me.is_superuser || me.role_name === 'System Admin' || me.role_name === 'Store Head');
}

export const placeName = (place: Storage) =>
  [place.room_name, place.rack_name, place.compartment_name, place.shelf_name].filter(Boolean).join(' / ');
