/**
 * The request bytes that have arrived and are not handled yet, per connection and for the whole node: what a
 * flood of half-sent or unanswered requests may cost in memory. Flow-control windows alone do not bound it
 * (they are per stream, and a connection may open many).
 */
export class RequestBytes {
  readonly #bytesMax: number
  #bytes = 0

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  get bytes(): number {
    return this.#bytes
  }

  ofConnection(bytesMax: number): ConnectionRequestBytes {
    return new ConnectionRequestBytes(this, bytesMax)
  }

  isOver(): boolean {
    return this.#bytes > this.#bytesMax
  }

  add(bytes: number): void {
    this.#bytes += bytes
  }
}

export class ConnectionRequestBytes {
  readonly #node: RequestBytes
  readonly #bytesMax: number
  #bytes = 0

  constructor(node: RequestBytes, bytesMax: number) {
    this.#node = node
    this.#bytesMax = bytesMax
  }

  /** Which limit these bytes break, if any; they are counted in any case, until `remove`. */
  add(bytes: number): 'connection' | 'node' | undefined {
    this.#bytes += bytes
    this.#node.add(bytes)
    if (this.#bytes > this.#bytesMax) return 'connection'
    return this.#node.isOver() ? 'node' : undefined
  }

  remove(bytes: number): void {
    this.#bytes -= bytes
    this.#node.add(-bytes)
  }
}
