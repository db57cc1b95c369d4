/** Handovers of one node that may be under way at once: each holds up the produces of its partition for a moment. */
export class HandoverSlots {
  readonly #max: number
  #taken = 0

  constructor(max: number) {
    this.#max = max
  }

  /** False: not now. */
  take(): boolean {
    if (this.#taken >= this.#max) return false
    this.#taken++
    return true
  }

  release(): void {
    this.#taken--
  }
}
