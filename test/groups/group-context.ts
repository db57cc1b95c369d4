/**
 * A coordinator of groups over a log in memory, on a clock of its own, with clients: what the driver, the service
 * and SDKs do around the pure core, as far as its tests need it.
 */
import { NaruError } from '../../src/base/errors.ts'
import type { GroupSettings } from '../../src/groups/group-options.ts'
import type { GroupRecord, MemberInstance, MemberRecord } from '../../src/groups/group-record.ts'
import type { GroupResult, GroupTimer, MemberName, MemberStream } from '../../src/groups/group-result.ts'
import type { CatalogTopic, TopicCatalog } from '../../src/groups/subscription.ts'
import type { MachineResult } from '../../src/machine/state-machine.ts'
import { groupRecordKey } from './group-records.ts'
import * as realCode from './groups-code.ts'
import { SimStream, type StreamOptions } from './sim-stream.ts'

export type GroupsCode = typeof realCode

export interface ContextOptions {
  readonly code?: GroupsCode
  readonly settings?: Partial<GroupSettings>
  readonly limits?: Record<string, number>
  /** false: records wait for `commit`. */
  readonly commitsAtOnce?: boolean
}

export class GroupContext {
  readonly code: GroupsCode
  readonly catalog = new SimCatalog()
  /** Committed or not: one entry per write. */
  log: GroupRecord[][] = []
  nowMs = 1_000_000
  commitsAtOnce: boolean
  /** Lines of what clients are told. */
  readonly told: string[] = []
  /** Newest stream of each member, connected or not; older ones in `fenced`. */
  readonly streams: SimStream[] = []
  /** Since when this coordinator coordinates. */
  takenOverMs = this.nowMs
  /** A write removes a member. */
  onGone: (name: MemberName) => void = () => {}
  /** Where the log says that the stream of a member is broken, and since when. */
  #disconnects: { readonly at: number; readonly stream: MemberStream; readonly sinceMs: number }[] = []
  readonly #options: ContextOptions
  #parts: Parts
  #changed: MemberName[] = []
  #instanceCount = 0

  constructor(options: ContextOptions = {}) {
    this.#options = options
    this.code = options.code ?? realCode
    this.commitsAtOnce = options.commitsAtOnce ?? true
    this.#parts = this.#newParts()
    this.#parts.runtime.lead()
  }

  get image() {
    return this.#parts.image
  }

  get coordinator() {
    return this.#parts.coordinator
  }

  get committedCount(): number {
    return this.#parts.runtime.committedEndIndex
  }

  /** Runs a handler; its answer, if it is committed at once. Throws what it throws. */
  run<T>(handler: () => GroupResult<T>): T {
    let result: { response: T } | undefined
    this.write(handler, response => {
      result = { response }
    })
    if (this.commitsAtOnce) this.commit()
    if (result === undefined) throw new Error('the answer waits for its commit')
    return result.response
  }

