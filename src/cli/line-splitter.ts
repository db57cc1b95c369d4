import { UsageError } from './errors.ts'

/** Longer lines are refused: no topic takes a batch above 8 MiB, and a file without line ends must not fill memory. */
export const LINE_BYTES_MAX = 8 * 1024 * 1024

/**
 * Cuts chunks of bytes into lines without their `\n` (a `\r` before it stays: what goes in comes out). Lines
 * are views of the chunks, except those that span two. A last line without `\n` counts; nothing after the
 * last `\n` does not.
 */
export class LineSplitter {
  /** Parts of a line whose end has not come yet. */
  #parts: Buffer[] = []
  #partBytes = 0
  #lineNumber = 0

  /** Number of the line that was handed out last, counted from 1. */
  get lineNumber(): number {
    return this.#lineNumber
  }

  /** The lines that end in this chunk. */
  *split(chunk: Buffer): Generator<Buffer> {
    let start = 0
    for (let end = chunk.indexOf(0x0a); end >= 0; end = chunk.indexOf(0x0a, start)) {
      yield this.#complete(chunk.subarray(start, end))
      start = end + 1
    }
    if (start < chunk.length) {
      this.#parts.push(chunk.subarray(start))
      this.#partBytes += chunk.length - start
      this.#checkLength(this.#partBytes)
    }
  }

  /** The line that the end of the input ends, if there is one. */
  *end(): Generator<Buffer> {
    if (this.#parts.length > 0) yield this.#complete(Buffer.alloc(0))
  }

  #complete(tail: Buffer): Buffer {
    this.#checkLength(this.#partBytes + tail.length)
    this.#lineNumber++
    if (this.#parts.length === 0) return tail
    this.#parts.push(tail)
    const line = Buffer.concat(this.#parts)
    this.#parts = []
    this.#partBytes = 0
    return line
  }

  #checkLength(bytes: number): void {
    if (bytes <= LINE_BYTES_MAX) return
    throw new UsageError(
      `line ${this.#lineNumber + 1} is longer than ${LINE_BYTES_MAX} bytes: records are one per line`,
    )
  }
}
