import type { Epoch, MetadataIndex } from '../../base/brands.ts'
import { NaruError } from '../../base/errors.ts'
import type { IsrChange, IsrChangeAnswer, PartitionRef } from '../../metadata/isr-control.ts'
import type { LedPartition, NodeRef } from '../../metadata/node-control.ts'
import type { NodeRegistration } from '../../metadata/node-registration.ts'
import type { Clock, Timer } from '../../ports/clock.ts'
import type { MessageStream } from '../../ports/transport.ts'
import type { MessageInit } from '../../wire/codec.ts'
import { errorToFailure } from '../../wire/failure.ts'
import type {
  SessionRequest,
  SessionResponse,
  IsrChangeAnswer as WireAnswer,
  IsrChange as WireIsrChange,
} from '../../wire/generated/controller.ts'
import { Controller } from '../../wire/generated/internal-services.ts'

/** From the dial to the first frame. */
const FIRST_FRAME_TIMEOUT_MS = 5000
/** Requests of one node without an answer; a node that sends more breaks the protocol. */
const REQUESTS_IN_FLIGHT_MAX = 1000
/** A node that leads more names these first, and is told of the rest when it asks again. */
const REMAINING_MAX = 1000

/** What the controller does for the nodes that have a stream to it. */
export interface SessionHost {
  register(
    stream: SessionStream,
    registration: NodeRegistration,
  ): Promise<NodeRef & { readonly metadataIndex: MetadataIndex }>
  caughtUp(
    stream: SessionStream,
    node: NodeRef & { readonly directoryEpoch: Epoch | undefined },
  ): Promise<void>
  drain(node: NodeRef): Promise<readonly LedPartition[]>
  leave(node: NodeRef): Promise<void>
  stepAside(stream: SessionStream): Promise<void>
  /** To be called in the turn in which the request came: what came earlier is judged earlier. */
  alterPartitions(stream: SessionStream, changes: readonly IsrChange[]): Promise<readonly IsrChangeAnswer[]>
  reportDamage(stream: SessionStream, replicas: readonly PartitionRef[]): Promise<void>
  onClosed(stream: SessionStream): void
}

/**
 * One node's stream at the controller: frames in, calls of the host, answers out. What happens to the stream is told to
 * the host once, at its end.
 *
 *   waiting -> registering -> open       the first frame; the registration is committed
 *   any -> closed                        by either side
 */
export class SessionStream {
  readonly #stream: MessageStream
  readonly #host: SessionHost
  #state: 'waiting' | 'registering' | 'open' | 'closed' = 'waiting'
  #timer: Timer
  #node: NodeRef | undefined
  #registeredIndex: MetadataIndex = 0
  #inFlight = 0

  constructor(options: { stream: MessageStream; host: SessionHost; clock: Clock }) {
    this.#stream = options.stream
    this.#host = options.host
    this.#timer = options.clock.setTimer(FIRST_FRAME_TIMEOUT_MS, () =>
      this.fail(new NaruError('DEADLINE_EXCEEDED', 'a session begins with its registration')),
    )
    this.#stream.setHandlers({
      onMessage: bytes => this.#onMessage(bytes),
      onEnd: () => this.#stream.end(),
      onClose: () => this.#onClose(),
    })
  }

  /** Undefined before it is registered. */
  get node(): NodeRef | undefined {
    return this.#node
  }

  get isClosed(): boolean {
    return this.#state === 'closed'
  }

  fail(error: NaruError): void {
    this.#stream.fail(error)
  }

  #onMessage(bytes: Buffer): void {
    try {
      const request = Controller.session.request.decode(bytes)
      if (this.#state === 'waiting') this.#register(request)
      else if (this.#state === 'registering')
        throw new NaruError('INVALID_REQUEST', 'a node waits for the answer to its registration')
      else if (this.#state === 'open') this.#take(request)
    } catch (thrown) {
      if (!(thrown instanceof NaruError)) throw thrown
      this.fail(thrown)
    }
  }

  #register({ requestId, register }: SessionRequest): void {
    if (!register) throw new NaruError('INVALID_REQUEST', 'a session begins with its registration')
    this.#timer.cancel()
    this.#state = 'registering'
    this.#host.register(this, register).then(
      ({ nodeId, nodeEpoch, metadataIndex }) => {
        if (this.isClosed) return
        this.#state = 'open'
        this.#node = { nodeId, nodeEpoch }
        this.#registeredIndex = metadataIndex
        this.#answer(requestId, { registered: { nodeEpoch, metadataIndex } })
      },
      thrown => this.fail(NaruError.from(thrown)),
    )
  }

  #take(request: SessionRequest): void {
    if (this.#inFlight >= REQUESTS_IN_FLIGHT_MAX)
      throw new NaruError(
        'OVERLOADED',
        `${REQUESTS_IN_FLIGHT_MAX} requests of the session have no answer yet`,
      )
    const { requestId } = request
    this.#inFlight++
    this.#perform(request).then(
      answer => this.#answer(requestId, answer),
      thrown => this.#answer(requestId, { failure: errorToFailure(NaruError.from(thrown)) }),
    )
  }

  async #perform(request: SessionRequest): Promise<MessageInit<SessionResponse>> {
    const { caughtUp, drain, leave, stepAside, alterPartitions, reportDamage } = request
    const node = this.#node as NodeRef
    if (caughtUp) {
      if (caughtUp.appliedIndex < this.#registeredIndex)
        throw new NaruError(
          'INVALID_REQUEST',
          `node ${node.nodeId} has applied the metadata up to ${caughtUp.appliedIndex} only: its registration ends at ${this.#registeredIndex}`,
        )
      await this.#host.caughtUp(this, { ...node, directoryEpoch: caughtUp.directoryEpoch })
      return { unfenced: {} }
    }
    if (drain) {
      const remaining = await this.#host.drain(node)
      return { draining: { remaining: remaining.slice(0, REMAINING_MAX) } }
    }
    if (leave) {
      await this.#host.leave(node)
      return { left: {} }
    }
    if (stepAside) {
      await this.#host.stepAside(this)
      return { steppedAside: {} }
    }
    if (alterPartitions) {
      const answers = await this.#host.alterPartitions(this, alterPartitions.changes.map(changeOf))
      return { partitionsAltered: { answers: answers.map(answerToWire) } }
    }
    if (reportDamage) {
      await this.#host.reportDamage(this, reportDamage.replicas)
      return { damageNoted: {} }
    }
    throw new NaruError('NOT_IMPLEMENTED', 'this release of Naru does not know that request of a node')
  }

  #answer(requestId: number, answer: MessageInit<SessionResponse>): void {
    this.#inFlight = Math.max(0, this.#inFlight - 1)
    this.#stream.write(Controller.session.response.encode({ requestId, ...answer }))
  }

  #onClose(): void {
    if (this.isClosed) return
    this.#timer.cancel()
    this.#state = 'closed'
    this.#host.onClosed(this)
  }
}

function changeOf({ damagedNodeIds, ...change }: WireIsrChange): IsrChange {
  return damagedNodeIds.length === 0 ? change : { ...change, damaged: damagedNodeIds }
}

function answerToWire(answer: IsrChangeAnswer): MessageInit<WireAnswer> {
  if (answer.kind === 'accepted') return { accepted: true }
  return { partitionEpoch: answer.partitionEpoch, problem: answer.problem }
}
