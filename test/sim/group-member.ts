import type { Client, Consumer, ConsumerOptions } from '../../src/client/index.ts'
import type { SeededPrng } from '../harness/seeded-prng.ts'
import type { ClientProcess } from './client-process.ts'
import type { ClusterJournal } from './cluster-journal.ts'
import type { SwarmGroups } from './cluster-swarm.ts'
import type { GroupOracle } from './group-oracle.ts'
import { MemberPositions } from './member-positions.ts'
import { ThinMember } from './thin-member.ts'

export interface GroupMemberOptions {
  readonly name: string
  readonly group: string
  readonly process: ClientProcess
  readonly prng: SeededPrng
  readonly journal: ClusterJournal
  readonly oracle: GroupOracle
  readonly topics: readonly string[]
  readonly swarm: SwarmGroups
}

/** How a program takes part in a group. */
type Way = 'records' | 'batches' | 'by hand' | 'thin'

const REST_MS_MAX = 1_000
const STANDSTILL_MS_MAX = 6_000
const LEAVE_MS_MAX = 5_000

/**
 * A program that joins a group, processes records for a while, goes in one of the ways in which programs go, and comes
 * back: under a name of its own for each stay, or always the same.
 */
export class GroupMember {
  readonly #options: GroupMemberOptions
  readonly #process: ClientProcess
  readonly #isStatic: boolean
  /** Its own, so that a run in which nobody stands still over a record is the same with and without it. */
  readonly #standingStill: SeededPrng
  #stays = 0

  constructor(options: GroupMemberOptions) {
    this.#options = options
    this.#process = options.process
    this.#isStatic = options.prng.chance(0.3)
    this.#standingStill = options.prng.fork('stand still')
  }

  start(): void {
    this.#process.start([client => this.#stay(client)])
  }

  async #stay(client: Client): Promise<void> {
    const { prng, journal } = this.#options
    if (prng.chance(0.3)) await this.#process.pause(prng.fraction() * REST_MS_MAX)
    if (this.#process.isStopping) return
    const way = prng.pick<Way>(['records', 'records', 'batches', 'by hand', 'thin', 'thin'])
    journal.count(`members: ${way}`)
    this.#standStillSoon()
    if (way === 'thin') await this.#beThin()
    else await this.#consume(client, way)
  }

