import { NaruError } from '../base/errors.ts'

export const INT32_MAX = 2 ** 31 - 1
export const INT64_MAX = Number.MAX_SAFE_INTEGER

/** What may not be written into a message, found before it is written. */
export function checkedInteger(value: unknown, path: string, max: number): number {
  if (!Number.isSafeInteger(value) || (value as number) > max || (value as number) < -max - 1)
    throw new NaruError('INVALID_REQUEST', `${path}: ${String(value)} is no whole number within ±${max}`)
  return value as number
}

/** Half of a surrogate pair has no UTF-8: better refused here than by whoever reads it. */
export function checkedText(value: string, path: string): string {
  if (/\p{Surrogate}/u.test(value))
    throw new NaruError(
      'INVALID_REQUEST',
      `${path}: the text is not valid Unicode (half of a surrogate pair)`,
    )
  return value
}
