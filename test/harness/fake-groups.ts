import { NaruError } from '../../src/base/errors.ts'
import { GroupCoordinator } from '../../src/groups/group-coordinator.ts'
import type { GroupSettings } from '../../src/groups/group-options.ts'
import type { GroupRecord } from '../../src/groups/group-record.ts'
import type { GroupResult, MemberName, MemberStream } from '../../src/groups/group-result.ts'
import { GroupsImage } from '../../src/groups/groups-image.ts'
import type { Membership } from '../../src/groups/member-control.ts'
import { MembershipFeed } from '../../src/groups/membership-feed.ts'
import type { TopicCatalog } from '../../src/groups/subscription.ts'
import { MachineRuntime } from '../../src/machine/machine-runtime.ts'
import type { MachineResult } from '../../src/machine/state-machine.ts'
import type { Clock, Timer } from '../../src/ports/clock.ts'
import type { Channel, MessageStream, MethodPath, ServiceHandler } from '../../src/ports/transport.ts'
import { errorToFailure } from '../../src/wire/failure.ts'
import type {
  AttendJoin,
  AttendResponse,
  CommitOffsetsRequest,
  MessageInit,
  TopicPartition,
} from '../../src/wire/messages.ts'
import { Consumer, Groups } from '../../src/wire/methods.ts'

export interface FakeGroupsOptions {
  readonly catalog: TopicCatalog
  readonly clock: Clock
  /** Where the starts of partitions are looked up. */
  readonly channel: Channel
  readonly settings?: Partial<GroupSettings>
}

/** Who had a partition from when to when, by the coordinator's record; `toMs` undefined: still. */
export interface Ownership {
  readonly member: string
  readonly fromMs: number
  toMs: number | undefined
}

/**
 * The Groups service of one coordinator, whose log is a list in memory: the real state machine with as little around it as
 * members need, and a record of who owned what when.
 */
export class FakeGroups {
  readonly #options: FakeGroupsOptions
  readonly #image = new GroupsImage()
  readonly #coordinator: GroupCoordinator
  readonly #runtime: MachineRuntime<GroupRecord>
  readonly #streams = new Set<FakeStream>()
  readonly ownerships = new Map<string, Ownership[]>()
  #length = 0
  #changed: MemberName[] = []
  #timer: Timer | undefined
  #isCommitDue = false
  /** While true, nothing is committed: no answers leave. */
  isStalled = false
  /** Of all logs, as far as commits go: one beyond is refused. */
  endOffset = Number.POSITIVE_INFINITY
  /** What the next commits end with, instead of being done. */
  readonly commitFailures: NaruError[] = []

