import { assert } from '../base/assert.ts'
import type { NodeId } from '../base/brands.ts'
import type { PartitionChangedRecord, PartitionState } from './metadata-record.ts'

/** What a partition is after a change. Asserts that the change is the next one and leaves a valid state. */
export function changePartition(before: PartitionState, change: PartitionChangedRecord): PartitionState {
  const reassignment = change.reassignment === undefined ? before.reassignment : change.reassignment
  const after: PartitionState = {
    replicas: change.replicas ?? before.replicas,
    isr: change.isr ?? before.isr,
    elr: change.elr ?? before.elr,
    leader: change.leader === undefined ? before.leader : change.leader,
    leaderEpoch: change.leaderEpoch ?? before.leaderEpoch,
    partitionEpoch: change.partitionEpoch,
    lastUncleanEpoch:
      change.lastUncleanEpoch === undefined ? before.lastUncleanEpoch : change.lastUncleanEpoch,
    ...(reassignment ? { reassignment } : {}),
  }
  const name = () => `partition ${change.partition} of topic id ${change.topicId}`
  assert(
    after.partitionEpoch === before.partitionEpoch + 1,
    () => `${name()}: partition epoch ${after.partitionEpoch} after ${before.partitionEpoch}`,
  )
  assert(after.leaderEpoch >= before.leaderEpoch, () => `${name()}: leader epoch went back`)
  assert(
    after.leader === before.leader || after.leaderEpoch > before.leaderEpoch,
    () => `${name()}: a new leader without a new leader epoch`,
  )
  checkPartitionState(after, name)
  return after
}

/** The invariants that `PartitionState` names, less those that need the settings of the topic. */
export function checkPartitionState(state: PartitionState, name: () => string): void {
  const { replicas, isr, elr, leader, reassignment } = state
  assert(replicas.length > 0 && isDistinct(replicas), () => `${name()}: bad replicas ${replicas}`)
  assert(
    isr.every(node => replicas.includes(node)),
    () => `${name()}: ISR ${isr} is not within the replicas ${replicas}`,
  )
  assert(
    elr.every(node => replicas.includes(node) && !isr.includes(node)),
    () => `${name()}: ELR ${elr} must be replicas outside the ISR ${isr}`,
  )
  if (reassignment !== undefined) {
    const { original, target } = reassignment
    const all = new Set([...original, ...target])
    assert(
      original.length > 0 &&
        target.length > 0 &&
        all.size === replicas.length &&
        replicas.every(n => all.has(n)),
      () => `${name()}: replicas ${replicas} are not those of its reassignment from ${original} to ${target}`,
    )
  }
  assert(
    leader === null || isr.includes(leader),
    () => `${name()}: leader ${leader} is not in the ISR ${isr}`,
  )
}

/** A few at most: cheaper than a set. */
function isDistinct(nodes: readonly NodeId[]): boolean {
  return nodes.every((node, at) => nodes.indexOf(node) === at)
}
