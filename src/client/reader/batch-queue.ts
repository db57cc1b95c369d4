import type { Offset } from '../../base/brands.ts'
import type { Clock } from '../../ports/clock.ts'
import { BatchDecoder, type ReceivedBatches } from './batch-decoder.ts'
import type { PartitionCursor } from './partition-cursor.ts'
import type { RecordBatch } from './types.ts'

/** A loop over buffered batches gives way to other work after that long. */
const SLICE_MS_MAX = 20
/** Drawn batches that the list may still hold on to. */
const HEAD_MAX = 32

/** A part of a batch, and of which cursor it is. */
export interface DrawnBatch {
  readonly cursor: PartitionCursor
  readonly batch: RecordBatch
  /** What the batch holds before that was given out, or is gone. */
  readonly from: Offset
}

/**
 * Received batches wait here, undecoded, until they are drawn one by one. Their number of bytes is bounded by the
 * credit that their streams give, and get back as they are drawn or dropped.
 */
export class BatchQueue {
  readonly #clock: Clock
  readonly #isWhole: boolean
  #received: ReceivedBatches[] = []
  /** Of the first that was not drawn. */
  #head = 0
  #open: { readonly decoder: BatchDecoder; readonly received: ReceivedBatches } | undefined
  #sliceStartMs: number | undefined

  /** `isWhole`: batches are drawn as they are stored, each in one piece, without their records. */
  constructor(options: { clock: Clock; isWhole?: boolean }) {
    this.#clock = options.clock
    this.#isWhole = options.isWhole ?? false
  }

  push(received: ReceivedBatches): void {
    this.#received.push(received)
  }

  /** Undefined: there is none. Throws CORRUPT_DATA for what cannot be read. */
  draw(): DrawnBatch | undefined {
    for (;;) {
      if (this.#open === undefined) {
        const received = this.#shift()
        if (received === undefined) return undefined
        this.#open = { decoder: new BatchDecoder(received), received }
      }
      const { decoder, received } = this.#open
      const from = received.cursor.nextOffset ?? 0
      const batch = this.#isWhole ? decoder.nextWhole() : decoder.next()
      if (batch !== undefined) return { cursor: received.cursor, batch, from }
      this.#open = undefined
      received.onConsumed()
    }
  }

  /** What waits of a cursor will not be drawn. */
  drop(cursor: PartitionCursor): void {
    const kept: ReceivedBatches[] = []
    for (const received of this.#received.slice(this.#head)) {
      if (received.cursor === cursor) received.onConsumed()
      else kept.push(received)
    }
    this.#received = kept
    this.#head = 0
    if (this.#open?.received.cursor !== cursor) return
    this.#open.received.onConsumed()
    this.#open = undefined
  }

  /** Without giving anything back. */
  clear(): void {
    this.#received = []
    this.#head = 0
    this.#open = undefined
  }

  /** Until other work was done. */
  giveWay(): Promise<void> {
    return new Promise(resolve => this.#clock.afterTurn(resolve))
  }

  /** A loop has drawn for so long that it should give way. */
  get isSliceOver(): boolean {
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
}

/** Loops that wait for something to come, in order. */
export class Waiters {
  #waiting: (() => void)[] = []

  wait(): Promise<void> {
    return new Promise(resolve => this.#waiting.push(resolve))
  }

  wake(): void {
    const waiting = this.#waiting
    this.#waiting = []
    for (const resolve of waiting) resolve()
  }
}

export const END: IteratorResult<never> = { value: undefined, done: true }

/** Not a generator: those take several turns of the promise queue for each value. */
export function iterate<T>(
  next: () => Promise<IteratorResult<T>>,
  onReturn?: () => void,
): AsyncIterableIterator<T> {
  return {
    next,
    return: () => {
      onReturn?.()
      return Promise.resolve(END)
    },
    [Symbol.asyncIterator]() {
      return this
    },
  }
}