  constructor(options: FakeGroupsOptions) {
    this.#options = options
    const { catalog, settings } = options
    this.#coordinator = new GroupCoordinator(this.#image, { catalog, ...(settings && { settings }) })
    this.#runtime = new MachineRuntime<GroupRecord>({
      machine: this.#image,
      registry: this.#image.registry,
      append: () => ++this.#length,
      lostLeadership: () => new NaruError('LEADER_NOT_AVAILABLE', 'the coordinator is moving'),
      pendingMax: 1_000_000,
      onTimerFailed: (key, error) => {
        throw new Error(`timer ${key}: ${error.message}`)
      },
    })
    this.#runtime.lead()
  }

  get coordinator(): GroupCoordinator {
    return this.#coordinator
  }

  handlers(): [MethodPath, ServiceHandler][] {
    return [
      [
        Groups.attend.path,
        {
          kind: 'stream',
          handle: (stream, { peer }) => void this.#streams.add(new FakeStream(this, stream, peer)),
        },
      ],
      [
        Groups.commitOffsets.path,
        {
          kind: 'unary',
          handle: async bytes =>
            Groups.commitOffsets.response.encode(
              await this.#commitOffsets(Groups.commitOffsets.request.decode(bytes)),
            ),
        },
      ],
    ]
  }

  /** What a group has committed, by `topic/partition`. */
  committed(group: string): Record<string, number> {
    const image = this.#image.get(group)
    const offsets: Record<string, number> = {}
    for (const topicId of image?.offsetTopics.keys() ?? [])
      for (const [partition, { nextOffset }] of image?.offsetsOf(topicId) ?? [])
        offsets[`${this.#options.catalog.byId(topicId)?.name}/${partition}`] = nextOffset
    return offsets
  }

  members(group: string): string[] {
    return [...(this.#image.get(group)?.members.keys() ?? [])].sort()
  }

  /** Every stream of members ends, as when a node goes. */
  breakStreams(error = new NaruError('CONNECTION_FAILED', 'the node went away')): void {
    for (const stream of [...this.#streams]) stream.break(error)
  }

  /** The topics have changed. */
  refresh(): void {
    for (const group of this.#coordinator.concernedBy([...this.#options.catalog.all()]))
      void this.run(() => this.#coordinator.refresh(group, this.#nowMs))
  }

  run<T>(handler: (nowMs: number) => GroupResult<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#runtime.write(
        () => this.#took(handler(this.#nowMs)),
        outcome => (outcome.ok ? resolve(outcome.response) : reject(outcome.error)),
      )
      this.#commitSoon()
    })
  }

  topicId(name: string): string {
    return this.#options.catalog.byName(name)?.id ?? ''
  }

  forget(stream: FakeStream): void {
    this.#streams.delete(stream)
  }

  async startOf(
    join: AttendJoin,
    at: { topic: string; topicId: string; partition: number },
  ): Promise<number> {
    const { channel } = this.#options
    const request = { partitions: [{ ...at, position: join.start ?? { at: 'EARLIEST' as const } }] }
    const { path, request: codec, response } = Consumer.listOffsets
    return response.decode(await channel.unary(path, codec.encode(request))).offsets[0]?.offset ?? 0
  }

  get #nowMs(): number {
    return this.#options.clock.wallMs()
  }

  async #commitOffsets({ group, member, memberEpoch, offsets }: CommitOffsetsRequest) {
    const failure = this.commitFailures.shift()
    if (failure !== undefined) throw failure
    const { endOffset } = this
    const isBeyond = offsets.some(({ nextOffset }) => nextOffset > endOffset)
    if (isBeyond) return { results: offsets.map(offset => ({ ...offset, failure: beyondEnd(endOffset) })) }
    const outcomes = await this.run(nowMs =>
      this.#coordinator.offsets.commit(
        {
          group,
          ...(member !== undefined && { member: { member, memberEpoch: memberEpoch ?? 0 } }),
          offsets: offsets.map(offset => ({
            ...offset,
            topicId: offset.topicId ?? this.#options.catalog.byName(offset.topic)?.id ?? '',
            leaderEpoch: offset.leaderEpoch ?? null,
          })),
        },
        nowMs,
      ),
    )
    return {
      results: offsets.map(({ topic, partition, nextOffset }, index) => {
        const error = outcomes[index]?.error
        return { topic, partition, nextOffset, ...(error && { failure: errorToFailure(error) }) }
      }),
    }
  }

  #took<T>(result: GroupResult<T>): MachineResult<GroupRecord, T> {
    for (const { key, delayMs, run } of result.timers)
      this.#runtime.schedule(key, {
        deadlineMs: this.#nowMs + delayMs,
        handler: nowMs => this.#took(run(nowMs)),
      })
    this.#changed.push(...result.changed)
    return result
  }

  #commitSoon(): void {
    if (this.#isCommitDue) return
    this.#isCommitDue = true
    this.#options.clock.setTimer(1, () => {
      this.#isCommitDue = false
      if (this.isStalled) this.#commitSoon()
      else this.#commit()
    })
  }

  #commit(): void {
    this.#runtime.onCommitted(this.#runtime.endIndex)
    this.#noteOwners()
    const changed = this.#changed
    this.#changed = []
    for (const name of changed) for (const stream of this.#streams) if (stream.isOf(name)) void stream.look()
    this.#armTimer()
  }

  #armTimer(): void {
    const dueMs = this.#runtime.nextDeadlineMs
    this.#timer?.cancel()
    if (dueMs === undefined) return
    this.#timer = this.#options.clock.setTimer(Math.max(1, dueMs - this.#nowMs), () => {
      this.#runtime.onTime(this.#nowMs)
      this.#commitSoon()
    })
  }

  #noteOwners(): void {
    const now = new Map<string, string>()
    for (const group of this.#image.all())
      for (const [member, { partitions }] of group.assignments.entries())
        for (const { topicId, partition } of partitions)
          now.set(`${group.name} ${this.#options.catalog.byId(topicId)?.name}/${partition}`, member)
    for (const key of new Set([...now.keys(), ...this.ownerships.keys()])) {
      const periods = this.ownerships.get(key) ?? []
      const last = periods.at(-1)
      const member = now.get(key)
      if (last?.toMs === undefined && last?.member === member) continue
      if (last !== undefined && last.toMs === undefined) last.toMs = this.#nowMs
      if (member !== undefined) periods.push({ member, fromMs: this.#nowMs, toMs: undefined })
      this.ownerships.set(key, periods)
    }
  }
}

class FakeStream {
  readonly #groups: FakeGroups
  readonly #stream: MessageStream
  readonly #feed = new MembershipFeed()
  readonly #peer: string
  #join: AttendJoin | undefined
  #member: MemberStream | undefined
  #isOver = false

  constructor(groups: FakeGroups, stream: MessageStream, peer: string) {
    this.#groups = groups
    this.#stream = stream
    this.#peer = peer
    stream.setHandlers({
      onMessage: message => void this.#onMessage(message).catch(error => this.#fail(error)),
      onClose: () => this.#onClose(),
    })
  }

  isOf({ group, member }: MemberName): boolean {
    return this.#member?.group === group && this.#member.member === member
  }

  break(error: NaruError): void {
    this.#fail(error)
    this.#onClose()
  }

  async look(): Promise<void> {
    const stream = this.#member
    if (stream === undefined || this.#isOver) return
    try {
      this.#tell(stream, await this.#groups.run(() => this.#groups.coordinator.members.membership(stream)))
    } catch (thrown) {
      this.#fail(NaruError.from(thrown))
    }
  }

  async #onMessage(message: Buffer): Promise<void> {
    const { join, heartbeat, release, leave } = Groups.attend.request.decode(message)
    const { members } = this.#groups.coordinator
    if (join) {
      this.#join = join
      const address = this.#peer
      const { member = 'nameless', instance: id = member, attempt = 0 } = join
      const instance = { id, attempt, round: 0 }
      const attended = await this.#groups.run(nowMs =>
        members.attend({ ...join, member, address, instance }, nowMs),
      )
      if (this.#isOver) return
      this.#member = attended.stream
      const { memberEpoch, sessionTimeoutMs, warnings } = attended
      this.#write({
        joined: { member: attended.stream.member, memberEpoch, sessionTimeoutMs, warnings: [...warnings] },
      })
      await this.look()
    }
    const stream = this.#member
    if (stream === undefined) return
    if (leave) await this.#leave()
    if (heartbeat) {
      const { memberEpoch } = await this.#groups.run(() => members.heartbeat(stream))
      this.#write({ heartbeat: { number: heartbeat.number, memberEpoch } })
    }
    if (release) {
      const partitions = release.partitions.map(place => this.#withId(place))
      this.#feed.onReleased(partitions)
      await this.#groups.run(nowMs =>
        members.release(stream, { memberEpoch: release.memberEpoch, partitions }, nowMs),
      )
    }
  }

  #withId({ topic, partition }: TopicPartition) {
    return { topic, partition, topicId: this.#groups.topicId(topic) }
  }

  #tell(stream: MemberStream, membership: Membership): void {
    if (this.#isOver) return
    const { memberEpoch, lost, assigned, revoking, unresolved, toRelease } = this.#feed.update(membership)
    if (lost.length > 0) this.#write({ lost: { partitions: lost.map(placeOf) } })
    if (assigned.length > 0)
      this.#write({
        assigned: {
          memberEpoch,
          partitions: assigned.map(one => ({
            topic: one.topic,
            topicId: one.topicId,
            partition: one.partition,
            nextOffset: one.nextOffset ?? 0,
          })),
        },
      })
    const deadlineMs = this.#groups.coordinator.settings.releaseTimeoutMs
    if (revoking.length > 0)
      this.#write({ revoking: { memberEpoch, partitions: revoking.map(placeOf), deadlineMs } })
    const { members } = this.#groups.coordinator
    if (toRelease.length > 0)
      void this.#groups.run(nowMs => members.release(stream, { memberEpoch, partitions: toRelease }, nowMs))
    if (unresolved.length > 0) void this.#resolve(stream, unresolved)
  }

  async #resolve(
    stream: MemberStream,
    partitions: readonly { topic: string; topicId: string; partition: number }[],
  ): Promise<void> {
    const join = this.#join as AttendJoin
    const starts = await Promise.all(
      partitions.map(async ({ topic, topicId, partition }) => ({
        topicId,
        partition,
        nextOffset: await this.#groups.startOf(join, { topic, topicId, partition }),
        leaderEpoch: null,
      })),
    )
    await this.#groups.run(nowMs => this.#groups.coordinator.members.commitStarts(stream, starts, nowMs))
  }

  async #leave(): Promise<void> {
    const stream = this.#member
    if (stream !== undefined)
      await this.#groups.run(nowMs => this.#groups.coordinator.members.leave(stream, nowMs))
    this.#member = undefined
    this.#stream.end()
  }

  #write(frame: MessageInit<AttendResponse>): void {
    if (!this.#isOver) this.#stream.write(Groups.attend.response.encode(frame))
  }

  #fail(error: NaruError): void {
    if (!this.#isOver) this.#stream.fail(error)
  }

  #onClose(): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#groups.forget(this)
    const stream = this.#member
    if (stream !== undefined) void this.#groups.run(() => this.#groups.coordinator.members.disconnect(stream))
  }
}

function beyondEnd(endOffset: number) {
  const details = { high_watermark: String(endOffset) }
  return errorToFailure(new NaruError('OFFSET_OUT_OF_RANGE', 'behind the end', { details }))
}

function placeOf({ topic, partition }: TopicPartition): TopicPartition {
  return { topic, partition }
}
