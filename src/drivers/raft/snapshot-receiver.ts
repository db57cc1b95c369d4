import { NaruError } from '../../base/errors.ts'
import { type Disk, DiskError, type DiskFile } from '../../ports/disk.ts'
import type { MessageStream } from '../../ports/transport.ts'
import type { SnapshotMessage } from '../../raft/messages.ts'
import { Raft } from '../../wire/generated/internal-services.ts'
import type { SnapshotHeader } from '../../wire/generated/raft.ts'
import { CorruptRaftData } from './corrupt-raft-data.ts'
import { checkHello, type Identity } from './raft-hello.ts'
import { required } from './raft-message-codec.ts'
import { readSnapshotFile, SNAPSHOT_BYTES_MAX } from './snapshot-file.ts'

/** A snapshot that another member sent: whole, checked, and synced, though not under its final name. */
export interface ReceivedSnapshot {
  readonly message: SnapshotMessage
  readonly path: string
  readonly records: readonly Buffer[]
}

export interface SnapshotReceiverListener {
  placeForSnapshot(message: SnapshotMessage): string | undefined
  onSnapshot(received: ReceivedSnapshot): void
  /** A snapshot that is not needed: the core answers that it is there. */
  onMessage(message: SnapshotMessage): void
}

/**
 * Takes snapshots from the leader into a file, one at a time: a later one takes the place of one under way, since only
 * the leader of the latest term matters and the core finds out which that is.
 */
export class SnapshotReceiver {
  readonly #options: Identity & { readonly disk: Disk }
  readonly #listener: SnapshotReceiverListener
  #transfer: Transfer | undefined

  constructor(options: Identity & { readonly disk: Disk }, listener: SnapshotReceiverListener) {
    this.#options = options
    this.#listener = listener
  }

  accept(stream: MessageStream): void {
    let transfer: Transfer | undefined
    let isSettled = false
    stream.setHandlers({
      onMessage: bytes => {
        if (isSettled) return
        try {
          const { header, piece } = Raft.installSnapshot.request.decode(bytes)
          if (transfer) transfer.take(piece)
          else {
            transfer = this.#begin(stream, header)
            isSettled = transfer === undefined
          }
        } catch (thrown) {
          if (!(thrown instanceof NaruError)) throw thrown
          isSettled = true
          stream.fail(thrown)
        }
      },
      onEnd: () => transfer?.end(),
      onClose: () => {
        transfer?.abort()
        if (transfer && this.#transfer === transfer) this.#transfer = undefined
      },
    })
  }

  close(error: NaruError): void {
    this.#transfer?.fail(error)
    this.#transfer = undefined
  }

  #begin(stream: MessageStream, header: SnapshotHeader | undefined): Transfer | undefined {
    const from = checkHello(header?.hello, this.#options)
    const { term, last, membership, sizeBytes } = header as SnapshotHeader
    if (sizeBytes > SNAPSHOT_BYTES_MAX)
      throw new NaruError(
        'REQUEST_TOO_LARGE',
        `a snapshot of ${sizeBytes} bytes, at most ${SNAPSHOT_BYTES_MAX}`,
      )
    const { voters = [], learners = [] } = membership ?? {}
    const snapshot = { ...required(last), membership: { voters, learners } }
    const message = { type: 'snapshot', from, to: this.#options.self, term, snapshot } as const
    const path = this.#listener.placeForSnapshot(message)
    if (path === undefined) {
      this.#listener.onMessage(message)
      stream.end()
      return undefined
    }
    this.#transfer?.fail(new NaruError('CANCELLED', `${from} sends another snapshot`))
    const transfer = new Transfer({ disk: this.#options.disk, stream, message, path, sizeBytes })
    this.#transfer = transfer
    void transfer.run(received => this.#listener.onSnapshot(received))
    return transfer
  }
}

interface TransferOptions {
  readonly disk: Disk
  readonly stream: MessageStream
  readonly message: SnapshotMessage
  readonly path: string
  readonly sizeBytes: number
}

/** One snapshot on its way to the disk. The stream is paused while pieces are written, so few of them wait. */
class Transfer {
  readonly #options: TransferOptions
  #pieces: Buffer[] = []
  #receivedBytes = 0
  #hasAll = false
  #isOver = false
  #wake: () => void = () => {}

  constructor(options: TransferOptions) {
    this.#options = options
  }

  take(piece: Buffer | undefined): void {
    if (!piece) throw new NaruError('INVALID_REQUEST', 'a frame of a snapshot without a piece of it')
    this.#receivedBytes += piece.length
    if (this.#receivedBytes > this.#options.sizeBytes)
      throw new NaruError(
        'INVALID_REQUEST',
        `a snapshot is longer than the ${this.#options.sizeBytes} bytes it announced`,
      )
    this.#pieces.push(piece)
    this.#options.stream.pause()
    this.#wake()
  }

  end(): void {
    this.#hasAll = true
    this.#wake()
  }

  fail(error: NaruError): void {
    this.#options.stream.fail(error)
    this.abort()
  }

  abort(): void {
    this.#isOver = true
    this.#wake()
  }

  async run(onSnapshot: (received: ReceivedSnapshot) => void): Promise<void> {
    const { disk, stream, path } = this.#options
    try {
      const received = await this.#receive()
      if (received && !this.#isOver) {
        onSnapshot(received)
        stream.end()
        return
      }
    } catch (thrown) {
      const isExpected =
        thrown instanceof NaruError || thrown instanceof DiskError || thrown instanceof CorruptRaftData
      if (!isExpected) throw thrown
      stream.fail(thrown instanceof NaruError ? thrown : new NaruError('STORAGE_OFFLINE', thrown.message))
    }
    await removeIfThere(disk, path)
  }

  async #receive(): Promise<ReceivedSnapshot | undefined> {
    const { disk, message, path, sizeBytes } = this.#options
    const file = await disk.open(path, 'create')
    try {
      await file.truncate(0)
      await this.#writePieces(file)
      if (this.#isOver) return undefined
      if (file.sizeBytes !== sizeBytes)
        throw new NaruError(
          'INVALID_REQUEST',
          `a snapshot ended after ${file.sizeBytes} of ${sizeBytes} bytes`,
        )
      await file.sync()
    } finally {
      await file.close()
    }
    const { mark, records } = await readSnapshotFile(disk, path)
    if (mark.index !== message.snapshot.index || mark.term !== message.snapshot.term)
      throw new NaruError(
        'INVALID_REQUEST',
        `a snapshot at ${mark.index} came as one at ${message.snapshot.index}`,
      )
    return { message: { ...message, snapshot: mark }, path, records }
  }

  async #writePieces(file: DiskFile): Promise<void> {
    const { stream } = this.#options
    while (!this.#isOver) {
      const pieces = this.#pieces
      this.#pieces = []
      if (pieces.length > 0) {
        await file.append(pieces)
        stream.write(Raft.installSnapshot.response.encode({ receivedBytes: file.sizeBytes }))
      } else if (this.#hasAll) return
      else {
        const woken = new Promise<void>(resolve => {
          this.#wake = resolve
        })
        stream.resume()
        await woken
      }
    }
  }
}

async function removeIfThere(disk: Disk, path: string): Promise<void> {
  try {
    await disk.remove(path)
  } catch (thrown) {
    if (!(thrown instanceof DiskError)) throw thrown
  }
}
