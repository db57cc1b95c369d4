import type { Epoch, NodeId, PartitionId, Uuid } from '../../base/brands.ts'
import { NaruError } from '../../base/errors.ts'
import type { MetadataDelta } from '../../metadata/metadata-delta.ts'
import type { MetadataImage } from '../../metadata/metadata-image.ts'
import { isActive } from '../../metadata/node-image.ts'
import type { Clock, Timer } from '../../ports/clock.ts'
import type { Prng } from '../../ports/prng.ts'
import type { MessageStream, Transport } from '../../ports/transport.ts'
import type { FollowNumber } from '../../replication/follow.ts'
import type { IsrProposal } from '../../replication/in-sync-replicas.ts'
import type { ReplicaIdentity } from '../../replication/partition-metadata.ts'
import { REPLICA_TIMING, type ReplicaTiming } from '../../replication/replica-timing.ts'
import { AttendedTime } from './attended-time.ts'
import { type DamagedReplica, DamageReports } from './damage-reports.ts'
import { HandoverSlots } from './handover-slots.ts'
import { IsrProposals } from './isr-proposals.ts'
import { LeaderLink } from './leader-link.ts'
import { MovePace } from './move-pace.ts'
import type { FollowerContext } from './partition-follower.ts'
import {
  type Proposer,
  REPLICATION_LIMITS,
  type ReplicationContext,
  type ReplicationLimits,
  type ReplicationOptions,
} from './replication-options.ts'
import { type FollowTarget, isSame, SendingLane } from './sending-lane.ts'

/** What a hosted partition does for its node's replication. */
export interface ReplicatedPartition extends FollowTarget {
  onLaneClosed(lane: SendingLane): void
  /** The processes behind some nodes may be others now. */
  relink(): void
  /** False: only something that happens to it can make the next one worth while. Then it asks to be attended again. */
  tick(): boolean
}

export interface ReplicatorOptions extends ReplicationOptions {
  readonly nodeId: NodeId
  /** Of this process's registration. */
  readonly nodeEpoch: Epoch
  readonly clock: Clock
  readonly image: MetadataImage
  readonly partition: (topicId: Uuid, partition: PartitionId) => ReplicatedPartition | undefined
  readonly partitions: () => Iterable<ReplicatedPartition>
  /** The disk is below its reserve: followers have to tell their leaders. */
  readonly isFull: () => boolean
  readonly onError: (error: NaruError) => void
}

/**
 * A node's replication as a whole: the links to the leaders that it follows, the lanes of those that follow it, the
 * proposals to the controller, and the tick by which lags are judged.
 */
export class Replicator implements ReplicationContext, FollowerContext {
  readonly clock: Clock
  readonly time: AttendedTime
  readonly prng: Prng
  readonly transport: Transport
  readonly clusterId: Uuid
  readonly timing: ReplicaTiming
  readonly limits: ReplicationLimits
  readonly self: ReplicaIdentity
  readonly handovers: HandoverSlots
  readonly movePace: MovePace
  readonly onError: (error: NaruError) => void
  readonly #options: ReplicatorOptions
  readonly #image: MetadataImage
  readonly #proposals: IsrProposals
  readonly #damage: DamageReports
  readonly #links = new Map<NodeId, LeaderLink>()
  readonly #lanes = new Set<SendingLane>()
  /** Those that get ticks: a few among thousands, since time does nothing to a partition that is in sync and idle. */
  readonly #attended = new Set<ReplicatedPartition>()
  #wasFull = false
  #streamCount = 0
  #lastNumber: FollowNumber = 0
  #timer: Timer | undefined
  #closed: NaruError | undefined

  constructor(options: ReplicatorOptions) {
    const { clock, nodeId, directoryId, nodeEpoch } = options
    this.#options = options
    this.#image = options.image
    this.clock = clock
    this.prng = options.prng
    this.transport = options.transport
    this.clusterId = options.clusterId
    this.onError = options.onError
    this.timing = { ...REPLICA_TIMING, ...options.timing }
    this.limits = { ...REPLICATION_LIMITS, ...options.limits }
    this.self = { nodeId, directoryId, nodeEpoch }
    this.handovers = new HandoverSlots(this.limits.handoversMax)
    this.movePace = new MovePace(clock)
    this.time = new AttendedTime(clock, this.limits.tickMs)
    const { alterPartitions } = options
    this.#proposals = new IsrProposals({ clock, alterPartitions, limits: this.limits })
    this.#damage = new DamageReports(options)
    this.#scheduleTick()
  }

  /** This very process is the one in the metadata: an older one may neither lead nor follow. */
  get isRegistered(): boolean {
    const node = this.#image.nodes.get(this.self.nodeId)
    return node !== undefined && isSame(node, this.self)
  }

  get isDraining(): boolean {
    return this.isRegistered && this.#image.nodes.get(this.self.nodeId)?.isDraining === true
  }

  isEligible(replica: ReplicaIdentity): boolean {
    const node = this.#image.nodes.get(replica.nodeId)
    return node !== undefined && isActive(node) && isSame(node, replica)
  }

