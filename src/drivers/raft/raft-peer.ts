import { NaruError } from '../../base/errors.ts'
import type { Clock, Timer } from '../../ports/clock.ts'
import type { Prng } from '../../ports/prng.ts'
import { type Channel, isRefused, type MessageStream, type Transport } from '../../ports/transport.ts'
import type { MemberId } from '../../raft/membership.ts'
import { Raft } from '../../wire/generated/internal-services.ts'
import type { RaftHello } from '../../wire/generated/raft.ts'
import { type Acquaintance, helloTo, type KnownDirectory, toldIn } from './raft-hello.ts'
import { type StreamedMessage, toWire } from './raft-message-codec.ts'

export interface RaftPeerLimits {
  /** Of messages that wait because the stream is full; above it new ones are dropped, and Raft sends anew. */
  readonly queueBytesMax: number
  readonly queueMessagesMax: number
  /** From the dial to the other's hello. */
  readonly dialTimeoutMs: number
  /** Between two dials that fail: doubled from min to max, with jitter. */
  readonly redialMs: { readonly min: number; readonly max: number }
}

export const RAFT_PEER_LIMITS: RaftPeerLimits = {
  queueBytesMax: 16 * 1024 * 1024,
  queueMessagesMax: 4096,
  dialTimeoutMs: 2000,
  redialMs: { min: 50, max: 1000 },
}

export type ConnectionState = 'lost' | 'refused' | 'restored'

export interface RaftPeerOptions extends Acquaintance {
  readonly member: MemberId
  readonly transport: Transport
  readonly clock: Clock
  readonly prng: Prng
  readonly limits: RaftPeerLimits
  /** Undefined: not known now. */
  readonly addressOf: (member: MemberId) => string | undefined
  /**
   * Rule A7: `lost` when the connection closed and the redial failed, `restored` when one is up again. `refused`, at each
   * dial between the two that is: the process at the other end is gone.
   */
  readonly onConnection: (member: MemberId, state: ConnectionState) => void
  /** What the other knows of this node's directory. */
  readonly onTold: (known: KnownDirectory) => void
}

/**
 * The way of messages to one other member: a stream on a connection of its own. Dialled by the first message, and at
 * once when it breaks, which is how a killed process is told from a silent one; after that by the next message, at a
 * bounded pace. What cannot be sent now is dropped: Raft repeats what matters, and knows best what still does.
 *
 *   idle -> dialling -> up      the first message; the other's hello
 *   up -> dialling              it broke: redial at once
 *   dialling -> idle            it failed or took too long: `lost` if it was up before
 *   idle -> dialling            it has spoken in another way (`redial`)
 */
export class RaftPeer {
  readonly #options: RaftPeerOptions
  #channel: Channel | undefined
  #stream: MessageStream | undefined
  #dialTimer: Timer | undefined
  #isUp = false
  #wasUp = false
  #isLost = false
  #failedDials = 0
  #nextDialMs = 0
  #isFull = false
  #queue: Buffer[] = []
  #queueBytes = 0
  #usedMs = 0
  #isClosed = false

  constructor(options: RaftPeerOptions) {
    this.#options = options
  }

  /** When it was last asked to send, monotonic. */
  get usedMs(): number {
    return this.#usedMs
  }

