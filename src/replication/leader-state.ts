import { assert } from '../base/assert.ts'
import type { Epoch, NodeId, Offset } from '../base/brands.ts'
import { answerFollow } from './divergence.ts'
import { EndOffsetHistory } from './end-offset-history.ts'
import type { Follow, FollowAnswer, FollowNumber, FollowRefusal } from './follow.ts'
import { FollowerProgress, type FollowerSession } from './follower-progress.ts'
import {
  InSyncReplicas,
  type IsrProposal,
  type ProposalAnswer,
  type ProposedMember,
} from './in-sync-replicas.ts'
import type { LogView } from './log-view.ts'
import type { PartitionMetadata, ReplicaIdentity } from './partition-metadata.ts'
import type { ReplicaTiming } from './replica-timing.ts'

export type LeaderEffect =
  /** Everything below is committed: answer who waits, tell the followers. */
  | { readonly type: 'advanceHighWatermark'; readonly highWatermark: Offset }
  /** Send it to the controller, and again until `onProposalAnswer` or metadata end it. */
  | { readonly type: 'propose'; readonly proposal: IsrProposal }
  /** Nothing more goes out under this number; the follower is told to follow anew. */
  | {
      readonly type: 'refuse'
      readonly session: FollowerSession
      readonly number: FollowNumber
      readonly reason: FollowRefusal
    }

export type ProduceRefusal = 'NOT_ENOUGH_REPLICAS' | 'UNHEARD'

export interface LeaderStateOptions {
  readonly self: ReplicaIdentity
  readonly metadata: PartitionMetadata
  readonly log: LogView
  /** What this node's disk holds (its page cache under `write.caching`) at the start of the epoch. */
  readonly storedEndOffset: Offset
  readonly minInsyncReplicas: number
  /** Acknowledgements may be of page caches: a follower may have less after a crash, and that is no damage (B2). */
  readonly writeCaching: boolean
  readonly timing: ReplicaTiming
  /** As the metadata say now: registered under this very identity, neither fenced nor draining. */
  readonly isEligible: (replica: ReplicaIdentity) => boolean
  readonly nowMs: number
}

/** Steps of the log end that are remembered, for lags up to `lagTimeMaxMs`. */
const HISTORY_STEPS_MAX = 64

/**
 * One partition as its leader, in one leader epoch: who is in sync, what is committed, who may follow. Pure: the driver
 * brings what followers, disk, controller and clock say, and does what comes out. A new epoch is a new object, so that
 * nothing of an earlier one counts: each follower follows and acknowledges anew.
 *
 * The rules (KIP-966, its TLA+ specification and protocol rules C2-C10):
 * - HW moves only while |ISR| >= min.insync.replicas, and only to what every member of the maximal ISR acknowledged in
 *   this epoch, this node's own disk included. It never goes back.
 * - A follower enters the ISR with an acknowledged end >= HW and >= the epoch's start: below the start, HW may be lower
 *   than what an earlier leader committed. An acknowledged end counts only under the present `Follow`.
 * - A follower leaves when it has not caught up for `lagTimeMaxMs`, or its stream stays away.
 *
 * Invariants: highWatermark <= logEndOffset, own stored end <= logEndOffset; maximal ISR ⊇ ISR; at most one proposal.
 */
export class LeaderState {
  readonly leaderEpoch: Epoch
  /** The log's end when the epoch began: what an earlier leader may have committed lies below. */
  readonly epochStartOffset: Offset
  readonly #options: LeaderStateOptions
  readonly #self: ReplicaIdentity
  readonly #log: LogView
  readonly #inSync: InSyncReplicas
  readonly #followers = new Map<NodeId, FollowerProgress>()
  readonly #history: EndOffsetHistory
  readonly #startedMs: number
  #replicas: readonly NodeId[]
  #minInsyncReplicas: number
  #storedEndOffset: Offset
  #highWatermark: Offset
  #proposeFromMs: number

