import type { NodeId } from '../base/brands.ts'
import { type ErrorReason, NaruError } from '../base/errors.ts'
import type { MethodPath } from '../ports/transport.ts'

/** Failures of one attempt that say nothing of the call itself: another controller, or this one later, may take it. */
const OF_THE_ATTEMPT: ReadonlySet<ErrorReason> = new Set([
  'NOT_CONTROLLER',
  'CONTROLLER_NOT_AVAILABLE',
  'CONNECTION_FAILED',
  'DEADLINE_EXCEEDED',
  'NODE_STARTING',
  'NODE_DRAINING',
  'STORAGE_OFFLINE',
  'CANCELLED',
  'CLOSED',
])

/** Rule E2: only with proof that the attempt did nothing, or where doing it again changes nothing. */
export function isTriedAgain(error: NaruError, call: { readonly repeatable: boolean }): boolean {
  return OF_THE_ATTEMPT.has(error.reason) && (error.outcome === 'none' || call.repeatable)
}

/** What the caller is told of an attempt that is not made again. */
export function finalError(error: NaruError, method: MethodPath): NaruError {
  const isBroken = OF_THE_ATTEMPT.has(error.reason) && error.outcome === 'unknown'
  if (!isBroken || error.reason === 'DEADLINE_EXCEEDED') return error
  return new NaruError(
    'UNKNOWN_OUTCOME',
    `${method} was on its way to the controller, and whether it was done is not known: ${error.message} (look before you try again)`,
    { cause: error, details: { ...error.details, method } },
  )
}

export function noController(of: {
  method: MethodPath
  repeatable: boolean
  waitedMs: number
  last: NaruError
  /** Why there will be none (`missingQuorum`). */
  missing: string
}): NaruError {
  const { method, repeatable, waitedMs, last, missing } = of
  const nothing = repeatable ? '' : ', nothing was done'
  return new NaruError(
    'CONTROLLER_NOT_AVAILABLE',
    `${method}: no controller took it within ${Math.round(waitedMs)} ms${nothing}: ${last.message}${missing} (try again; naru cluster quorum shows which voters are missing)`,
    { cause: last, details: { method } },
  )
}

export function noLeaderKnown(): NaruError {
  return new NaruError('CONTROLLER_NOT_AVAILABLE', 'this node knows of no leader of the metadata quorum')
}

export function noAddressKnown(leaderId: NodeId): NaruError {
  return new NaruError(
    'CONTROLLER_NOT_AVAILABLE',
    `the controller is node ${leaderId}, and this node does not know its address`,
    { details: { leader_id: String(leaderId) } },
  )
}

/** It has not even answered a greeting: what would have followed was not sent. */
export function unreachable(leaderId: NodeId, address: string, cause: NaruError): NaruError {
  return new NaruError(
    'CONNECTION_FAILED',
    `the controller, node ${leaderId}, cannot be reached at ${address}: ${cause.message}`,
    { cause, outcome: 'none', details: { leader_id: String(leaderId), address } },
  )
}

export function notApplied(method: MethodPath, cause: NaruError): NaruError {
  return new NaruError(
    'DEADLINE_EXCEEDED',
    `${method} was answered by the controller, but this node has not applied what it did: ${cause.message} (look at another node, or later)`,
    { cause, outcome: 'unknown', details: { method } },
  )
}

export function tooLate(
  call: { readonly method: MethodPath; readonly timeoutMs: number },
  outcome: 'none' | 'unknown',
): NaruError {
  const { method, timeoutMs } = call
  return new NaruError(
    'DEADLINE_EXCEEDED',
    `${method} took longer than ${Math.round(timeoutMs)} ms${outcome === 'none' ? '' : ', and may be done yet: look before you try again'}`,
    { outcome, details: { method } },
  )
}
