import { assert } from '../../base/assert.ts'
import type { Uuid } from '../../base/brands.ts'
import { NaruError } from '../../base/errors.ts'
import type { Clock, Timer } from '../../ports/clock.ts'
import type { Disk } from '../../ports/disk.ts'
import type { Prng } from '../../ports/prng.ts'
import { randomUuid } from '../../ports/prng.ts'
import type { ServiceHandlers } from '../../ports/transport.ts'
import type { MemberId, MembershipChange } from '../../raft/membership.ts'
import type {
  LogEntry,
  LogPosition,
  RaftMessage,
  SnapshotMark,
  SnapshotMessage,
} from '../../raft/messages.ts'
import type { RaftInput } from '../../raft/raft-input.ts'
import { RaftNode } from '../../raft/raft-node.ts'
import type { RaftLimits, RaftTiming } from '../../raft/raft-options.ts'
import type { RaftEvent, RaftOutput } from '../../raft/raft-output.ts'
import type { RaftStatus } from '../../raft/raft-status.ts'
import { lostMetadata, lostPart } from './corrupt-raft-data.ts'
import type { OpenedRaft } from './open-raft-storage.ts'
import { PendingProposals } from './pending-proposals.ts'
import { PendingReads } from './pending-reads.ts'
import { ENTRY_BYTES_MAX } from './raft-entry-codec.ts'
import type { KnownDirectory } from './raft-hello.ts'
import type { RaftOwner } from './raft-owner.ts'
import type { ConnectionState } from './raft-peer.ts'
import type { RaftStorage } from './raft-storage.ts'
import { RaftStreams, type RaftStreamsListener, type RaftStreamsOptions } from './raft-streams.ts'
import type { ReceivedSnapshot } from './snapshot-receiver.ts'
import type { SnapshotSource } from './snapshot-sender.ts'

export interface RaftDriverLimits {
  /** Of one proposed entry, so that it fits a batch of the log and a message. */
  readonly entryBytesMax: number
  /** Received and not yet durable; above it appends are dropped, and the leader sends them anew. */
  readonly pendingBytesMax: number
  /** Applied since the last snapshot: either makes the next one. */
  readonly snapshotAfterBytes: number
  readonly snapshotAfterEntries: number
  /** So many bytes make one, too, if they are so many times what the last one holds: else a start replays much for little. */
  readonly snapshotAfter: { readonly bytesMin: number; readonly timesItsSize: number }
  /** Kept below a snapshot, so that who is a little behind needs no snapshot. */
  readonly keptEntries: number
  /** Between notes of how far the log was synced. */
  readonly checkpointMs: number
}

const RAFT_DRIVER_LIMITS: RaftDriverLimits = {
  entryBytesMax: ENTRY_BYTES_MAX,
  pendingBytesMax: 64 * 1024 * 1024,
  snapshotAfterBytes: 16 * 1024 * 1024,
  snapshotAfterEntries: 50_000,
  snapshotAfter: { bytesMin: 1024 * 1024, timesItsSize: 4 },
  keptEntries: 10_000,
  checkpointMs: 5000,
}

export interface RaftDriverOptions extends Omit<RaftStreamsOptions, 'self' | 'limits'> {
  readonly clusterId: Uuid
  readonly opened: OpenedRaft
  readonly disk: Disk
  readonly clock: Clock
  readonly prng: Prng
  readonly owner: RaftOwner
  /** As it remembers it; undefined: nobody tells. */
  readonly ownDirectory?: () => KnownDirectory
  /** The author of a new cluster (rule A2). */
  readonly campaignAtOnce?: boolean
  readonly timing?: Partial<RaftTiming>
  readonly raftLimits?: Partial<RaftLimits>
  readonly limits?: Partial<RaftDriverLimits>
  readonly streamLimits?: RaftStreamsOptions['limits']
}

