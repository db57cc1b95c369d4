import { decodeGroupRecord } from '../../../src/drivers/groups/group-record-codec.ts'
import type { GroupRecord } from '../../../src/groups/group-record.ts'
import { GROUPS_TOPIC } from '../../../src/metadata/internal-topics.ts'
import { leaderEpochAt } from '../../../src/records/batch-header.ts'
import { partitionForKey } from '../../../src/records/murmur2.ts'
import type { Client, ConsumedRecord, Reader } from '../../../src/server/client.ts'
import { until } from '../../harness/node-cluster.ts'
import { GroupLedger } from '../../sim/group-ledger.ts'
import type { HistoryRecorder } from '../workload/history-recorder.ts'

export interface CoordinatorRecordOptions {
  readonly client: Client
  readonly history: HistoryRecorder
  readonly group: string
}

/** A fault may last for a while. */
const READ_PATIENCE_MS = 600_000
const CREATION_TIMEOUT_MS = 60_000

/**
 * What the coordinators of a group have written, whoever they were: `__groups` read as any client may, from its beginning
 * on. It is held to what groups promise of it (G1 to G4), and becomes part of the history: `own` and `stored`.
 */
export class CoordinatorRecord {
  /** What is wrong with it. */
  failure: Error | undefined
  /** Batch by batch, each with the time at which it was read: for whoever looks for a cause. */
  readonly lines: string[] = []
  readonly #options: CoordinatorRecordOptions
  readonly #partition: number
  readonly #reader: Reader
  readonly #ledger: GroupLedger
  /** Of topics, by id: a group forgets those that it has nothing of any more. */
  readonly #names = new Map<string, string>()
  readonly #running: Promise<void>

  private constructor(options: CoordinatorRecordOptions, partition: number) {
    const { client, history } = options
    this.#options = options
    this.#partition = partition
    this.#ledger = new GroupLedger({
      nowMs: () => history.now(),
      onOffset: record => this.#onOffset(record),
    })
    this.#reader = client.reader({
      topic: GROUPS_TOPIC,
      partitions: [partition],
      retryTimeoutMs: READ_PATIENCE_MS,
    })
    this.#running = this.#read()
  }

  /** Makes `__groups`, if it is not there yet. */
  static async follow(options: CoordinatorRecordOptions): Promise<CoordinatorRecord> {
    const admin = options.client.admin()
    await admin.createTopics([{ name: GROUPS_TOPIC }]).catch(thrown => {
      if (thrown.reason !== 'TOPIC_ALREADY_EXISTS') throw thrown
    })
    const partitions = await until(
      async () => (await admin.describeTopics([GROUPS_TOPIC]))[0]?.partitions.length || undefined,
      { timeoutMs: CREATION_TIMEOUT_MS },
    )
    return new CoordinatorRecord(options, partitionForKey(Buffer.from(options.group), partitions))
  }

  /** By it the group has committed this. */
  committed(topic: string, partition: number): number | undefined {
    const group = this.#ledger.group(this.#options.group)
    for (const [topicId, name] of this.#names)
      if (name === topic) return group?.offset(topicId, partition)?.nextOffset
    return undefined
  }

  /** Nothing more is written: who had what becomes part of the history. */
  async finish(): Promise<void> {
    await this.close()
    const { history, group } = this.#options
    for (const { topicId, partition, ownership } of this.#ledger.ownerships(group)) {
      const { member, beginMs, endMs, startOffset } = ownership
      const name = `${this.#names.get(topicId)}-${partition}`
      const position = startOffset === undefined ? {} : { position: startOffset }
      const end = history.begin({ op: 'own', process: member, partition: name, group, ...position }, beginMs)
      if (endMs !== undefined) end({ type: 'ok' }, endMs)
    }
  }

  async close(): Promise<void> {
    await this.#reader.close()
    await this.#running
  }

  async #read(): Promise<void> {
    try {
      for await (const { records, bytes } of this.#reader.batches()) {
        const written = records.flatMap(groupRecord)
        const [offset, leaderEpoch] = [records[0]?.offset, leaderEpochAt(bytes, 0)]
        this.lines.push(JSON.stringify({ atMs: this.#options.history.now(), offset, leaderEpoch, written }))
        for (const one of written)
          if (one.type === 'topic' && one.value) this.#names.set(one.topicId, one.value.name)
        this.#ledger.replay(this.#partition, written)
      }
    } catch (thrown) {
      this.failure = thrown as Error
    }
  }

  #onOffset({ group, topicId, partition, value }: GroupRecord & { type: 'offset' }): void {
    const { history } = this.#options
    if (group !== this.#options.group || value === null) return
    const name = `${this.#names.get(topicId)}-${partition}`
    const stored = { op: 'stored', process: GROUPS_TOPIC, partition: name, group } as const
    const atMs = history.now()
    history.begin({ ...stored, position: value.nextOffset }, atMs)({ type: 'ok' }, atMs)
  }
}

function groupRecord({ key, value }: ConsumedRecord): GroupRecord[] {
  return key === null ? [] : [decodeGroupRecord(key, value)]
}
