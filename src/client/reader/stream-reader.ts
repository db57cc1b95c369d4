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
  /** The batch that single records are drawn from. */
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
      const batch = this.#current
      if (batch !== undefined && this.#recordAt < batch.records.length)
        return Promise.resolve({ value: batch.records[this.#recordAt++] as ConsumedRecord, done: false })
      return this.#nextRecord()
    })
  }

  batches(): AsyncIterableIterator<RecordBatch> {
    return iterate(() => {
      const rest = this.#takeRest()
      return rest ? Promise.resolve({ value: rest, done: false }) : this.#nextBatch()
    })
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

  async #nextRecord(): Promise<IteratorResult<ConsumedRecord>> {
    for (;;) {
      const { value, done } = await this.#nextBatch()
      if (done) return END
      const [first] = value.records
      if (first === undefined) continue
      this.#current = value
      this.#recordAt = 1
      return { value: first, done: false }
    }
  }

  async #nextBatch(): Promise<IteratorResult<RecordBatch>> {
    for (;;) {
      if (this.#queue.isSliceOver) await this.#queue.giveWay()
      const batch = this.#draw()
      if (batch !== undefined) return { value: batch, done: false }
      // What came before an error is given out before it is told.
      if (this.#error !== undefined) throw this.#error
      if (this.#isClosed || this.#reads.isDone) return END
      await this.#waiters.wait()
    }
  }

  #draw(): RecordBatch | undefined {
    try {
      return this.#queue.draw()?.batch
    } catch (thrown) {
      this.#error = thrown as NaruError
      this.#queue.clear()
      this.#reads.close()
      return undefined
    }
  }

  /** Records of the batch in hand that were not drawn one by one. */
  #takeRest(): RecordBatch | undefined {
    const batch = this.#current
    this.#current = undefined
    if (batch === undefined || this.#recordAt >= batch.records.length) return undefined
    return { ...batch, records: batch.records.slice(this.#recordAt) }
  }
}
