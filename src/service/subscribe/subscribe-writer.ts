import type { Clock, Timer } from '../../ports/clock.ts'
import type { MessageStream } from '../../ports/transport.ts'
import type { MessageInit, SubscribeResponse } from '../../wire/messages.ts'
import { Consumer } from '../../wire/methods.ts'
import type { ReadMemory } from '../read-memory.ts'

/** Streams say how they are after this long without a frame. */
const HEARTBEAT_MS = 500
/** A timer may fire a little early by the clock that it is compared with. */
const TIMER_SLACK_MS = 2
/** Number and tags of a frame. */
const FRAME_BYTES = 64

export type SubscribeFrame = Omit<MessageInit<SubscribeResponse>, 'number'>

export interface SubscribeWriterOptions {
  readonly stream: MessageStream
  readonly clock: Clock
  readonly memory: ReadMemory
  /** Nothing was sent for a while, and the stream takes more. */
  readonly onIdle: () => void
}

/** Numbers the frames of one Subscribe, and knows whether the stream takes more. */
export class SubscribeWriter {
  readonly #options: SubscribeWriterOptions
  #number = 0
  #lastMs: number
  #isFull = false
  #unsentBytes = 0
  #timer: Timer | undefined

  constructor(options: SubscribeWriterOptions) {
    this.#options = options
    this.#lastMs = options.clock.monotonicMs()
    this.#arm(HEARTBEAT_MS)
  }

  /** Of the last frame that was sent. */
  get number(): number {
    return this.#number
  }

  get isFull(): boolean {
    return this.#isFull
  }

  /** Returns the number of the frame. */
  write(frame: SubscribeFrame): number {
    const { stream, clock, memory } = this.#options
    this.#number++
    const message = Consumer.subscribe.response.encode({ ...frame, number: this.#number })
    this.#lastMs = clock.monotonicMs()
    if (!stream.write(message)) this.#isFull = true
    if (this.#isFull) {
      this.#unsentBytes += message.length
      memory.addUnsent(message.length)
    }
    return this.#number
  }

  onDrain(): void {
    this.#isFull = false
    this.#countSent()
  }

  close(): void {
    this.#timer?.cancel()
    this.#countSent()
  }

  #countSent(): void {
    this.#options.memory.addUnsent(-this.#unsentBytes)
    this.#unsentBytes = 0
  }

  #arm(delayMs: number): void {
    const { clock, onIdle } = this.#options
    this.#timer = clock.setTimer(delayMs, () => {
      const idleMs = clock.monotonicMs() - this.#lastMs
      const isDue = idleMs >= HEARTBEAT_MS - TIMER_SLACK_MS
      this.#arm(isDue ? HEARTBEAT_MS : HEARTBEAT_MS - idleMs)
      if (isDue && !this.#isFull) onIdle()
    })
  }
}

/** What a client has to be told of many partitions, in frames that it takes. */
export function inParts<T extends { readonly topic: string }>(
  items: readonly T[],
  frameBytes: number,
): T[][] {
  const parts: T[][] = []
  let bytes = Number.POSITIVE_INFINITY
  for (const item of items) {
    const itemBytes = ITEM_BYTES + item.topic.length
    if (bytes + itemBytes > frameBytes - FRAME_BYTES) {
      parts.push([])
      bytes = 0
    }
    parts.at(-1)?.push(item)
    bytes += itemBytes
  }
  return parts
}

/** Tags, lengths, numbers and a topic id. */
const ITEM_BYTES = 110
