import { expect, it } from 'vitest'
import { NaruError } from '../../src/base/errors.ts'
import type { Admin } from '../../src/client/index.ts'
import { TopicChanges } from './topic-changes.ts'

const CHANGES = 40

/** Topics in memory, and one mistake of a cluster. */
class LyingCluster {
  readonly topics = new Map<string, { topicId: string; partitions: number; retentionMs: string }>()
  readonly #lie: string
  #ids = 0

  constructor(lie: string) {
    this.#lie = lie
  }

  asAdmin(): Admin {
    const admin = {
      createTopics: async ([{ name, partitions }]: [{ name: string; partitions: number }]) => {
        // As every real call does, it lets others run meanwhile.
        await new Promise(resolve => setImmediate(resolve))
        const topicId = `id-${this.#ids++}`
        if (this.#lie !== 'loses a topic' || this.#ids !== 3)
          this.topics.set(name, { topicId, partitions, retentionMs: '1' })
        if (this.#lie === 'makes a topic twice' && this.#ids === 3)
          this.topics.set(name, { topicId: `id-${this.#ids++}`, partitions, retentionMs: '1' })
        if (this.#lie === 'does a creation before it refuses it' && this.#ids === 3)
          throw new NaruError('TOPIC_ALREADY_EXISTS', `topic "${name}" exists`)
        if (this.#lie === 'nothing, but loses an answer' && this.#ids === 3)
          throw new NaruError('UNKNOWN_OUTCOME', 'the connection broke')
        return [{ topicId }]
      },
      alterTopicSettings: async (name: string, { set }: { set: Record<string, string> }) => {
        const topic = this.topics.get(name)
        if (topic && this.#lie !== 'forgets settings') topic.retentionMs = set['retention.ms'] ?? ''
      },
      createPartitions: async (name: string, partitions: number) => {
        const topic = this.topics.get(name)
        if (topic && this.#lie !== 'forgets partitions') topic.partitions = partitions
      },
      deleteTopics: async ([name]: [string]) => {
        if (this.#lie !== 'forgets deletions') this.topics.delete(name)
      },
      listTopics: async () => [...this.topics].map(([name, topic]) => ({ name, ...topic })),
      describeTopics: async (names: string[]) =>
        names.map(name => ({
          name,
          settings: [{ name: 'retention.ms', value: this.topics.get(name)?.retentionMs }],
        })),
    }
    return admin as unknown as Admin
  }
}

async function found(lie: string): Promise<string[]> {
  const admin = new LyingCluster(lie).asAdmin()
  const changes = new TopicChanges(admin)
  changes.start(2)
  await expect.poll(() => changes.summary.acknowledged, { interval: 1 }).toBeGreaterThan(CHANGES)
  await changes.stop()
  return changes.check(admin)
}

it.each([
  ['loses a topic', /was acknowledged and is not there/],
  ['makes a topic twice', /was made twice/],
  ['does a creation before it refuses it', /TOPIC_ALREADY_EXISTS/],
  ['forgets settings', /keeps 1 ms, not/],
  ['forgets partitions', /has 2 partitions, not 3/],
  ['forgets deletions', /was deleted and is there/],
])('a cluster that %s is found out', async (lie, complaint) => {
  expect((await found(lie)).filter(one => complaint.test(one))).not.toEqual([])
})

it.each(['nothing', 'nothing, but loses an answer'])('a cluster that does wrong %s passes', async lie => {
  expect(await found(lie)).toEqual([])
})
