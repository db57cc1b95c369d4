import { NaruError } from '../../../src/base/errors.ts'
import type { PartitionLeader } from '../../../src/drivers/replicas/partition-leader.ts'
import type { ReplicaSet } from '../../../src/drivers/replicas/replica-set.ts'
import type { MessageStream } from '../../../src/ports/transport.ts'
import type { AttendJoin, AttendRequest, AttendResponse, MessageInit } from '../../../src/wire/messages.ts'
import { Groups, type Method } from '../../../src/wire/methods.ts'
import type { EventScheduler } from '../../harness/event-scheduler.ts'
import { TestServiceCluster } from '../service-cluster.ts'
import { FakeCoordinators, type GroupLogs } from './fake-coordinators.ts'

/** A partition of a user's topic, as its leader tells of it. */
export interface FakeEnds {
  logStartOffset: number
  highWatermark: number
  /** Of the first record at or after a time. */
  offsetOfTime: (timestampMs: number) => number
}

/** The services of three nodes over the real core of groups, whose logs are in memory, and topics that hold nothing but offsets. */
export class GroupCluster {
  readonly cluster: TestServiceCluster
  readonly logs: GroupLogs = new Map()
  readonly coordinators = new Map<number, FakeCoordinators>()
  readonly #ends = new Map<string, FakeEnds>()

  constructor() {
    this.cluster = new TestServiceCluster({
      groups: ({ nodeId, quorum, clock }) => {
        const coordinators = new FakeCoordinators(quorum, { clock, logs: this.logs })
        this.coordinators.set(nodeId, coordinators)
        return coordinators
      },
      replicas: nodeId => this.#replicas(nodeId),
    })
  }

  /** With two partitions. */
  makeTopic(name: string, ends: Partial<FakeEnds> = {}): void {
    this.cluster.makeTopic(name)
    for (const partition of [0, 1]) Object.assign(this.ends(name, partition), ends)
  }

  ends(topic: string, partition: number): FakeEnds {
    const key = `${topic}/${partition}`
    const known = this.#ends.get(key)
    if (known !== undefined) return known
    const ends: FakeEnds = { logStartOffset: 0, highWatermark: 0, offsetOfTime: () => 0 }
    this.#ends.set(key, ends)
    return ends
  }

  /** The node that leads a partition; of `__groups`, the one of the group. */
  leaderOf(topic: string, partition: number): number {
    return this.cluster.node(1).quorum.image.topics.byName(topic)?.partition(partition)?.leader ?? -1
  }

  coordinatorOf(group: string): number {
    const coordinators = this.coordinators.get(1) as FakeCoordinators
    return this.leaderOf('__groups', coordinators.partitionOf(group) ?? -1)
  }

  /** A node that is not the group's coordinator. */
  otherThan(nodeId: number): number {
    return (nodeId % 3) + 1
  }

  /** Another node leads the partition from now on. */
  moveLeader(topic: string, partition: number, leader: number | null): void {
    this.cluster.log.write(image => {
      const found = image.topics.byName(topic)
      const state = found?.partition(partition)
      if (found === undefined || state === undefined) throw new Error(`no partition ${topic}/${partition}`)
      const { leaderEpoch, partitionEpoch } = state
      const change = { leader, leaderEpoch: leaderEpoch + 1, partitionEpoch: partitionEpoch + 1 }
      return {
        records: [
          { type: 'partitionChanged', version: 0, topicId: found.id, partition, isr: [1, 2, 3], ...change },
        ],
        response: undefined,
      }
    })
  }

  moveCoordinator(group: string, to: number | null): void {
    const partition = this.coordinators.get(1)?.partitionOf(group) ?? -1
    this.moveLeader('__groups', partition, to)
  }

  /** The first use makes `__groups`. */
  async begin(): Promise<void> {
    const refusal = await this.refusal(1, Groups.deleteGroup, { group: 'none' })
    if (refusal.reason !== 'UNKNOWN_GROUP') throw refusal
    await this.call(1, Groups.resetOffsets, { group: 'begun', to: { at: 'EARLIEST' }, dryRun: true }).catch(
      () => {},
    )
  }

  call<Q, A>(nodeId: number, method: Method<Q, A>, request: MessageInit<Q>): Promise<A> {
    return this.cluster.call(nodeId, method, request)
  }

