import { NaruError } from '../base/errors.ts'
import type { MessageStream } from '../ports/transport.ts'
import { Metadata } from '../wire/methods.ts'
import type { MetadataFeed, MetadataWatcher } from './metadata-feed.ts'
import { invalidRequest } from './request-checks.ts'

/** Frames that wait for one watcher. Whoever is so far behind is better off with a new picture. */
const WATCH_FRAMES_PENDING_MAX = 1_000

/** One Metadata.Watch: hands on the frames of the feed as fast as its client takes them. */
export class MetadataWatch implements MetadataWatcher {
  readonly #feed: MetadataFeed
  readonly #stream: MessageStream
  #pending: Buffer[] = []
  #remove: (() => void) | undefined
  #isBlocked = false
  #isClosed = false

  constructor(feed: MetadataFeed, stream: MessageStream) {
    this.#feed = feed
    this.#stream = stream
    stream.setHandlers({
      onMessage: message => this.#onRequest(message),
      onEnd: () => {
        if (this.#remove === undefined) stream.fail(invalidRequest('Watch takes one request, none came'))
      },
      onDrain: () => {
        this.#isBlocked = false
        this.#write()
      },
      onClose: () => {
        this.#isClosed = true
        this.#pending = []
        this.#remove?.()
      },
    })
  }

  onFrame(frame: Buffer): void {
    if (this.#isClosed) return
    this.#pending.push(frame)
    if (this.#pending.length <= WATCH_FRAMES_PENDING_MAX) this.#write()
    else
      this.#stream.fail(
        new NaruError(
          'READER_TOO_SLOW',
          `${WATCH_FRAMES_PENDING_MAX} changes of the metadata wait for this watcher: open a new stream and read faster`,
        ),
      )
  }

  #onRequest(message: Buffer): void {
    if (this.#remove !== undefined) throw invalidRequest('Watch takes one request, a second one came')
    Metadata.watch.request.decode(message)
    const { picture, remove } = this.#feed.add(this)
    this.#remove = remove
    this.#pending.push(...picture)
    this.#write()
  }

  #write(): void {
    let count = 0
    while (count < this.#pending.length && !this.#isBlocked && !this.#isClosed)
      this.#isBlocked = !this.#stream.write(this.#pending[count++] as Buffer)
    this.#pending = count === this.#pending.length ? [] : this.#pending.slice(count)
  }
}
