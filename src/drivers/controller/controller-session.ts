import type { NodeId } from '../../base/brands.ts'
import { NaruError } from '../../base/errors.ts'
import type { Clock, Timer } from '../../ports/clock.ts'
import type { Channel, MessageStream } from '../../ports/transport.ts'
import type { MessageInit } from '../../wire/codec.ts'
import { failureToError } from '../../wire/failure.ts'
import type {
  NodeRegistered,
  RegisterNode,
  SessionRequest,
  SessionResponse,
} from '../../wire/generated/controller.ts'
import { Controller } from '../../wire/generated/internal-services.ts'

/** From the dial to the answer, which waits for a commit of the quorum. */
const REGISTER_TIMEOUT_MS = 5000
/** As the controller has it (`SessionStream`): above it requests are refused here. */
const REQUESTS_IN_FLIGHT_MAX = 1000

export interface ControllerSessionOptions {
  /** Whom the channel leads to. */
  readonly nodeId: NodeId
  readonly channel: Channel
  readonly clock: Clock
  readonly registration: MessageInit<RegisterNode>
  readonly onRegistered: (session: ControllerSession, answer: NodeRegistered) => void
  /** Once, last; not after `close`. */
  readonly onClosed: (session: ControllerSession, error: NaruError) => void
}

/**
 * A node's stream to one controller: the registration, then requests with their answers. What is under way when the
 * stream ends fails with an unknown outcome, and is never repeated on the next stream by itself (rule C5).
 */
export class ControllerSession {
  readonly nodeId: NodeId
  readonly channel: Channel
  readonly #options: ControllerSessionOptions
  readonly #stream: MessageStream
  readonly #waiting = new Map<number, Waiting>()
  #timer: Timer
  #lastRequestId = 0
  #isRegistered = false
  #isClosed = false

  constructor(options: ControllerSessionOptions) {
    this.#options = options
    this.nodeId = options.nodeId
    this.channel = options.channel
    this.#stream = options.channel.stream(Controller.session.path)
    this.#stream.setHandlers({
      onMessage: bytes => this.#onMessage(bytes),
      onClose: error => this.#onClose(error),
    })
    this.#timer = options.clock.setTimer(REGISTER_TIMEOUT_MS, () => {
      const what = `node ${this.nodeId} did not answer the registration within ${REGISTER_TIMEOUT_MS} ms`
      this.#stream.fail(new NaruError('DEADLINE_EXCEEDED', what))
    })
    this.#send({ register: options.registration })
  }

  get isRegistered(): boolean {
    return this.#isRegistered
  }

  /** Resolves with the answer; rejects with the refusal, or when the stream ends. */
  request(frame: MessageInit<SessionRequest>): Promise<SessionResponse> {
    if (this.#isClosed) return Promise.reject(sessionOver('none'))
    if (this.#waiting.size >= REQUESTS_IN_FLIGHT_MAX) {
      const what = `${REQUESTS_IN_FLIGHT_MAX} requests to the controller have no answer yet`
      return Promise.reject(new NaruError('OVERLOADED', what))
    }
    return new Promise((resolve, reject) => this.#waiting.set(this.#send(frame), { resolve, reject }))
  }

  close(): void {
    if (this.#isClosed) return
    this.#finish(sessionOver('unknown'))
    this.#stream.fail(new NaruError('CANCELLED', 'the node has ended its session'))
  }

  #send(frame: MessageInit<SessionRequest>): number {
    const requestId = ++this.#lastRequestId
    this.#stream.write(Controller.session.request.encode({ requestId, ...frame }))
    return requestId
  }

  #onMessage(bytes: Buffer): void {
    if (this.#isClosed) return
    let response: SessionResponse
    try {
      response = Controller.session.response.decode(bytes)
    } catch (thrown) {
      this.#stream.fail(NaruError.from(thrown))
      return
    }
    if (response.registered && !this.#isRegistered) {
      this.#timer.cancel()
      this.#isRegistered = true
      this.#options.onRegistered(this, response.registered)
      return
    }
    const waiting = this.#waiting.get(response.requestId)
    this.#waiting.delete(response.requestId)
    if (response.failure) waiting?.reject(failureToError(response.failure))
    else waiting?.resolve(response)
  }

  #onClose(error: NaruError | undefined): void {
    if (this.#isClosed) return
    this.#finish(sessionOver('unknown'))
    this.#options.onClosed(
      this,
      error ?? new NaruError('NOT_CONTROLLER', `node ${this.nodeId} ended the session`),
    )
  }

  #finish(error: NaruError): void {
    this.#isClosed = true
    this.#timer.cancel()
    for (const { reject } of this.#waiting.values()) reject(error)
    this.#waiting.clear()
  }
}

interface Waiting {
  readonly resolve: (response: SessionResponse) => void
  readonly reject: (error: NaruError) => void
}

function sessionOver(outcome: 'none' | 'unknown'): NaruError {
  return new NaruError('NOT_CONTROLLER', 'the session with the controller ended: it is tried anew', {
    outcome,
  })
}
