import { NaruError } from '../../src/base/errors.ts'
import type { Admin } from '../../src/client/index.ts'

/** What one topic must be in the end. Of a change without a known outcome both states are allowed. */
interface ExpectedTopic {
  /** Undefined: created, but the answer with the id was lost. */
  topicId: string | undefined
  exists: boolean | 'maybe'
  readonly partitions: Set<number>
  /** Undefined: not known. */
  retentionMs: string | undefined
}

export interface ChangeSummary {
  readonly acknowledged: number
  readonly unknown: number
  /** When each acknowledgement came, in ms of performance.now(). */
  readonly acknowledgedAtMs: readonly number[]
}

const PARTITIONS = 2
/** Every third topic is deleted again: some deletions stand between creations of others. */
const DELETE_EVERY = 3

/**
 * A stream of topics that are created, altered and deleted, by several workers with topics of their own, and what must be
 * there afterwards: each acknowledged change, none twice. A change that was refused because it seems to be done
 * already, by nobody else, was done twice. A worker whose change has no known outcome goes on with another topic.
 */
export class TopicChanges {
  readonly #admin: Admin
  readonly #expected = new Map<string, ExpectedTopic>()
  readonly #acknowledgedAtMs: number[] = []
  readonly #violations: string[] = []
  #unknown = 0
  #isStopped = false
  #workers: Promise<unknown> | undefined

  constructor(admin: Admin) {
    this.#admin = admin
  }

  get summary(): ChangeSummary {
    return {
      acknowledged: this.#acknowledgedAtMs.length,
      unknown: this.#unknown,
      acknowledgedAtMs: this.#acknowledgedAtMs,
    }
  }

  start(workers: number): void {
    this.#workers = Promise.all(Array.from({ length: workers }, (_, worker) => this.#work(worker)))
  }

  /** Resolves when the changes under way have ended. */
  async stop(): Promise<void> {
    this.#isStopped = true
    await this.#workers
  }

  /** Of what one node says, everything that is not as it must be. */
  async check(admin: Admin): Promise<string[]> {
    const listed = new Map((await admin.listTopics()).map(one => [one.name, one]))
    const described = new Map(
      (await admin.describeTopics([...listed.keys()])).map(one => [one.name, one] as const),
    )
    const wrong = [...this.#violations]
    for (const [name, expected] of this.#expected) {
      const found = listed.get(name)
      listed.delete(name)
      if (found === undefined) {
        if (expected.exists === true) wrong.push(`${name} was acknowledged and is not there`)
        continue
      }
      if (expected.exists === false) wrong.push(`${name} was deleted and is there`)
      if (expected.topicId !== undefined && expected.topicId !== found.topicId)
        wrong.push(`${name} was made twice: ${expected.topicId} and ${found.topicId}`)
      if (!expected.partitions.has(found.partitions))
        wrong.push(`${name} has ${found.partitions} partitions, not ${[...expected.partitions].join(' or ')}`)
      const retentionMs = described.get(name)?.settings.find(one => one.name === 'retention.ms')?.value
      if (expected.retentionMs !== undefined && expected.retentionMs !== retentionMs)
        wrong.push(`${name} keeps ${retentionMs} ms, not ${expected.retentionMs}`)
    }
    for (const name of listed.keys()) wrong.push(`${name} was never made`)
    return wrong
  }

  async #work(worker: number): Promise<void> {
    for (let round = 0; !this.#isStopped; round++) await this.#lifeOf(`changes-${worker}-${round}`, round)
  }

  /** Until its end, or until an outcome is unknown. */
  async #lifeOf(name: string, round: number): Promise<void> {
    const topic: ExpectedTopic = {
      topicId: undefined,
      exists: 'maybe',
      partitions: new Set([PARTITIONS]),
      retentionMs: undefined,
    }
    this.#expected.set(name, topic)
    const created = await this.#change(`create ${name}`, async () => {
      const [one] = await this.#admin.createTopics([{ name, partitions: PARTITIONS }])
      topic.topicId = one?.topicId
    })
    if (!created) return
    topic.exists = true

    const retentionMs = String(3_600_000 + round)
    const altered = await this.#change(`alter ${name}`, () =>
      this.#admin.alterTopicSettings(name, { set: { 'retention.ms': retentionMs } }),
    )
    if (!altered) return
    topic.retentionMs = retentionMs

    // What may be is added before the call, what cannot be any more is taken away after it.
    topic.partitions.add(PARTITIONS + 1)
    if (!(await this.#change(`grow ${name}`, () => this.#admin.createPartitions(name, PARTITIONS + 1))))
      return
    topic.partitions.delete(PARTITIONS)

    if (round % DELETE_EVERY !== 0) return
    topic.exists = 'maybe'
    if (await this.#change(`delete ${name}`, () => this.#admin.deleteTopics([name]))) topic.exists = false
  }

  /** Returns whether it was acknowledged. */
  async #change(what: string, change: () => Promise<void>): Promise<boolean> {
    for (;;) {
      try {
        await change()
        this.#acknowledgedAtMs.push(performance.now())
        return true
      } catch (thrown) {
        const error = NaruError.from(thrown)
        if (error.outcome === 'none' && error.retriable) continue
        if (error.outcome === 'unknown' && error.reason !== 'INTERNAL') this.#unknown++
        else this.#violations.push(`${what}: ${error.message} (${error.reason})`)
        return false
      }
    }
  }
}
