import { NaruError } from '../base/errors.ts'
import type { Timer } from '../ports/clock.ts'
import type { MessageStream } from '../ports/transport.ts'
import type { MetadataWatchResponse } from '../wire/messages.ts'
import { Metadata } from '../wire/methods.ts'
import type { Backoff } from './backoff.ts'
import type { Connection } from './connection.ts'
import { Watchdog } from './watchdog.ts'

export interface MetadataWatchOptions {
  readonly connection: Connection
  /** A stream begins: the next frames are a whole picture. */
  readonly onOpen: () => void
  readonly onFrame: (frame: MetadataWatchResponse) => void
}

/** One stream of metadata at a time, from any node; broken or silent, it goes on at the next. */
export class MetadataWatch {
  readonly #options: MetadataWatchOptions
  readonly #backoff: Backoff
  #stream: MessageStream | undefined
  #watchdog: Watchdog | undefined
  #timer: Timer | undefined
  #isClosed = false
  #lastError: NaruError | undefined

  constructor(options: MetadataWatchOptions) {
    this.#options = options
    this.#backoff = options.connection.backoff()
  }

  get lastError(): NaruError | undefined {
    return this.#lastError
  }

  start(): void {
    if (this.#isClosed) return
    const { connection, onFrame, onOpen } = this.#options
    const { address } = connection.nodes.entry()
    const stream = connection.nodes.entry().stream(Metadata.watch.path)
    const watchdog = new Watchdog({
      clock: connection.clock,
      onSilent: () => {
        connection.nodes.markSilent(address)
        stream.fail(new NaruError('CONNECTION_FAILED', `${address} does not answer`))
      },
    })
    this.#stream = stream
    this.#watchdog = watchdog
    onOpen()
    stream.setHandlers({
      onMessage: message => {
        watchdog.heard()
        try {
          onFrame(Metadata.watch.response.decode(message))
          this.#backoff.reset()
        } catch (thrown) {
          stream.fail(NaruError.from(thrown))
        }
      },
      onClose: error => {
        watchdog.stop()
        this.#onClose(address, error)
      },
    })
    stream.write(Metadata.watch.request.encode({}))
    stream.end()
  }

  close(): void {
    this.#isClosed = true
    this.#timer?.cancel()
    this.#watchdog?.stop()
    this.#stream?.fail(new NaruError('CANCELLED', 'the client was closed'))
  }

  #onClose(address: string, error: NaruError | undefined): void {
    if (this.#isClosed) return
    this.#lastError = error
    const { clock, nodes } = this.#options.connection
    nodes.avoidEntry(address)
    this.#timer = clock.setTimer(this.#backoff.nextMs(), () => this.start())
  }
}
