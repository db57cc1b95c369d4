import type { NaruError } from '../../../src/base/errors.ts'
import type { MetadataQuorum } from '../../../src/drivers/controller/metadata-quorum.ts'
import { PartitionGroups } from '../../../src/drivers/groups/partition-groups.ts'
import type { PartitionView } from '../../../src/drivers/groups/partition-view.ts'
import { AttendedTime } from '../../../src/drivers/replicas/attended-time.ts'
import type { PartitionLeader } from '../../../src/drivers/replicas/partition-leader.ts'
import type { MemberStream } from '../../../src/groups/group-result.ts'
import { delay } from '../../../src/ports/clock.ts'
import { lastOffsetAt } from '../../../src/records/batch-header.ts'
import { stampBatch } from '../../../src/records/stamp-batch.ts'
import { EventScheduler } from '../../harness/event-scheduler.ts'
import { SeededPrng } from '../../harness/seeded-prng.ts'
import { SimMachine } from '../../harness/sim-machine.ts'

const TICK_MS = 100
export const SESSION_MS = 5_000

/** The log of one partition of `__groups`, and the leader of its present epoch. */
export class FakeLeader {
  readonly topic = '__groups'
  readonly partition = 0
  readonly logStartOffset = 0
  leaderEpoch = 0
  highWatermark = 0
  /** Appends are committed at once. */
  isInStep = true
  hasRoom = true
  refusal: NaruError | undefined
  /** It may be deposed. */
  noLease: NaruError | undefined
  ended: NaruError | undefined
  readonly #batches: Buffer[] = []
  #epochStart = 0
  #logEndOffset = 0
  #followers = new Set<() => void>()

  get logEndOffset(): number {
    return this.#logEndOffset
  }

  get isHighWatermarkCurrent(): boolean {
    return this.highWatermark >= this.#epochStart
  }

  /** Of a new epoch, which knows less of what is committed than the one before did. */
  elect(highWatermark = this.highWatermark): void {
    this.leaderEpoch++
    this.#epochStart = this.#logEndOffset
    this.highWatermark = highWatermark
    this.ended = undefined
    this.#followers = new Set()
  }

  commit(highWatermark = this.#logEndOffset): void {
    this.highWatermark = highWatermark
    for (const wake of this.#followers) wake()
  }

  follow(wake: () => void): () => void {
    this.#followers.add(wake)
    return () => this.#followers.delete(wake)
  }

  appendOwn(batch: Buffer): number {
    if (this.refusal !== undefined) throw this.refusal
    stampBatch(batch, 0, { baseOffset: this.#logEndOffset, leaderEpoch: this.leaderEpoch })
    this.#batches.push(batch)
    this.#logEndOffset = lastOffsetAt(batch, 0) + 1
    if (this.isInStep) this.commit()
    return this.#logEndOffset
  }

  async readAll({ from }: { from: number }) {
    const buffers = this.#batches.filter(batch => lastOffsetAt(batch, 0) >= from)
    return { baseOffset: from, nextOffset: this.#logEndOffset, sizeBytes: 1, buffers }
  }

  async room(): Promise<void> {}
}

/** One coordinator after the other of one partition of `__groups`, on a simulated clock; the rest of the node is the test. */
export class CoordinatorFixture {
  readonly scheduler: EventScheduler
  readonly leader = new FakeLeader()
  /** False: the process does not run its timers, as one that is stopped. */
  isTicking = true
  /** How long the controller takes to answer. */
  readIndexMs = 0
  /** For so long this node knows of members whose streams are broken. */
  disconnectedMs = 0
  readonly #machine: SimMachine
  readonly #streams = new Map<string, MemberStream>()
  #attendCount = 0
  #groups: PartitionGroups | undefined

  constructor() {
    const prng = new SeededPrng(1)
    this.scheduler = new EventScheduler(prng)
    this.#machine = new SimMachine(1, { name: 'n', scheduler: this.scheduler })
  }

  /** With one member, who says nothing any more. */
  static async withMember(member: string): Promise<CoordinatorFixture> {
    const fixture = new CoordinatorFixture()
    fixture.leader.elect()
    fixture.coordinate()
    await fixture.attend(member)
    return fixture
  }

  get groups(): PartitionGroups {
    if (this.#groups === undefined) throw new Error('nobody coordinates')
    return this.#groups
  }

  coordinate(): PartitionGroups {
    const { clock } = this.#machine
    const time = new AttendedTime(clock, TICK_MS)
    const groups = new PartitionGroups({
      leader: this.leader as unknown as PartitionLeader,
      view: {
        load: async () => undefined,
        disconnectedMs: () => this.disconnectedMs,
      } as unknown as PartitionView,
      quorum: {
        readIndex: () => delay(clock, this.readIndexMs),
        image: { topics: NO_TOPICS },
      } as unknown as MetadataQuorum,
      clock,
      time,
      logger: { debug() {}, info() {}, warn() {}, error() {} },
      settings: {},
    })
    this.#groups = groups
    const tick = () => {
      if (this.#groups !== groups) return
      if (this.isTicking) {
        time.tick()
        groups.tick()
      }
      clock.setTimer(TICK_MS, tick)
    }
    tick()
    return groups
  }

  async attend(member: string): Promise<void> {
    const request = {
      group: 'g',
      member,
      topics: ['logs'],
      sessionTimeoutMs: SESSION_MS,
      clientId: '',
      address: '',
      // Each time another process.
      instance: { id: `process-${++this.#attendCount}`, attempt: 1, round: 0 },
    }
    const attending = this.groups.run(({ members }, nowMs) => members.attend(request, nowMs))
    this.#streams.set(member, (await this.scheduler.finish(attending)).stream)
  }

  /** Its stream breaks. */
  async disconnect(member: string): Promise<void> {
    const stream = this.#streams.get(member)
    if (stream === undefined) throw new Error(`${member} has not attended`)
    await this.scheduler.finish(this.groups.run(({ members }) => members.disconnect(stream)))
  }

  async members(): Promise<string[]> {
    const described = await this.scheduler.finish(this.groups.run(({ admin }) => admin.describe('g')))
    return described.members.map(({ member }) => member)
  }
}

const NO_TOPICS = { byId: () => undefined, byName: () => undefined, all: () => [] }
