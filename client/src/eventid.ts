/**
 * Event ids, "H/L-n": two halves of a WAL position in hexadecimal, 32 bits each, and a number. They are compared as
 * numbers, because the text does not sort, and half by half, because the whole is beyond what a double holds exactly.
 */

const FORM = /^([0-9a-f]{1,8})\/([0-9a-f]{1,8})-(\d{1,15})$/i;

function parts(id: string): number[] | null {
  const match = FORM.exec(id);
  return match && [parseInt(match[1]!, 16), parseInt(match[2]!, 16), Number(match[3])];
}

/** Negative if a comes before b, positive if behind, 0 if equal, NaN if either is no event id. */
export function compareIds(a: string, b: string): number {
  const x = parts(a);
  const y = parts(b);
  return x && y ? x[0]! - y[0]! || x[1]! - y[1]! || x[2]! - y[2]! : NaN;
}
