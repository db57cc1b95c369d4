import { NaruError } from '../../src/base/errors.ts'
import type { PartitionLog } from '../../src/log/partition-log.ts'
import type { MetadataImage } from '../../src/metadata/metadata-image.ts'
import type { PartitionState } from '../../src/metadata/metadata-record.ts'
import { baseSequenceAt, producerIdAt } from '../../src/records/batch-header.ts'
import type { LeaderState } from '../../src/replication/leader-state.ts'
import type { SimDiskImage } from '../harness/sim-disk-image.ts'
import type { SimFileNode } from '../harness/sim-disk-names.ts'
import type { SimIncarnation } from '../harness/sim-incarnation.ts'
import { type FoundBatch, isSameBatch, SimSegments } from '../harness/sim-segments.ts'
import type { ClusterJournal } from './cluster-journal.ts'
import { CommittedLog } from './committed-log.ts'

export interface ReplicaOracleOptions {
  readonly journal: ClusterJournal
  readonly nowMs: () => number
  readonly imageOf: (nodeId: number) => SimDiskImage
  /** More of a partition is committed. */
  readonly onCommitted?: (log: CommittedLog, batches: readonly FoundBatch[]) => void
}

/** Where a log is: the process that opened it. */
export interface ReplicaPlace {
  readonly nodeId: number
  readonly incarnation: SimIncarnation
}

/** A copy of a partition on one node's disk, through all processes of that node. */
interface Replica {
  readonly nodeId: number
  readonly partition: CommittedLog
  readonly segments: SimSegments
  log: PartitionLog | undefined
  incarnation: SimIncarnation | undefined
  leader: LeaderState | undefined
  /** Its disk was hurt, and that may not have been found yet. */
  isHarmed: boolean
  /** Emptied when this leader epoch was in force: a deposed leader does not know. */
  emptiedInEpoch: number
  /** P7: equal to what is committed up to here. */
  verifiedUpTo: number
}

/** The part that clients ask. */
export interface PartitionOracle {
  acknowledged(record: { topic: string; partition: number; offset: number; value: string }): void
  committedEnd(topic: string, partition: number, agoMs: number): number
  isForfeit(topic: string, partition: number): boolean
}

/**
 * Holds the replicas of all partitions to what replication promises, told from their disks behind their backs. What some
 * leader called committed is kept (`CommittedLog`), and from then on whoever may lead must have it.
 *
 *   P1  a leader has all that is committed when it begins; what is acknowledged (acks=all) is committed
 *   P2  so does everybody in ISR and ELR, also after a start, a cut, a change of either
 *   P3  the maximal ISR of a leader covers all that may be elected
 *   P4  HW moves only with min.insync.replicas, to what the disks of all of the maximal ISR hold
 *   P7  below its HW a replica is equal to what is committed
 *   P8  a leader of the newest epoch begins once, and epochs of leaders rise
 *   P14 log start <= HW <= log end
 *   I1  sequences of a producer are consecutive in what is committed
 *   I2  none of the last five batches of a producer is refused as out of order
 *
 * Not held to these: a disk that was hurt until the node has had the chance to see it, or another disk than the
 * registered one; and partitions whose records were given up: by their only replica, or by the page caches of all that
 * `write.caching` trusted (`isForfeit`).
 */
export class ReplicaOracle implements PartitionOracle {
  readonly #options: ReplicaOracleOptions
  readonly #replicas = new Map<string, Replica>()
  readonly #byLog = new WeakMap<PartitionLog, Replica>()
  readonly #partitions = new Map<string, CommittedLog>()
  readonly #byName = new Map<string, CommittedLog>()
  readonly #directoryIds = new WeakMap<SimFileNode, string>()
  readonly #toCheck: (() => void)[] = []
  #image: MetadataImage | undefined

  constructor(options: ReplicaOracleOptions) {
    this.#options = options
  }