  send(message: StreamedMessage): void {
    if (this.#isClosed) return
    this.#usedMs = this.#options.clock.monotonicMs()
    if (!this.#stream && (this.#usedMs < this.#nextDialMs || !this.#dial())) return
    const bytes = Raft.exchange.request.encode({ message: toWire(message) })
    if (!this.#isFull) this.#write(bytes)
    else this.#enqueue(bytes)
  }

  /** The other is there, as it has said in another way: a dial that was to wait, after those that failed, need not. */
  redial(): void {
    if (this.#stream || this.#isClosed) return
    // The library, too, waits between its own tries.
    this.#channel?.close()
    this.#channel = undefined
    this.#failedDials = 0
    this.#dial()
  }

  close(): void {
    this.#isClosed = true
    this.#dialTimer?.cancel()
    this.#stream?.end()
    this.#stream = undefined
    this.#channel?.close()
  }

  /** False: there is nowhere to dial now. */
  #dial(): boolean {
    const { member, transport, addressOf, clock, limits } = this.#options
    const address = addressOf(member)
    if (address === undefined) return false
    if (this.#channel?.address !== address) {
      this.#channel?.close()
      this.#channel = transport.connect(address, { purpose: 'raft' })
    }
    const stream = this.#channel.stream(Raft.exchange.path)
    this.#stream = stream
    stream.setHandlers({
      onMessage: bytes => this.#onHello(stream, bytes),
      onDrain: () => this.#drain(stream),
      onClose: error => this.#onClose(stream, error),
    })
    this.#dialTimer = clock.setTimer(limits.dialTimeoutMs, () => {
      stream.fail(new NaruError('DEADLINE_EXCEEDED', `${member} did not answer the dial in time`))
    })
    this.#write(Raft.exchange.request.encode({ hello: helloTo(member, this.#options) }))
    return true
  }

  #onHello(stream: MessageStream, bytes: Buffer): void {
    if (stream !== this.#stream || this.#isUp) return
    const { member, onTold } = this.#options
    const hello = helloIn(bytes)
    if (hello?.from !== member) {
      stream.fail(new NaruError('INVALID_REQUEST', `${hello?.from} answers where ${member} should`))
      return
    }
    const told = toldIn(hello)
    if (told) onTold(told)
    this.#dialTimer?.cancel()
    this.#isUp = true
    this.#isLost = false
    this.#failedDials = 0
    const isAgain = this.#wasUp
    this.#wasUp = true
    // Also where it was not told as lost: what was on its way over the old stream is.
    if (isAgain) this.#options.onConnection(member, 'restored')
  }

  #onClose(stream: MessageStream, error: NaruError | undefined): void {
    if (stream !== this.#stream || this.#isClosed) return
    const { clock, prng, limits, member, onConnection } = this.#options
    this.#dialTimer?.cancel()
    this.#stream = undefined
    this.#isFull = false
    this.#queue = []
    this.#queueBytes = 0
    if (this.#isUp) {
      this.#isUp = false
      this.#dial()
      return
    }
    const { min, max } = limits.redialMs
    const waitMs = Math.min(max, min * 2 ** Math.min(this.#failedDials, 10))
    this.#failedDials++
    this.#nextDialMs = clock.monotonicMs() + waitMs * (0.5 + prng.fraction() / 2)
    if (!this.#wasUp) return
    if (isRefused(error)) onConnection(member, 'refused')
    if (this.#isLost) return
    this.#isLost = true
    onConnection(member, 'lost')
  }

  #write(bytes: Buffer): void {
    this.#isFull = this.#stream?.write(bytes) === false
  }

  #enqueue(bytes: Buffer): void {
    const { queueBytesMax, queueMessagesMax } = this.#options.limits
    if (this.#queue.length >= queueMessagesMax || this.#queueBytes + bytes.length > queueBytesMax) return
    this.#queue.push(bytes)
    this.#queueBytes += bytes.length
  }

  #drain(stream: MessageStream): void {
    if (stream !== this.#stream) return
    this.#isFull = false
    const waiting = this.#queue
    this.#queue = []
    this.#queueBytes = 0
    for (const bytes of waiting) {
      if (this.#isFull) this.#enqueue(bytes)
      else this.#write(bytes)
    }
  }
}

/** Undefined for bytes that are no hello: nothing from the network may end this process. */
function helloIn(bytes: Buffer): RaftHello | undefined {
  try {
    return Raft.exchange.response.decode(bytes).hello
  } catch {
    return undefined
  }
}