  constructor(options: LeaderStateOptions) {
    const { self, metadata, log, timing, nowMs } = options
    assert(metadata.leader === self.nodeId, 'who leads is named by the metadata')
    assert(metadata.isr.includes(self.nodeId), 'a leader is in its ISR')
    this.#options = options
    this.#self = self
    this.#log = log
    this.leaderEpoch = metadata.leaderEpoch
    this.epochStartOffset = log.logEndOffset
    this.#inSync = new InSyncReplicas(metadata)
    const stepMs = timing.lagTimeMaxMs / (HISTORY_STEPS_MAX / 2)
    this.#history = new EndOffsetHistory({ stepMs, stepsMax: HISTORY_STEPS_MAX })
    this.#startedMs = nowMs
    this.#proposeFromMs = nowMs
    this.#minInsyncReplicas = options.minInsyncReplicas
    this.#storedEndOffset = options.storedEndOffset
    this.#highWatermark = log.highWatermark
    this.#replicas = metadata.replicas
    this.#matchFollowers(metadata.partitionEpoch, nowMs)
  }

  get highWatermark(): Offset {
    return this.#highWatermark
  }

  /** Below the epoch's start HW may lag behind what an earlier leader committed: "latest" is not known then. */
  get isHighWatermarkCurrent(): boolean {
    return this.#highWatermark >= this.epochStartOffset
  }

  get isr(): readonly NodeId[] {
    return this.#inSync.members
  }

  get maximalIsr(): readonly NodeId[] {
    return this.#inSync.maximal
  }

  get partitionEpoch(): Epoch {
    return this.#inSync.partitionEpoch
  }

  get hasMinInsyncReplicas(): boolean {
    return this.#inSync.members.length >= this.#minInsyncReplicas
  }

  /**
   * Why a produce must not be appended; undefined: it may. acks=all would wait below the minimum, so it is not begun.
   * The others are answered without the followers, and must not be by a leader that may be deposed without knowing it
   * (C12); acks=all needs no clock, because HW cannot move without those who would elect the next leader.
   */
  refusalOf(
    acks: 'ALL' | 'LEADER' | 'NONE',
    { isUnheard }: { isUnheard: boolean },
  ): ProduceRefusal | undefined {
    if (acks !== 'ALL') return isUnheard || this.mayBeDeposed ? 'UNHEARD' : undefined
    return this.hasMinInsyncReplicas ? undefined : 'NOT_ENOUGH_REPLICAS'
  }

  /**
   * What this leader has asked for, and not heard of yet, may have made the controller let another lead at once, without
   * waiting for a session to end: a handover, or an ISR below its minimum (C8). No lease speaks against that (C12).
   */
  get mayBeDeposed(): boolean {
    return this.#inSync.mayBeDeposed
  }

  /** What the controller is to be asked, until metadata or its refusal end it. */
  get proposal(): IsrProposal | undefined {
    return this.#inSync.proposal
  }

  /** Undefined: it does not follow now, or has acknowledged nothing yet. */
  acknowledgedBy(nodeId: NodeId): Offset | undefined {
    return this.#followers.get(nodeId)?.acknowledged
  }

  /** Of the `Follow` that stands; undefined: it does not follow now. */
  numberOf(nodeId: NodeId): FollowNumber | undefined {
    return this.#followers.get(nodeId)?.number
  }

  /** What the driver may do now because this node leads: to be called once, first. */
  begin(): readonly LeaderEffect[] {
    return this.#advance()
  }

  /** The log was at `endOffset` until now, and is longer from here on. */
  onAppend(endOffset: Offset, nowMs: number): void {
    this.#history.grows(endOffset, nowMs)
  }

