import type { Follow, FollowAnswer } from '../../src/replication/follow.ts'
import type { FollowerSession } from '../../src/replication/follower-progress.ts'
import {
  type FollowerEffect,
  FollowerState,
  type KnownHighWatermark,
} from '../../src/replication/follower-state.ts'
import type { IsrProposal, ProposalAnswer } from '../../src/replication/in-sync-replicas.ts'
import { type LeaderEffect, LeaderState } from '../../src/replication/leader-state.ts'
import { ParkedFollows } from '../../src/replication/parked-follows.ts'
import { REPLICA_TIMING } from '../../src/replication/replica-timing.ts'
import { ArrayLog, type ArrayRecord } from './array-log.ts'
import { check } from './replication-oracle.ts'
import type { MetadataStep } from './simulated-controller.ts'

/** The cores under test, or copies of them with a planted bug. */
export interface Cores {
  readonly LeaderState: typeof LeaderState
  readonly FollowerState: typeof FollowerState
}

export const CORES: Cores = { LeaderState, FollowerState }

/** Planted bugs of the driver. */
export interface DriverBugs {
  readonly acksBeforeSync?: boolean
  readonly countsOldSyncs?: boolean
  readonly tellsEndsBeforeDivergence?: boolean
}

export type Frame =
  | { readonly kind: 'follow'; readonly follow: Follow }
  | { readonly kind: 'ack'; readonly number: number; readonly endOffset: number }
  | { readonly kind: 'answer'; readonly number: number; readonly answer: FollowAnswer }
  | {
      readonly kind: 'data'
      readonly number: number
      readonly from: number
      readonly records: readonly ArrayRecord[]
      readonly ends: Ends
    }

interface Ends {
  readonly highWatermark: number
  readonly logStartOffset: number
}

export class SimSession implements FollowerSession {
  readonly nodeId: number
  readonly directoryId: string
  readonly nodeEpoch: number
  readonly leader: number
  heardMs: number
  isAlive = true

  constructor(
    identity: { nodeId: number; directoryId: string; nodeEpoch: number },
    leader: number,
    nowMs: number,
  ) {
    this.nodeId = identity.nodeId
    this.directoryId = identity.directoryId
    this.nodeEpoch = identity.nodeEpoch
    this.leader = leader
    this.heardMs = nowMs
  }
}

export interface ReplicaOptions {
  readonly id: number
  readonly minInsyncReplicas: number
  readonly cores: Cores
  readonly bugs: DriverBugs
  readonly send: (session: SimSession, to: number, frame: Frame) => void
  readonly propose: (replica: SimulatedReplica, proposal: IsrProposal) => void
  readonly onHighWatermark: (replica: SimulatedReplica) => void
  readonly onAcknowledged: (offset: number, value: string) => void
  readonly quarantined: (replica: SimulatedReplica, cause: string) => void
}

const BATCH_RECORDS_MAX = 3

/** One node with its replica: a disk that loses what was not synced, and the driver of the two cores in short. */
export class SimulatedReplica {
  readonly id: number
  readonly minInsyncReplicas: number
  readonly #options: ReplicaOptions
  log = new ArrayLog()
  /** What a power cut leaves. */
  durable: readonly ArrayRecord[] = []
  #durableStart = 0
  #durableHighWatermark = 0
  isUp = false
  directoryId = ''
  nodeEpoch = 0
  applied = -1
  partitionEpoch = 0
  state: LeaderState | undefined
  follower: FollowerState | undefined
  /** As a follower, to the leader. */
  session: SimSession | undefined
  /** As a leader: where each follower's data goes on. */
  readonly #cursors = new Map<number, { session: SimSession; number: number; next: number }>()
  #parked = new ParkedFollows<SimSession>()
  #produced: { offset: number; value: string }[] = []
  #generation = 0
  #storedEndOffset = 0
  #lastNumber = 0
  #step: MetadataStep | undefined
  sync: { generation: number; records: readonly ArrayRecord[] } | undefined
  cut: (() => void) | undefined
  /** Leader epoch in which it last gave up all that it had. */
  emptiedInEpoch = 0
  /** Partition epoch in which it last was no replica. */
  leftInEpoch = 0

  constructor(options: ReplicaOptions) {
    this.id = options.id
    this.minInsyncReplicas = options.minInsyncReplicas
    this.#options = options
  }

