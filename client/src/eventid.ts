/**
 * Event ids, "H/L-n": two halves of a WAL position in hexadecimal, 32 bits each, and a number. They are compared as
 * numbers, because the text does not sort, and half by half, because the whole is beyond what a double holds exactly.
 */

const FORM = /^([0-9a-f]{1,8})\/([0-9a-f]{1,8})-(\d{1,15})$/i;

/** Only a string has a `match`, whatever a template says. */
const parts = (id: any): number[] | undefined =>
  id?.match?.(FORM)?.slice(1).map((part: string, at: number) => parseInt(part, at < 2 ? 16 : 10));

export const eventId = (id: unknown): string | undefined => (parts(id) ? (id as string) : undefined);

/** Negative if a comes before b, positive if behind, 0 if equal, NaN if either is no event id. */
export function compareIds(a: string, b: string): number {
  const other = parts(b);
  return parts(a)?.reduce((order, part, at) => order || part - other?.[at]!, 0) ?? NaN;
}