  /** That node's process of now has just sent to this one over a stream that this one has opened to it. */
  hears(nodeId: NodeId): boolean {
    return this.#links.get(nodeId)?.isHeard ?? false
  }

  isUnheard(): boolean {
    const { lastHeardControllerMs, sessionTimeoutMs } = this.#options
    const heardMs = lastHeardControllerMs()
    return heardMs === undefined || this.clock.monotonicMs() - heardMs > sessionTimeoutMs
  }

  peer(nodeId: NodeId): (ReplicaIdentity & { readonly address: string }) | undefined {
    const node = this.#image.nodes.get(nodeId)
    if (!node) return undefined
    const { directoryId, nodeEpoch, peerAddress: address } = node
    return { nodeId, directoryId, nodeEpoch, address }
  }

  propose(proposer: Proposer, proposal: IsrProposal): void {
    this.#proposals.propose(proposer, proposal)
  }

  reportDamage(replica: DamagedReplica): void {
    this.#damage.report(replica)
  }

  /** The partition gets ticks, until it wants none. */
  attend(partition: ReplicatedPartition): void {
    this.#attended.add(partition)
  }

  nextNumber(): FollowNumber {
    return ++this.#lastNumber
  }

  link(leader: NodeId): LeaderLink | undefined {
    const known = this.#links.get(leader)
    if (known || this.#closed) return known
    const peer = this.peer(leader)
    if (!peer) return undefined
    const link = new LeaderLink(this, peer)
    this.#links.set(leader, link)
    return link
  }

  /** Streams of processes that are not the registered ones any more end; their partitions find the new ones. */
  onMetadata(delta: MetadataDelta): void {
    if (delta.changedNodes.size === 0) return
    for (const [nodeId, link] of this.#links) {
      const peer = this.peer(nodeId)
      if (!delta.changedNodes.has(nodeId) || (peer && isSameLeader(peer, link.leader))) continue
      this.#links.delete(nodeId)
      link.close()
    }
    for (const lane of [...this.#lanes]) {
      const peer = delta.changedNodes.has(lane.nodeId) ? this.peer(lane.nodeId) : lane
      if (!peer || !isSame(peer, lane))
        lane.fail(new NaruError('FENCED_LEADER_EPOCH', `node ${lane.nodeId} has registered anew`))
    }
    for (const partition of this.#options.partitions()) partition.relink()
  }

  /** A stream of a follower to this node. */
  accept(stream: MessageStream): void {
    const full = this.#streamCount >= this.limits.streamsMax
    if (this.#closed || full) {
      stream.setHandlers({ onMessage() {} })
      stream.fail(
        this.#closed ??
          new NaruError(
            'OVERLOADED',
            `node ${this.self.nodeId} serves ${this.limits.streamsMax} streams of followers`,
          ),
      )
      return
    }
    this.#streamCount++
    const lane = new SendingLane({
      context: this,
      stream,
      target: (topicId, partition) => this.#options.partition(topicId, partition),
      onOpened: opened => this.#onOpened(opened),
      onClosed: closed => this.#onClosed(closed),
      onOver: () => {
        this.#streamCount--
        this.#lanes.delete(lane)
      },
    })
  }

  close(because: NaruError): void {
    this.#closed = because
    this.#timer?.cancel()
    this.#attended.clear()
    this.#proposals.close()
    this.#damage.close()
    for (const link of this.#links.values()) link.close()
    this.#links.clear()
    for (const lane of [...this.#lanes]) lane.fail(because)
  }

  /** A process that dials anew has given its earlier stream of that lane up. */
  #onOpened(lane: SendingLane): void {
    for (const other of [...this.#lanes])
      if (other.nodeId === lane.nodeId && other.isLive === lane.isLive)
        other.fail(new NaruError('CANCELLED', `node ${lane.nodeId} has opened another stream`))
    this.#lanes.add(lane)
  }

  #onClosed(lane: SendingLane): void {
    for (const partition of this.#options.partitions()) partition.onLaneClosed(lane)
  }

  #scheduleTick(): void {
    this.#timer = this.clock.setTick(this.limits.tickMs, () => {
      // Judged only after what has arrived meanwhile was read (A8).
      this.clock.afterTurn(() => {
        if (this.#closed) return
        this.#tick()
        this.#scheduleTick()
      })
    })
  }

  #tick(): void {
    this.time.tick()
    const isFull = this.#options.isFull()
    if (isFull !== this.#wasFull) for (const partition of this.#options.partitions()) this.attend(partition)
    this.#wasFull = isFull
    for (const lane of this.#lanes) lane.tick()
    for (const partition of this.#attended) if (!partition.tick()) this.#attended.delete(partition)
    for (const [nodeId, link] of this.#links) {
      if (link.isUsed) link.tick()
      else {
        this.#links.delete(nodeId)
        link.close()
      }
    }
  }
}

function isSameLeader(
  a: ReplicaIdentity & { readonly address: string },
  b: ReplicaIdentity & { readonly address: string },
): boolean {
  return isSame(a, b) && a.address === b.address
}
