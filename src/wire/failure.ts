import { ERROR_CODES, type ErrorReason, NaruError } from '../base/errors.ts'
import { boundedDetails, boundedText } from './error-text.ts'
import type { Failure } from './generated/errors.ts'

/** An error as part of an answer (one record, one partition, one topic of many). */
export function errorToFailure(error: NaruError): Failure {
  return {
    reason: error.reason,
    outcome: error.outcome === 'none' ? 'NONE' : 'UNKNOWN',
    message: boundedText(error.message),
    details: boundedDetails(error.details),
    ...(error.retryAfterMs === undefined ? {} : { retryAfterMs: Math.ceil(error.retryAfterMs) }),
  }
}

/** The same failure without what repeats: for the items of an answer after the first that failed alike. */
export function briefFailure(failure: Failure): Failure {
  return { ...failure, message: '', details: {} }
}

export function failureToError(failure: Failure): NaruError {
  const reason: ErrorReason = Object.hasOwn(ERROR_CODES, failure.reason)
    ? (failure.reason as ErrorReason)
    : 'INTERNAL'
  return new NaruError(reason, failure.message || ERROR_CODES[reason].action, {
    details: failure.details,
    outcome: failure.outcome === 'NONE' ? 'none' : 'unknown',
    ...(failure.retryAfterMs === undefined ? {} : { retryAfterMs: failure.retryAfterMs }),
  })
}
