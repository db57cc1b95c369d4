import type { ArrayRecord } from './array-log.ts'
import type { SimulatedController } from './simulated-controller.ts'
import type { SimulatedReplica } from './simulated-replica.ts'

/** What must hold of one partition after every event; the numbers are those of the project's list of invariants. */
export class ReplicationOracle {
  /** What some leader called committed: the true high watermark is its length. */
  readonly committed: ArrayRecord[] = []
  readonly acknowledged = new Map<number, string>()
  /** The highest log start that retention gave any replica. */
  retainedFrom = 0
  readonly #partitionEpochs = new Map<string, number>()

  /** P4: called in the moment in which a leader moves its HW. */
  onHighWatermark(leader: SimulatedReplica, replicas: readonly SimulatedReplica[]): void {
    const { state } = leader
    check(state, 'who moves HW leads')
    check(
      state.isr.length >= leader.minInsyncReplicas,
      `P4: HW of ${leader.id} moved with an ISR of ${state.isr}`,
    )
    for (const id of state.maximalIsr) {
      const replica = replicas.find(one => one.id === id)
      // What it acknowledged was true of the disk that it had then.
      if (!replica || leader.directoryOf(id) !== replica.directoryId) continue
      // Nor does a deposed leader know that it was found damaged and emptied since; those elected since have it all.
      if (replica.emptiedInEpoch > state.leaderEpoch) continue
      // Nor that it is no replica any more, or was none for a while.
      if (replica.leftInEpoch > state.partitionEpoch) continue
      const { durable } = replica
      const from = Math.max(leader.log.logStartOffset, this.retainedFrom)
      for (let at = from; at < state.highWatermark; at++)
        check(
          same(durable[at], leader.log.records[at]),
          `P4: ${id} lacks offset ${at} below the HW of ${leader.id}`,
        )
    }
    for (let at = leader.log.logStartOffset; at < state.highWatermark; at++) {
      const record = leader.log.records[at] as ArrayRecord
      const before = this.committed[at]
      if (before) check(same(before, record), `P11: offset ${at} was ${show(before)}, now ${show(record)}`)
      else this.committed.push(record)
    }
  }

  onAcknowledged(offset: number, value: string): void {
    check(
      this.committed[offset]?.value === value,
      `P1: ${value} was acknowledged at ${offset} without being committed`,
    )
    this.acknowledged.set(offset, value)
  }

  /** P5: the controller takes a replica into the ISR. */
  onEnter(replica: SimulatedReplica): void {
    check(
      this.#hasCommitted(replica.durable),
      `P5: ${replica.id} enters the ISR without all that is committed`,
    )
  }

  checkAll(replicas: readonly SimulatedReplica[], controller: SimulatedController): void {
    const { state } = controller
    for (const replica of replicas) {
      this.#checkOffsets(replica)
      const isNamed = state.isr.includes(replica.id) || state.elr.includes(replica.id)
      const isElectable = isNamed && !isReplaced(replica, controller)
      // A replica that runs, and one that may run again.
      if (isElectable)
        check(this.#hasCommitted(replica.durable), `P2: ${replica.id} may be elected, and lacks records`)
      if (replica.state?.leaderEpoch === state.leaderEpoch) this.#checkLeader(replica, controller)
    }
    for (const a of replicas) for (const b of replicas) if (a.id < b.id) checkMatching(a, b)
    for (const [offset, value] of this.acknowledged)
      check(this.committed[offset]?.value === value, `P1: the acknowledged ${value} is not at ${offset}`)
  }

  #checkLeader(leader: SimulatedReplica, { state }: SimulatedController): void {
    check(this.#hasCommitted(leader.log.records), `P1: the leader ${leader.id} lacks committed records`)
    const { isr = [], maximalIsr = [] } = leader.state ?? {}
    if (isr.length < leader.minInsyncReplicas) return
    for (const id of [...state.isr, ...state.elr])
      check(maximalIsr.includes(id), `P3: ${id} may be elected and is not in the maximal ISR ${maximalIsr}`)
  }

  #checkOffsets(replica: SimulatedReplica): void {
    const { logStartOffset, highWatermark, logEndOffset, records } = replica.log
    check(
      logStartOffset <= highWatermark && highWatermark <= logEndOffset,
      `P14: ${replica.id}: ${logStartOffset} <= ${highWatermark} <= ${logEndOffset}`,
    )
    records.forEach((record, at) => {
      check(record.epoch >= (records[at - 1]?.epoch ?? 0), `P7: epochs of ${replica.id} fall at ${at}`)
    })
    const process = `${replica.id} ${replica.nodeEpoch}`
    const before = this.#partitionEpochs.get(process) ?? 0
    check(replica.partitionEpoch >= before || !replica.isUp, `P12: metadata of ${replica.id} went back`)
    this.#partitionEpochs.set(process, replica.partitionEpoch)
  }

  #hasCommitted(records: readonly ArrayRecord[]): boolean {
    return this.committed.every((record, at) => at < this.retainedFrom || same(records[at], record))
  }
}

/** What a replaced disk held is out of the count from its next registration on (A1), and gone before that. */
function isReplaced(replica: SimulatedReplica, controller: SimulatedController): boolean {
  return controller.node(replica.id)?.directoryId !== replica.directoryId
}

/** P7: equal up to the smaller HW. */
function checkMatching(a: SimulatedReplica, b: SimulatedReplica): void {
  const to = Math.min(a.log.highWatermark, b.log.highWatermark)
  const from = Math.max(a.log.logStartOffset, b.log.logStartOffset)
  for (let at = from; at < to; at++)
    check(same(a.log.records[at], b.log.records[at]), `P7: ${a.id} and ${b.id} differ at ${at} below ${to}`)
}

function same(a: ArrayRecord | undefined, b: ArrayRecord | undefined): boolean {
  return a?.epoch === b?.epoch && a?.value === b?.value
}

function show(record: ArrayRecord): string {
  return `${record.value} of epoch ${record.epoch}`
}

export function check(condition: unknown, message: string): asserts condition {
  if (!condition) throw new Error(message)
}
