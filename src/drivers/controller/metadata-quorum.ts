import type { MetadataIndex, NodeId, Uuid } from '../../base/brands.ts'
import type { Handler } from '../../machine/state-machine.ts'
import type { MetadataDelta } from '../../metadata/metadata-delta.ts'
import type { MetadataImage } from '../../metadata/metadata-image.ts'
import type { MetadataRecord } from '../../metadata/metadata-record.ts'
import type { MemberId, MembershipChange } from '../../raft/membership.ts'
import type { RaftStatus } from '../../raft/raft-status.ts'

/** Is told of each committed change, in the turn of its commit, after the image has it. */
export type MetadataSubscriber = (delta: MetadataDelta, image: MetadataImage) => void

export interface LeadershipListener {
  /** Handlers run from now on: an entry of the own term is committed and applied (A6). */
  onLeading(term: number): void
  /** Another node leads, or may. */
  onResigned(): void
}

/**
 * The metadata quorum as the parts of a node see it: the committed image, which all nodes have, and the way to change
 * it, which only the controller (the node that leads the quorum) has. Indexes are exclusive ends: raft index + 1.
 */
export interface MetadataQuorum {
  readonly nodeId: NodeId
  readonly clusterId: Uuid
  /** What is committed and applied here. Changed in place, between turns. */
  readonly image: MetadataImage
  /** This node is the controller. */
  readonly isLeading: boolean
  /** The node that leads, as far as this one knows. */
  readonly leaderId: NodeId | undefined
  /** Since the image here was certainly the newest (0 on the leader itself); undefined: never in this process. */
  readonly metadataAgeMs: number | undefined
  /**
   * When this node, by its monotonic clock, asked what a confirmed leader has since answered, and the image holds all that
   * was even proposed by then (`raft/freshness.ts`). The leader's own is proven by a majority.
   */
  readonly freshMs: number | undefined
  readonly status: RaftStatus

  /** Runs a handler against the newest state; resolves once its records are committed and applied here. */
  submit<T>(handler: (newest: MetadataImage) => ReturnType<Handler<MetadataRecord, T>>): Promise<T>
  /** Returns how to stop it. */
  subscribe(subscriber: MetadataSubscriber): () => void
  /** Called at once if this node leads already. Returns how to stop it. */
  onLeadership(listener: LeadershipListener): () => void
  /** Resolves once the image holds everything up to `endIndex`; rejects with DEADLINE_EXCEEDED. */
  awaitApplied(endIndex: MetadataIndex, timeoutMs: number): Promise<void>
  /** Resolves once the image holds everything that was committed anywhere before the call (A9). */
  readIndex(timeoutMs: number): Promise<MetadataIndex>
  changeMembership(change: MembershipChange): Promise<void>
  /** Hands the quorum's leadership over; resolves when it is over, one way or the other. */
  transfer(to: MemberId): Promise<void>
  /** The member has just spoken, if not over Raft's stream: where that is broken, it is dialled without further wait. */
  redial(member: MemberId): void
  /** What this node's answers to the leader carry from now on (`RaftStatus.members[].attachment`). */
  attach(attachment: Uint8Array): void
}
