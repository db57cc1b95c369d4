import type { AnomalyList } from './anomalies.ts'
import { isRead, type Operation } from './history.ts'
import type { VersionOrder } from './version-order.ts'

interface LastPlace {
  readonly index: number
  readonly operation: Operation
}

/**
 * What each process saw, one operation after another: A7 to A10. `operations` are those of one partition by invocation;
 * a process has one poll at a time, and its sends count in the order in which they were begun.
 */
export function checkOrder(
  partition: string,
  operations: readonly Operation[],
  order: VersionOrder,
  anomalies: AnomalyList,
): void {
  const sends = new Map<string, LastPlace>()
  const polls = new Map<string, LastPlace>()
  for (const one of operations) {
    if (one.op === 'send') checkSend(partition, one, { order, sends, anomalies })
    else if (one.op === 'assign') {
      // Where it reads from is as good as a record read before that.
      if (one.startOffset === undefined) polls.delete(one.process)
      else polls.set(one.process, { index: order.indexFrom(one.startOffset) - 1, operation: one })
    } else if (isRead(one)) checkRead(partition, one, { order, polls, anomalies })
  }
}

function checkSend(
  partition: string,
  send: Operation,
  { order, sends, anomalies }: { order: VersionOrder; sends: Map<string, LastPlace>; anomalies: AnomalyList },
): void {
  const before = sends.get(send.process)
  let last: number | undefined
  for (const [at, value] of send.values.entries()) {
    const offset = order.offsetOf(send, at)
    if (offset === undefined) continue
    const index = order.indexOf(offset)
    const what = `${value} is at offset ${offset}`
    if (last !== undefined && index <= last)
      anomalies.add(
        'internal-nonmonotonic-send',
        partition,
        `${what}, the value before it at ${order.offsets[last]}`,
        [send],
      )
    else if (before !== undefined && index <= before.index)
      anomalies.add(
        'nonmonotonic-send',
        partition,
        `${what}, and ${send.process} had sent what is at ${order.offsets[before.index]} before`,
        [before.operation, send],
      )
    last = Math.max(last ?? -1, index)
  }
  if (last !== undefined && last > (before?.index ?? -1))
    sends.set(send.process, { index: last, operation: send })
}

function checkRead(
  partition: string,
  read: Operation,
  { order, polls, anomalies }: { order: VersionOrder; polls: Map<string, LastPlace>; anomalies: AnomalyList },
): void {
  const [first] = read.offsets
  if (first === undefined) return
  const before = startOf(read, order, polls)
  if (before !== undefined) {
    const step = order.indexOf(first) - before.index
    if (step !== 1) {
      const expected = order.offsets[before.index + 1]
      const what = `${read.process} was given offset ${first}, and next was ${expected}`
      anomalies.add(step > 1 ? 'poll-skip' : 'nonmonotonic-poll', partition, what, [before.operation, read])
    }
  }
  let index = order.indexOf(first)
  for (const offset of read.offsets.slice(1)) {
    const next = order.indexOf(offset)
    if (next - index !== 1) {
      const what = `offset ${offset} comes after ${order.offsets[index]}`
      const kind = next - index > 1 ? 'internal-poll-skip' : 'internal-nonmonotonic-poll'
      anomalies.add(kind, partition, what, [read, order.at(order.offsets[index + 1] ?? offset)?.operation])
    }
    index = next
  }
  if (read.op === 'poll') polls.set(read.process, { index, operation: read })
}

/** The place before the first record that this read should bring; undefined: it may begin anywhere. */
function startOf(
  read: Operation,
  order: VersionOrder,
  polls: ReadonlyMap<string, LastPlace>,
): LastPlace | undefined {
  if (read.op === 'poll') return polls.get(read.process)
  return { index: order.indexFrom(read.startOffset ?? 0) - 1, operation: read }
}
