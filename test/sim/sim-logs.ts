import { NaruError } from '../../src/base/errors.ts'
import type { SeededPrng } from '../harness/seeded-prng.ts'
import type { ClientProcess } from './client-process.ts'
import type { ClusterJournal } from './cluster-journal.ts'
import type { SwarmLog } from './cluster-swarm.ts'
import type { ClusterTopics } from './cluster-topics.ts'

const RETRY_MS = 200

/** The topics of a run that are made once and stay: whose history is recorded from the first record to the last. */
export class SimLogs {
  readonly #logs: readonly SwarmLog[]
  readonly #made = new Map<string, SwarmLog>()
  #writers = 0

  constructor(logs: readonly SwarmLog[]) {
    this.#logs = logs
  }

  get all(): readonly SwarmLog[] {
    return this.#logs
  }

  get areMade(): boolean {
    return this.#made.size === this.#logs.length
  }

  has(topic: string): boolean {
    return this.#logs.some(({ name }) => name === topic)
  }

  partitionsOf(topic: string): number {
    return this.#made.get(topic)?.partitions ?? 0
  }

  /** A number that no other writer or reader of the run has. */
  nextWriter(): number {
    return ++this.#writers
  }

  /** Undefined: none is there yet. */
  pick(prng: SeededPrng): { topic: string; partition: number } | undefined {
    if (this.#made.size === 0) return undefined
    const { name, partitions } = prng.pick([...this.#made.values()])
    return { topic: name, partition: Math.floor(prng.fraction() * partitions) }
  }

  /** Until each is there: nobody else makes topics of these names. */
  async make(by: { operator: ClientProcess; topics: ClusterTopics; journal: ClusterJournal }): Promise<void> {
    const { operator, topics, journal } = by
    for (const log of this.#logs) {
      const { name, partitions, replicationFactor, settings } = log
      const expected = topics.add(name)
      expected.exists = 'maybe'
      expected.partitions = new Set([partitions])
      while (expected.exists !== true) {
        try {
          const client = await operator.connect()
          await client
            .admin()
            .createTopics([{ name, partitions, replicationFactor, settings }], { timeoutMs: 3_000 })
            .finally(() => client.close())
          expected.exists = true
        } catch (thrown) {
          const error = operator.mustBeKnown(thrown, `create ${name}`)
          if (NaruError.from(error).reason === 'TOPIC_ALREADY_EXISTS') expected.exists = true
          else await operator.pause(RETRY_MS)
        }
      }
      journal.tell('op', () => `${name} is there`)
      this.#made.set(name, log)
    }
  }
}