  refusal<Q, A>(nodeId: number, method: Method<Q, A>, request: MessageInit<Q>): Promise<NaruError> {
    return this.cluster.refusal(nodeId, method, request)
  }

  attend(nodeId: number, join: MessageInit<AttendJoin>): TestMember {
    const member = new TestMember(this.cluster, this.cluster.node(nodeId).channel.stream(Groups.attend.path))
    member.send({ join })
    return member
  }

  #replicas(nodeId: number): ReplicaSet {
    const leader = (topicId: string, partition: number) => {
      const topic = this.cluster.node(nodeId).quorum.image.topics.byId(topicId)
      if (topic === undefined || topic.partition(partition)?.leader !== nodeId) return undefined
      const ends = this.ends(topic.name, partition)
      return {
        topic: topic.name,
        partition,
        leaderEpoch: 1,
        get highWatermark() {
          return ends.highWatermark
        },
        get logStartOffset() {
          return ends.logStartOffset
        },
        committedEnd: async () => ends.highWatermark,
        offsetForTimestamp: async (timestampMs: number) => ({
          offset: ends.offsetOfTime(timestampMs),
          timestampMs,
        }),
      } as unknown as PartitionLeader
    }
    return {
      leader,
      describe: () => undefined,
      whenOpened: async () => {},
      requireLeader: (topic: { id: string }, partition: number) => {
        const found = leader(topic.id, partition)
        if (found === undefined) throw new NaruError('LEADER_NOT_AVAILABLE', 'not led here')
        return found
      },
    } as unknown as ReplicaSet
  }
}

/** The client of one Attend. */
export class TestMember {
  readonly frames: AttendResponse[] = []
  closed: { readonly error: NaruError | undefined } | undefined
  readonly stream: MessageStream
  readonly #cluster: { readonly scheduler: EventScheduler }
  /** Releases what it is asked for at once, unless this is false. */
  releases = true

  constructor(cluster: { readonly scheduler: EventScheduler }, stream: MessageStream) {
    this.#cluster = cluster
    this.stream = stream
    stream.setHandlers({
      onMessage: message => this.#onFrame(Groups.attend.response.decode(message)),
      onClose: error => {
        this.closed = { error }
      },
    })
  }

  send(frame: MessageInit<AttendRequest>): void {
    this.stream.write(Groups.attend.request.encode(frame))
  }

  get joined() {
    return this.frames[0]?.joined
  }

  get epoch(): number {
    return Math.max(
      0,
      ...this.frames.flatMap(one => [one.joined, one.assigned, one.revoking].map(f => f?.memberEpoch ?? 0)),
    )
  }

  /** `topic/partition@offset`, as told by now. */
  get owned(): string[] {
    const owned = new Map<string, string>()
    for (const { assigned, lost } of this.frames) {
      for (const { topic, partition, nextOffset } of assigned?.partitions ?? [])
        owned.set(`${topic}/${partition}`, `${topic}/${partition}@${nextOffset}`)
      for (const { topic, partition } of lost?.partitions ?? []) owned.delete(`${topic}/${partition}`)
    }
    for (const key of this.#released) owned.delete(key)
    return [...owned.values()].sort()
  }

  readonly #released = new Set<string>()

  async until(condition: (member: this) => boolean): Promise<void> {
    await this.#cluster.scheduler.runUntil(() => condition(this) || this.closed !== undefined, {
      timeMsMax: 120_000,
    })
    if (!condition(this)) throw this.closed?.error ?? new Error('the stream ended well')
  }

  async untilClosed(): Promise<NaruError | undefined> {
    await this.#cluster.scheduler.runUntil(() => this.closed !== undefined, { timeMsMax: 120_000 })
    return this.closed?.error
  }

  #onFrame(frame: AttendResponse): void {
    this.frames.push(frame)
    for (const { topic, partition } of frame.assigned?.partitions ?? [])
      this.#released.delete(`${topic}/${partition}`)
    const { revoking } = frame
    if (revoking === undefined || !this.releases) return
    for (const { topic, partition } of revoking.partitions) this.#released.add(`${topic}/${partition}`)
    this.send({ release: { partitions: revoking.partitions, memberEpoch: revoking.memberEpoch } })
  }
}
