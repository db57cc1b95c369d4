import { LogDirectory } from '../../src/log/log-directory.ts'
import type { PartitionOpenOptions } from '../../src/log/log-directory-options.ts'
import { PartitionLog } from '../../src/log/partition-log.ts'
import type { Disk } from '../../src/ports/disk.ts'
import { LeaderState } from '../../src/replication/leader-state.ts'

export interface ReplicaProbe {
  /** A partition's log is open, sound or in quarantine. */
  onOpened(disk: Disk, options: PartitionOpenOptions, log: PartitionLog): void
  /** This log's node leads from here on. */
  onLeaderBegins(log: PartitionLog, state: LeaderState): void
  /** Before it moves. */
  onHighWatermark(log: PartitionLog, offset: number): void
  /** Durably cut, or emptied. */
  onCut(log: PartitionLog, how: 'truncated' | 'reset'): void
  onRepeatedBatch(log: PartitionLog): void
  onRefusedBatch(log: PartitionLog, batch: Buffer, thrown: unknown): void
}

/** Looks into the replicas of all nodes of this process, as `attachProbe` does into their quorum. */
export function attachReplicaProbe(probe: ReplicaProbe): () => void {
  const { openPartition } = LogDirectory.prototype
  const { beginGeneration, truncateTo, resetTo, appendAsLeader } = PartitionLog.prototype
  const { begin } = LeaderState.prototype
  const end = Object.getOwnPropertyDescriptor(PartitionLog.prototype, 'highWatermark') as PropertyDescriptor
  let newest: PartitionLog | undefined

  LogDirectory.prototype.openPartition = async function (options) {
    const log = await openPartition.call(this, options)
    probe.onOpened(this.resources.disk, options, log)
    return log
  }
  PartitionLog.prototype.beginGeneration = function () {
    newest = this
    return beginGeneration.call(this)
  }
  // A log's new generation begins right before the leader of it does, in one turn.
  LeaderState.prototype.begin = function () {
    if (newest) probe.onLeaderBegins(newest, this)
    return begin.call(this)
  }
  Object.defineProperty(PartitionLog.prototype, 'highWatermark', {
    ...end,
    set(this: PartitionLog, offset: number) {
      probe.onHighWatermark(this, offset)
      end.set?.call(this, offset)
    },
  })
  PartitionLog.prototype.truncateTo = async function (offset) {
    const endOffset = await truncateTo.call(this, offset)
    probe.onCut(this, 'truncated')
    return endOffset
  }
  PartitionLog.prototype.resetTo = async function (offset) {
    await resetTo.call(this, offset)
    probe.onCut(this, 'reset')
  }
  PartitionLog.prototype.appendAsLeader = function (batch, options) {
    try {
      const result = appendAsLeader.call(this, batch, options)
      if (result.kind !== 'appended') probe.onRepeatedBatch(this)
      return result
    } catch (thrown) {
      probe.onRefusedBatch(this, batch, thrown)
      throw thrown
    }
  }
  return () => {
    LogDirectory.prototype.openPartition = openPartition
    Object.assign(PartitionLog.prototype, { beginGeneration, truncateTo, resetTo, appendAsLeader })
    LeaderState.prototype.begin = begin
    Object.defineProperty(PartitionLog.prototype, 'highWatermark', end)
  }
}
