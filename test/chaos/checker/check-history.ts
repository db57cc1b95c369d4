import { ANOMALIES, type Anomaly, type AnomalyKind, AnomalyList } from './anomalies.ts'
import { checkGroups } from './group-checks.ts'
import { type HistoryEvent, type Operation, operationsOf } from './history.ts'
import { checkOrder } from './order-checks.ts'
import { checkRealTime } from './real-time-checks.ts'
import { checkValues } from './value-checks.ts'
import { VersionOrder } from './version-order.ts'

export interface CheckOptions {
  /** Producers have ids, so that no retry is stored twice. Default true. */
  readonly isIdempotent?: boolean
}

export interface Verdict {
  /** `unknown`: nothing is wrong, and something was not looked at. */
  readonly validity: 'valid' | 'invalid' | 'unknown'
  readonly anomalies: readonly Anomaly[]
  /** Of all, not only of those that are told. */
  readonly counts: ReadonlyMap<AnomalyKind, number>
  /** What was not looked at, and why. */
  readonly unknown: readonly string[]
  readonly partitions: number
  readonly sends: { readonly ok: number; readonly fail: number; readonly info: number }
  /** Values that were read, each partition's once. */
  readonly valuesRead: number
  readonly worstLagMs: number
}

/**
 * Holds a history to what a log promises. A log is the easy case: each append tells its place, so nothing has to be
 * searched for, and one pass in O(n log n) over each partition is enough. What ended with an unknown outcome
 * may have been stored, once, at any time since, or never.
 */
export function checkHistory(events: Iterable<HistoryEvent>, options: CheckOptions = {}): Verdict {
  const all = operationsOf(events)
  const isDisturbance = ({ op }: Operation) => op === 'hang' || op === 'unrest'
  const disturbances = all.filter(isDisturbance)
  const operations = disturbances.length === 0 ? all : all.filter(one => !isDisturbance(one))
  const anomalies = new AnomalyList()
  const unknown: string[] = []
  const sends = { ok: 0, fail: 0, info: 0 }
  let valuesRead = 0
  let worstLagMs = 0
  const partitions = byPartition(operations)
  for (const [partition, own] of partitions) {
    for (const one of own) if (one.op === 'send') sends[one.outcome]++
    const order = new VersionOrder(partition, own, anomalies)
    checkValues(partition, own, order, anomalies)
    checkOrder(partition, own, order, anomalies)
    checkGroups(partition, own, order, anomalies)
    worstLagMs = Math.max(
      worstLagMs,
      checkRealTime(partition, own, { order, disturbances }, anomalies).worstLagMs,
    )
    valuesRead += order.firstReads.size
    for (const one of own)
      if (one.op === 'drain' && one.outcome !== 'ok' && !own.some(other => isDrainOf(one.node, other)))
        unknown.push(
          `${partition} was not read to its end by way of node ${one.node}: ${one.error ?? 'cut short'}`,
        )
    if (!own.some(one => one.op === 'drain')) unknown.push(`${partition} was not read in the end`)
  }
  const isFatal = (kind: AnomalyKind) =>
    !('isAllowed' in ANOMALIES[kind]) &&
    (options.isIdempotent !== false || !('needsIdempotence' in ANOMALIES[kind]))
  const isInvalid = [...anomalies.counts.keys()].some(isFatal)
  return {
    validity: isInvalid ? 'invalid' : unknown.length > 0 ? 'unknown' : 'valid',
    anomalies: anomalies.found,
    counts: anomalies.counts,
    unknown,
    partitions: partitions.size,
    sends,
    valuesRead,
    worstLagMs,
  }
}

function isDrainOf(node: number | undefined, one: Operation): boolean {
  return one.op === 'drain' && one.outcome === 'ok' && one.node === node
}

function byPartition(operations: readonly Operation[]): Map<string, Operation[]> {
  const partitions = new Map<string, Operation[]>()
  for (const one of operations) {
    const own = partitions.get(one.partition)
    if (own === undefined) partitions.set(one.partition, [one])
    else own.push(one)
  }
  return partitions
}
