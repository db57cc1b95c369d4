import type { NaruError } from '../base/errors.ts'
import type { MessageStream, StreamHandlers } from '../ports/transport.ts'

/** A stream that could not be opened: says so in the way of any other failed stream, in a later turn. */
export class FailedStream implements MessageStream {
  readonly metadata = {}
  readonly #error: NaruError

  constructor(error: NaruError) {
    this.#error = error
  }

  setHandlers(handlers: StreamHandlers): void {
    setImmediate(() => handlers.onClose?.(this.#error))
  }

  write(): boolean {
    return true
  }

  end(): void {}

  fail(): void {}

  pause(): void {}

  resume(): void {}
}
