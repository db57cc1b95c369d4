import { assert } from '../../base/assert.ts'
import type { NodeId, PartitionId, Uuid } from '../../base/brands.ts'
import { NaruError } from '../../base/errors.ts'
import type { DiskReserve } from '../../log/disk-reserve.ts'
import type { LogEvent } from '../../log/log-core.ts'
import type { LogDirectory } from '../../log/log-directory.ts'
import type { PartitionLog } from '../../log/partition-log.ts'
import type { PartitionState } from '../../metadata/metadata-record.ts'
import type { Clock, Timer } from '../../ports/clock.ts'
import { PartitionLeader } from './partition-leader.ts'
import type { PartitionSettings } from './partition-settings.ts'

export interface HostedPartitionOptions {
  readonly topic: string
  readonly topicId: Uuid
  readonly partition: PartitionId
  readonly nodeId: NodeId
  /** As the committed metadata have it now. */
  readonly state: PartitionState
  readonly settings: PartitionSettings
  readonly directory: LogDirectory
  readonly clock: Clock
  readonly reserve: DiskReserve
  readonly onEvent: (event: LogEvent) => void
  readonly onError: (error: NaruError) => void
}

/** Why a log could not be opened now, but may be in a moment. */
const SHORTAGES: ReadonlySet<string> = new Set(['DISK_FULL', 'OVERLOADED'])
const OPEN_RETRY_MS = 1_000

/**
 * A partition that has a replica on this node: its log and, while this node leads it, its leader.
 * opening -> standing by <-> leading, as the metadata say; either -> failed (log offline or damaged); any -> closed
 * (topic deleted, node stops).
 *
 * Invariant: there is a leader only while the log is open and sound, and only of the epoch in the metadata.
 */
export class HostedPartition {
  readonly #options: HostedPartitionOptions
  readonly #name: string
  #state: PartitionState
  #settings: PartitionSettings
  #log: PartitionLog | undefined
  #leader: PartitionLeader | undefined
  #refusal: NaruError | undefined
  #closing: Promise<void> | undefined
  #opening: Promise<void>
  #retry: Timer | undefined

  constructor(options: HostedPartitionOptions) {
    this.#options = options
    this.#state = options.state
    this.#settings = options.settings
    this.#name = `"${options.topic}" partition ${options.partition}`
    this.#refusal = new NaruError('NODE_STARTING', `${this.#name} is being opened: try again`)
    this.#opening = this.#open()
  }

  /** Settled once the log is open and led, or known not to be; want of room is tried again later. */
  get opened(): Promise<void> {
    return this.#opening
  }

  get leader(): PartitionLeader | undefined {
    return this.#leader
  }

  /** Why there is no leader here now. */
  get refusal(): NaruError {
    return this.#refusal ?? new NaruError('LEADER_NOT_AVAILABLE', `${this.#name} has no leader here`)
  }

  /** The committed metadata have changed. */
  updateState(state: PartitionState): void {
    this.#state = state
    if (this.#log && !this.#log.failure && !this.#closing) this.#takeRole(this.#log)
  }

  updateSettings(settings: PartitionSettings): void {
    this.#settings = settings
    this.#leader?.updateSettings(settings)
    if (this.#log) void this.#configure(this.#log)
  }

  /** Answers what is parked as failed, then closes the log. Idempotent. */
  close(because: NaruError): Promise<void> {
    this.#closing ??= this.#close(because)
    return this.#closing
  }

  async #open(): Promise<void> {
    const { directory, topic, topicId, partition } = this.#options
    try {
      const log = await directory.openPartition({
        topic,
        topicId,
        partition,
        config: this.#settings.log,
        onProgress: () => this.#leader?.onLogProgress(),
        onEvent: event => this.#onEvent(event),
      })
      this.#log = log
      if (this.#closing) return
      if (log.failure) this.#end(log.failure)
      else this.#takeRole(log)
      // The settings may have changed while the log was opened.
      await this.#configure(log)
    } catch (thrown) {
      this.#onOpenError(NaruError.from(thrown))
    }
  }

  /** Until it is done the log works by the settings before; want of room passes. */
  async #configure(log: PartitionLog): Promise<void> {
    try {
      await log.updateConfig(this.#settings.log)
    } catch (thrown) {
      if (!(thrown instanceof NaruError)) throw thrown
      if (this.#closing || log.failure) return
      this.#options.onError(thrown)
      this.#retry?.cancel()
      this.#retry = this.#options.clock.setTimer(OPEN_RETRY_MS, () => void this.#configure(log))
    }
  }

  #onOpenError(error: NaruError): void {
    // Told once, not at each try.
    if (error.reason !== this.#refusal?.reason) this.#options.onError(error)
    this.#end(error)
    if (this.#closing || !SHORTAGES.has(error.reason)) return
    this.#retry = this.#options.clock.setTimer(OPEN_RETRY_MS, () => {
      this.#opening = this.#open()
    })
  }

  #takeRole(log: PartitionLog): void {
    const { leader, leaderEpoch } = this.#state
    if (this.#leader?.leaderEpoch === leaderEpoch && leader === this.#options.nodeId) return
    this.#end(new NaruError('NOT_LEADER', `${this.#name} is not led by this node any more`))
    if (leader === this.#options.nodeId) this.#lead(log)
  }

  #lead(log: PartitionLog): void {
    const { topic, topicId, partition, clock, reserve } = this.#options
    const { leaderEpoch, replicas } = this.#state
    assert(this.#leader === undefined, 'a partition is led once at a time')
    const settings = this.#settings
    this.#leader = new PartitionLeader({
      topic,
      topicId,
      partition,
      leaderEpoch,
      replicaCount: replicas.length,
      log,
      clock,
      reserve,
      settings,
    })
    this.#refusal = undefined
  }

  #onEvent(event: LogEvent): void {
    this.#options.onEvent(event)
    if (event.kind === 'offline' || event.kind === 'quarantined') this.#end(event.error)
    else if (event.kind === 'diskFull') this.#options.reserve.noteFull()
  }

  #end(because: NaruError): void {
    this.#refusal = because
    const leader = this.#leader
    this.#leader = undefined
    leader?.end(because)
  }

  async #close(because: NaruError): Promise<void> {
    this.#retry?.cancel()
    await this.#opening
    this.#end(because)
    if (this.#log) await this.#options.directory.closePartition(this.#log)
  }
}
