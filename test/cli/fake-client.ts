import { NaruError } from '../../src/base/errors.ts'
import type {
  Client,
  ConsumerOptions,
  ProducerOptions,
  ReaderOptions,
  SkippedOffsets,
} from '../../src/client/index.ts'

export interface StoredRecord {
  readonly topic: string
  readonly partition: number
  readonly offset: number
  readonly timestampMs: number
  readonly key: Buffer | null
  readonly value: Buffer | null
  readonly headers: readonly { key: string; value: Buffer | null }[]
}

/** As much of a client as the commands use, over records in memory: what is tested is what the commands make of it. */
export class FakeClient {
  readonly topics = new Map<string, { partitions: number; settings: Record<string, string> }>()
  readonly records: StoredRecord[] = []
  readonly calls: unknown[] = []
  /** Every n-th record finds the buffer full. */
  fullEvery = 3
  readyCalls = 0
  /** What the cluster says to a record that it refuses. */
  refuses: (value: Buffer) => NaruError | undefined = () => undefined
  /** Said again for each record. */
  warnings: string[] = []
  /** Told to readers and consumers. */
  skipped: SkippedOffsets[] = []
  firstError: NaruError | undefined

  asClient(): Client {
    return this as unknown as Client
  }

  admin() {
    return {
      createTopics: async (
        specs: { name: string; partitions?: number; settings?: Record<string, string> }[],
        options: { validateOnly: boolean },
      ) => {
        this.calls.push(['createTopics', specs, options])
        for (const { name, partitions = 3, settings = {} } of specs) {
          if (this.topics.has(name)) throw new NaruError('TOPIC_ALREADY_EXISTS', `topic "${name}" exists`)
          if (!options.validateOnly) this.topics.set(name, { partitions, settings })
        }
      },
      deleteTopics: async (names: string[]) => {
        for (const name of names) {
          if (!this.topics.delete(name))
            throw new NaruError('UNKNOWN_TOPIC', `topic "${name}" does not exist`)
        }
      },
      alterTopicSettings: async (...change: unknown[]) =>
        void this.calls.push(['alterTopicSettings', ...change]),
      createPartitions: async (...change: unknown[]) => void this.calls.push(['createPartitions', ...change]),
    }
  }

  producer({ onDelivered, onError, onWarning }: ProducerOptions = {}) {
    let enqueued = 0
    let failed = 0
    return {
      enqueue: (record: { topic: string; partition?: number; key?: Buffer; value: Buffer }) => {
        const { topic, partition = 0, key = null, value } = record
        const error = this.refuses(value)
        if (error) {
          failed++
          this.firstError ??= error
          onError?.({ topic, partition, recordCount: 1, error })
          return ++enqueued % this.fullEvery !== 0
        }
        for (const warning of this.warnings) onWarning?.(warning)
        const offset = this.records.length
        onDelivered?.({ topic, partition, baseOffset: offset, recordCount: 1 })
        this.records.push({ topic, partition, offset, timestampMs: 1, key, value, headers: [] })
        return ++enqueued % this.fullEvery !== 0
      },
      ready: async () => void this.readyCalls++,
      flush: async () => {
        this.calls.push(['flush'])
        if (failed > 0) throw this.firstError
      },
      [Symbol.asyncDispose]: async () => {},
    }
  }

  reader({ onSkipped, ...options }: ReaderOptions) {
    this.calls.push(['reader', options])
    for (const skipped of this.skipped) onSkipped?.(skipped)
    const { records } = this
    return {
      async *batches() {
        for (let i = 0; i < records.length; i += 2) yield { records: records.slice(i, i + 2) }
      },
      close: async () => {},
      [Symbol.asyncDispose]: async () => {},
    }
  }

  consumer({ onWarning, onSkipped, ...options }: ConsumerOptions) {
    this.calls.push(['consumer', options])
    for (const skipped of this.skipped) onSkipped?.(skipped)
    for (const warning of this.warnings) onWarning?.(warning)
    const { records, calls } = this
    return {
      async *batches() {
        for (let i = 0; i < records.length; i += 2) {
          yield { records: records.slice(i, i + 2) }
          calls.push(['came back', Math.min(i + 2, records.length)])
        }
      },
      commit: async (offsets: unknown) => void calls.push(['commit', offsets]),
      close: async () => {},
      [Symbol.asyncDispose]: async () => void calls.push(['left']),
    }
  }

  async [Symbol.asyncDispose]() {
    this.calls.push(['close'])
  }
}
