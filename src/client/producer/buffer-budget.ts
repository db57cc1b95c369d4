import { NaruError } from '../../base/errors.ts'

/** Callers that wait for room. Each holds a record that is not taken yet, or a promise. */
const WAITING_MAX = 1_000_000

/**
 * Bytes of the records that a producer has taken and not settled. Full from `bytesMax` on, until half of it is free
 * again, so that who waits works in gulps. Waiting callers get their turn in order.
 */
export class BufferBudget {
  readonly #bytesMax: number
  #bytes = 0
  #isFull = false
  #waiting: (() => void)[] = []

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  get bytes(): number {
    return this.#bytes
  }

  get bytesMax(): number {
    return this.#bytesMax
  }

  get hasRoom(): boolean {
    return !this.#isFull
  }

  /** Somebody waits already: whoever comes now gets his turn after him. */
  get hasLine(): boolean {
    return this.#waiting.length > 0
  }

  take(bytes: number): void {
    this.#bytes += bytes
    if (this.#bytes >= this.#bytesMax) this.#isFull = true
  }

  release(bytes: number): void {
    this.#bytes -= bytes
    if (!this.#isFull || this.#bytes > this.#bytesMax / 2) return
    this.#isFull = false
    this.#serve()
  }

  /** Calls back once there is room; at once if there is. */
  whenRoom(callback: () => void): void {
    if (!this.#isFull && this.#waiting.length === 0) {
      callback()
      return
    }
    if (this.#waiting.length >= WAITING_MAX)
      throw new NaruError(
        'OVERLOADED',
        `${WAITING_MAX} records wait for room in the buffer of the producer: await some of the sends before more`,
      )
    this.#waiting.push(callback)
  }

  #serve(): void {
    let served = 0
    while (served < this.#waiting.length && !this.#isFull) (this.#waiting[served++] as () => void)()
    this.#waiting = this.#waiting.slice(served)
  }
}
