import type { AnomalyList } from './anomalies.ts'
import type { Operation } from './history.ts'
import type { VersionOrder } from './version-order.ts'

/** What was stored and what was read, whoever did it and when: A2, A3, A4, A11, A15, A16, and offsets without a record. */
export function checkValues(
  partition: string,
  operations: readonly Operation[],
  order: VersionOrder,
  anomalies: AnomalyList,
): void {
  for (const [value, offsets] of order.valuesWithPlaces()) {
    if (offsets.length < 2) continue
    const sightings = offsets.map(offset => order.at(offset)?.operation)
    const what = `${value} is at offsets ${offsets.join(', ')}`
    anomalies.add('duplicate', partition, what, [order.writers.get(value), ...sightings])
  }
  for (const [value, reader] of order.firstReads) {
    const writer = order.writers.get(value)
    const what = `${value} at offset ${order.placesOf(value).join(', ')}`
    if (writer === undefined) anomalies.add('unexpected', partition, what, [reader])
    else if (writer.outcome === 'fail') anomalies.add('aborted-read', partition, what, [writer, reader])
  }
  const drains = operations.filter(one => one.op === 'drain' && one.outcome === 'ok')
  checkLosses(partition, { order, drains }, anomalies)
  checkDrains(partition, drains, anomalies)
}

/** Acknowledged values that nobody read. */
function checkLosses(
  partition: string,
  { order, drains }: { order: VersionOrder; drains: readonly Operation[] },
  anomalies: AnomalyList,
): void {
  for (const [value, writer] of order.writers) {
    if (writer.outcome !== 'ok' || order.firstReads.has(value)) continue
    const what = `${value}, acknowledged at offset ${order.placesOf(value).join(', ')}`
    const index = order.lastIndexOf(value)
    if (index !== undefined && index <= order.lastReadIndex) {
      const after = order.at(order.offsets[order.lastReadIndex] as number)?.operation
      anomalies.add('lost-write', partition, what, [writer, after])
    } else if (drains.length > 0) anomalies.add('unseen', partition, what, [writer, drains.at(-1)])
  }
}

function checkDrains(partition: string, drains: readonly Operation[], anomalies: AnomalyList): void {
  const union = new Map<number, { value: string; drain: Operation }>()
  for (const drain of drains)
    for (const [at, offset] of drain.offsets.entries())
      if (!union.has(offset)) union.set(offset, { value: drain.values[at] as string, drain })
  const offsets = [...union.keys()].sort((a, b) => a - b)
  for (const drain of drains) {
    const found = new Map(drain.offsets.map((offset, at) => [offset, drain.values[at]]))
    const missing = offsets.filter(offset => found.get(offset) !== union.get(offset)?.value)
    const [first, last] = [missing[0], missing.at(-1)]
    if (first !== undefined && last !== undefined) {
      const place =
        first === offsets[0] ? 'at the beginning' : last === offsets.at(-1) ? 'at the end' : 'within'
      const what =
        `node ${drain.node} lacks, or has otherwise, ${missing.length} of ${offsets.length} records ${place}: ` +
        `offsets ${first} to ${last}`
      anomalies.add('divergent-final-reads', partition, what, [drain, union.get(first)?.drain])
    }
    checkGaps(partition, { drain, found }, anomalies)
  }
}

/** Offsets start at 0 and rise by 1. */
function checkGaps(
  partition: string,
  { drain, found }: { drain: Operation; found: ReadonlyMap<number, unknown> },
  anomalies: AnomalyList,
): void {
  const end = drain.endOffset ?? 0
  for (let offset = 0; offset < end; offset++) {
    if (found.has(offset)) continue
    anomalies.add('offset-gap', partition, `offset ${offset} holds nothing, the end is ${end}`, [drain])
    return
  }
}
