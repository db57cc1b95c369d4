import type { AnomalyList } from './anomalies.ts'
import { isRead, type Operation } from './history.ts'
import type { VersionOrder } from './version-order.ts'

export interface RealTimeMetrics {
  /** A13: the longest time by which a read had been overtaken by acknowledged sends when it was begun. */
  readonly worstLagMs: number
}

interface Known {
  /** Exclusive. */
  readonly offset: number
  readonly operation: Operation
}

/**
 * What ended before something else began: a send is stored behind all that were acknowledged before it (A9 across
 * processes), a leader that is asked for the end names none before what anybody had been told (A14).
 */
export function checkRealTime(
  partition: string,
  operations: readonly Operation[],
  { order, disturbances }: { order: VersionOrder; disturbances: readonly Operation[] },
  anomalies: AnomalyList,
): RealTimeMetrics {
  let acknowledged: Known | undefined
  let end: Known | undefined
  for (const { one, isBegin } of moments(operations)) {
    if (!isBegin) {
      if (one.outcome !== 'ok') continue
      acknowledged = later(acknowledged, one.op === 'send' ? lastOffsetOf(one) : undefined, one)
      end = later(end, Math.max(lastOffsetOf(one) ?? -1, (one.endOffset ?? 0) - 1), one)
      continue
    }
    if (one.op === 'send' && acknowledged !== undefined) {
      const offset = order.offsetOf(one, 0)
      if (offset !== undefined && offset < acknowledged.offset)
        anomalies.add(
          'reordered-send',
          partition,
          `${one.values[0]} is at offset ${offset}, and ${acknowledged.offset - 1} was acknowledged before it was sent`,
          [acknowledged.operation, one],
        )
    }
    if (one.endOffset !== undefined && end !== undefined && one.endOffset < end.offset)
      anomalies.add(
        one.op === 'fetch' && disturbances.some(other => isDisturbed(one, other))
          ? 'stale-fetch'
          : 'stale-read',
        partition,
        `${one.op} by way of node ${one.node ?? '?'} told of end ${one.endOffset}, and offset ${end.offset - 1} was known before`,
        [end.operation, one],
      )
  }
  return { worstLagMs: worstLag(operations) }
}

/** After a node goes on, what had waited in its sockets is answered before it hears anything new. */
const WAKING_MS_MAX = 1_000

/** At the node that hung; at any in times of unrest, for it passes on what another one leads. */
function isDisturbed(one: Operation, by: Operation): boolean {
  if (by.op === 'hang' && one.node !== by.node) return false
  if ((one.completedMs ?? 0) < by.invokedMs) return false
  return one.invokedMs <= (by.completedMs ?? Number.POSITIVE_INFINITY) + WAKING_MS_MAX
}

/** Begins and ends in order; of two at the same time the begin, so that they overlap. */
function moments(operations: readonly Operation[]): { one: Operation; isBegin: boolean; atMs: number }[] {
  const all: { one: Operation; isBegin: boolean; atMs: number }[] = []
  for (const one of operations) {
    all.push({ one, isBegin: true, atMs: one.invokedMs })
    if (one.completedMs !== undefined) all.push({ one, isBegin: false, atMs: one.completedMs })
  }
  return all.sort((a, b) => a.atMs - b.atMs || Number(b.isBegin) - Number(a.isBegin))
}

function later(
  known: Known | undefined,
  lastOffset: number | undefined,
  operation: Operation,
): Known | undefined {
  if (lastOffset === undefined || lastOffset < 0 || lastOffset < (known?.offset ?? 0)) return known
  return { offset: lastOffset + 1, operation }
}

function lastOffsetOf({ offsets }: Operation): number | undefined {
  let last: number | undefined
  for (const offset of offsets) if (last === undefined || offset > last) last = offset
  return last
}

function worstLag(operations: readonly Operation[]): number {
  const acknowledged = operations
    .filter(one => one.op === 'send' && one.outcome === 'ok')
    .map(one => ({ offset: lastOffsetOf(one) ?? -1, atMs: one.completedMs ?? Number.POSITIVE_INFINITY }))
    .sort((a, b) => a.offset - b.offset)
  // The earliest acknowledgement of anything at this place or behind it.
  const since: number[] = new Array(acknowledged.length + 1).fill(Number.POSITIVE_INFINITY)
  for (let at = acknowledged.length - 1; at >= 0; at--)
    since[at] = Math.min(since[at + 1] as number, acknowledged[at]?.atMs ?? 0)
  let worst = 0
  for (const one of operations) {
    // A group goes on where it was, however long nobody did.
    const isFollowing = one.op !== 'drain' && one.group === undefined && isRead(one)
    const last = isFollowing ? lastOffsetOf(one) : undefined
    if (last === undefined) continue
    let low = 0
    let high = acknowledged.length
    while (low < high) {
      const middle = (low + high) >> 1
      if ((acknowledged[middle]?.offset ?? 0) <= last) low = middle + 1
      else high = middle
    }
    worst = Math.max(worst, one.invokedMs - (since[low] as number))
  }
  return worst
}