  /** This node's disk holds everything below. Of the log's present generation (B1): the caller sees to that. */
  onStored(endOffset: Offset): readonly LeaderEffect[] {
    assert(endOffset <= this.#log.logEndOffset, 'what is stored was appended')
    if (endOffset <= this.#storedEndOffset) return NOTHING
    this.#storedEndOffset = endOffset
    return this.#advance()
  }

  /**
   * A follower asks. On `accepted` it gets at once progress or data, and HW with it. A `Follow` of a later epoch than
   * this one is not for this object: it waits until the metadata have come here, too (C2).
   */
  onFollow(follow: Follow, session: FollowerSession): FollowAnswer {
    const { logStartOffset } = this.#log
    const refused = (reason: FollowRefusal) => ({ kind: 'refused', reason, logStartOffset }) as const
    if (follow.leaderEpoch < this.leaderEpoch) return refused('FENCED')
    if (follow.leaderEpoch > this.leaderEpoch) return refused('NOT_LEADER')
    const follower = this.#followers.get(session.nodeId)
    // By the metadata that it knows it may still be the replica that was removed, whose log goes once it hears of that.
    if (!follower || follow.partitionEpoch < follower.addedEpoch) return refused('NOT_REPLICA')
    this.#noteCaughtUp(follower)
    // Overtaken by a later one: answered for the form, it changes nothing.
    if (!follower.renews(session, follow.number)) return refused('AGAIN')
    const answer = this.#answer(follow, follower, session)
    if (answer.kind === 'accepted') {
      if (!this.#inSync.maximal.includes(follower.nodeId)) follower.clearMark()
      follower.follow(session, follow.number)
    } else if (answer.kind === 'refused' && answer.reason === 'DAMAGED') follower.isDamaged = true
    else if (answer.kind === 'refused' && answer.reason === 'FULL') follower.isFull = true
    return answer
  }

  /** A follower's disk holds everything below `endOffset`. Ignored where the number is not the present one (C1). */
  onAck(
    session: FollowerSession,
    ack: { number: FollowNumber; endOffset: Offset },
    nowMs: number,
  ): readonly LeaderEffect[] {
    const follower = this.#followers.get(session.nodeId)
    if (!follower || follower.session !== session || follower.number !== ack.number) return NOTHING
    if (ack.endOffset > this.#log.logEndOffset || !follower.acknowledge(ack.endOffset)) return NOTHING
    if (!this.#options.writeCaching) follower.mark()
    this.#noteCaughtUp(follower)
    return this.#inSync.maximal.includes(follower.nodeId) ? this.#advance() : this.#propose(nowMs)
  }

  /** The follower moves to the other lane, or a frame to it got lost: it must follow anew. */
  refuse(nodeId: NodeId, reason: FollowRefusal): readonly LeaderEffect[] {
    const follower = this.#followers.get(nodeId)
    const { session, number } = follower ?? {}
    if (!follower || !session || number === undefined) return NOTHING
    this.#noteCaughtUp(follower)
    follower.forget()
    return [{ type: 'refuse', session, number, reason }]
  }

  /** The stream of a follower's process is gone; the grace begins. */
  onSessionBroken(session: FollowerSession, nowMs: number): void {
    const follower = this.#followers.get(session.nodeId)
    if (follower?.session !== session) return
    this.#noteCaughtUp(follower)
    follower.onBroken(nowMs)
  }

  /**
   * Committed metadata of the same leader epoch; older ones are ignored. With the minimum of the same metadata, of which
   * each alone could let HW move: the controller keeps those electable who left the ISR below the minimum of then.
   */
  onMetadata(
    metadata: PartitionMetadata,
    nowMs: number,
    minInsyncReplicas = this.#minInsyncReplicas,
  ): readonly LeaderEffect[] {
    assert(metadata.leaderEpoch === this.leaderEpoch, 'another leader epoch is another leader')
    this.#minInsyncReplicas = minInsyncReplicas
    const before = { partitionEpoch: this.#inSync.partitionEpoch, members: this.#inSync.members }
    if (!this.#inSync.onMetadata(metadata)) return this.#advance()
    this.#replicas = metadata.replicas
    const effects: LeaderEffect[] = []
    // What is on its way to it would never be acknowledged.
    for (const nodeId of this.#followers.keys())
      if (!metadata.replicas.includes(nodeId)) effects.push(...this.refuse(nodeId, 'NOT_REPLICA'))
    this.#matchFollowers(metadata.partitionEpoch, nowMs)
    for (const follower of this.#followers.values()) {
      const isInSync = metadata.isr.includes(follower.nodeId)
      const wasInSync = before.members.includes(follower.nodeId)
      if (isInSync && !wasInSync) follower.caughtUpMs = nowMs
      // What was acknowledged as a member may be why it left (it is damaged). And in changes that were not seen one by one
      // it may have been removed and added again, with an empty log. A member was not: nobody but this leader lets it in.
      const isSeen = metadata.partitionEpoch === before.partitionEpoch + 1
      if (!isInSync && !isSeen) follower.addedEpoch = metadata.partitionEpoch
      if (!isInSync && (wasInSync || !isSeen)) effects.push(...this.refuse(follower.nodeId, 'AGAIN'))
    }
    effects.push(...this.#advance(), ...this.#propose(nowMs))
    return effects
  }

  onProposalAnswer(proposal: IsrProposal, answer: ProposalAnswer, nowMs: number): readonly LeaderEffect[] {
    if (!this.#inSync.onAnswer(proposal, answer)) return NOTHING
    this.#proposeFromMs = nowMs + this.#options.timing.proposalBackoffMs
    return this.#advance()
  }

  /** Members of the ISR that can take over now, in order of preference: they follow, and may lead. */
  get successors(): readonly NodeId[] {
    return this.#replicas.filter(nodeId => {
      const session = this.#followers.get(nodeId)?.session
      return (
        session !== undefined && this.#inSync.members.includes(nodeId) && this.#options.isEligible(session)
      )
    })
  }

  /** All that this leader has is committed: whoever is in sync has it, too. */
  get isAllCommitted(): boolean {
    return this.#highWatermark === this.#log.logEndOffset
  }

  /**
   * Asks the controller to let this member lead (C11). Undefined: not now, it is tried again after the next event. Nothing
   * may be appended from here on, until metadata, a refusal or `withdrawHandover` end it.
   */
  handOver(successorId: NodeId): LeaderEffect | undefined {
    const isReady = this.#inSync.proposal === undefined && this.isAllCommitted
    // One that follows anew has to say first what it holds.
    const holdsAll = this.acknowledgedBy(successorId) === this.#log.logEndOffset
    if (!isReady || !holdsAll || !this.successors.includes(successorId)) return undefined
    const { members } = this.#inSync
    const isr = members.map(nodeId => this.#proposed(nodeId))
    const change = { leaderEpoch: this.leaderEpoch, isr, damaged: [], successorId }
    return { type: 'propose', proposal: this.#inSync.propose(change, { mayDepose: true }) }
  }

  /** The controller does not answer: this leader goes on. It may be deposed by what it has asked for, as at any time. */
  withdrawHandover(): void {
    if (this.#inSync.proposal?.successorId !== undefined) this.#inSync.withdraw()
  }

  /** Judges who lags; several times within the shortest of the delays, unless `isQuiet`. */
  tick(nowMs: number): readonly LeaderEffect[] {
    return this.#propose(nowMs)
  }

  /**
   * Time alone changes nothing here, as long as those who follow are heard: every replica is in sync and holds all there
   * is, or is out of sync and could not enter. So idle partitions cost nothing, however many they are.
   */
  get isQuiet(): boolean {
    const { members, proposal, mayBeDeposed } = this.#inSync
    if (proposal !== undefined || mayBeDeposed) return false
    return this.#replicas.every(nodeId => {
      if (nodeId === this.#self.nodeId) return members.includes(nodeId)
      const { session, acknowledged = -1, isDamaged, isFull } = this.#followers.get(nodeId) ?? {}
      if (!members.includes(nodeId)) return session === undefined || !this.#options.isEligible(session)
      return session !== undefined && acknowledged >= this.#log.logEndOffset && !isDamaged && !isFull
    })
  }

  /**
   * Of a damaged follower nothing counts from here on, because its `Follow` has voided what it acknowledged; so once it is
   * in no ISR or ELR that the controller has or may yet accept, it may give its bytes up. Its own metadata do not tell:
   * they may be of a time before it came into them.
   */
  #answer(follow: Follow, follower: FollowerProgress, session: FollowerSession): FollowAnswer {
    const mayBeElected = this.#inSync.mayBeElected(follower.nodeId)
    const isShort =
      this.#inSync.maximal.includes(follower.nodeId) &&
      follow.fetchOffset < follower.markOf(session.directoryId)
    const { logStartOffset } = this.#log
    if (!isShort && !follow.isDamaged) {
      if (follow.isFull) return { kind: 'refused', reason: 'FULL', logStartOffset }
      return answerFollow(this.#log, follow, { mayBeElected })
    }
    return { kind: 'refused', reason: mayBeElected ? 'DAMAGED' : 'RESET', logStartOffset }
  }

  #advance(): readonly LeaderEffect[] {
    if (!this.hasMinInsyncReplicas) return NOTHING
    let endOffset = this.#storedEndOffset
    for (const nodeId of this.#inSync.maximal) {
      if (nodeId === this.#self.nodeId) continue
      const acknowledged = this.#followers.get(nodeId)?.acknowledged
      if (acknowledged === undefined) return NOTHING
      endOffset = Math.min(endOffset, acknowledged)
    }
    if (endOffset <= this.#highWatermark) return NOTHING
    this.#highWatermark = endOffset
    return [{ type: 'advanceHighWatermark', highWatermark: endOffset }]
  }

  #propose(nowMs: number): readonly LeaderEffect[] {
    if (this.#inSync.proposal !== undefined || nowMs < this.#proposeFromMs) return NOTHING
    for (const follower of this.#followers.values()) this.#noteCaughtUp(follower)
    const isr = this.#replicas.filter(nodeId => this.#belongs(nodeId, nowMs))
    const { members, mayBeDeposed } = this.#inSync
    const isSame = isr.length === members.length && isr.every(nodeId => members.includes(nodeId))
    // What was withdrawn may still be on its way. That nothing is to be changed is refused, after whatever came before it.
    if (isSame && !mayBeDeposed) return NOTHING
    const change = {
      leaderEpoch: this.leaderEpoch,
      isr: isr.map(nodeId => this.#proposed(nodeId)),
      damaged: members.filter(nodeId => this.#followers.get(nodeId)?.isDamaged),
    }
    const mayDepose = isr.length < Math.min(members.length, this.#minInsyncReplicas)
    return [{ type: 'propose', proposal: this.#inSync.propose(change, { mayDepose }) }]
  }

  #proposed(nodeId: NodeId): ProposedMember {
    const isSelf = nodeId === this.#self.nodeId
    return { nodeId, nodeEpoch: isSelf ? this.#self.nodeEpoch : this.#followers.get(nodeId)?.nodeEpoch }
  }

  #belongs(nodeId: NodeId, nowMs: number): boolean {
    if (nodeId === this.#self.nodeId) return true
    const follower = this.#followers.get(nodeId)
    if (!follower) return false
    return this.#inSync.members.includes(nodeId) ? this.#mayStay(follower, nowMs) : this.#mayEnter(follower)
  }

  #mayStay(follower: FollowerProgress, nowMs: number): boolean {
    const { lagTimeMaxMs, disconnectGraceMs, firstFollowMs } = this.#options.timing
    if (follower.isDamaged || follower.isFull || nowMs - follower.caughtUpMs > lagTimeMaxMs) return false
    if (follower.session) return true
    if (follower.brokenMs !== undefined) return nowMs - follower.brokenMs <= disconnectGraceMs
    return follower.hasFollowed || nowMs - this.#startedMs <= firstFollowMs
  }

  #mayEnter({ session, acknowledged }: FollowerProgress): boolean {
    if (!session || acknowledged === undefined) return false
    if (acknowledged < this.#highWatermark || acknowledged < this.epochStartOffset) return false
    return this.#options.isEligible(session)
  }

  /**
   * The latest t at which the follower has since acknowledged the leader's end of t (C9). Asked for where it is judged, and
   * before what it follows from is forgotten.
   */
  #noteCaughtUp(follower: FollowerProgress): void {
    const { session, acknowledged } = follower
    if (!session || acknowledged === undefined) return
    // Of a silent follower it is not known what it holds since.
    const { heardMs } = session
    const isAtEnd = acknowledged >= this.#log.logEndOffset
    const atMs = isAtEnd ? heardMs : Math.min(this.#history.lastMsAt(acknowledged) ?? 0, heardMs)
    follower.caughtUpMs = Math.max(follower.caughtUpMs, atMs)
  }

  #matchFollowers(partitionEpoch: Epoch, nowMs: number): void {
    for (const nodeId of this.#followers.keys())
      if (!this.#replicas.includes(nodeId)) this.#followers.delete(nodeId)
    for (const nodeId of this.#replicas)
      if (nodeId !== this.#self.nodeId && !this.#followers.has(nodeId))
        this.#followers.set(nodeId, new FollowerProgress(nodeId, partitionEpoch, nowMs))
  }
}

const NOTHING: readonly LeaderEffect[] = []
