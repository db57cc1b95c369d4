import { NaruError } from '../../src/base/errors.ts'
import type { MetadataQuorum, MetadataSubscriber } from '../../src/drivers/controller/metadata-quorum.ts'
import { formCluster } from '../../src/metadata/controller.ts'
import { MetadataImage } from '../../src/metadata/metadata-image.ts'
import type { MetadataRecord } from '../../src/metadata/metadata-record.ts'
import { delay } from '../../src/ports/clock.ts'
import { memberId } from '../../src/raft/membership.ts'
import type { RaftStatus } from '../../src/raft/raft-status.ts'
import type { SimClock } from '../harness/sim-clock.ts'

export const CLUSTER_ID = 'cluster'

interface Entry {
  readonly records: readonly MetadataRecord[]
  readonly endIndex: number
}

/** The committed log that all nodes of a test share, and who leads: as the test says, at once. */
export class FakeMetadataLog {
  readonly entries: Entry[] = []
  readonly quorums = new Map<number, FakeQuorum>()
  leaderId: number | undefined = 1
  term = 1
  /** Nothing is confirmed: the majority is down. */
  hasMajority = true
  readIndexCount = 0

  get endIndex(): number {
    return this.entries.at(-1)?.endIndex ?? 0
  }

  lead(nodeId: number | undefined): void {
    this.leaderId = nodeId
    this.term++
  }

  append(records: readonly MetadataRecord[]): void {
    this.entries.push({ records, endIndex: this.endIndex + 1 })
    for (const quorum of this.quorums.values()) quorum.applyAll()
  }

  /** Whatever node leads or does not. */
  write<T>(decide: (image: MetadataImage) => { records: readonly MetadataRecord[]; response: T }): T {
    const newest = new MetadataImage()
    for (const entry of this.entries) newest.apply(entry)
    const { records, response } = decide(newest)
    if (records.length > 0) this.append(records)
    return response
  }
}

/** A node's part in it, which may lag behind (`isHeld`) and be wrong about who leads (`believes`). */
export class FakeQuorum implements MetadataQuorum {
  readonly clusterId = CLUSTER_ID
  readonly image = new MetadataImage()
  readonly nodeId: number
  readonly #log: FakeMetadataLog
  readonly #clock: SimClock
  readonly #subscribers = new Set<MetadataSubscriber>()
  isHeld = false
  believes: { readonly leaderId: number | undefined; readonly term?: number } | undefined
  metadataAgeMs: number | undefined = 0
  freshMs: number | undefined
  /** Called before a handler runs here. */
  onSubmit: () => void = () => {}

  constructor(nodeId: number, of: { log: FakeMetadataLog; clock: SimClock }) {
    this.nodeId = nodeId
    this.#log = of.log
    this.#clock = of.clock
    of.log.quorums.set(nodeId, this)
    if (of.log.entries.length === 0) of.log.append(formCluster(new MetadataImage(), CLUSTER_ID).records)
    this.applyAll()
  }

  get leaderId(): number | undefined {
    return this.believes === undefined ? this.#log.leaderId : this.believes.leaderId
  }

  get isLeading(): boolean {
    return this.leaderId === this.nodeId
  }

  get status(): RaftStatus {
    const voters = [...this.#log.quorums.keys()].map(nodeId => memberId(nodeId, `directory-${nodeId}`))
    const index = this.image.appliedEndIndex - 1
    return {
      self: memberId(this.nodeId, `directory-${this.nodeId}`),
      term: this.believes?.term ?? this.#log.term,
      membership: { voters: voters.sort(), learners: [] },
      commitIndex: index,
      persistedIndex: index,
      members: [],
    } as unknown as RaftStatus
  }

  async submit<T>(
    handler: (newest: MetadataImage) => { records: readonly MetadataRecord[]; response: T },
  ): Promise<T> {
    this.onSubmit()
    if (!this.isLeading) throw new NaruError('NOT_CONTROLLER', `node ${this.nodeId} is not the controller`)
    const { records, response } = handler(this.image)
    if (records.length > 0) {
      if (this.#log.leaderId !== this.nodeId)
        throw new NaruError('NOT_CONTROLLER', 'the controller has moved', { outcome: 'unknown' })
      this.#log.append(records)
    }
    return response
  }

  applyAll(): void {
    if (!this.isHeld) this.#applyThrough(this.#log.endIndex)
  }

  #applyThrough(endIndex: number): void {
    for (const entry of this.#log.entries) {
      if (entry.endIndex <= this.image.appliedEndIndex || entry.endIndex > endIndex) continue
      const delta = this.image.apply(entry)
      for (const subscriber of this.#subscribers) subscriber(delta, this.image)
    }
  }

  release(): void {
    this.isHeld = false
    this.applyAll()
  }

  subscribe(subscriber: MetadataSubscriber): () => void {
    this.#subscribers.add(subscriber)
    return () => this.#subscribers.delete(subscriber)
  }

  async awaitApplied(endIndex: number, timeoutMs: number): Promise<void> {
    const endMs = this.#clock.monotonicMs() + timeoutMs
    while (this.image.appliedEndIndex < endIndex) {
      if (this.#clock.monotonicMs() >= endMs) throw new NaruError('DEADLINE_EXCEEDED', 'not applied in time')
      await delay(this.#clock, 1)
    }
  }

  /** A node that lags gets what it lacks by it, up to what was committed when it began. */
  async readIndex(timeoutMs: number): Promise<number> {
    this.#log.readIndexCount++
    const { endIndex } = this.#log
    await delay(this.#clock, this.#log.hasMajority ? 5 : timeoutMs)
    if (!this.#log.hasMajority)
      throw new NaruError('DEADLINE_EXCEEDED', 'the quorum confirmed nothing', { outcome: 'none' })
    this.believes = undefined
    this.#applyThrough(endIndex)
    return endIndex
  }

  onLeadership(): () => void {
    return () => {}
  }

  changeMembership(): Promise<void> {
    return Promise.reject(new Error('not in these tests'))
  }

  transfer(): Promise<void> {
    return Promise.reject(new Error('not in these tests'))
  }

  attach(): void {}

  redial(): void {}
}
