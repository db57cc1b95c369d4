import type { Notice, ReadFrame } from './read-frame.ts'

/** What a Read has to say beside records, until it fits into a frame; in order. */
export class PendingNotices {
  #notices: Notice[] = []
  /** Of the first that was not taken. */
  #head = 0

  get count(): number {
    return this.#notices.length - this.#head
  }

  add(notice: Notice): void {
    this.#notices.push(notice)
  }

  fill(frame: ReadFrame): void {
    while (this.count > 0 && frame.tryAdd(this.#notices[this.#head] as Notice)) this.#head++
    if (this.count === 0) this.clear()
    else if (this.#head * 2 > this.#notices.length) {
      this.#notices = this.#notices.slice(this.#head)
      this.#head = 0
    }
  }

  clear(): void {
    this.#notices = []
    this.#head = 0
  }
}
