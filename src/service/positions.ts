import type { Offset } from '../base/brands.ts'
import { NaruError } from '../base/errors.ts'
import type { PartitionLeader } from '../drivers/replicas/partition-leader.ts'
import type { Position, PositionAt, Stop } from '../wire/messages.ts'
import type { PartitionSource } from './partition-source.ts'
import { invalidRequest } from './request-checks.ts'
import type { ServiceNode } from './service-node.ts'

/** A place in a partition, and the timestamp of the record there if it was found by one. */
export interface FoundPosition {
  readonly offset: Offset
  readonly timestampMs?: number
}

export interface AskedLeader {
  readonly leader: PartitionLeader
  readonly node: Pick<ServiceNode, 'freshMetadata'>
}

/** As long as a new leader takes to know, at most. */
const CONFIRM_MS_MAX = 1_000

/**
 * The end of all that was committed anywhere before the call. What a node reads first after it hung is old: by the time since
 * it heard from the controller (C12) it may seem to lead still, and tell of an end that others are far beyond. So the
 * quorum is asked (A9), once for all who ask at a time.
 */
async function confirmedEnd({ leader, node }: AskedLeader): Promise<Offset> {
  const question = `where "${leader.topic}" partition ${leader.partition} ends`
  await node.freshMetadata.confirm(question, CONFIRM_MS_MAX)
  return leader.committedEnd()
}

/**
 * Where a named place is now. An offset is returned as it was given: whether it must be within what is kept is the
 * caller's to say (`requireReadable`).
 */
export async function findPosition(
  { leader, node }: AskedLeader,
  position: Position | undefined,
  unset: PositionAt,
): Promise<FoundPosition> {
  if (position?.offset !== undefined) {
    // It may be one that an earlier leader has given out.
    if (position.offset > leader.highWatermark) await confirmedEnd({ leader, node })
    return { offset: position.offset }
  }
  const at =
    position?.last === undefined && position?.timestampMs === undefined ? (position?.at ?? unset) : undefined
  if (at === 'EARLIEST') return { offset: leader.logStartOffset }
  const highWatermark = await confirmedEnd({ leader, node })
  if (position?.last !== undefined)
    return { offset: Math.max(leader.logStartOffset, highWatermark - position.last) }
  if (position?.timestampMs !== undefined)
    return (await leader.offsetForTimestamp(position.timestampMs)) ?? { offset: highWatermark }
  if (at === 'LATEST') return { offset: highWatermark }
  // The node that the client called has put the offset in its place, where that has a meaning.
  throw invalidRequest(
    'POSITION_AT_COMMITTED has no meaning here (give an offset, a time, earliest or latest)',
  )
}

/** The offset before which reading stops; undefined: never. */
export async function findStop(
  { leader, node }: AskedLeader,
  stop: Stop | undefined,
): Promise<Offset | undefined> {
  if (stop?.offset !== undefined) return stop.offset
  if (stop?.timestampMs === undefined && stop?.at !== 'CURRENT_END') return undefined
  const highWatermark = await confirmedEnd({ leader, node })
  if (stop.timestampMs === undefined) return highWatermark
  const found = await leader.offsetForTimestamp(stop.timestampMs)
  return Math.min(found?.offset ?? highWatermark, highWatermark)
}

/** What is wrong whatever the partition holds. Throws INVALID_REQUEST. */
export function checkPosition(position: Position | undefined, field: string): void {
  checkNotNegative(position?.offset, `${field}.offset`)
  checkNotNegative(position?.timestampMs, `${field}.timestamp_ms`)
  checkNotNegative(position?.last, `${field}.last`)
}

export function checkStop(stop: Stop | undefined): void {
  checkNotNegative(stop?.offset, 'stop.offset')
  checkNotNegative(stop?.timestampMs, 'stop.timestamp_ms')
}

/** Throws OFFSET_OUT_OF_RANGE unless reading may start at the offset. */
export function requireReadable(leader: PartitionSource, offset: Offset): void {
  const { topic, partition, logStartOffset, highWatermark } = leader
  if (offset >= logStartOffset && offset <= highWatermark) return
  throw new NaruError(
    'OFFSET_OUT_OF_RANGE',
    `offset ${offset} of "${topic}" partition ${partition} is not there: it holds ${logStartOffset} up to ${highWatermark} ` +
      '(end exclusive); start within that, or at earliest or latest',
    {
      details: {
        topic,
        partition: String(partition),
        offset: String(offset),
        log_start_offset: String(logStartOffset),
        high_watermark: String(highWatermark),
      },
    },
  )
}

function checkNotNegative(value: number | undefined, field: string): void {
  if (value !== undefined && value < 0) throw invalidRequest(`${field} is ${value}, it must be 0 or more`)
}
