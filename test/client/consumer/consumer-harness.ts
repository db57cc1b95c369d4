import type { Client, ConsumedRecord, Consumer, ConsumerOptions } from '../../../src/client/index.ts'
import type { GroupSettings } from '../../../src/groups/group-options.ts'
import type { MethodPath, ServiceHandler } from '../../../src/ports/transport.ts'
import { Groups } from '../../../src/wire/methods.ts'
import { FakeGroups } from '../../harness/fake-groups.ts'
import { ADDRESS, connectTo, type NetworkFaults, SdkHarness } from '../sdk-harness.ts'

/** One record as a member was given it, at a time of the virtual clock. */
export interface Delivery {
  readonly member: string
  readonly record: ConsumedRecord
  readonly atMs: number
}

/** A node with a coordinator of groups in memory, and any number of members, all in virtual time. */
export class ConsumerHarness {
  readonly sdk: SdkHarness
  readonly groups: FakeGroups
  readonly deliveries: Delivery[] = []
  readonly members = new Map<string, TestMember>()

  private constructor(sdk: SdkHarness, groups: FakeGroups) {
    this.sdk = sdk
    this.groups = groups
  }

  static async start(settings: Partial<GroupSettings> = {}): Promise<ConsumerHarness> {
    const sdk = await SdkHarness.start()
    const { broker, channel, machine } = sdk.node
    const quorum = broker.quorum
    if (quorum === undefined) throw new Error('the node has not started')
    const catalog = {
      byName: (name: string) => quorum.image.topics.byName(name),
      byId: (id: string) => quorum.image.topics.byId(id),
      all: () => quorum.image.topics.all(),
    }
    const groups = new FakeGroups({ catalog, channel, clock: machine.clock, settings })
    const handlers = broker.handlers as Map<MethodPath, ServiceHandler>
    for (const [path, handler] of groups.handlers()) handlers.set(path, handler)
    quorum.subscribe(() => groups.refresh())
    return new ConsumerHarness(sdk, groups)
  }

  get nowMs(): number {
    return this.sdk.node.machine.clock.wallMs()
  }

  /** A member with a client of its own, whose loop runs until it is closed. */
  async member(name: string, options: Partial<ConsumerOptions> & MemberOptions = {}): Promise<TestMember> {
    const faults: NetworkFaults = {}
    const client = await this.sdk.run(connectTo(this.sdk.node, ADDRESS, faults))
    const member = new TestMember(this, { name, client, faults, options })
    this.members.set(name, member)
    return member
  }

  /** Stores records with the values 0, 1, 2 ... round robin over the partitions. */
  async fill(topic: string, count: number, partitions: number, from = 0): Promise<void> {
    const producer = this.sdk.client.producer()
    for (let i = from; i < from + count; i++)
      void producer.send({ topic, partition: i % partitions, value: String(i) })
    await this.sdk.run(producer.close())
  }

  until(condition: () => boolean): Promise<void> {
    return this.sdk.node.until(condition)
  }

  /** By hand, as no member would: nobody asks where the log ends. */
  async commit(topic: string, nextOffset: number): Promise<void> {
    const { path, request } = Groups.commitOffsets
    const offsets = [{ topic, partition: 0, nextOffset, metadata: '' }]
    await this.sdk.run(this.sdk.node.channel.unary(path, request.encode({ group: 'g', offsets })))
  }

  /** `topic/partition` of what each member has by the coordinator's record. */
  owners(group = 'g'): Record<string, string> {
    const owners: Record<string, string> = {}
    for (const [key, periods] of this.groups.ownerships) {
      const [name, place] = key.split(' ') as [string, string]
      const last = periods.at(-1)
      if (name === group && last !== undefined && last.toMs === undefined) owners[place] = last.member
    }
    return owners
  }

  async stop(): Promise<void> {
    for (const member of this.members.values()) member.kill()
    await this.sdk.stop()
  }

  /** Values, in the order in which they were given out, by partition. */
  values(member?: string): Record<string, number[]> {
    const values: Record<string, number[]> = {}
    for (const { record, member: by } of this.deliveries) {
      if (member !== undefined && by !== member) continue
      const place = `${record.topic}/${record.partition}`
      values[place] ??= []
      values[place].push(Number(record.value?.toString()))
    }
    return values
  }
}

interface MemberOptions {
  /** Time that it takes over a record. */
  readonly handleMs?: number | ((record: ConsumedRecord) => number)
  /** No loop runs. */
  readonly isIdle?: boolean
}

export class TestMember {
  readonly name: string
  readonly client: Client
  readonly consumer: Consumer
  readonly faults: NetworkFaults
  /** What its callbacks said: `assigned logs/0`, ... */
  readonly told: string[] = []
  error: unknown
  isOver = false
  isKilled = false
  readonly #harness: ConsumerHarness
  readonly #handleMs: (record: ConsumedRecord) => number

  constructor(
    harness: ConsumerHarness,
    parts: {
      name: string
      client: Client
      faults: NetworkFaults
      options: Partial<ConsumerOptions> & MemberOptions
    },
  ) {
    const { handleMs = 0, isIdle, ...options } = parts.options
    this.#harness = harness
    this.#handleMs = typeof handleMs === 'number' ? () => handleMs : handleMs
    this.name = parts.name
    this.client = parts.client
    this.faults = parts.faults
    const tell = (what: string) => (partitions: readonly { topic: string; partition: number }[]) => {
      for (const { topic, partition } of partitions) this.told.push(`${what} ${topic}/${partition}`)
    }
    this.consumer = parts.client.consumer({
      group: 'g',
      topics: ['logs'],
      member: parts.name,
      onAssigned: tell('assigned'),
      onRevoked: tell('revoked'),
      onLost: tell('lost'),
      onSkipped: ({ topic, partition, from, to }) =>
        this.told.push(`skipped ${topic}/${partition} ${from}-${to}`),
      ...options,
    })
    if (isIdle !== true) void this.#loop()
  }

  get partitions(): string[] {
    return this.consumer
      .partitions()
      .map(({ topic, partition }) => `${topic}/${partition}`)
      .sort()
  }

  close(waitMs = 0): Promise<void> {
    return this.#harness.sdk.run(this.consumer.close({ waitMs }))
  }

  /** Its machine goes: nothing is said any more, nothing is heard. */
  kill(): void {
    this.isKilled = true
    this.faults.isCut = true
    void this.client.close().catch(() => {})
  }

  async #loop(): Promise<void> {
    const { clock } = this.#harness.sdk.node.machine
    try {
      for await (const record of this.consumer) {
        if (this.isKilled) break
        this.#harness.deliveries.push({ member: this.name, record, atMs: this.#harness.nowMs })
        const handleMs = this.#handleMs(record)
        if (handleMs > 0) await new Promise<void>(resolve => clock.setTimer(handleMs, resolve))
      }
    } catch (thrown) {
      this.error = thrown
    }
    this.isOver = true
  }
}
