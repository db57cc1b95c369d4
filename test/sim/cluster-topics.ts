import { NaruError } from '../../src/base/errors.ts'
import { GROUPS_TOPIC } from '../../src/metadata/internal-topics.ts'
import type { TopicView } from '../../src/metadata/topic-image.ts'
import type { ClusterJournal } from './cluster-journal.ts'

/** What one topic must be, told from the answers its clients got. Of a change without a known outcome both are allowed. */
export interface ExpectedTopic {
  readonly name: string
  exists: boolean | 'maybe'
  /** Of the topic that exists; undefined where the answer with it was lost. */
  topicId: string | undefined
  partitions: Set<number>
  /** Of `retention.ms`; undefined: the default. */
  settings: Set<string | undefined>
  /** A change that might delete it was begun so often: an answer that crosses one says nothing. */
  deletions: number
  /** By partition: what was acknowledged at an offset. */
  readonly records: Map<string, string>
  /** An answer of it was lost: what its name stands for is not known any more. */
  isLost: boolean
}

/**
 * The topics of a run as the clients know them. Each has one client that changes it, one change at a time, so what it
 * must be is a sequence; anybody reads it.
 */
export class ClusterTopics {
  readonly all = new Map<string, ExpectedTopic>()
  readonly #journal: ClusterJournal

  constructor(journal: ClusterJournal) {
    this.#journal = journal
  }

  add(name: string): ExpectedTopic {
    const topic: ExpectedTopic = {
      name,
      exists: false,
      topicId: undefined,
      partitions: new Set(),
      settings: new Set([undefined]),
      deletions: 0,
      records: new Map(),
      isLost: false,
    }
    this.all.set(name, topic)
    return topic
  }

  /**
   * Runs a change: `begin` widens what may be, `done` narrows it to what is. A refusal without effect narrows it to what
   * was. False: its outcome is unknown, or it was refused.
   */
  async change<T>(
    topic: ExpectedTopic,
    change: {
      what: string
      call: () => Promise<T>
      begin: () => void
      done: (answer: T) => void
      mayRefuse: RegExp
    },
  ): Promise<boolean> {
    const { what, call, begin, done, mayRefuse } = change
    const before = {
      exists: topic.exists,
      partitions: new Set(topic.partitions),
      settings: new Set(topic.settings),
    }
    // So it stays if the client dies on the way.
    topic.isLost = true
    begin()
    this.#journal.tell('cl', () => `${what} ${topic.name}`)
    try {
      done(await call())
      topic.isLost = false
      this.#journal.count('changes acknowledged')
      this.#journal.tell('cl', () => `${what} ${topic.name}: done`)
      return true
    } catch (thrown) {
      const error = NaruError.from(thrown)
      this.#journal.tell(
        'cl',
        () => `${what} ${topic.name}: ${error.reason} ${error.outcome} ${error.message}`,
      )
      if (error.outcome === 'none') {
        Object.assign(topic, before)
        topic.isLost = false
        this.#journal.count('changes refused')
        const isFine = error.retriable || mayRefuse.test(error.reason)
        this.#journal.expect(isFine, () => `${what} ${topic.name}: ${error.message} (${error.reason})`)
      } else {
        this.#journal.count('changes with unknown outcome')
        this.#journal.expect(
          error.reason !== 'INTERNAL',
          () => `${what} ${topic.name}: ${error.message} (INTERNAL)`,
        )
      }
      return false
    }
  }

  /** Of the metadata at the end, everything that is not as it must be. */
  check(found: (name: string) => TopicView | undefined, names: readonly string[]): void {
    const expect = (condition: boolean, message: () => string) => this.#journal.expect(condition, message)
    for (const name of names)
      expect(this.all.has(name) || name === GROUPS_TOPIC, () => `topic ${name} was never made`)
    for (const { name, exists, topicId, partitions, settings } of this.all.values()) {
      const topic = found(name)
      expect(topic !== undefined || exists !== true, () => `topic ${name} was acknowledged and is not there`)
      expect(
        topic === undefined || exists !== false,
        () => `topic ${name} was deleted, or refused, and is there`,
      )
      if (!topic) continue
      const isSame = topicId === undefined || topicId === topic.id
      expect(isSame, () => `topic ${name} was made as ${topicId}, and again as ${topic.id}`)
      const counts = [...partitions].join(' or ')
      expect(
        partitions.has(topic.partitionCount),
        () => `topic ${name} has ${topic.partitionCount} partitions, not ${counts}`,
      )
      const retention = topic.settings['retention.ms']
      const values = [...settings].join(' or ')
      expect(settings.has(retention), () => `topic ${name} has retention.ms ${retention}, not ${values}`)
    }
  }
}