/**
 * Runs the Raft core on the ports: hands it what happens, and does what it says, output after output. The core decides
 * at once; what it decided is carried out in order, also where carrying out one thing brings the next.
 *
 * Durability is the storage's, in the order asked: messages that promise something leave when it says so, then the core
 * learns of it. A snapshot from the leader replaces the owner's state when it is durable; nothing committed behind it
 * can come before, since the core hands out only what is durable here.
 *
 * Deadlines are judged by ticks, which a timer asks for, but which are given only after a turn of the event loop that
 * has read the sockets (rule A8).
 */
export class RaftDriver implements RaftStreamsListener {
  readonly #options: RaftDriverOptions
  readonly #limits: RaftDriverLimits
  readonly #node: RaftNode
  readonly #storage: RaftStorage
  readonly #streams: RaftStreams
  readonly #owner: RaftOwner
  readonly #proposals = new PendingProposals()
  readonly #reads = new PendingReads()
  readonly #outputs: { output: RaftOutput; received: ReceivedSnapshot | undefined }[] = []
  #isCarryingOut = false
  #appliedIndex: number
  #isApplyReported = true
  #bytesSinceSnapshot = 0
  /** Of what the last snapshot holds. */
  #snapshotBytes: number
  #snapshotting: Promise<void> | undefined
  /** Elected, and not yet through with applying what came before. */
  #readyAt: LogPosition | undefined
  #isLeading = false
  #tickTimer: Timer | undefined
  #tickDueMs = Number.POSITIVE_INFINITY
  #checkpointTimer: Timer | undefined
  #isClosed = false