  /** No leader has asked for a change that the controller may accept at any moment. */
  get hasProposals(): boolean {
    for (const replica of this.#replicas.values())
      if (isAlive(replica) && replica.leader?.proposal !== undefined) return true
    return false
  }

  onOpened(
    place: ReplicaPlace,
    of: { topic: string; topicId: string; partition: number },
    log: PartitionLog,
  ): void {
    if (!place.incarnation.isAlive) return
    const replica = this.#replicaOf(place.nodeId, this.#partitionOf(of))
    replica.log = log
    replica.incarnation = place.incarnation
    replica.leader = undefined
    replica.verifiedUpTo = 0
    this.#byLog.set(log, replica)
    // From here on the node knows what it has: all, or that it is damaged.
    replica.isHarmed = log.failure !== undefined
    if (log.failure) this.#options.journal.count('replicas found damaged at their opening')
    this.#checkCandidate(replica)
  }

  onLeaderBegins(log: PartitionLog, state: LeaderState): void {
    const replica = this.#byLog.get(log)
    if (!replica || !isAlive(replica)) return
    const { partition, nodeId } = replica
    const { journal } = this.#options
    replica.leader = state
    journal.count('leaders begun')
    journal.tell(
      `n${nodeId}`,
      () => `leads ${partition.name} in epoch ${state.leaderEpoch} from ${log.logEndOffset} on`,
    )
    if (state.leaderEpoch <= partition.leaderEpoch) return
    partition.leaderEpoch = state.leaderEpoch
    this.#expect(
      partition,
      this.#missing(replica, { durably: false }),
      missing =>
        `P1 node ${nodeId} leads ${partition.name} in epoch ${state.leaderEpoch} and lacks ${missing}`,
    )
  }

  onHighWatermark(log: PartitionLog, offset: number): void {
    const replica = this.#byLog.get(log)
    if (!replica || !isAlive(replica)) return
    const { partition, leader } = replica
    const { journal } = this.#options
    journal.expect(
      log.logStartOffset <= offset && offset <= log.logEndOffset,
      () =>
        `P14 HW ${offset} of ${partition.name} at node ${replica.nodeId} is not within ${log.logStartOffset} ... ${log.logEndOffset}`,
    )
    if (leader?.highWatermark === offset && offset > log.highWatermark)
      this.#onCommitted(replica, leader, offset)
    else if (offset > partition.endOffset && !partition.isForfeit)
      journal.fail(
        new Error(
          `P7 node ${replica.nodeId} has HW ${offset} of ${partition.name}, committed are ${partition.endOffset}`,
        ),
      )
  }

  onCut(log: PartitionLog, how: 'truncated' | 'reset'): void {
    const replica = this.#byLog.get(log)
    if (!replica || !isAlive(replica)) return
    this.#options.journal.count(`replicas ${how}`)
    replica.verifiedUpTo = 0
    if (how === 'reset') {
      replica.isHarmed = false
      replica.emptiedInEpoch = this.#stateOf(replica.partition)?.leaderEpoch ?? 0
    }
    this.#checkCandidate(replica)
  }

