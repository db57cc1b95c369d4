/**
 * Deadlines by key, earliest first; equal ones in the order in which they were set. Setting a key again moves
 * it. A binary heap in which replaced entries stay until they come up: most deadlines (sessions) are moved many
 * times and never come up, so the heap is swept whenever more than half of it is dead.
 */
export class TimerQueue<T> {
  readonly #byKey = new Map<string, Entry<T>>()
  #heap: Entry<T>[] = []
  #sequence = 0

  get size(): number {
    return this.#byKey.size
  }

  get nextDeadlineMs(): number | undefined {
    this.#dropDeadTop()
    return this.#heap[0]?.deadlineMs
  }

  has(key: string): boolean {
    return this.#byKey.has(key)
  }

  set(key: string, timer: { deadlineMs: number; value: T }): void {
    const entry: Entry<T> = { key, ...timer, sequence: this.#sequence++ }
    this.#byKey.set(key, entry)
    this.#push(entry)
    if (this.#heap.length > 2 * this.#byKey.size + SWEEP_SLACK) this.#sweep()
  }

  clear(): void {
    this.#byKey.clear()
    this.#heap = []
  }

  /** Takes out the earliest timer whose deadline is not after `nowMs`. */
  takeDue(nowMs: number): { key: string; value: T } | undefined {
    this.#dropDeadTop()
    const top = this.#heap[0]
    if (top === undefined || top.deadlineMs > nowMs) return undefined
    this.#byKey.delete(top.key)
    this.#pop()
    return { key: top.key, value: top.value }
  }

  #dropDeadTop(): void {
    for (let top = this.#heap[0]; top !== undefined && this.#byKey.get(top.key) !== top; top = this.#heap[0])
      this.#pop()
  }

  #sweep(): void {
    // A sorted array is a heap.
    this.#heap = [...this.#byKey.values()].sort((a, b) => (isBefore(a, b) ? -1 : 1))
  }

  #push(entry: Entry<T>): void {
    const heap = this.#heap
    let at = heap.length
    while (at > 0) {
      const parent = (at - 1) >> 1
      const above = heap[parent] as Entry<T>
      if (!isBefore(entry, above)) break
      heap[at] = above
      at = parent
    }
    heap[at] = entry
  }

  #pop(): void {
    const heap = this.#heap
    const last = heap.pop() as Entry<T>
    if (heap.length === 0) return
    let at = 0
    for (;;) {
      let child = 2 * at + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && isBefore(heap[child + 1] as Entry<T>, heap[child] as Entry<T>)) child++
      const below = heap[child] as Entry<T>
      if (!isBefore(below, last)) break
      heap[at] = below
      at = child
    }
    heap[at] = last
  }
}

interface Entry<T> {
  readonly key: string
  readonly deadlineMs: number
  readonly sequence: number
  readonly value: T
}

/** A sweep costs more than it frees while the heap is small. */
const SWEEP_SLACK = 64

function isBefore<T>(a: Entry<T>, b: Entry<T>): boolean {
  return a.deadlineMs === b.deadlineMs ? a.sequence < b.sequence : a.deadlineMs < b.deadlineMs
}
