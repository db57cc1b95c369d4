import type { NaruError } from '../../base/errors.ts'
import type { Connection } from '../connection.ts'
import type { MetadataCache } from '../metadata-cache.ts'
import { BatchQueue, END, iterate, Waiters } from './batch-queue.ts'
import { PartitionReads } from './partition-reads.ts'
import { readerSettings } from './reader-settings.ts'
import type { ConsumedRecord, Reader, ReaderOptions, ReaderPartition, RecordBatch } from './types.ts'

export interface StreamReaderOptions {
  readonly connection: Connection
  readonly metadata: MetadataCache
  readonly options: ReaderOptions
  readonly onClose: () => void
}

/**
 * The reader that programs use. Received batches wait here, undecoded; a loop draws them one by one and only waits
 * when there is none. Nothing else reads ahead, so a slow loop stops the node through the credit.
 */
export class StreamReader implements Reader {
  readonly #reads: PartitionReads
  readonly #queue: BatchQueue
  readonly #onClose: () => void
  /** Drawn last; what is left of it from `#recordAt` on was not given out. */
  #current: RecordBatch | undefined
  #recordAt = 0
  #error: NaruError | undefined
  #isClosed = false
  readonly #waiters = new Waiters()

  constructor({ connection, metadata, options, onClose }: StreamReaderOptions) {
    const settings = readerSettings(options)
    this.#queue = new BatchQueue(connection)
    this.#onClose = onClose
    this.#reads = new PartitionReads({
      connection,
      metadata,
      settings,
      onReceived: received => {
        this.#queue.push(received)
        this.#waiters.wake()
      },
      onDropped: cursor => this.#queue.drop(cursor),
      onChanged: () => this.#waiters.wake(),
      onFailed: error => {
        this.#error ??= error
        this.#reads.close()
        this.#waiters.wake()
      },
    })
  }

  [Symbol.asyncIterator](): AsyncIterableIterator<ConsumedRecord> {
    return iterate(() => {
      const record = this.#takeRecord()
      return record ? Promise.resolve({ value: record, done: false }) : this.#next(() => this.#takeRecord())
    })
  }

  batches(): AsyncIterableIterator<RecordBatch> {
    return iterate(() => this.#next(() => this.#takeBatch()))
  }

  partitions(): ReaderPartition[] {
    const rest = this.#current?.records[this.#recordAt]
    return this.#reads.cursors.map(cursor => {
      const known = cursor.describe()
      if (rest === undefined || rest.partition !== cursor.partition) return known
      // Decoded is not given out yet.
      const lag = known.highWatermark === undefined ? undefined : known.highWatermark - rest.offset
      return { ...known, nextOffset: rest.offset, lag, ended: false }
    })
  }

  lag(): number | undefined {
    if (!this.#reads.hasBegun) return undefined
    let sum = 0
    for (const { lag } of this.partitions()) {
      if (lag === undefined) return undefined
      sum += lag
    }
    return sum
  }

  close(): Promise<void> {
    if (!this.#isClosed) {
      this.#isClosed = true
      this.#reads.close()
      this.#queue.clear()
      this.#current = undefined
      this.#waiters.wake()
      this.#onClose()
    }
    return Promise.resolve()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  /** What comes next. It is drawn and taken without a wait in between: what is drawn counts as given out, but for the rest. */
  async #next<T>(take: () => T | undefined): Promise<IteratorResult<T>> {
    for (;;) {
      if (this.#queue.isSliceOver) await this.#queue.giveWay()
      const value = take()
      if (value !== undefined) return { value, done: false }
      if (this.#drawMore()) continue
      // What came before an error is given out before it is told.
      if (this.#error !== undefined) throw this.#error
      if (this.#isClosed || this.#reads.isDone) return END
      await this.#waiters.wait()
    }
  }

  #takeRecord(): ConsumedRecord | undefined {
    const batch = this.#current
    if (batch === undefined || this.#recordAt >= batch.records.length) return undefined
    return batch.records[this.#recordAt++]
  }

  /** Without what was drawn of it one by one. */
  #takeBatch(): RecordBatch | undefined {
    const batch = this.#current
    this.#current = undefined
    if (batch === undefined || this.#recordAt >= batch.records.length) return undefined
    return this.#recordAt === 0 ? batch : { ...batch, records: batch.records.slice(this.#recordAt) }
  }

  #drawMore(): boolean {
    try {
      this.#current = this.#queue.draw()?.batch
      this.#recordAt = 0
      return this.#current !== undefined
    } catch (thrown) {
      this.#error = thrown as NaruError
      this.#queue.clear()
      this.#reads.close()
      return false
    }
  }
}
