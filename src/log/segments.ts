import { assert } from '../base/assert.ts'
import type { Offset } from '../base/brands.ts'
import type { Segment } from './segment.ts'

/**
 * The segments of one log in order. Invariants: never empty; base offsets rise; each segment ends where the next one
 * begins (the cleaner of a compacted log keeps a segment's last batch, emptied if need be, so that a missing file
 * is always seen as a gap).
 */
export class Segments {
  readonly #list: Segment[]

  constructor(list: readonly Segment[]) {
    assert(list.length > 0, 'a log has at least one segment')
    this.#list = [...list]
  }

  get all(): readonly Segment[] {
    return this.#list
  }

  get first(): Segment {
    const first = this.#list[0]
    assert(first, 'a log has at least one segment')
    return first
  }

  /** The one that is appended to. */
  get last(): Segment {
    const last = this.#list.at(-1)
    assert(last, 'a log has at least one segment')
    return last
  }

  get sizeBytes(): number {
    return this.#list.reduce((sum, segment) => sum + segment.sizeBytes, 0)
  }

  /** The segment whose range holds `offset`; undefined below the first. */
  containing(offset: Offset): Segment | undefined {
    return this.#list[this.#indexOf(offset)]
  }

  /** The one after `segment`, or undefined if it is the last (or gone). */
  after(segment: Segment): Segment | undefined {
    const next = this.#list[this.#indexOf(segment.baseOffset) + 1]
    return next !== segment ? next : undefined
  }

  /** First offset behind the segment as its successor tells it; undefined for the last. */
  limitOf(segment: Segment): Offset | undefined {
    return this.after(segment)?.baseOffset
  }

  add(segment: Segment): void {
    assert(segment.baseOffset > this.last.baseOffset, 'segments are added in order')
    this.#list.push(segment)
  }

  removeFirst(): Segment {
    assert(this.#list.length > 1, 'the last segment of a log stays')
    return this.#list.shift() as Segment
  }

  removeLast(): Segment {
    assert(this.#list.length > 1, 'the first segment of a log stays')
    return this.#list.pop() as Segment
  }

  /** All go, one new one comes: the log starts over elsewhere. */
  replaceAll(segment: Segment): void {
    this.#list.splice(0, this.#list.length, segment)
  }

  /** Whether these are segments of the log now, one after the other. */
  areAdjacent(segments: readonly Segment[]): boolean {
    const [first] = segments
    const at = first ? this.#list.indexOf(first) : -1
    return at >= 0 && segments.every((segment, index) => this.#list[at + index] === segment)
  }

  /** One comes for several that stood one after the other: it begins with the first, and ends with the last of them. */
  replace(old: readonly Segment[], segment: Segment): void {
    assert(this.areAdjacent(old), 'what is replaced is there')
    assert(old[0]?.baseOffset === segment.baseOffset, 'a segment begins where those began that it replaces')
    this.#list.splice(this.#list.indexOf(old[0]), old.length, segment)
  }

  #indexOf(offset: Offset): number {
    let low = 0
    let high = this.#list.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.#list[middle]?.baseOffset ?? 0) <= offset) low = middle + 1
      else high = middle
    }
    return low - 1
  }
}