  boot(registered: { directoryId: string; nodeEpoch: number }): void {
    this.isUp = true
    this.directoryId = registered.directoryId
    this.nodeEpoch = registered.nodeEpoch
    this.log = new ArrayLog(this.durable)
    this.log.logStartOffset = this.#durableStart
    this.log.highWatermark = Math.max(
      this.#durableStart,
      Math.min(this.#durableHighWatermark, this.log.logEndOffset),
    )
    this.#storedEndOffset = this.log.logEndOffset
    this.#parked = new ParkedFollows<SimSession>()
  }

  /** `keeps`: bytes that were written and not synced survive, as many. */
  crash(keeps: number): void {
    this.isUp = false
    if (!this.cut && this.log.logEndOffset > this.durable.length)
      this.durable = this.log.records.slice(0, this.durable.length + keeps)
    this.#durableStart = Math.min(this.log.logStartOffset, this.durable.length)
    this.state = undefined
    this.follower = undefined
    this.session = undefined
    this.sync = undefined
    this.cut = undefined
    this.#cursors.clear()
    this.#produced = []
    this.#generation++
    this.applied = -1
    this.partitionEpoch = 0
    this.#step = undefined
  }

  wipe(): void {
    this.durable = []
    this.#durableStart = 0
    this.#durableHighWatermark = 0
  }

  /** The log finds itself damaged: its bytes stay until it is reset. */
  damage(): void {
    if (this.follower && !this.cut) this.follower.onDamaged()
  }

  /** As the metadata say that have come here. */
  directoryOf(nodeId: number): string | undefined {
    return this.#step?.nodes.get(nodeId)?.directoryId
  }

  checkpoint(): void {
    this.#durableHighWatermark = this.log.highWatermark
  }

  /** The metadata have come this far here. */
  apply(step: MetadataStep, index: number, nowMs: number): void {
    this.applied = index
    this.partitionEpoch = step.state.partitionEpoch
    this.#step = step
    this.#takeRole(nowMs)
  }

  produce(value: string, nowMs: number): void {
    const { state } = this
    if (!state || state.refusalOf('ALL', { isUnheard: false })) return
    state.onAppend(this.log.logEndOffset, nowMs)
    this.#produced.push({ offset: this.log.logEndOffset, value })
    this.log.records.push({ epoch: state.leaderEpoch, value })
    this.#stored(nowMs)
  }

  startSync(): void {
    this.sync ??= { generation: this.#generation, records: this.log.records.slice() }
  }

  endSync(nowMs: number): void {
    const { sync } = this
    this.sync = undefined
    if (!sync || this.cut) return
    if (sync.generation === this.#generation) this.durable = sync.records
    else if (!this.#options.bugs.countsOldSyncs || sync.records.length > this.log.logEndOffset) return
    this.#storedEndOffset = sync.records.length
    this.#stored(nowMs)
  }

  endCut(nowMs: number): void {
    const { cut } = this
    this.cut = undefined
    cut?.()
    this.durable = this.log.records.slice()
    this.#durableStart = this.log.logStartOffset
    this.#durableHighWatermark = Math.min(this.#durableHighWatermark, this.log.highWatermark)
    this.#storedEndOffset = this.log.logEndOffset
    if (this.follower?.phase === 'cutting') this.#do(this.follower.onCut(this.#storedEndOffset, nowMs), nowMs)
    this.#takeRole(nowMs)
  }

  connect(session: SimSession, nowMs: number): void {
    this.session = session
    if (this.follower) this.#do(this.follower.onConnected(nowMs), nowMs)
  }

  /** As a follower. */
  disconnect(): void {
    this.session = undefined
    this.follower?.onDisconnected()
  }

  /** As a leader. */
  onSessionBroken(session: SimSession, nowMs: number): void {
    this.#parked.onSessionBroken(session)
    if (this.#cursors.get(session.nodeId)?.session === session) this.#cursors.delete(session.nodeId)
    this.state?.onSessionBroken(session, nowMs)
  }

  receive(session: SimSession, frame: Frame, nowMs: number): void {
    if (frame.kind === 'follow') this.#onFollow(frame.follow, session, nowMs)
    else if (frame.kind === 'ack') {
      if (this.state) this.#lead(this.state.onAck(session, frame, nowMs))
    } else if (frame.kind === 'answer') this.#onAnswer(frame, nowMs)
    else this.#onData(frame, nowMs)
  }

  /** Data or progress to each follower. */
  replicate(nowMs: number): void {
    for (const cursor of this.#cursors.values()) {
      const records = this.log.records.slice(cursor.next, cursor.next + BATCH_RECORDS_MAX)
      const { highWatermark, logStartOffset } = this.log
      const ends = { highWatermark, logStartOffset }
      const { session, number, next: from } = cursor
      if (from < logStartOffset) {
        if (this.state) this.#lead(this.state.refuse(session.nodeId, 'AGAIN'))
        continue
      }
      this.#options.send(session, session.nodeId, { kind: 'data', number, from, records, ends })
      cursor.next += records.length
    }
    for (const { session, follow } of this.#parked.expired(nowMs)) this.#refuse(session, follow)
  }

  tick(nowMs: number): void {
    if (this.state) this.#lead(this.state.tick(nowMs))
    if (this.follower) this.#do(this.follower.tick(nowMs), nowMs)
  }

  retain(offset: number): void {
    this.log.logStartOffset = Math.max(this.log.logStartOffset, Math.min(offset, this.log.highWatermark))
  }

  onProposalAnswer(proposal: IsrProposal, answer: ProposalAnswer, nowMs: number): void {
    if (this.state) this.#lead(this.state.onProposalAnswer(proposal, answer, nowMs))
  }

  #takeRole(nowMs: number): void {
    const step = this.#step
    if (!step || step.nodes.get(this.id)?.nodeEpoch !== this.nodeEpoch) return
    const isHere = step.state.replicas.includes(this.id)
    if (!isHere) this.#leave(step.state.partitionEpoch)
    if (!isHere || this.cut) return
    const { state } = step
    if (state.leader === this.id) this.#takeLead(step, nowMs)
    else if (this.follower) this.#do(this.follower.onMetadata(state, nowMs), nowMs)
    else this.#takeFollowing(step, nowMs)
    if (this.session && this.session.leader !== state.leader) this.session = undefined
    for (const parked of this.#parked.due(state.leaderEpoch))
      this.#onFollow(parked.follow, parked.session, nowMs)
  }

  #takeLead({ state: metadata }: MetadataStep, nowMs: number): void {
    if (this.state?.leaderEpoch === metadata.leaderEpoch) {
      this.#lead(this.state.onMetadata(metadata, nowMs))
      return
    }
    this.follower = undefined
    this.#resign()
    this.#generation++
    this.state = new this.#options.cores.LeaderState({
      self: this,
      metadata,
      log: this.log,
      storedEndOffset: this.#storedEndOffset,
      minInsyncReplicas: this.minInsyncReplicas,
      writeCaching: false,
      timing: REPLICA_TIMING,
      isEligible: replica => {
        const node = this.#step?.nodes.get(replica.nodeId)
        return node?.nodeEpoch === replica.nodeEpoch && !node.isFenced
      },
      nowMs,
    })
    this.#lead(this.state.begin())
  }

  /** Other nodes have the replicas now: the log goes. */
  #leave(partitionEpoch: number): void {
    this.leftInEpoch = partitionEpoch
    this.#resign()
    this.follower = undefined
    this.session = undefined
    this.sync = undefined
    this.cut = undefined
    this.#generation++
    this.log = new ArrayLog()
    this.#storedEndOffset = 0
    this.wipe()
  }

  get nodeId(): number {
    return this.id
  }

  #takeFollowing({ state: metadata }: MetadataStep, nowMs: number): void {
    const { latestEpoch, highWatermark } = this.log
    const known: KnownHighWatermark = this.state
      ? { offset: this.state.highWatermark, leaderEpoch: this.state.leaderEpoch }
      : { offset: highWatermark, leaderEpoch: latestEpoch ?? 0 }
    this.#resign()
    this.#generation++
    this.follower = new this.#options.cores.FollowerState({
      self: this.id,
      metadata,
      log: this.log,
      storedEndOffset: this.#storedEndOffset,
      known,
      isDamaged: false,
      nextNumber: () => this.nodeEpoch * 1_000_000 + ++this.#lastNumber,
      timing: REPLICA_TIMING,
    })
    this.#do(this.follower.begin(nowMs), nowMs)
  }

  #resign(): void {
    this.state = undefined
    this.#cursors.clear()
    this.#produced = []
  }

  #stored(nowMs: number): void {
    const endOffset = this.#options.bugs.acksBeforeSync ? this.log.logEndOffset : this.#storedEndOffset
    if (this.state) this.#lead(this.state.onStored(endOffset))
    if (this.follower) this.#do(this.follower.onStored(endOffset), nowMs)
  }

  #onFollow(follow: Follow, session: SimSession, nowMs: number): void {
    const epoch = this.#step?.state.leaderEpoch ?? 0
    if (!session.isAlive) return
    if (!this.state) {
      if (follow.leaderEpoch >= epoch) this.#parked.park({ follow, session }, nowMs)
      else this.#refuse(session, follow)
      return
    }
    const answer = this.state.onFollow(follow, session)
    if (answer.kind === 'refused' && answer.reason === 'NOT_LEADER') {
      this.#parked.park({ follow, session }, nowMs)
      return
    }
    const { number, fetchOffset } = follow
    if (this.#cursors.get(session.nodeId)?.number !== this.state.numberOf(session.nodeId))
      this.#cursors.delete(session.nodeId)
    if (answer.kind === 'accepted') this.#cursors.set(session.nodeId, { session, number, next: fetchOffset })
    else {
      const { highWatermark, logStartOffset } = this.log
      const ends = { highWatermark, logStartOffset }
      if (this.#options.bugs.tellsEndsBeforeDivergence)
        this.#options.send(session, session.nodeId, {
          kind: 'data',
          number,
          from: fetchOffset,
          records: [],
          ends,
        })
      this.#options.send(session, session.nodeId, { kind: 'answer', number, answer })
    }
  }

  #refuse(session: FollowerSession, follow: Follow): void {
    const answer = { kind: 'refused', reason: 'NOT_LEADER', logStartOffset: 0 } as const
    this.#options.send(session as SimSession, session.nodeId, {
      kind: 'answer',
      number: follow.number,
      answer,
    })
  }

  #onAnswer({ number, answer }: Extract<Frame, { kind: 'answer' }>, nowMs: number): void {
    const { follower } = this
    if (!follower || answer.kind === 'accepted') return
    if (answer.kind === 'diverged') this.#do(follower.onDiverged(number, answer), nowMs)
    else this.#do(follower.onRefused(number, answer, nowMs), nowMs)
  }

  #onData(frame: Extract<Frame, { kind: 'data' }>, nowMs: number): void {
    const { follower } = this
    if (!follower) return
    const { number, from, records, ends } = frame
    if (records.length > 0) {
      const effects = follower.onData(number, from, nowMs)
      this.#do(effects, nowMs)
      if (!effects.some(effect => effect.type === 'append')) return
      check(!this.cut, 'nothing is appended beside a cut')
      this.log.records.push(...records)
    }
    this.#do(follower.onProgress(number, ends), nowMs)
    this.#stored(nowMs)
  }

  #lead(effects: readonly LeaderEffect[]): void {
    for (const effect of effects) {
      if (effect.type === 'propose') this.#options.propose(this, effect.proposal)
      else if (effect.type === 'refuse') {
        const { number, reason, session } = effect
        this.#cursors.delete(session.nodeId)
        const answer = { kind: 'refused', reason, logStartOffset: this.log.logStartOffset } as const
        this.#options.send(session as SimSession, session.nodeId, { kind: 'answer', number, answer })
      } else {
        this.log.highWatermark = effect.highWatermark
        this.#options.onHighWatermark(this)
        while (this.#produced[0] && this.#produced[0].offset < effect.highWatermark) {
          const { offset, value } = this.#produced.shift() as { offset: number; value: string }
          this.#options.onAcknowledged(offset, value)
        }
      }
    }
  }

  #do(effects: readonly FollowerEffect[], nowMs: number): void {
    for (const effect of effects) this.#doOne(effect, nowMs)
  }

  #doOne(effect: FollowerEffect, nowMs: number): void {
    const { session, log } = this
    switch (effect.type) {
      case 'sendFollow':
        if (session) this.#options.send(session, session.leader, { kind: 'follow', follow: effect.follow })
        break
      case 'acknowledge':
        if (session) this.#options.send(session, session.leader, { kind: 'ack', ...effect })
        break
      case 'advanceHighWatermark':
        log.highWatermark = effect.highWatermark
        break
      case 'moveLogStart':
        this.retain(effect.offset)
        break
      case 'truncateTo':
        this.#generation++
        log.truncateTo(effect.offset)
        this.#storedEndOffset = Math.min(this.#storedEndOffset, effect.offset)
        this.cut = () => {}
        break
      case 'resetTo':
        this.emptiedInEpoch = this.follower?.leaderEpoch ?? 0
        this.#generation++
        log.resetTo(effect.offset)
        this.#storedEndOffset = effect.offset
        this.cut = () => {}
        break
      case 'quarantine':
        this.#options.quarantined(this, effect.cause)
        break
      default:
        void nowMs
    }
  }
}
