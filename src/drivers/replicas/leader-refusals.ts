import type { NodeId, PartitionId } from '../../base/brands.ts'
import { NaruError } from '../../base/errors.ts'

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
