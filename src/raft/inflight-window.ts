/** The appends sent to one follower and not answered yet: bounds how far a leader runs ahead of it. */
import { assert } from '../base/assert.ts'

export interface InflightLimits {
  readonly messagesMax: number
  readonly bytesMax: number
}

export class InflightWindow {
  readonly #limits: InflightLimits
  /** Rising by `lastIndex`. */
  #messages: { readonly lastIndex: number; readonly bytes: number }[] = []
  #bytes = 0

  constructor(limits: InflightLimits) {
    this.#limits = limits
  }

  get count(): number {
    return this.#messages.length
  }

  /** One message may overshoot the bytes, or an entry above the limit could never be sent. */
  get isFull(): boolean {
    return this.#messages.length >= this.#limits.messagesMax || this.#bytes >= this.#limits.bytesMax
  }

  add(message: { lastIndex: number; bytes: number }): void {
    assert(!this.isFull, 'append sent into a full window')
    assert(message.lastIndex > (this.#messages.at(-1)?.lastIndex ?? 0), 'appends sent out of order')
    this.#messages.push(message)
    this.#bytes += message.bytes
  }

  /** The follower has everything up to `index`. */
  release(index: number): void {
    let released = 0
    for (const message of this.#messages) {
      if (message.lastIndex > index) break
      this.#bytes -= message.bytes
      released++
    }
    if (released > 0) this.#messages.splice(0, released)
  }

  clear(): void {
    this.#messages = []
    this.#bytes = 0
  }
}
