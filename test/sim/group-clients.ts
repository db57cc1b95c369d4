import type { Client, Consumer, GroupDescription } from '../../src/client/index.ts'
import type { SeededPrng } from '../harness/seeded-prng.ts'
import type { ClientProcess } from './client-process.ts'
import type { ClusterJournal } from './cluster-journal.ts'
import type { SwarmGroups } from './cluster-swarm.ts'
import { GroupMember } from './group-member.ts'
import type { GroupOracle } from './group-oracle.ts'
import { MemberPositions } from './member-positions.ts'
import type { SimLogs } from './sim-logs.ts'

export interface GroupClientsOptions {
  readonly swarm: SwarmGroups
  readonly logs: SimLogs
  readonly journal: ClusterJournal
  readonly oracle: GroupOracle
  readonly makeProcess: (name: string) => { readonly process: ClientProcess; readonly prng: SeededPrng }
}

const LOOK_MS = 100
/** Of a member that says nothing else. */
export const SESSION_MS_MAX = 10_000

/** The groups of a run: their members while things go wrong, and what must have come of it when all is over. */
export class GroupClients {
  readonly #options: GroupClientsOptions
  readonly #members: GroupMember[] = []

  constructor(options: GroupClientsOptions) {
    this.#options = options
    const { swarm, makeProcess } = options
    for (const group of swarm.names)
      for (let at = 0; at < swarm.members; at++) {
        const name = `${group}${at}`
        const topics = this.#topics
        this.#members.push(new GroupMember({ ...options, ...makeProcess(name), name, group, topics }))
      }
  }

  start(): void {
    for (const member of this.#members) member.start()
  }

  /** One last member of each group finds all that is left, and nobody else; then the group is empty, and through. */
  async finish(by: ClientProcess): Promise<void> {
    const client = await by.connect()
    for (const group of this.#options.swarm.names)
      if (!this.#options.oracle.isGroupForfeit(group)) await this.#finish(group, { by, client })
    await client.close()
  }

  async #finish(group: string, { by, client }: { by: ClientProcess; client: Client }): Promise<void> {
    const { swarm, journal, oracle } = this.#options
    const member = `${group}/last`
    const positions = new MemberPositions({ group, member, journal, oracle })
    const consumer = client.consumer({
      group,
      member,
      topics: this.#topics,
      start: swarm.start,
      commitIntervalMs: swarm.commitIntervalMs,
      onWarning: message => journal.tell(member, () => message),
      onAssigned: partitions => {
        for (const one of partitions) positions.assigned(one)
      },
      onSkipped: skipped => positions.skipped(skipped),
    })
    const read = this.#readAll(consumer, positions)
    await Promise.race([read, this.#whenDone(group, by)])
    await consumer.close({ waitMs: LOOK_MS })
    await read
    const { state, offsets } = await this.#whenEmpty(group, { by, client })
    journal.expect(state === 'empty', () => `L5 ${group} is ${state}, and all its members have left`)
    for (const { topic, partition, nextOffset } of offsets)
      journal.expect(
        nextOffset === oracle.offsetOf(group, { topic, partition }),
        () =>
          `G5 ${group} is told ${nextOffset} of ${topic}-${partition}, ${oracle.offsetOf(group, { topic, partition })} is committed`,
      )
    journal.count('groups that are through')
  }

  /** Members whose streams broke at last are waited for as long as a session may last. */
  async #whenEmpty(
    group: string,
    { by, client }: { by: ClientProcess; client: Client },
  ): Promise<GroupDescription> {
    for (let waitedMs = 0; ; waitedMs += LOOK_MS) {
      const found = await client.groups().describe(group)
      if (found.state === 'empty' || waitedMs > 2 * SESSION_MS_MAX) return found
      await by.pause(LOOK_MS)
    }
  }

  async #readAll(consumer: Consumer, positions: MemberPositions): Promise<void> {
    for await (const record of consumer) {
      positions.given(record)
      positions.done(record)
    }
  }

  async #whenDone(group: string, by: ClientProcess): Promise<void> {
    const { oracle, journal, logs } = this.#options
    const partitions = logs.all.flatMap(({ name: topic, partitions: count }) =>
      Array.from({ length: count }, (_, partition) => ({ topic, partition })),
    )
    for (;;) {
      const why = oracle.whyNotDone(group, partitions)
      if (why === undefined) return
      journal.tell(group, () => why)
      await by.pause(LOOK_MS)
    }
  }

  get #topics(): string[] {
    return this.#options.logs.all.map(({ name }) => name)
  }
}