  /** Runs a handler; the answer comes with its commit, to `onDone` or `onError`. Without the latter errors are thrown. */
  write<T>(
    handler: () => GroupResult<T>,
    onDone: (response: T) => void,
    onError?: (e: NaruError) => void,
  ): void {
    let failure: NaruError | undefined
    this.#parts.runtime.write(
      () => this.#took(handler()),
      outcome => {
        if (outcome.ok) onDone(outcome.response)
        else if (onError === undefined) failure = outcome.error
        else onError(outcome.error)
      },
    )
    if (failure !== undefined) throw failure
  }

  attend(group: string, member: string, options: StreamOptions): SimStream {
    const stream = new SimStream(this, { group, member }, options)
    this.streams.push(stream)
    stream.open()
    if (this.commitsAtOnce) this.commit()
    return stream
  }

  newInstance(): MemberInstance {
    return { id: `process-${++this.#instanceCount}`, attempt: 1, round: 0 }
  }

  stream(group: string, member: string): SimStream {
    const stream = this.streams.findLast(one => one.isOf({ group, member }))
    if (stream === undefined) throw new Error(`no stream of ${member}`)
    return stream
  }

  /** All that is written becomes committed, and clients are told and do what follows, until nothing follows. */
  commit(): void {
    for (let round = 0; round < 1000; round++) {
      this.#parts.runtime.onCommitted(this.log.length)
      const changed = this.#changed
      this.#changed = []
      for (const name of changed) for (const stream of this.streams) if (stream.isOf(name)) stream.look()
      this.#parts.runtime.onCommitted(this.log.length)
      if (this.#changed.length === 0 && this.committedCount === this.log.length) return
    }
    throw new Error('clients and coordinator do not come to rest')
  }

  /** Moves the clock; streams that are connected and not silent are heard every second. */
  advance(ms: number): void {
    const endMs = this.nowMs + ms
    while (this.nowMs < endMs) {
      const nextMs = Math.max(this.#parts.runtime.nextDeadlineMs ?? endMs, this.nowMs)
      this.nowMs = Math.min(endMs, this.nowMs + 1000, nextMs > this.nowMs ? nextMs : this.nowMs + 1)
      for (const stream of this.streams) stream.beat()
      this.runTimers()
    }
  }

  runTimers(): void {
    for (let round = 0; round < 100; round++) {
      if ((this.#parts.runtime.nextDeadlineMs ?? Number.POSITIVE_INFINITY) > this.nowMs) return
      this.#parts.runtime.onTime(this.nowMs)
      if (this.commitsAtOnce) this.commit()
    }
  }

  /** The topics have changed: groups take note. */
  refresh(names: readonly string[]): void {
    const topics = names.map(name => this.catalog.everSeen(name))
    for (const group of this.coordinator.concernedBy(topics)) {
      this.write(
        () => this.coordinator.refresh(group, this.nowMs),
        () => {},
      )
      if (this.commitsAtOnce) this.commit()
    }
  }

  /**
   * Another node becomes the coordinator, from what is committed and `kept` entries more. All streams break; `knows`: since
   * when an earlier one is broken.
   */
  moveCoordinator(
    how: { keptCount?: number; thin?: (records: GroupRecord[]) => GroupRecord[]; knows?: () => boolean } = {},
  ): void {
    const keptCount =
      this.committedCount + Math.min(how.keptCount ?? 0, this.log.length - this.committedCount)
    for (const stream of this.streams) stream.isConnected = false
    this.#parts.runtime.resign()
    this.#changed = []
    this.log = this.log.slice(0, keptCount)
    this.#disconnects = this.#disconnects.filter(({ at }) => at < keptCount)
    this.takenOverMs = this.nowMs
    const parts = this.#newParts()
    const thin = how.thin ?? (records => records)
    parts.runtime.restore({ records: thin(this.log.flat()), endIndex: keptCount })
    this.#parts = parts
    parts.runtime.lead()
    const { knows = () => true } = how
    const disconnectedMs = (stream: MemberStream) => {
      const isSame = (other: MemberStream) => JSON.stringify(other) === JSON.stringify(stream)
      const found = this.#disconnects.find(one => isSame(one.stream))
      return found && knows() ? this.nowMs - found.sinceMs : 0
    }
    for (const timer of parts.coordinator.timersAtTakeover(this.nowMs, disconnectedMs)) this.#schedule(timer)
    this.runTimers()
  }

  #took<T>(result: GroupResult<T>): MachineResult<GroupRecord, T> {
    for (const timer of result.timers) this.#schedule(timer)
    this.#changed.push(...result.changed)
    return result
  }

  #schedule({ key, delayMs, run }: GroupTimer): void {
    this.#parts.runtime.schedule(key, {
      deadlineMs: this.nowMs + delayMs,
      handler: nowMs => this.#took(run(nowMs)),
    })
  }

  #onMember({ group, member, value }: MemberRecord): void {
    if (value === null) this.onGone({ group, member })
    if (!value?.disconnected) return
    const stream = { group, member, attachEpoch: value.attachEpoch }
    this.#disconnects.push({ at: this.log.length, stream, sinceMs: this.nowMs })
  }

  #newParts(): Parts {
    const image = new this.code.GroupsImage()
    const { settings, limits } = this.#options
    const coordinator = new this.code.GroupCoordinator(image, {
      catalog: this.catalog,
      ...(settings && { settings }),
      ...(limits && { limits }),
    })
    const runtime = new this.code.MachineRuntime<GroupRecord>({
      machine: image,
      registry: image.registry,
      append: records => {
        for (const record of records) if (record.type === 'member') this.#onMember(record)
        return this.log.push([...records])
      },
      lostLeadership: () => new NaruError('LEADER_NOT_AVAILABLE', 'the coordinator is moving'),
      pendingMax: 1_000_000,
      onTimerFailed: (key, error) => {
        throw new Error(`timer ${key}: ${error.message}`)
      },
    })
    return { image, coordinator, runtime }
  }
}

interface Parts {
  readonly image: InstanceType<GroupsCode['GroupsImage']>
  readonly coordinator: InstanceType<GroupsCode['GroupCoordinator']>
  readonly runtime: InstanceType<typeof realCode.MachineRuntime<GroupRecord>>
}

export class SimCatalog implements TopicCatalog {
  readonly #topics = new Map<string, CatalogTopic>()
  readonly #everSeen = new Map<string, CatalogTopic>()
  #count = 0

  /** Makes a topic, or gives it more partitions. */
  put(name: string, partitionCount: number): void {
    const id = this.#topics.get(name)?.id ?? `id-${name}-${++this.#count}`
    this.#topics.set(name, { id, name, partitionCount })
    this.#everSeen.set(name, { id, name, partitionCount })
  }

  delete(name: string): void {
    this.#topics.delete(name)
  }

  names(): string[] {
    return [...this.#topics.keys()].sort()
  }

  everSeen(name: string): CatalogTopic {
    const topic = this.#everSeen.get(name)
    if (topic === undefined) throw new Error(`there never was a topic ${name}`)
    return topic
  }

  byName(name: string): CatalogTopic | undefined {
    return this.#topics.get(name)
  }

  byId(topicId: string): CatalogTopic | undefined {
    return this.all().find(({ id }) => id === topicId)
  }

  all(): CatalogTopic[] {
    return [...this.#topics.values()]
  }
}

/** What a log cleaner may leave: the newest of each key, older ones as `keeps` says, tombstones that cover nothing older too. */
export function thinned(records: readonly GroupRecord[], keeps: () => boolean): GroupRecord[] {
  const newest = new Map<string, number>()
  for (const [index, record] of records.entries()) newest.set(groupRecordKey(record), index)
  const kept = records.filter((record, index) => newest.get(groupRecordKey(record)) === index || keeps())
  const seen = new Set<string>()
  return kept.filter(record => {
    const key = groupRecordKey(record)
    const isFirst = !seen.has(key)
    seen.add(key)
    return record.value !== null || !isFirst || keeps()
  })
}

/** The error as `REASON: message`. */
export function errorOf(action: () => unknown): string {
  try {
    action()
  } catch (error) {
    const { reason, message } = error as { reason: string; message: string }
    return `${reason}: ${message}`
  }
  return 'no error'
}
