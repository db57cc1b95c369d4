import type { Offset } from '../base/brands.ts'

/**
 * When the leader's log end was what, coarsely: to tell since when a follower has not caught up (C9).
 * Invariant: steps rise in time and offset. At most `stepsMax` steps; steps closer than `stepMs` are one.
 */
export class EndOffsetHistory {
  readonly #stepMs: number
  readonly #stepsMax: number
  /** The log ended at or below `endOffset` until `untilMs`. */
  readonly #steps: { readonly endOffset: Offset; readonly untilMs: number }[] = []

  constructor(options: { stepMs: number; stepsMax: number }) {
    this.#stepMs = options.stepMs
    this.#stepsMax = options.stepsMax
  }

  /** The log ended at `endOffset` until now. */
  grows(endOffset: Offset, nowMs: number): void {
    const last = this.#steps.at(-1)
    if (last && (nowMs - last.untilMs < this.#stepMs || endOffset <= last.endOffset)) return
    this.#steps.push({ endOffset, untilMs: nowMs })
    if (this.#steps.length > this.#stepsMax) this.#steps.shift()
  }

  /** Latest time at which the log ended at or below `endOffset`; undefined: before all that is remembered. */
  lastMsAt(endOffset: Offset): number | undefined {
    let low = 0
    let high = this.#steps.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.#steps[middle]?.endOffset ?? 0) <= endOffset) low = middle + 1
      else high = middle
    }
    return this.#steps[low - 1]?.untilMs
  }
}
