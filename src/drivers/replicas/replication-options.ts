import type { NodeId, PartitionId, Uuid } from '../../base/brands.ts'
import type { NaruError } from '../../base/errors.ts'
import type { Clock } from '../../ports/clock.ts'
import type { Prng } from '../../ports/prng.ts'
import type { Transport } from '../../ports/transport.ts'
import type { IsrProposal, ProposalAnswer } from '../../replication/in-sync-replicas.ts'
import type { ReplicaIdentity } from '../../replication/partition-metadata.ts'
import type { ReplicaTiming } from '../../replication/replica-timing.ts'
import type { AttendedTime } from './attended-time.ts'
import type { ReportDamage } from './damage-reports.ts'
import type { HandoverSlots } from './handover-slots.ts'
import type { MovePace } from './move-pace.ts'

export interface PartitionProposal extends IsrProposal {
  readonly topicId: Uuid
  readonly partition: PartitionId
}

/**
 * Brings proposals to the controller, over this node's own controller stream, and resolves with one answer for each, in
 * order. `refused` promises that no copy of an earlier call can still be accepted: what an older stream brought is dropped
 * (rule C5). Rejects, or answers `unknown`, where nothing is known; the proposals are sent again then, as they are.
 */
export type AlterPartitions = (proposals: readonly PartitionProposal[]) => Promise<readonly ProposalAnswer[]>

/** Whose proposal it is. */
export interface Proposer {
  readonly topicId: Uuid
  readonly partition: PartitionId
  /** What still stands; undefined: metadata or an answer have ended it. */
  readonly proposal: IsrProposal | undefined
  onProposalAnswer(proposal: IsrProposal, answer: ProposalAnswer): void
}

/** What a node needs to follow others, and to be followed. */
export interface ReplicationOptions {
  readonly clusterId: Uuid
  readonly directoryId: Uuid
  readonly transport: Transport
  readonly prng: Prng
  readonly alterPartitions: AlterPartitions
  readonly reportDamage: ReportDamage
  /** When the controller was last heard, monotonic (C12); undefined: never. */
  readonly lastHeardControllerMs: () => number | undefined
  /** After so long without the controller, another node may lead what this one does. */
  readonly sessionTimeoutMs: number
  readonly timing?: Partial<ReplicaTiming>
  readonly limits?: Partial<ReplicationLimits>
}

export interface ReplicationLimits {
  /** Looks at who lags, and sends what was not worth a frame of its own. */
  readonly tickMs: number
  /** A stream on which nothing was sent for so long carries a sign of life. */
  readonly heartbeatMs: number
  /** A follower hangs up on a leader that is silent for so long, and dials anew. */
  readonly silenceMsMax: number
  /** From the dial to the answer. */
  readonly dialTimeoutMs: number
  /** Between two dials that fail: doubled from min to max, with jitter. */
  readonly redialMs: { readonly min: number; readonly max: number }
  /** Of one frame; one batch may be larger. */
  readonly frameBytesMax: number
  /** Of one partition in one frame: a busy one leaves room for the others. */
  readonly partitionFrameBytesMax: number
  /** Sent to one follower and not acknowledged, of one partition: bounds what its log has to hold unwritten. */
  readonly partitionWindowBytesMax: number
  /** The same of all partitions of a lane. */
  readonly laneWindowBytesMax: number
  /**
   * A lane that catches up sends so much, waits until it is acknowledged, and rests for as long as that took (rule C9): more
   * at once would make the syncs of live records wait for its own.
   */
  readonly catchUpRoundBytesMax: number
  /** Of such a rest: a disk that is slow for a moment is no reason to stand still for longer. */
  readonly catchUpRestMsMax: number
  /** Proposals in one call to the controller. */
  readonly proposalsMax: number
  readonly proposalRetryMs: number
  /** Of partitions at once, from this node to others. */
  readonly handoversMax: number
  /** Streams of followers, both lanes counted. */
  readonly streamsMax: number
  /** Partitions that one stream may follow. */
  readonly followsMax: number
}

const MIB = 1024 * 1024

export const REPLICATION_LIMITS: ReplicationLimits = {
  tickMs: 100,
  heartbeatMs: 500,
  silenceMsMax: 3_000,
  dialTimeoutMs: 2_000,
  redialMs: { min: 50, max: 1_000 },
  frameBytesMax: 4 * MIB,
  partitionFrameBytesMax: MIB,
  partitionWindowBytesMax: 8 * MIB,
  laneWindowBytesMax: 64 * MIB,
  catchUpRoundBytesMax: 2 * MIB,
  catchUpRestMsMax: 100,
  proposalsMax: 1_000,
  proposalRetryMs: 100,
  handoversMax: 100,
  streamsMax: 2_000,
  followsMax: 100_000,
}

/** What a leader needs of its node. */
export interface LeaderContext {
  readonly time: { readonly nowMs: number }
  readonly timing: ReplicaTiming
  readonly limits: ReplicationLimits
  /** This process, as registered. */
  readonly self: ReplicaIdentity
  /** As the metadata have it now: registered under this very identity, and neither fenced nor draining. */
  isEligible(replica: ReplicaIdentity): boolean
  /** This leader may be deposed without knowing it (C12). */
  isUnheard(): boolean
  /** This node is to lead nothing (C11). */
  readonly isDraining: boolean
  readonly handovers: HandoverSlots
  /** Of what is copied for moves. */
  readonly movePace: MovePace
  propose(proposer: Proposer, proposal: IsrProposal): void
}

/** What the parts of one node's replication share. */
export interface ReplicationContext extends LeaderContext {
  readonly clock: Clock
  readonly time: AttendedTime
  readonly prng: Prng
  readonly transport: Transport
  readonly clusterId: Uuid
  /** As registered now, with the address of its peers' port. */
  peer(nodeId: NodeId): (ReplicaIdentity & { readonly address: string }) | undefined
  readonly onError: (error: NaruError) => void
}
