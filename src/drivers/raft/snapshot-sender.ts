import { NaruError } from '../../base/errors.ts'
import type { Clock, Timer } from '../../ports/clock.ts'
import type { DiskFile } from '../../ports/disk.ts'
import type { Channel, MessageStream, Transport } from '../../ports/transport.ts'
import type { SnapshotMark, SnapshotMessage } from '../../raft/messages.ts'
import { Raft } from '../../wire/generated/internal-services.ts'
import type { Identity } from './raft-hello.ts'

/** A snapshot file, open for reading. */
export interface SnapshotSource {
  readonly mark: SnapshotMark
  readonly file: DiskFile
}

export interface SnapshotSenderOptions extends Identity {
  readonly transport: Transport
  readonly clock: Clock
  readonly address: string
  readonly message: SnapshotMessage
  readonly stallMs: number
  readonly open: () => Promise<SnapshotSource>
  readonly onProgress: () => void
  /** Called once, unless it was closed before. With an error: not all of it was taken over. */
  readonly onDone: (error: NaruError | undefined) => void
}

const PIECE_BYTES = 256 * 1024
/** Sent and not yet on the receiver's disk. */
const UNACKNOWLEDGED_BYTES_MAX = 4 * 1024 * 1024

/**
 * One snapshot on its way to one member, over a connection of its own, so that no heartbeat waits behind it. The
 * newest snapshot goes, which may reach further than the one the core named. Reads a piece only when the stream has
 * room and the receiver has written most of what it was sent.
 */
export class SnapshotSender {
  readonly #options: SnapshotSenderOptions
  readonly #channel: Channel
  #stream: MessageStream | undefined
  #stallTimer: Timer | undefined
  #acknowledgedBytes = 0
  #isFull = false
  #isOver = false
  #wake: () => void = () => {}

  constructor(options: SnapshotSenderOptions) {
    this.#options = options
    this.#channel = options.transport.connect(options.address, { purpose: 'raft' })
  }

  async run(): Promise<void> {
    let source: SnapshotSource | undefined
    try {
      source = await this.#options.open()
      if (!this.#isOver) await this.#send(source)
    } catch (thrown) {
      this.#finish(NaruError.from(thrown))
    } finally {
      await source?.file.close()
    }
  }

  close(): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#end()
  }

  async #send({ mark, file }: SnapshotSource): Promise<void> {
    const { clusterId, self, message } = this.#options
    const stream = this.#channel.stream(Raft.installSnapshot.path)
    this.#stream = stream
    stream.setHandlers({
      onMessage: bytes => this.#onAcknowledgement(bytes),
      onDrain: () => {
        this.#isFull = false
        this.#wake()
      },
      onClose: error => this.#finish(error),
    })
    this.#moved()
    const { index, term, membership } = mark
    const hello = { clusterId, from: self, to: message.to }
    const header = { hello, term: message.term, last: { index, term }, membership, sizeBytes: file.sizeBytes }
    stream.write(Raft.installSnapshot.request.encode({ header }))
    for (let position = 0; position < file.sizeBytes; ) {
      await this.#room(position)
      if (this.#isOver) return
      const piece = await file.read(position, Math.min(PIECE_BYTES, file.sizeBytes - position))
      if (this.#isOver) return
      if (piece.length === 0)
        throw new NaruError('STORAGE_OFFLINE', `the snapshot ${file.path} ends too early`)
      position += piece.length
      this.#isFull = !stream.write(Raft.installSnapshot.request.encode({ piece }))
    }
    stream.end()
  }

  #onAcknowledgement(bytes: Buffer): void {
    if (this.#isOver) return
    try {
      this.#acknowledgedBytes = Raft.installSnapshot.response.decode(bytes).receivedBytes
    } catch (thrown) {
      this.#finish(NaruError.from(thrown))
      return
    }
    this.#moved()
    this.#options.onProgress()
  }

  async #room(position: number): Promise<void> {
    while (
      !this.#isOver &&
      (this.#isFull || position - this.#acknowledgedBytes > UNACKNOWLEDGED_BYTES_MAX - PIECE_BYTES)
    ) {
      await new Promise<void>(resolve => {
        this.#wake = resolve
      })
    }
  }

  /** Something moved: the receiver lives. */
  #moved(): void {
    this.#wake()
    this.#stallTimer?.cancel()
    this.#stallTimer = this.#options.clock.setTimer(this.#options.stallMs, () => {
      this.#finish(
        new NaruError('DEADLINE_EXCEEDED', `${this.#options.message.to} takes no more of its snapshot`),
      )
    })
  }

  #finish(error: NaruError | undefined): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#end()
    this.#options.onDone(error)
  }

  #end(): void {
    this.#stallTimer?.cancel()
    this.#stream?.fail(new NaruError('CANCELLED', 'the transfer is over'))
    this.#channel.close()
    this.#wake()
  }
}
