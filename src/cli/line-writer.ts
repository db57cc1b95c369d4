import type { Writable } from 'node:stream'

/** Lines are gathered up to this size before one write: a write per record would be most of the work. */
const CHUNK_BYTES = 256 * 1024
const NEWLINE = Buffer.from('\n')

/**
 * Writes lines to a stream, many at a time, and waits when it is full. A reader that went away
 * (`naru consume logs | head`) is no error: `isClosed` turns true and the rest is dropped.
 */
export class LineWriter {
  readonly #stream: Writable
  #parts: Uint8Array[] = []
  #bytes = 0
  #isClosed = false
  #failure: Error | undefined
  #wake: (() => void) | undefined

  constructor(stream: Writable) {
    this.#stream = stream
    stream.on('error', (error: NodeJS.ErrnoException) => {
      this.#isClosed = true
      if (error.code !== 'EPIPE') this.#failure = error
      this.#wake?.()
    })
    stream.on('drain', () => this.#wake?.())
    stream.on('close', () => {
      this.#isClosed = true
      this.#wake?.()
    })
  }

  get isClosed(): boolean {
    return this.#isClosed
  }

  /** Adds a line; true when `flush` is due. */
  add(line: Uint8Array): boolean {
    this.#parts.push(line, NEWLINE)
    this.#bytes += line.length + 1
    return this.#bytes >= CHUNK_BYTES
  }

  /** Hands on what was added; resolves when the stream takes more. */
  async flush(): Promise<void> {
    if (this.#failure) throw this.#failure
    if (this.#bytes === 0 || this.#isClosed) return
    const chunk = Buffer.concat(this.#parts, this.#bytes)
    this.#parts = []
    this.#bytes = 0
    if (!this.#stream.write(chunk)) {
      await new Promise<void>(resolve => {
        this.#wake = resolve
      })
      this.#wake = undefined
    }
    if (this.#failure) throw this.#failure
  }
}
