import type { Clock } from './clock.ts'

export interface PipeReader {
  onMessage(message: Buffer): void
  /** All messages before the end were delivered. */
  onEnd(): void
}

/**
 * One direction of an in-process stream: copies each message in, delivers in later turns and in order, holds
 * what a paused reader does not take. Full from `bytesMax` on; `onDrain` once half of it was delivered.
 */
export class InProcessPipe {
  readonly #clock: Clock
  readonly #bytesMax: number
  readonly #reader: PipeReader
  readonly #onDrain: () => void
  #queue: Buffer[] = []
  #bytes = 0
  #isFull = false
  #isPaused = false
  #isHeld: boolean
  #isScheduled = false
  #isEnded = false
  #isOver = false

  /** `isHeld`: nothing is delivered before `release`, since the reader is not there yet. */
  constructor(options: {
    clock: Clock
    bytesMax: number
    reader: PipeReader
    onDrain: () => void
    isHeld?: boolean
  }) {
    this.#isHeld = options.isHeld ?? false
    this.#clock = options.clock
    this.#bytesMax = options.bytesMax
    this.#reader = options.reader
    this.#onDrain = options.onDrain
  }

  write(message: Uint8Array): boolean {
    if (this.#isEnded || this.#isOver) return true
    this.#queue.push(Buffer.from(message))
    this.#bytes += message.length
    if (this.#bytes >= this.#bytesMax) this.#isFull = true
    this.#schedule()
    return !this.#isFull
  }

  end(): void {
    this.#isEnded = true
    this.#schedule()
  }

  /** Drops what is not delivered and delivers nothing more. */
  break(): void {
    this.#isOver = true
    this.#queue = []
  }

  pause(): void {
    this.#isPaused = true
  }

  resume(): void {
    this.#isPaused = false
    this.#schedule()
  }

  release(): void {
    this.#isHeld = false
    this.#schedule()
  }

  #schedule(): void {
    if (this.#isHeld || this.#isScheduled || this.#isOver) return
    this.#isScheduled = true
    this.#clock.afterTurn(() => {
      this.#isScheduled = false
      this.#deliver()
    })
  }

  #deliver(): void {
    const messages = this.#queue
    this.#queue = []
    let next = 0
    for (; next < messages.length && !this.#isPaused && !this.#isOver; next++) {
      const message = messages[next] as Buffer
      this.#bytes -= message.length
      this.#reader.onMessage(message)
    }
    if (this.#isOver) return
    this.#queue = [...messages.slice(next), ...this.#queue]
    if (this.#isFull && this.#bytes <= this.#bytesMax / 2) {
      this.#isFull = false
      if (!this.#isEnded) this.#onDrain()
    }
    if (this.#isOver || this.#isPaused) return
    if (this.#queue.length > 0) this.#schedule()
    else if (this.#isEnded) {
      this.#isOver = true
      this.#reader.onEnd()
    }
  }
}
