import type { Client, ConsumedRecord } from '../../src/client/index.ts'
import type { MetadataImage } from '../../src/metadata/metadata-image.ts'
import { checkHistory } from '../chaos/checker/check-history.ts'
import { verdictText } from '../chaos/checker/report.ts'
import type { HistoryRecorder } from '../chaos/workload/history-recorder.ts'
import type { ClientProcess } from './client-process.ts'
import { ClusterBreach, type ClusterJournal } from './cluster-journal.ts'
import type { ClusterTopics, ExpectedTopic } from './cluster-topics.ts'
import type { ReplicaOracle } from './replica-oracle.ts'
import type { SimLogs } from './sim-logs.ts'

export interface ClusterEndOptions {
  readonly journal: ClusterJournal
  readonly reader: ClientProcess
  readonly topics: ClusterTopics
  readonly logs: SimLogs
  readonly history: HistoryRecorder
  readonly oracle: ReplicaOracle
}

/** What must be there when all is over: every acknowledged record, read like a client reads, and a history without a flaw. */
export class ClusterEnd {
  readonly #options: ClusterEndOptions

  constructor(options: ClusterEndOptions) {
    this.#options = options
  }

  async check(image: MetadataImage): Promise<void> {
    const { reader, topics, logs, oracle } = this.#options
    const client = await reader.connect()
    for (const topic of topics.all.values()) {
      if (topic.records.size === 0 || topic.exists !== true || topic.isLost) continue
      for (const [partition] of image.topics.byName(topic.name)?.partitions() ?? []) {
        if (oracle.isForfeit(topic.name, partition)) continue
        this.#checkPartition(topic, partition, await this.#read(client, topic.name, partition))
      }
    }
    for (const { name, partitions } of logs.all)
      for (let partition = 0; partition < partitions; partition++)
        if (!oracle.isForfeit(name, partition)) await this.#drain(client, name, partition)
    await client.close()
    this.#checkHistory()
  }

  async #drain(client: Client, topic: string, partition: number): Promise<void> {
    const { history } = this.#options
    const end = history.begin({ op: 'drain', process: 'drain', partition: `${topic}-${partition}` })
    const found = await this.#read(client, topic, partition)
    end({
      type: 'ok',
      values: found.map(({ value }) => String(value)),
      offsets: found.map(({ offset }) => offset),
      endOffset: (found.at(-1)?.offset ?? -1) + 1,
    })
  }

  async #read(client: Client, topic: string, partition: number): Promise<ConsumedRecord[]> {
    const reader = client.reader({
      topic,
      partitions: [partition],
      stop: 'currentEnd',
      retryTimeoutMs: 30_000,
    })
    const found: ConsumedRecord[] = []
    for await (const record of reader) found.push(record)
    await reader.close()
    this.#options.journal.count('records read', found.length)
    return found
  }

  #checkPartition(topic: ExpectedTopic, partition: number, found: readonly ConsumedRecord[]): void {
    const { journal } = this.#options
    const byOffset = new Map(found.map(({ offset, value }) => [`${partition}/${offset}`, String(value)]))
    const values = new Set(byOffset.values())
    journal.expect(values.size === found.length, () => `${topic.name}-${partition} holds a record twice`)
    for (const [place, value] of topic.records) {
      if (!place.startsWith(`${partition}/`)) continue
      const there = byOffset.get(place)
      journal.expect(
        there === value,
        () => `${topic.name} ${place} was acknowledged as ${value}, and is ${there}`,
      )
    }
  }

  /** A1-A11 and A16 of what clients saw of the logs. */
  #checkHistory(): void {
    const { history, journal, logs, oracle } = this.#options
    const judged = new Set<string>()
    for (const { name, partitions } of logs.all)
      for (let partition = 0; partition < partitions; partition++)
        if (!oracle.isForfeit(name, partition)) judged.add(`${name}-${partition}`)
    const ids = new Set<number>()
    const events = history.events.filter(event => {
      if (event.type === 'invoke' && judged.has(event.partition)) ids.add(event.id)
      return ids.has(event.id)
    })
    const verdict = checkHistory(events)
    journal.count('operations in histories', events.length)
    if (verdict.validity === 'invalid') journal.fail(new ClusterBreach(verdictText(verdict)))
  }
}