  constructor(options: RaftDriverOptions) {
    this.#options = options
    this.#limits = { ...RAFT_DRIVER_LIMITS, ...options.limits }
    const { opened, clock, prng, owner } = options
    const { storage, saved, records } = opened
    this.#storage = storage
    this.#owner = owner
    this.#appliedIndex = saved.snapshot.index
    this.#snapshotBytes = sizeOf(records)
    const { index, term } = saved.snapshot
    owner.onSnapshot({ records, through: { index, term } })
    this.#node = new RaftNode(
      {
        self: storage.self,
        incarnation: randomUuid(prng),
        random: () => prng.fraction(),
        ...(options.campaignAtOnce !== undefined && { campaignAtOnce: options.campaignAtOnce }),
        ...(options.timing && { timing: options.timing }),
        limits: { applyBytesMax: APPLY_BYTES_MAX, ...options.raftLimits },
      },
      saved,
      clock.monotonicMs(),
    )
    storage.setHandlers({ onFailed: error => this.#fail(error) })
    const { streamLimits, limits: _limits, ...rest } = options
    const streams = { ...rest, self: storage.self, ...(streamLimits && { limits: streamLimits }) }
    this.#streams = new RaftStreams(streams, this)
    this.#scheduleTick()
    this.#scheduleCheckpoint()
  }

  get self(): MemberId {
    return this.#storage.self
  }

  /** What the peers' port serves for Raft. */
  get handlers(): ServiceHandlers {
    return this.#streams.handlers
  }

  get status(): RaftStatus {
    return this.#node.status
  }

  /** As of when what is applied here was certainly the newest, monotonic (`RaftNode.freshMs`). */
  get freshMs(): number | undefined {
    return this.#node.freshMs(this.#options.clock.monotonicMs())
  }

  /** What the owner has applied; inclusive. */
  get appliedIndex(): number {
    return this.#appliedIndex
  }

  /** Exclusive end of the log as the owner counts it: the last index, committed or not. */
  get lastIndex(): number {
    return this.#node.status.last.index
  }

  /** Since when one write or sync of the log has been under way, monotonic (rule B6). */
  get diskOutstandingSinceMs(): number | undefined {
    return this.#storage.outstandingSinceMs
  }

  /** Puts commands at the end of the log, and says where the last one is. Throws a NaruError if it refuses. */
  append(commands: readonly Uint8Array[]): LogPosition {
    const tooLarge = commands.find(command => command.length > this.#limits.entryBytesMax)
    if (tooLarge) {
      const { entryBytesMax } = this.#limits
      throw new NaruError(
        'REQUEST_TOO_LARGE',
        `a change of ${tooLarge.length} bytes, at most ${entryBytesMax}: split it`,
      )
    }
    return this.#ask({ type: 'propose', commands })
  }

  /** Resolves once the owner has applied the last one. UNKNOWN_OUTCOME: it may be committed, later or never. */
  async propose(commands: readonly Uint8Array[]): Promise<LogPosition> {
    return this.#proposals.wait(this.append(commands))
  }

  async changeMembership(change: MembershipChange): Promise<LogPosition> {
    return this.#proposals.wait(this.#ask({ type: 'change-membership', change }))
  }

  /** Begins to hand the leadership over. How it ends, the event `transfer-ended` says. */
  transfer(to: MemberId): void {
    if (this.#isClosed) throw this.#stopping()
    const { refusal } = this.#step({ type: 'transfer', to })
    if (refusal) throw refusal
  }

  /** Resolves when the owner has applied everything that was committed anywhere before the call. */
  readIndex(): Promise<number> {
    if (this.#isClosed) return Promise.reject(this.#stopping())
    const { ticket, index } = this.#reads.ask()
    this.#step({ type: 'read-index', ticket })
    return index
  }

  /** See `RaftPeer`. */
  redial(member: MemberId): void {
    this.#streams.redial(member)
  }

  /** What this member's answers to the leader carry from now on. */
  attach(attachment: Uint8Array | undefined): void {
    this.#step({ type: 'attach', attachment })
  }

  /** Makes a snapshot of what is applied now, and lets go of the log behind it. */
  takeSnapshot(): Promise<void> {
    // By the core's snapshot: one of the leader that is not durable yet has taken the place of the log already.
    const isUseful = !this.#isClosed && this.#appliedIndex > this.#node.status.snapshotIndex
    if (isUseful) this.#snapshotting ??= this.#takeSnapshot()
    return this.#snapshotting ?? Promise.resolve()
  }

  async #takeSnapshot(): Promise<void> {
    try {
      const mark = this.#node.snapshotMarkAt(this.#appliedIndex)
      const records = Array.from(this.#owner.takeSnapshot(), record => Buffer.from(record))
      this.#bytesSinceSnapshot = 0
      this.#snapshotBytes = sizeOf(records)
      // Otherwise the leader's, which reaches further, has taken its place meanwhile.
      if ((await this.#storage.takeSnapshot(mark, records)) && !this.#isClosed) this.#compact(mark)
    } finally {
      this.#snapshotting = undefined
    }
  }

  /** Ends streams and promises, then writes what is pending. */
  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#stop('this node is stopping')
    // Together: the snapshot may wait for room on the disk, which it gives up when the storage closes.
    await Promise.all([this.#snapshotting, this.#storage.close()])
  }

  onMessage(message: RaftMessage): void {
    const isTooMuch = this.#storage.pendingBytes > this.#limits.pendingBytesMax
    if (isTooMuch && message.type === 'append' && message.entries.length > 0) return
    this.#step({ type: 'message', message })
  }

  onConnection(member: MemberId, state: ConnectionState): void {
    this.#step({ type: `connection-${state}`, member })
  }

  /** It has forgotten votes, too. One that starts over is no voter, and a sole voter has nobody who could know better. */
  onTold({ directoryId, epoch }: KnownDirectory): void {
    const own = this.#options.ownDirectory?.()
    const { voters } = this.#node.membership
    if (own?.directoryId !== directoryId || own.epoch >= epoch) return
    if (voters.length > 1 && voters.includes(this.self))
      void this.#giveUpName(`its directory took part under node epoch ${epoch}, and remembers ${own.epoch}`)
  }

  async openSnapshot(): Promise<SnapshotSource> {
    const file = await this.#options.disk.open(this.#storage.snapshotPath, 'read')
    if (file.path === this.#storage.snapshotPath) return { mark: this.#storage.snapshot, file }
    await file.close()
    throw new NaruError('OVERLOADED', 'a newer snapshot has just taken the place of the one to send')
  }

  onSnapshotReport(to: MemberId, status: 'progress' | 'failed'): void {
    this.#step({ type: 'snapshot-report', to, status })
  }

  placeForSnapshot({ term, snapshot }: SnapshotMessage): string | undefined {
    const { commitIndex, term: ownTerm } = this.#node.status
    const isNeeded = term >= ownTerm && snapshot.index > commitIndex
    return isNeeded ? this.#storage.receivingPath() : undefined
  }

  onSnapshot(received: ReceivedSnapshot): void {
    const output = this.#step({ type: 'message', message: received.message }, received)
    if (output.persist?.snapshot) return
    // The log holds it by now, or its leader leads no more; a failure to remove it leaves what the next start removes.
    this.#options.disk.remove(received.path).catch(() => {})
  }

  #ask(input: RaftInput): LogPosition {
    if (this.#isClosed) throw this.#stopping()
    const { accepted, refusal } = this.#step(input)
    if (refusal) throw refusal
    assert(accepted, 'what was not refused was accepted')
    return accepted
  }

  #step(input: RaftInput, received?: ReceivedSnapshot): RaftOutput {
    if (this.#isClosed) return NOTHING
    try {
      const output = this.#node.step(input, this.#options.clock.monotonicMs())
      this.#outputs.push({ output, received })
      if (!this.#isCarryingOut) this.#carryOut()
      return output
    } catch (thrown) {
      // Half of a step was made. Who called may only see a stream that failed, and go on: this member must not.
      this.#fail(NaruError.from(thrown))
      throw thrown
    }
  }

  #carryOut(): void {
    this.#isCarryingOut = true
    try {
      for (let next = this.#outputs.shift(); next !== undefined; next = this.#outputs.shift()) {
        this.#send(next.output.sendNow)
        this.#persist(next.output, next.received)
        this.#apply(next.output.committed)
        for (const event of next.output.events) this.#onEvent(event)
        for (const state of next.output.readStates) this.#reads.confirm(state)
        this.#lead()
        this.#reads.onApplied(this.#appliedIndex)
      }
    } finally {
      this.#isCarryingOut = false
    }
    this.#scheduleTick()
  }

  #send(messages: readonly RaftMessage[]): void {
    for (const message of messages) this.#streams.send(message)
  }

  #persist({ persist, sendAfterPersist }: RaftOutput, received: ReceivedSnapshot | undefined): void {
    if (!persist && sendAfterPersist.length === 0) return
    const onDurable = () => {
      if (this.#isClosed) return
      if (persist?.snapshot && received) this.#install(persist.snapshot, received)
      this.#send(sendAfterPersist)
      if (persist) this.#step({ type: 'persisted', mark: persist.mark })
    }
    this.#storage.persist(persist, onDurable, persist?.snapshot && received?.path)
  }

  #install({ index, term }: SnapshotMark, { records }: ReceivedSnapshot): void {
    assert(index > this.#appliedIndex, `a snapshot through ${index} after ${this.#appliedIndex} was applied`)
    this.#appliedIndex = index
    this.#bytesSinceSnapshot = 0
    this.#snapshotBytes = sizeOf(records)
    this.#owner.onSnapshot({ records, through: { index, term } })
  }

  #apply(entries: readonly LogEntry[]): void {
    const last = entries.at(-1)
    if (!last || this.#isClosed) return
    assert(
      entries[0]?.index === this.#appliedIndex + 1,
      `applies ${entries[0]?.index} after ${this.#appliedIndex}`,
    )
    this.#appliedIndex = last.index
    this.#owner.onCommitted(entries)
    for (const entry of entries) {
      this.#bytesSinceSnapshot += entry.data.length
      this.#proposals.onCommitted(entry)
    }
    this.#reportApplied()
    this.#snapshotIfDue()
  }

  /** In a turn of its own: a long log is applied in pieces, between which the sockets are read. */
  #reportApplied(): void {
    if (!this.#isApplyReported) return
    this.#isApplyReported = false
    this.#options.clock.afterTurn(() => {
      this.#isApplyReported = true
      this.#step({ type: 'applied', index: this.#appliedIndex })
    })
  }

  #snapshotIfDue(): void {
    const { snapshotAfterBytes, snapshotAfterEntries, snapshotAfter } = this.#limits
    const { bytesMin, timesItsSize } = snapshotAfter
    const entries = this.#appliedIndex - this.#storage.snapshot.index
    const manyBytes = Math.min(snapshotAfterBytes, Math.max(bytesMin, timesItsSize * this.#snapshotBytes))
    if (this.#bytesSinceSnapshot < manyBytes && entries < snapshotAfterEntries) return
    // After the core was told of what is applied, which the mark of the snapshot is checked against.
    if (!this.#snapshotting) this.#options.clock.afterTurn(() => void this.takeSnapshot())
  }

  #compact(mark: SnapshotMark): void {
    const logStart = Math.max(this.#node.status.logStart.index, mark.index - this.#limits.keptEntries)
    this.#step({ type: 'applied', index: this.#appliedIndex })
    this.#step({ type: 'compacted', index: mark.index, logStart })
    this.#storage.removeThrough(logStart)
  }

  #onEvent(event: RaftEvent): void {
    if (event.type === 'role-changed' && event.role !== 'leader') this.#resign(event.reason)
    if (event.type === 'leader-ready') this.#readyAt = { index: event.index, term: event.term }
    if (event.type === 'reads-aborted') this.#reads.abort(event.tickets, event.reason)
    if (event.type === 'log-lost') void this.#giveUpName(lostPart(event))
    this.#owner.onEvent(event)
  }

  #lead(): void {
    const leadership = this.#readyAt
    if (!leadership || this.#appliedIndex < leadership.index) return
    this.#readyAt = undefined
    this.#isLeading = true
    this.#owner.onLeading(leadership)
  }

  #resign(reason: string): void {
    this.#readyAt = undefined
    this.#proposals.resign(reason)
    if (!this.#isLeading) return
    this.#isLeading = false
    this.#owner.onResigned(reason)
  }

  /** A tick that comes early does no harm, so a timer is only ever replaced by an earlier one. */
  #scheduleTick(): void {
    const { clock } = this.#options
    const dueMs = this.#node.nextTickMs
    if (this.#isClosed || this.#tickDueMs <= dueMs) return
    this.#tickTimer?.cancel()
    this.#tickDueMs = dueMs
    const onDue = () =>
      clock.afterTurn(() => {
        this.#tickDueMs = Number.POSITIVE_INFINITY
        this.#step({ type: 'tick' })
      })
    const { heartbeatMs } = this.#node
    const leftMs = Math.max(0, dueMs - clock.monotonicMs())
    // What is about a heartbeat away has time until the common tick, which may be half of one late.
    const isSteady = leftMs >= heartbeatMs * 0.75
    this.#tickTimer = isSteady ? clock.setTick(heartbeatMs, onDue) : clock.setTimer(leftMs, onDue)
  }

  #scheduleCheckpoint(): void {
    this.#checkpointTimer = this.#options.clock.setTimer(this.#limits.checkpointMs, () => {
      this.#storage.checkpoint()
      this.#scheduleCheckpoint()
    })
  }

  #fail(error: NaruError): void {
    if (this.#isClosed) return
    this.#stop(error.message)
    this.#owner.onFailed(error)
  }

  /** Silent from here on; the next start finds the mark, and begins as a new member (rule A4). */
  async #giveUpName(damage: string): Promise<void> {
    if (this.#isClosed) return
    this.#stop(damage)
    await this.#storage.markDamaged(damage)
    this.#owner.onFailed(lostMetadata(damage))
  }

  #stop(reason: string): void {
    this.#resign(reason)
    this.#isClosed = true
    this.#tickTimer?.cancel()
    this.#checkpointTimer?.cancel()
    this.#reads.close(reason)
    this.#streams.close()
  }

  #stopping(): NaruError {
    return new NaruError('NODE_DRAINING', 'this node is stopping: try another one, or again later')
  }
}

/** Applied between two looks at the sockets. */
const APPLY_BYTES_MAX = 1024 * 1024

function sizeOf(records: readonly Uint8Array[]): number {
  return records.reduce((sum, record) => sum + record.length, 0)
}

const NOTHING: RaftOutput = {
  sendNow: [],
  persist: undefined,
  sendAfterPersist: [],
  committed: [],
  readStates: [],
  accepted: undefined,
  refusal: undefined,
  events: [],
}
