/**
 * Counts the bytes that one stream has accepted and not yet given to HTTP/2, which is where its back-pressure
 * comes from: `write` says "full" from `bytesMax` on, and says "again" once half of it has left, so that a
 * writer works in gulps rather than message by message. The overshoot is at most one message.
 */
export class WriteWindow {
  readonly #bytesMax: number
  #bytes = 0
  #isFull = false

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  get bytes(): number {
    return this.#bytes
  }

  /** True if there is room for more after these bytes. With `hasRoom` false, none is given whatever the count. */
  add(bytes: number, hasRoom = true): boolean {
    this.#bytes += bytes
    if (this.#bytes >= this.#bytesMax || !hasRoom) this.#isFull = true
    return !this.#isFull
  }

  /** True if the writer was told "full" and may write again now. */
  remove(bytes: number): boolean {
    this.#bytes -= bytes
    if (!this.#isFull || this.#bytes > this.#bytesMax / 2) return false
    this.#isFull = false
    return true
  }
}