  onRefusedBatch(log: PartitionLog, batch: Buffer, thrown: unknown): void {
    const replica = this.#byLog.get(log)
    if (!replica || !isAlive(replica) || !(thrown instanceof NaruError)) return
    if (thrown.reason !== 'OUT_OF_ORDER_SEQUENCE') return
    this.#options.journal.count('batches out of order')
    const [producerId, baseSequence] = [producerIdAt(batch, 0), baseSequenceAt(batch, 0)]
    const own = [...replica.segments.visible()].filter(one => one.producerId === producerId)
    const stored = own.slice(-REMEMBERED).find(one => one.baseSequence === baseSequence)
    this.#options.journal.expect(
      stored === undefined,
      () => `I2 ${show(stored)} of ${replica.partition.name} comes again, and is refused: ${thrown.message}`,
    )
  }

  /** The newest committed metadata have changed. */
  onImage(image: MetadataImage): void {
    this.#image = image
    for (const topic of image.topics.all())
      for (const [number, state] of topic.partitions()) {
        const partition = this.#partitionOf({ topic: topic.name, topicId: topic.id, partition: number })
        const before = partition.seen
        if (before?.partitionEpoch === state.partitionEpoch) continue
        partition.seen = state
        partition.isCaching ||= topic.settings['write.caching'] === 'true'
        this.#tell(partition, before, state)
        for (const nodeId of [...partition.lossy.keys()])
          if (
            state.isr.includes(nodeId) &&
            (image.nodes.get(nodeId)?.nodeEpoch ?? 0) > (partition.lossy.get(nodeId) ?? 0)
          )
            partition.lossy.delete(nodeId)
        this.#forfeitIfLost(partition, state)
        for (const nodeId of [...state.isr, ...state.elr])
          this.#checkCandidate(this.#replicaOf(nodeId, partition))
      }
  }

  /** The metadata of a controller that leads the partition itself move it before they are seen here, in one event. */
  onEventOver(): void {
    for (const check of this.#toCheck.splice(0)) check()
  }

  /** What a page cache held is gone. */
  onPowerCut(nodeId: number): void {
    for (const partition of this.#partitions.values()) {
      if (!partition.isCaching) continue
      partition.lossy.set(nodeId, this.#image?.nodes.get(nodeId)?.nodeEpoch ?? 0)
      const state = this.#stateOf(partition)
      if (state) this.#forfeitIfLost(partition, state)
    }
  }

  /** The disk of a node was replaced, or that of one partition was hurt: what no other replica has is given up. */
  onHarm(nodeId: number, only?: string): void {
    for (const partition of this.#partitions.values()) {
      if (only !== undefined && partition.name !== only) continue
      const state = this.#stateOf(partition)
      if (!state?.replicas.includes(nodeId)) continue
      const replica = this.#replicaOf(nodeId, partition)
      replica.isHarmed = true
      partition.wasHarmed = true
      replica.verifiedUpTo = 0
      const others = [...state.isr, ...state.elr].filter(other => other !== nodeId)
      if (others.length === 0) this.#forfeit(partition)
    }
  }

  acknowledged({
    topic,
    partition,
    offset,
    value,
  }: {
    topic: string
    partition: number
    offset: number
    value: string
  }): void {
    const found = this.#byName.get(`${topic}-${partition}`)
    if (!found || found.isForfeit) return
    this.#options.journal.expect(
      offset < found.endOffset,
      () => `P1 ${value} was acknowledged at ${offset} of ${found.name}, committed are ${found.endOffset}`,
    )
  }

  committedEnd(topic: string, partition: number, agoMs: number): number {
    return this.#byName.get(`${topic}-${partition}`)?.endOffsetAt(this.#options.nowMs() - agoMs) ?? 0
  }

  isForfeit(topic: string, partition: number): boolean {
    return this.#byName.get(`${topic}-${partition}`)?.isForfeit ?? false
  }

  /** Where nobody is electable, an operator may choose: a disk was hurt, or there is nothing to lose. */
  mayRecover(topic: string, partition: number): boolean {
    const found = this.#byName.get(`${topic}-${partition}`)
    return found === undefined || found.isForfeit || found.wasHarmed || found.endOffset === 0
  }

  /** P7 of all replicas that are open; at the end, and now and then. */
  sweep(): void {
    for (const replica of this.#replicas.values()) {
      const { log, partition } = replica
      if (!log || !isAlive(replica) || log.failure || replica.isHarmed || partition.isForfeit) continue
      // Moved away, it is removed at some time.
      if (!this.#stateOf(partition)?.replicas.includes(replica.nodeId)) continue
      const upTo = Math.min(log.highWatermark, partition.endOffset)
      for (const batch of partition.between(replica.verifiedUpTo, upTo)) {
        const found = replica.segments.at(batch.baseOffset, { durably: false })
        // Its own appends may not be written yet, and then they are not below its HW for long.
        if (!found && batch.lastOffset >= log.writtenEndOffset) break
        this.#options.journal.expect(
          found !== undefined && isSameBatch(found, batch),
          () =>
            `P7 node ${replica.nodeId} has ${show(found)} in ${partition.name}, committed is ${show(batch)}`,
        )
        replica.verifiedUpTo = batch.lastOffset + 1
      }
    }
  }

  /** P3, P4. */
  #onCommitted(replica: Replica, leader: LeaderState, offset: number): void {
    const { partition, nodeId } = replica
    const { journal } = this.#options
    const { isr, maximalIsr } = leader
    journal.count('high watermarks moved')
    if (leader.proposal) journal.count('high watermarks moved during a proposal')
    journal.expect(
      leader.hasMinInsyncReplicas,
      () => `P4 node ${nodeId} moves HW of ${partition.name} with the ISR ${isr}`,
    )
    const fresh = this.#freshBatches(replica, offset)
    for (const member of maximalIsr) this.#checkHeld(replica, member, { leader, fresh })
    this.#toCheck.push(() => this.#checkElectable(partition, leader.leaderEpoch, maximalIsr))
    if (partition.isForfeit) partition.endOffset = Math.max(partition.endOffset, offset)
    else {
      partition.commit(fresh, { endOffset: offset, nowMs: this.#options.nowMs(), journal })
      this.#options.onCommitted?.(partition, fresh)
    }
  }

  #checkElectable(partition: CommittedLog, leaderEpoch: number, maximalIsr: readonly number[]): void {
    const state = this.#stateOf(partition)
    if (state?.leaderEpoch !== leaderEpoch) return
    const stray = [...state.isr, ...state.elr].find(member => !maximalIsr.includes(member))
    this.#options.journal.expect(
      stray === undefined,
      () =>
        `P3 node ${stray} of ${partition.name} may be elected and is not in the maximal ISR ${maximalIsr}`,
    )
  }

  /** Of the leader's log, what nobody has called committed yet. */
  #freshBatches(replica: Replica, offset: number): FoundBatch[] {
    const { partition, segments } = replica
    const fresh: FoundBatch[] = []
    if (partition.isForfeit) return fresh
    for (let at = partition.endOffset; at < offset; ) {
      const batch = segments.at(at, { durably: false })
      this.#options.journal.expect(
        batch !== undefined && batch.lastOffset < offset,
        () =>
          `P4 node ${replica.nodeId} calls ${partition.name} committed up to ${offset}, and has no batch at ${at}`,
      )
      if (!batch) break
      fresh.push(batch)
      at = batch.lastOffset + 1
    }
    return fresh
  }

  #checkHeld(
    by: Replica,
    member: number,
    { leader, fresh }: { leader: LeaderState; fresh: readonly FoundBatch[] },
  ): void {
    const { partition } = by
    const replica = this.#replicaOf(member, partition)
    const isMember = this.#stateOf(partition)?.replicas.includes(member) ?? false
    if (!isMember || replica.emptiedInEpoch > leader.leaderEpoch || this.#isExcused(replica)) return
    const durably = !partition.isCaching
    const missing = fresh.find(batch => !replica.segments.holds(batch, { durably }))
    this.#options.journal.expect(
      missing === undefined,
      () =>
        `P4 node ${by.nodeId} calls ${show(missing)} of ${partition.name} committed, which node ${member} does not hold`,
    )
  }

  /** P2. */
  #checkCandidate(replica: Replica): void {
    const { partition, nodeId } = replica
    const state = this.#stateOf(partition)
    if (!state || ![...state.isr, ...state.elr].includes(nodeId) || this.#isExcused(replica)) return
    const durably = !partition.isCaching
    this.#expect(
      partition,
      this.#missing(replica, { durably }),
      missing =>
        `P2 node ${nodeId} may be elected for ${partition.name} (ISR ${state.isr}, ELR ${state.elr}) and lacks ${missing}`,
    )
  }

  #expect(partition: CommittedLog, missing: FoundBatch | undefined, text: (missing: string) => string): void {
    if (partition.isForfeit) return
    this.#options.journal.expect(missing === undefined, () => text(show(missing)))
  }

  #missing(replica: Replica, options: { durably: boolean }): FoundBatch | undefined {
    return replica.partition.batches.find(batch => !replica.segments.holds(batch, options))
  }

  #isExcused(replica: Replica): boolean {
    const { nodeId, partition } = replica
    if (replica.isHarmed || partition.isForfeit || partition.lossy.has(nodeId)) return true
    const registered = this.#image?.nodes.get(nodeId)?.directoryId
    return registered === undefined || this.#directoryIdOf(nodeId) !== registered
  }

  #directoryIdOf(nodeId: number): string | undefined {
    const node = this.#options.imageOf(nodeId).names.find('data/node.json')
    if (node?.kind !== 'file') return undefined
    const known = this.#directoryIds.get(node)
    if (known !== undefined) return known
    const { directoryId } = JSON.parse(node.content.read(0, node.content.sizeBytes).toString())
    this.#directoryIds.set(node, directoryId)
    return directoryId
  }

  #forfeitIfLost(partition: CommittedLog, { isr, elr }: PartitionState): void {
    const able = [...isr, ...elr]
    // The controller trusts no page cache of a process that did not stop in order (C10): in the end nobody is left.
    if (able.length === 0 && !partition.isCaching) return
    if (able.every(nodeId => partition.lossy.has(nodeId))) this.#forfeit(partition)
  }

  #forfeit(partition: CommittedLog): void {
    if (partition.isForfeit) return
    partition.isForfeit = true
    this.#options.journal.count('partitions given up by their last replica')
    this.#options.journal.tell('--', () => `${partition.name} is given up: nobody else has its records`)
  }

  #tell(partition: CommittedLog, before: PartitionState | undefined, now: PartitionState): void {
    const { journal } = this.#options
    journal.tell(
      'md',
      () =>
        `${partition.name}: leader ${now.leader} epoch ${now.leaderEpoch}.${now.partitionEpoch} isr ${now.isr} elr ${now.elr}`,
    )
    if (!before) return
    if (now.leader === null && before.leader !== null) journal.count('partitions offline')
    if (now.leader !== null && now.leader !== before.leader) journal.count('leaders elected')
    if (now.leader !== null && before.elr.includes(now.leader)) journal.count('leaders elected from the ELR')
    if (now.isr.some(member => !before.isr.includes(member))) journal.count('members that entered an ISR')
    if (before.isr.some(member => !now.isr.includes(member))) journal.count('members that left an ISR')
    if (before.reassignment && !now.reassignment) journal.count('reassignments ended')
  }

  #stateOf({ topicId, partition }: CommittedLog): PartitionState | undefined {
    return this.#image?.topics.byId(topicId)?.partition(partition)
  }

  #partitionOf(of: { topic: string; topicId: string; partition: number }): CommittedLog {
    const key = `${of.topicId}/${of.partition}`
    const known = this.#partitions.get(key)
    if (known) return known
    const made = new CommittedLog(of)
    this.#partitions.set(key, made)
    this.#byName.set(made.name, made)
    return made
  }

  #replicaOf(nodeId: number, partition: CommittedLog): Replica {
    const key = `${nodeId} ${partition.topicId}/${partition.partition}`
    const known = this.#replicas.get(key)
    if (known) return known
    const segments = new SimSegments(this.#options.imageOf(nodeId), `data/topics/${partition.name}`)
    const made: Replica = {
      nodeId,
      partition,
      segments,
      log: undefined,
      incarnation: undefined,
      leader: undefined,
      isHarmed: false,
      emptiedInEpoch: 0,
      verifiedUpTo: 0,
    }
    this.#replicas.set(key, made)
    return made
  }
}

/** Batches of a producer; no client has more in flight. */
const REMEMBERED = 5

function isAlive({ incarnation }: Replica): boolean {
  return incarnation?.isAlive ?? false
}

function show(batch: FoundBatch | undefined): string {
  return batch
    ? `offsets ${batch.baseOffset} to ${batch.lastOffset} of epoch ${batch.leaderEpoch}`
    : 'nothing'
}
