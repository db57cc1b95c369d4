import type { NodeId, Offset, PartitionId } from '../../base/brands.ts'
import { type ErrorReason, NaruError } from '../../base/errors.ts'

const OF_SEQUENCE: ReadonlySet<ErrorReason> = new Set(['OUT_OF_ORDER_SEQUENCE', 'UNKNOWN_PRODUCER_ID'])

/** Of which partition a refusal speaks. */
export interface LedPlace {
  readonly topic: string
  readonly partition: PartitionId
}

/** C12 */
export function leaderUnheard(place: LedPlace): NaruError {
  return new NaruError(
    'LEADER_NOT_AVAILABLE',
    `${named(place)}: this node has not heard from the controller and may not lead any more; ` +
      'acks=all is safe, and still taken',
    { details: detailsOf(place) },
  )
}

/** C12, where the leader itself has asked for what may depose it. */
export function leadershipMoving(place: LedPlace): NaruError {
  return new NaruError(
    'LEADER_NOT_AVAILABLE',
    `${named(place)}: this node has asked the controller for a change after which another may lead, and has no answer yet: ` +
      'try again; acks=all is safe, and still taken',
    { details: detailsOf(place) },
  )
}

export function notEnoughReplicas(
  place: LedPlace,
  { isr, minInsyncReplicas }: { readonly isr: readonly NodeId[]; readonly minInsyncReplicas: number },
): NaruError {
  return new NaruError(
    'NOT_ENOUGH_REPLICAS',
    `${named(place)}: ${isr.length} replicas are in sync (nodes ${isr.join(', ')}), ` +
      `min.insync.replicas is ${minInsyncReplicas}: nothing was written; try again when more are back`,
    { details: detailsOf(place), retryAfterMs: 200 },
  )
}

/** To those who do not wait for room. */
export function beingHandedOver(place: LedPlace, successor: NodeId): NaruError {
  return new NaruError(
    'LEADER_NOT_AVAILABLE',
    `${named(place)} is being handed over to node ${successor}: nothing was written; try again`,
    { details: detailsOf(place), retryAfterMs: 100 },
  )
}

export function committedEndUnknown(place: LedPlace, isr: readonly NodeId[]): NaruError {
  return new NaruError(
    'LEADER_NOT_AVAILABLE',
    `${named(place)}: its new leader does not know yet where the committed records end, ` +
      `because replicas that are in sync (nodes ${isr.join(', ')}) have not answered: try again`,
    { details: detailsOf(place) },
  )
}

/** Of records that are to be deleted. */
export function behindReadableEnd(
  place: LedPlace,
  { offset, highWatermark }: { readonly offset: Offset; readonly highWatermark: Offset },
): NaruError {
  return new NaruError(
    'OFFSET_OUT_OF_RANGE',
    `cannot delete records of ${named(place)} before offset ${offset}: its readable end is ${highWatermark}`,
    { details: { ...detailsOf(place), highWatermark: String(highWatermark) } },
  )
}

/** In a moment another replica leads, which has what is damaged here (B4): whoever waits and tries again gets it. */
export function leaderDamaged(place: LedPlace, damage: NaruError): NaruError {
  return new NaruError(
    'LEADER_NOT_AVAILABLE',
    `${named(place)}: the copy of this node is damaged, and another replica is to lead (try again; where it is damaged ` +
      'the log of this node says)',
    { cause: damage, details: { ...damage.details, ...detailsOf(place) } },
  )
}

/**
 * What the log says of a batch, if it can be believed. That the records before a batch are not here is proof for its producer
 * that no leader has the batch, and it sends it again under another id; a leader that may be deposed (C12) proves
 * nothing, because others may have stored both.
 */
export function provenBy<T>(place: LedPlace, doubt: () => NaruError | undefined, append: () => T): T {
  try {
    return append()
  } catch (thrown) {
    const because = thrown instanceof NaruError && OF_SEQUENCE.has(thrown.reason) ? doubt() : undefined
    if (because === undefined) throw thrown
    throw new NaruError(
      'LEADER_NOT_AVAILABLE',
      `${because.message}; so it cannot tell: ${(thrown as NaruError).message}`,
      { cause: thrown, details: detailsOf(place) },
    )
  }
}

/** Of what was parked when the leadership ended. */
export function outcomeUnknown(place: LedPlace, because: NaruError): NaruError {
  return new NaruError(
    'UNKNOWN_OUTCOME',
    `${named(place)} stopped being served before the records were known to be stored: ${because.message}`,
    { cause: because, details: { ...detailsOf(place), because: because.reason } },
  )
}

function named({ topic, partition }: LedPlace): string {
  return `"${topic}" partition ${partition}`
}

function detailsOf({ topic, partition }: LedPlace): Record<string, string> {
  return { topic, partition: String(partition) }
}
