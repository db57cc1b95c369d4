import type { NaruError } from '../../base/errors.ts'
import type { Clock } from '../../ports/clock.ts'
import type { Connection } from '../connection.ts'
import type { MetadataCache } from '../metadata-cache.ts'
import { BatchDecoder, type ReceivedBatches } from './batch-decoder.ts'
import { PartitionReads } from './partition-reads.ts'
import { readerSettings } from './reader-settings.ts'
import type { ConsumedRecord, Reader, ReaderOptions, ReaderPartition, RecordBatch } from './types.ts'

export interface StreamReaderOptions {
  readonly connection: Connection
  readonly metadata: MetadataCache
  readonly options: ReaderOptions
  readonly onClose: () => void
}

/** A loop over buffered batches gives way to other work after that long. */
const SLICE_MS_MAX = 20
/** Drawn batches that the list may still hold on to. */
const HEAD_MAX = 32

/**
 * The reader that programs use. Received batches wait here, undecoded; a loop draws them one by one and only waits
 * when there is none. Nothing else reads ahead, so a slow loop stops the node through the credit.
 */
export class StreamReader implements Reader {
  readonly #clock: Clock
  readonly #reads: PartitionReads
  readonly #onClose: () => void
  #received: ReceivedBatches[] = []
  /** Of the first that was not drawn. */
  #head = 0
  #decoder: { readonly decoder: BatchDecoder; readonly received: ReceivedBatches } | undefined
  /** The batch that single records are drawn from. */
  #current: RecordBatch | undefined
  #recordAt = 0
  #error: NaruError | undefined
  #isClosed = false
  /** Loops that wait, in order. */
  #waiting: (() => void)[] = []
  #sliceStartMs: number | undefined

  constructor({ connection, metadata, options, onClose }: StreamReaderOptions) {
    const settings = readerSettings(options)
    this.#clock = connection.clock
    this.#onClose = onClose
    this.#reads = new PartitionReads({
      connection,
      metadata,
      settings,
      onReceived: received => {
        this.#received.push(received)
        this.#wake()
      },
      onChanged: () => this.#wake(),
      onFailed: error => {
        this.#error ??= error
        this.#reads.close()
        this.#wake()
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
      this.#forget()
      this.#decoder = undefined
      this.#current = undefined
      this.#wake()
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
      if (this.#isSliceOver()) await new Promise<void>(resolve => this.#clock.afterTurn(resolve))
      const batch = this.#decodeNext()
      if (batch !== undefined) return { value: batch, done: false }
      // What came before an error is given out before it is told.
      if (this.#error !== undefined) throw this.#error
      if (this.#isClosed || this.#reads.isDone) return END
      await new Promise<void>(resolve => this.#waiting.push(resolve))
    }
  }

  #decodeNext(): RecordBatch | undefined {
    for (;;) {
      if (this.#decoder === undefined) {
        const received = this.#shift()
        if (received === undefined) return undefined
        this.#decoder = { decoder: new BatchDecoder(received), received }
      }
      const { decoder, received } = this.#decoder
      const batch = this.#decodePart(decoder)
      if (batch !== undefined) return batch
      this.#decoder = undefined
      received.onConsumed()
    }
  }

  #decodePart(decoder: BatchDecoder): RecordBatch | undefined {
    try {
      return decoder.next()
    } catch (thrown) {
      this.#error = thrown as NaruError
      this.#forget()
      this.#reads.close()
      return undefined
    }
  }

  #shift(): ReceivedBatches | undefined {
    const first = this.#received[this.#head]
    if (first === undefined) return undefined
    this.#head++
    // What was drawn must not be kept alive by the list for long.
    if (this.#head === this.#received.length || this.#head >= HEAD_MAX) {
      this.#received = this.#received.slice(this.#head)
      this.#head = 0
    }
    return first
  }

  #forget(): void {
    this.#received = []
    this.#head = 0
  }

  /** Records of the batch in hand that were not drawn one by one. */
  #takeRest(): RecordBatch | undefined {
    const batch = this.#current
    this.#current = undefined
    if (batch === undefined || this.#recordAt >= batch.records.length) return undefined
    return { ...batch, records: batch.records.slice(this.#recordAt) }
  }

  #isSliceOver(): boolean {
    const nowMs = this.#clock.monotonicMs()
    if (this.#sliceStartMs === undefined) {
      this.#sliceStartMs = nowMs
      this.#clock.afterTurn(() => {
        this.#sliceStartMs = undefined
      })
      return false
    }
    return nowMs - this.#sliceStartMs > SLICE_MS_MAX
  }

  #wake(): void {
    const waiting = this.#waiting
    this.#waiting = []
    for (const resolve of waiting) resolve()
  }
}

const END: IteratorResult<never> = { value: undefined, done: true }

/** Not a generator: those take several turns of the promise queue for each value. */
function iterate<T>(next: () => Promise<IteratorResult<T>>): AsyncIterableIterator<T> {
  return {
    next,
    return: () => Promise.resolve(END),
    [Symbol.asyncIterator]() {
      return this
    },
  }
}
