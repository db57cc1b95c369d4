import type { NaruError } from '../base/errors.ts'
import { briefFailure, errorToFailure } from '../wire/failure.ts'
import type { Failure } from '../wire/messages.ts'

/** The failures that one answer has told in full already, as they are told again; a new one for each answer. */
export type FailureWriter = Map<string, Failure>

/** Where many items of one answer failed alike, only the first carries message and details. */
export function failureOf(error: NaruError, told: FailureWriter): Failure {
  const key = `${error.reason} ${error.message}`
  const brief = told.get(key)
  if (brief !== undefined) return brief
  const failure = errorToFailure(error)
  told.set(key, briefFailure(failure))
  return failure
}

/** So many different failures of one answer are told in full, at 2.5 KiB each; whoever has more of them has one cause. */
const FULL_FAILURES_MAX = 100

/** The same for answers of so many items that even different failures must not fill them. */
export class BoundedFailures {
  readonly #told: FailureWriter = new Map()

  write(error: NaruError): Failure {
    return this.#told.size < FULL_FAILURES_MAX
      ? failureOf(error, this.#told)
      : briefFailure(errorToFailure(error))
  }
}
