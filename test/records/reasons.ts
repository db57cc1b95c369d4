import { expect } from 'vitest'
import { type ErrorReason, NaruError } from '../../src/base/errors.ts'

/** The NaruError that `run` throws; anything else fails the test. */
export function refusalOf(run: () => unknown): NaruError {
  try {
    run()
  } catch (thrown) {
    expect(thrown).toBeInstanceOf(NaruError)
    return thrown as NaruError
  }
  throw new Error('it was accepted')
}

export function reasonOf(run: () => unknown): ErrorReason {
  return refusalOf(run).reason
}
