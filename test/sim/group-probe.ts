import { GroupReader } from '../../src/client/consumer/group-reader.ts'
import type { OffsetOf } from '../../src/client/consumer/offset-commits.ts'
import { PartitionView } from '../../src/drivers/groups/partition-view.ts'
import { PartitionLeader } from '../../src/drivers/replicas/partition-leader.ts'
import { GroupCoordinator } from '../../src/groups/group-coordinator.ts'
import { MachineRuntime } from '../../src/machine/machine-runtime.ts'
import { baseOffsetAt, crcAt, leaderEpochAt } from '../../src/records/batch-header.ts'
import type { FoundBatch } from '../harness/sim-segments.ts'

export interface GroupProbe {
  /** A coordinator has appended this. */
  onAppended(batch: Buffer, name: Pick<FoundBatch, 'baseOffset' | 'leaderEpoch' | 'crc'>): void
  /** A coordinator begins; `isCommitted`: all that it has found is. */
  onTakeover(coordinator: GroupCoordinator, found: { readonly isCommitted: boolean }): void
  /** A node has brought its view of a partition of `__groups` so far. */
  onViewed(partition: number, appliedEnd: number): void
  /** A member has the answer that these are committed. */
  onCommitted(member: string, offsets: readonly OffsetOf[]): void
}

/** Looks into the coordinators and members of all processes of a simulation, as `attachProbe` does into the quorum. */
export function attachGroupProbe(probe: GroupProbe): () => void {
  const { appendOwn } = PartitionLeader.prototype
  const { timersAtTakeover } = GroupCoordinator.prototype
  const { lead } = MachineRuntime.prototype
  const { onOpened, gather } = PartitionView.prototype
  const { commit } = GroupReader.prototype
  const partitions = new WeakMap<PartitionView, number>()
  let isCommitted = false

  PartitionLeader.prototype.appendOwn = function (batch) {
    const endOffset = appendOwn.call(this, batch)
    const name = {
      baseOffset: baseOffsetAt(batch, 0),
      leaderEpoch: leaderEpochAt(batch, 0),
      crc: crcAt(batch, 0),
    }
    probe.onAppended(batch, name)
    return endOffset
  }
  // A coordinator leads its machine and sets its timers in one turn.
  MachineRuntime.prototype.lead = function () {
    isCommitted = this.committedEndIndex === this.endIndex
    lead.call(this)
  }
  GroupCoordinator.prototype.timersAtTakeover = function (...args) {
    probe.onTakeover(this, { isCommitted })
    return timersAtTakeover.apply(this, args)
  }
  PartitionView.prototype.onOpened = function (of) {
    partitions.set(this, of.partition)
    return onOpened.call(this, of)
  }
  PartitionView.prototype.gather = async function (bytesMax) {
    const step = await gather.call(this, bytesMax)
    if (!step) return undefined
    return {
      ...step,
      applied: () => {
        step.applied()
        probe.onViewed(partitions.get(this) as number, this.appliedEnd)
      },
    }
  }
  GroupReader.prototype.commit = async function (offsets) {
    const outcomes = await commit.call(this, offsets)
    const stored = offsets.filter((_, index) => outcomes[index] === undefined)
    probe.onCommitted(this.membership.member, stored)
    return outcomes
  }
  return () => {
    PartitionLeader.prototype.appendOwn = appendOwn
    MachineRuntime.prototype.lead = lead
    GroupCoordinator.prototype.timersAtTakeover = timersAtTakeover
    Object.assign(PartitionView.prototype, { onOpened, gather })
    GroupReader.prototype.commit = commit
  }
}
