import { NaruError } from '../base/errors.ts'

/** Checks of single fields; each names the field, what was given and what is allowed. */
export function invalidRequest(message: string): NaruError {
  return new NaruError('INVALID_REQUEST', message)
}

export function integerWithin(
  value: number | undefined,
  field: { name: string; min: number; max: number; default: number },
): number {
  if (value === undefined) return field.default
  if (value < field.min || value > field.max)
    throw invalidRequest(
      `${field.name} is ${value}, allowed is ${field.min} to ${field.max} (default ${field.default})`,
    )
  return value
}

/** `timeout_ms`, the same in every request that has one. */
export function timeoutMsOf(value: number | undefined): number {
  return integerWithin(value, { name: 'timeout_ms', min: 1, max: 300_000, default: 30_000 })
}

export function countWithin(count: number, field: { name: string; min?: number; max: number }): void {
  const min = field.min ?? 0
  if (count >= min && count <= field.max) return
  throw invalidRequest(`${field.name}: ${count} were given, allowed are ${min} to ${field.max}`)
}
