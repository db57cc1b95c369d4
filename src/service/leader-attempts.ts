import { type ErrorReason, NaruError } from '../base/errors.ts'
import type { MessageStream } from '../ports/transport.ts'

/** Rule E2: who waits longer than this for a leader is better told so. */
export const LEADER_RETRY_MS_MAX = 10_000
/** Between attempts; a change of the metadata comes before. */
export const LEADER_PAUSE_MS = { firstMs: 20, maxMs: 250 }

/** Failures that say nothing of the call itself: another leader, or this one in a moment, may take it. */
const OF_THE_LEADER: ReadonlySet<ErrorReason> = new Set([
  'NOT_LEADER',
  'LEADER_NOT_AVAILABLE',
  'FENCED_LEADER_EPOCH',
  'CONNECTION_FAILED',
  'NODE_STARTING',
  'NODE_DRAINING',
])

/** Whether somebody else, or the same leader later, may do it; whether it may be done yet is not asked. */
export function isOfTheLeader({ reason }: NaruError): boolean {
  return OF_THE_LEADER.has(reason)
}

/** The client knows where leaders are: it gets NOT_LEADER with a hint instead of being forwarded. */
export function isDirect(metadata: MessageStream['metadata']): boolean {
  return metadata['naru-direct'] === '1'
}

/** What the client of the entry node is told when nobody took its call: it never needs to know what a leader is. */
export function noLeaderTookIt(of: {
  what: string
  waitedMs: number
  last: NaruError
  /** Why there will be none (`missingQuorum`). */
  missing: string
}): NaruError {
  const { what, waitedMs, last, missing } = of
  return new NaruError(
    'LEADER_NOT_AVAILABLE',
    `${what}: no leader took it within ${Math.round(waitedMs)} ms: ${last.message}${missing} (nothing was done; try again)`,
    { cause: last, details: last.details },
  )
}
