import { assert } from '../../base/assert.ts'
import type { MetadataIndex, NodeId, Uuid } from '../../base/brands.ts'
import { NaruError } from '../../base/errors.ts'
import { MachineRuntime } from '../../machine/machine-runtime.ts'
import type { Handler } from '../../machine/state-machine.ts'
import { formCluster } from '../../metadata/controller.ts'
import type { MetadataDelta } from '../../metadata/metadata-delta.ts'
import { MetadataImage } from '../../metadata/metadata-image.ts'
import type { MetadataRecord } from '../../metadata/metadata-record.ts'
import { type Clock, delay } from '../../ports/clock.ts'
import type { ServiceHandlers } from '../../ports/transport.ts'
import { type MemberId, type MembershipChange, nodeIdOf } from '../../raft/membership.ts'
import type { LogEntry, LogPosition } from '../../raft/messages.ts'
import type { RaftEvent } from '../../raft/raft-output.ts'
import type { RaftStatus } from '../../raft/raft-status.ts'
import { RaftDriver, type RaftDriverOptions } from '../raft/raft-driver.ts'
import { AppliedWaiters } from './applied-waiters.ts'
import type { LeadershipListener, MetadataQuorum, MetadataSubscriber } from './metadata-quorum.ts'
import {
  decodeMetadataChange,
  decodeMetadataRecord,
  encodeMetadataChange,
  encodeMetadataRecord,
} from './metadata-record-codec.ts'

/** Changes that wait for their commit; more are refused with OVERLOADED. */
const PENDING_CHANGES_MAX = 10_000
/** Between two tries of a read that found no leader, or a leader that ended. */
const READ_RETRY_MS = 50
/** How long a stop waits for the commit of what is under way. With a majority in contact that is one sync away. */
const LAST_COMMITS_TIMEOUT_MS = 1000
/** Five heartbeats: who was silent for longer is not offered the leadership at a stop. */
const HEIR_SILENT_MS_MAX = 500

export interface ControllerDriverOptions {
  readonly raft: Omit<RaftDriverOptions, 'owner'>
  /** Told once: this node cannot write or read the metadata log any more, and must stop. */
  readonly onFailed: (error: NaruError) => void
  readonly onEvent: (event: RaftEvent) => void
}

/**
 * The metadata of the cluster on this node, and its part of the quorum. Below is Raft, above are two images: `image`
 * holds what is committed and is what every part of the node reads; `newest` runs ahead of the commit on the node that
 * leads, where only handlers see it, and follows the commit elsewhere, so that this node can lead at any moment.
 *
 * One change of the controller is one entry of the log. At a commit the committed image changes, subscribers act on the
 * delta, then the answers leave. So who has an answer finds its effect in the image of this node (read-your-writes).
 *
 * Invariant: `#uncommitted` holds the changes of this leadership that are not committed, in order; it is empty on a
 * node that does not lead.
 */
export class ControllerDriver implements MetadataQuorum {
  readonly image = new MetadataImage()
  readonly clusterId: Uuid
  readonly #newest = new MetadataImage()
  readonly #runtime: MachineRuntime<MetadataRecord>
  readonly #clock: Clock
  readonly #options: ControllerDriverOptions
  readonly #subscribers = new Set<MetadataSubscriber>()
  readonly #listeners = new Set<LeadershipListener>()
  readonly #applied: AppliedWaiters
  readonly #raft: RaftDriver
  #uncommitted: { readonly records: readonly MetadataRecord[]; readonly endIndex: MetadataIndex }[] = []
  #leader: MemberId | undefined
  #leadingTerm = 0
  #transfers: (() => void)[] = []
  #onIdle: (() => void) | undefined
  /** Why nothing is submitted any more. */
  #end: NaruError | undefined
  #failure: NaruError | undefined
  #closing: Promise<void> | undefined