  /** A long collection, a debugger, a machine that swaps: it wakes up and does not know. */
  #standStillSoon(): void {
    const { prng, journal } = this.#options
    if (!prng.chance(0.2) || this.#process.isStopping) return
    const forMs = prng.fraction() ** 2 * STANDSTILL_MS_MAX
    void this.#process.pause(prng.fraction() * 3_000).then(() => {
      if (this.#process.isStopping) return
      journal.count('members that stood still')
      this.#process.standStill(forMs)
    })
  }

  get #member(): string {
    const { group, name } = this.#options
    return this.#isStatic ? `${group}/${name}` : `${group}/${name}-${this.#process.life}-${++this.#stays}`
  }

  /** Of one stay: what was left before is what a new one of the same name may find. */
  #settings(member: string): ConsumerOptions {
    const { group, topics, swarm } = this.#options
    return {
      group,
      member,
      ...(swarm.isPattern ? { topicPattern: 'log-*' } : { topics }),
      start: swarm.start,
      assignor: swarm.assignor,
      ...(swarm.sessionTimeoutMs !== undefined && { sessionTimeoutMs: swarm.sessionTimeoutMs }),
    }
  }

  async #consume(client: Client, way: Exclude<Way, 'thin'>): Promise<void> {
    const { group, prng, journal, oracle, swarm } = this.#options
    const member = this.#member
    const positions = new MemberPositions({ group, member, journal, oracle })
    const consumer = client.consumer({
      ...this.#settings(member),
      autoCommit: way !== 'by hand',
      commitIntervalMs: swarm.commitIntervalMs,
      onWarning: message => journal.tell(member, () => message),
      onAssigned: partitions => {
        journal.count('partitions assigned', partitions.length)
        for (const one of partitions) positions.assigned(one)
      },
      onRevoked: partitions => journal.count('revocations told', partitions.length),
      onLost: partitions => journal.count('partitions lost', partitions.length),
      onSkipped: skipped => positions.skipped(skipped),
    })
    journal.tell(member, () => `joins ${group}, ${way}`)
    const go = () => void this.#close(consumer, member)
    const forget = this.#process.onStop(go)
    void this.#process.pause(prng.fraction() * swarm.stayMsMax).then(go)
    try {
      if (way === 'batches') await this.#takeBatches(consumer, positions)
      else await this.#takeRecords(consumer, positions, { isByHand: way === 'by hand' })
    } catch (thrown) {
      const { reason } = this.#process.mustBeKnown(thrown, `member ${member}`)
      this.#expectNotFenced(member, reason)
      journal.count(`members that failed by ${reason}`)
      await this.#process.pause(100)
    } finally {
      forget()
    }
    await this.#close(consumer, member)
  }

  async #takeRecords(
    consumer: Consumer,
    positions: MemberPositions,
    { isByHand }: { isByHand: boolean },
  ): Promise<void> {
    const { prng } = this.#options
    for await (const record of consumer) {
      positions.given(record)
      await this.#work()
      // Breaks off with the record in its hands: nobody can tell, so it is not done.
      if (prng.chance(0.01)) return
      positions.done(record)
      if (isByHand && prng.chance(0.2)) await this.#commitByHand(consumer)
    }
  }

  async #takeBatches(consumer: Consumer, positions: MemberPositions): Promise<void> {
    for await (const { topic, partition, records } of consumer.batches()) {
      for (const { offset } of records) positions.given({ topic, partition, offset })
      await this.#work()
      for (const { offset } of records) positions.done({ topic, partition, offset })
    }
  }

  async #commitByHand(consumer: Consumer): Promise<void> {
    try {
      await consumer.commit()
    } catch (thrown) {
      const { reason } = this.#process.mustBeKnown(thrown, 'a commit')
      this.#options.journal.count(`commits refused by ${reason}`)
    }
  }

  async #close(consumer: Consumer, member: string): Promise<void> {
    const { journal, prng } = this.#options
    try {
      await consumer.close({ waitMs: prng.pick([0, 200]) })
      journal.tell(member, () => 'has closed')
    } catch (thrown) {
      const { reason } = this.#process.mustBeKnown(thrown, 'the end of a member')
      journal.count(`members that closed with ${reason}`)
    }
  }

  async #beThin(): Promise<void> {
    const { group, prng, journal, oracle, swarm } = this.#options
    const member = this.#member
    const positions = new MemberPositions({ group, member, journal, oracle, isRemote: true })
    const { channel, close } = this.#process.openChannel()
    journal.tell(member, () => `joins ${group}, thin, by ${channel.address}`)
    const thin = new ThinMember({
      channel,
      clock: this.#process.machine.clock,
      positions,
      settings: this.#settings(member),
      /** Nexts ahead, so that frames are on their way while others are worked on. */
      ahead: prng.pick([1, 1, 2, 4]),
      work: () => this.#work(),
    })
    const forget = this.#process.onStop(() => thin.leave(LEAVE_MS_MAX))
    const isAbrupt = prng.chance(0.3)
    void this.#process.pause(prng.fraction() * swarm.stayMsMax).then(() => {
      if (isAbrupt && !this.#process.isStopping) thin.abandon()
      else thin.leave(LEAVE_MS_MAX)
    })
    const error = await thin.closed
    forget()
    close()
    if (error) {
      const { reason } = this.#process.mustBeKnown(error, member)
      this.#expectNotFenced(member, reason)
      journal.count(`thin members that ended by ${reason}`)
    } else journal.count('thin members that left')
    journal.tell(member, () => `is gone: ${error?.message ?? 'it left'}`)
    await this.#process.pause(100)
  }

  /** By whom, if nobody else ever has its name? */
  #expectNotFenced(member: string, reason: string): void {
    const { journal } = this.#options
    journal.expect(
      this.#isStatic || reason !== 'MEMBER_FENCED',
      () => `${member} is fenced, and no other process had its name`,
    )
  }

  /** With a record in hand, and others behind it: when it wakes up it goes on before it has heard anything. */
  async #standStillOver(): Promise<void> {
    this.#options.journal.count('members that stood still over a record')
    this.#process.standStill(this.#standingStill.fraction() ** 2 * STANDSTILL_MS_MAX)
    await this.#process.pause(1)
  }

  async #work(): Promise<void> {
    const { prng, swarm } = this.#options
    if (!this.#process.isStopping && this.#standingStill.chance(swarm.standStillChance))
      await this.#standStillOver()
    const isBusy = !this.#process.isStopping && prng.chance(swarm.workChance)
    if (isBusy) await this.#process.pause(prng.fraction() ** 2 * swarm.workMsMax)
  }
}
