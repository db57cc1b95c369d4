import { NaruError } from '../../base/errors.ts'
import type { Timer } from '../../ports/clock.ts'
import type { MessageStream } from '../../ports/transport.ts'
import type {
  AttendJoin,
  AttendRequest,
  AttendResponse,
  MessageInit,
  TopicPartition,
} from '../../wire/messages.ts'
import { Groups } from '../../wire/methods.ts'
import type { Connection } from '../connection.ts'
import { Watchdog } from '../watchdog.ts'

/** A coordinator may just be taking over, and a group is written to before its answer. */
const JOIN_MS_MAX = 5_000

export interface AttendStreamOptions {
  readonly connection: Connection
  readonly join: MessageInit<AttendJoin>
  /** A fifth of what the member may be unheard for, or less. */
  readonly heartbeatMs: number
  readonly silenceMsMax: number
  readonly onFrame: (frame: AttendResponse) => void
  /** The coordinator has answered what was sent then: at that time, the member was one. */
  readonly onHeard: (sentMs: number) => void
  readonly onClosed: (error: NaruError | undefined) => void
}

/** One Attend: a member speaks with its coordinator, by way of any node, and asks regularly whether it is heard. */
export class AttendStream {
  readonly address: string
  readonly #options: AttendStreamOptions
  readonly #stream: MessageStream
  readonly #joinSentMs: number
  /** When each heartbeat was sent that is not answered. */
  readonly #sentMs = new Map<number, number>()
  readonly #stopListening: () => void
  #watchdog: Watchdog
  #heartbeat: Timer | undefined
  #lastNumber = 0
  #isClosed = false

  constructor(options: AttendStreamOptions) {
    this.#options = options
    const { clock, nodes } = options.connection
    const channel = nodes.entry()
    this.address = channel.address
    this.#stream = channel.stream(Groups.attend.path)
    this.#watchdog = this.#watch(JOIN_MS_MAX)
    this.#stopListening = nodes.onSilent(address => {
      if (address === this.address) this.#fellSilent()
    })
    this.#joinSentMs = clock.monotonicMs()
    this.#stream.setHandlers({
      onMessage: message => this.#onMessage(message),
      onClose: error => this.#onClose(error),
    })
    this.#write({ join: options.join })
  }

  release(partitions: readonly TopicPartition[], memberEpoch: number): void {
    this.#write({ release: { partitions: [...partitions], memberEpoch } })
  }

  /** The member goes; `onClosed` follows. */
  leave(): void {
    this.#heartbeat?.cancel()
    this.#write({ leave: {} })
    this.#stream.end()
  }

  fail(error: NaruError): void {
    this.#stream.fail(error)
  }

  #onMessage(message: Buffer): void {
    if (this.#isClosed) return
    this.#watchdog.heard()
    try {
      const frame = Groups.attend.response.decode(message)
      if (frame.joined) this.#onJoined()
      if (frame.heartbeat) this.#onAnswer(frame.heartbeat.number)
      this.#options.onFrame(frame)
    } catch (thrown) {
      this.#stream.fail(NaruError.from(thrown))
    }
  }

  #onJoined(): void {
    this.#watchdog.stop()
    this.#watchdog = this.#watch(this.#options.silenceMsMax)
    this.#options.onHeard(this.#joinSentMs)
    this.#beat()
  }

  #onAnswer(number: number): void {
    const sentMs = this.#sentMs.get(number)
    if (sentMs === undefined) return
    for (const earlier of this.#sentMs.keys()) if (earlier <= number) this.#sentMs.delete(earlier)
    this.#options.onHeard(sentMs)
  }

  #beat(): void {
    if (this.#isClosed) return
    const { connection, heartbeatMs } = this.#options
    const number = ++this.#lastNumber
    // Bounded: silence ends the stream.
    this.#sentMs.set(number, connection.clock.monotonicMs())
    this.#write({ heartbeat: { number } })
    this.#heartbeat = connection.clock.setTimer(heartbeatMs, () => this.#beat())
  }

  #watch(silenceMsMax: number): Watchdog {
    const { clock } = this.#options.connection
    return new Watchdog({ clock, silenceMsMax, onSilent: () => this.#fellSilent() })
  }

  #fellSilent(): void {
    this.#stream.fail(new NaruError('CONNECTION_FAILED', `${this.address} fell silent`))
  }

  #write(frame: MessageInit<AttendRequest>): void {
    // Requests are few and small: they need no back-pressure.
    this.#stream.write(Groups.attend.request.encode(frame))
  }

  #onClose(error: NaruError | undefined): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#watchdog.stop()
    this.#heartbeat?.cancel()
    this.#stopListening()
    this.#options.onClosed(error)
  }
}