  constructor(options: ControllerDriverOptions) {
    this.#options = options
    this.clusterId = options.raft.clusterId
    this.#clock = options.raft.clock
    this.#applied = new AppliedWaiters(this.#clock)
    this.#runtime = new MachineRuntime<MetadataRecord>({
      machine: this.#newest,
      registry: this.#newest.registry,
      append: records => this.#append(records),
      lostLeadership: outcome => this.#lostLeadership(outcome),
      pendingMax: PENDING_CHANGES_MAX,
    })
    const owner = {
      onCommitted: (entries: readonly LogEntry[]) => this.#guarded(() => this.#onCommitted(entries)),
      onSnapshot: (snapshot: Snapshot) => this.#guarded(() => this.#onSnapshot(snapshot)),
      takeSnapshot: () => encoded(this.image.records()),
      onLeading: ({ term }: LogPosition) => this.#guarded(() => this.#onLeading(term)),
      onResigned: () => this.#onResigned(),
      onFailed: (error: NaruError) => this.#fail(error),
      onEvent: (event: RaftEvent) => this.#onEvent(event),
    }
    this.#raft = new RaftDriver({ ...options.raft, owner, directoryOf: nodeId => this.#directoryOf(nodeId) })
  }

  get nodeId(): NodeId {
    return nodeIdOf(this.#raft.self)
  }

  get self(): MemberId {
    return this.#raft.self
  }

  get isLeading(): boolean {
    return this.#runtime.isLeading
  }

  get leaderId(): NodeId | undefined {
    return this.#leader === undefined ? undefined : nodeIdOf(this.#leader)
  }

  get metadataAgeMs(): number | undefined {
    if (this.isLeading) return 0
    const { freshMs } = this
    return freshMs === undefined ? undefined : this.#clock.monotonicMs() - freshMs
  }

  get freshMs(): number | undefined {
    return this.#raft.freshMs
  }

  get status(): RaftStatus {
    return this.#raft.status
  }

  /** What the peers' port serves for Raft. */
  get handlers(): ServiceHandlers {
    return this.#raft.handlers
  }

  /** Since when one write or sync of the metadata log has been under way, monotonic (rule B6). */
  get diskOutstandingSinceMs(): number | undefined {
    return this.#raft.diskOutstandingSinceMs
  }

  /** Why this node takes part in the quorum no more. */
  get failure(): NaruError | undefined {
    return this.#failure
  }

  submit<T>(handler: (newest: MetadataImage) => ReturnType<Handler<MetadataRecord, T>>): Promise<T> {
    if (this.#end) return Promise.reject(this.#lostLeadership('none'))
    return new Promise((resolve, reject) => {
      this.#runtime.write(
        () => handler(this.#newest),
        outcome => (outcome.ok ? resolve(outcome.response) : reject(outcome.error)),
      )
    })
  }

  subscribe(subscriber: MetadataSubscriber): () => void {
    this.#subscribers.add(subscriber)
    return () => this.#subscribers.delete(subscriber)
  }

  onLeadership(listener: LeadershipListener): () => void {
    this.#listeners.add(listener)
    if (this.isLeading) listener.onLeading(this.#leadingTerm)
    return () => this.#listeners.delete(listener)
  }

  awaitApplied(endIndex: MetadataIndex, timeoutMs: number): Promise<void> {
    if (this.#end) return Promise.reject(this.#end)
    const { appliedEndIndex } = this.image
    return this.#applied.wait({ endIndex, appliedEndIndex, timeoutMs })
  }

  async readIndex(timeoutMs: number): Promise<MetadataIndex> {
    const endMs = this.#clock.monotonicMs() + timeoutMs
    for (;;) {
      try {
        return endOf(await this.#readOnce(endMs - this.#clock.monotonicMs()))
      } catch (thrown) {
        const error = NaruError.from(thrown)
        const leftMs = endMs - this.#clock.monotonicMs()
        // Between two leaders there is nobody to ask, for a moment.
        if (error.reason !== 'NOT_CONTROLLER' || leftMs <= READ_RETRY_MS || this.#end) throw error
        await delay(this.#clock, READ_RETRY_MS)
      }
    }
  }

  async changeMembership(change: MembershipChange): Promise<void> {
    await this.#raft.changeMembership(change)
  }

  async transfer(to: MemberId): Promise<void> {
    const isOver = new Promise<void>(resolve => this.#transfers.push(resolve))
    this.#raft.transfer(to)
    await isOver
  }

  /** To whoever is closest behind, if this node leads and anybody can take it: nobody waits for an election timeout. */
  async handOver(): Promise<void> {
    const { membership, members, isReady, transferTarget } = this.#raft.status
    if (this.#failure || !isReady) return
    // Somebody else has begun: a second heir would be refused.
    if (transferTarget !== undefined) return this.transfer(transferTarget)
    const heardSinceMs = this.#clock.monotonicMs() - HEIR_SILENT_MS_MAX
    const heirs = members.filter(
      ({ member, state, heardMs }) =>
        membership.voters.includes(member) && state === 'replicate' && heardMs >= heardSinceMs,
    )
    const [heir] = heirs.sort((a, b) => b.matchIndex - a.matchIndex)
    if (heir) await this.transfer(heir.member)
  }

  redial(member: MemberId): void {
    this.#raft.redial(member)
  }

  attach(attachment: Uint8Array): void {
    this.#raft.attach(attachment)
  }

  /**
   * Changes under way get their commit, and their callers an answer, if that comes soon; then another voter takes the
   * leadership over, if this node has it. Idempotent.
   */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    this.#end ??= new NaruError('NODE_DRAINING', 'this node is stopping: try another one, or again later')
    if (this.#runtime.pendingCount > 0) {
      const isIdle = new Promise<void>(resolve => {
        this.#onIdle = resolve
      })
      await Promise.race([isIdle, delay(this.#clock, LAST_COMMITS_TIMEOUT_MS)])
    }
    await this.handOver()
    await this.#raft.close()
    this.#applied.close(this.#end)
    this.#endTransfers()
  }

  #directoryOf(nodeId: NodeId): { directoryId: Uuid; epoch: number } | undefined {
    const { directoryId, directoryEpoch: epoch } = this.image.nodes.get(nodeId) ?? {}
    return directoryId === undefined || epoch === undefined ? undefined : { directoryId, epoch }
  }

  #append(records: readonly MetadataRecord[]): MetadataIndex {
    const endIndex = endOf(this.#raft.append([encodeMetadataChange(records)]).index)
    this.#uncommitted.push({ records, endIndex })
    return endIndex
  }

  #onCommitted(entries: readonly LogEntry[]): void {
    for (const entry of entries) this.#apply(entry)
    this.#applied.onApplied(this.image.appliedEndIndex)
    if (this.#runtime.pendingCount === 0) this.#onIdle?.()
  }

  #apply(entry: LogEntry): void {
    const endIndex = endOf(entry.index)
    const records = this.#recordsOf(entry)
    const delta = this.image.apply({ records, endIndex })
    this.#tell(delta)
    this.#runtime.loadCommitted({ records, endIndex })
  }

  /** Of an own entry they are at hand, and replayed already. */
  #recordsOf(entry: LogEntry): readonly MetadataRecord[] {
    if (entry.kind !== 'command') return []
    const [own] = this.#uncommitted
    if (own?.endIndex !== endOf(entry.index)) return decodeMetadataChange(entry.data)
    this.#uncommitted.shift()
    return own.records
  }

  #onSnapshot({ records, through }: Snapshot): void {
    const snapshot = { records: records.map(decodeMetadataRecord), endIndex: endOf(through.index) }
    this.#runtime.restore(snapshot)
    this.#tell(this.image.restore(snapshot))
    this.#applied.onApplied(snapshot.endIndex)
  }

  #tell(delta: MetadataDelta): void {
    if (delta.isEmpty) return
    for (const subscriber of this.#subscribers) subscriber(delta, this.image)
  }

  #onLeading(term: number): void {
    this.#leadingTerm = term
    this.#runtime.lead()
    this.#runtime.write(
      () => formCluster(this.#newest, this.clusterId),
      outcome => this.#onFormed(outcome.ok ? outcome.response.clusterId : undefined),
    )
    for (const listener of this.#listeners) listener.onLeading(term)
  }

  #onFormed(clusterId: Uuid | undefined): void {
    if (clusterId === undefined || clusterId === this.clusterId) return
    this.#fail(
      new NaruError(
        'INVALID_CONFIG',
        `node.json names cluster ${this.clusterId}, but the metadata log is of cluster ${clusterId}: the data directory is a mix of two (restore it from one backup)`,
      ),
    )
  }

  #onResigned(): void {
    this.#uncommitted = []
    this.#runtime.resign()
    this.#onIdle?.()
    for (const listener of this.#listeners) listener.onResigned()
  }

  #onEvent(event: RaftEvent): void {
    if (event.type === 'role-changed') this.#leader = event.leader
    if (event.type === 'transfer-ended') this.#endTransfers()
    this.#options.onEvent(event)
  }

  #endTransfers(): void {
    const waiting = this.#transfers
    this.#transfers = []
    for (const resolve of waiting) resolve()
  }

  async #readOnce(timeoutMs: number): Promise<number> {
    return new Promise((resolve, reject) => {
      const timer = this.#clock.setTimer(Math.max(0, timeoutMs), () => reject(unconfirmed(timeoutMs)))
      const finish = <T>(settle: (value: T) => void) => {
        return (value: T) => {
          timer.cancel()
          settle(value)
        }
      }
      this.#raft.readIndex().then(finish(resolve), finish(reject))
    })
  }

  #lostLeadership(outcome: 'none' | 'unknown'): NaruError {
    const because = this.#failure ?? this.#end
    if (because) return new NaruError(because.reason, because.message, { details: because.details, outcome })
    const leaderId = this.leaderId
    if (leaderId === undefined || leaderId === this.nodeId)
      return new NaruError('NOT_CONTROLLER', 'the controller is moving: try again', { outcome })
    return new NaruError(
      'NOT_CONTROLLER',
      `node ${this.nodeId} is not the controller, node ${leaderId} is: send it there`,
      { outcome, details: { leader_id: String(leaderId) } },
    )
  }

  /** A log that this release cannot apply ends this node's part in the cluster, with the reason. */
  #guarded(work: () => void): void {
    if (this.#failure) return
    try {
      work()
    } catch (thrown) {
      if (!(thrown instanceof NaruError)) throw thrown
      const isKnown = thrown.reason === 'DATA_DIRECTORY_VERSION'
      const message = `the metadata log cannot be applied: ${thrown.message}`
      this.#fail(isKnown ? thrown : new NaruError('CORRUPT_DATA', message, { cause: thrown }))
    }
  }

  #fail(error: NaruError): void {
    if (this.#failure) return
    this.#failure = this.#end = error
    this.#onResigned()
    this.#applied.close(error)
    this.#options.onFailed(error)
  }
}

interface Snapshot {
  readonly records: readonly Buffer[]
  readonly through: LogPosition
}

/** Raft names entries, the images their exclusive ends. */
function endOf(index: number): MetadataIndex {
  assert(Number.isSafeInteger(index), 'an index of the metadata log')
  return index + 1
}

function* encoded(records: Iterable<MetadataRecord>): Iterable<Buffer> {
  for (const record of records) yield encodeMetadataRecord(record)
}

function unconfirmed(timeoutMs: number): NaruError {
  return new NaruError(
    'DEADLINE_EXCEEDED',
    `the metadata quorum did not confirm within ${Math.round(timeoutMs)} ms that these metadata are the newest: try again (naru cluster quorum shows who is missing)`,
    { outcome: 'none' },
  )
}
