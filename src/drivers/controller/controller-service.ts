import type { MetadataIndex, NodeId } from '../../base/brands.ts'
import { NaruError } from '../../base/errors.ts'
import { Controller } from '../../metadata/controller.ts'
import type { DeposedLeader } from '../../metadata/node-sessions.ts'
import type { Timer } from '../../ports/clock.ts'
import type { MessageStream, MethodPath, ServiceHandler, ServiceHandlers } from '../../ports/transport.ts'
import { nodeIdOf } from '../../raft/membership.ts'
import { Controller as ControllerApi } from '../../wire/generated/internal-services.ts'
import { NodeLeadership, type NodeLeadershipOptions } from './node-leadership.ts'
import { SessionStream } from './session-stream.ts'
import { within } from './within.ts'

export interface ControllerServiceOptions extends NodeLeadershipOptions {
  /** Resolves once the partitions that this node hosts by its metadata of now are open. */
  readonly whenPartitionsOpen: () => Promise<void>
}

/** Callers of `AwaitApplied` that wait. */
const AWAITS_MAX = 1000
const AWAIT_TIMEOUT_MS = { default: 10_000, max: 300_000 }
/** Between looks at who leads. */
const CONTACT_INTERVAL_MS = 100

/**
 * The service `naru.internal.v1.Controller` on every node. While this node leads the quorum it is the controller, and
 * has a `NodeLeadership`; else it says who is.
 */
export class ControllerService {
  readonly handlers: ServiceHandlers
  readonly #options: ControllerServiceOptions
  #leadership: NodeLeadership | undefined
  /** The last leader that was seen, this node included. */
  #lastLeader: NodeId | undefined
  #contactTimer: Timer | undefined
  #awaits = 0
  #isClosed = false
  readonly #unsubscribe: () => void

  constructor(options: ControllerServiceOptions) {
    this.#options = options
    this.handlers = new Map<MethodPath, ServiceHandler>([
      [ControllerApi.session.path, { kind: 'stream', handle: stream => this.#accept(stream) }],
      [
        ControllerApi.allocateProducerIds.path,
        { kind: 'unary', handle: request => this.#allocateProducerIds(request) },
      ],
      [
        ControllerApi.awaitApplied.path,
        { kind: 'unary', handle: (request, context) => this.#awaitApplied(request, context.timeoutMs) },
      ],
      [ControllerApi.ping.path, { kind: 'unary', handle: async () => this.#pong() }],
    ])
    this.#watchLeader()
    this.#unsubscribe = options.quorum.onLeadership({
      onLeading: () => this.#onLeading(),
      onResigned: () => this.#onResigned(),
    })
  }

  /** For handlers that must not touch a node that lives. Of the controller only; nobody else can tell. */
  isSessionAlive(nodeId: NodeId): boolean {
    return this.#leadership?.isSessionAlive(nodeId) ?? true
  }

  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#unsubscribe()
    this.#contactTimer?.cancel()
    this.#leadership?.end(new NaruError('NODE_DRAINING', 'the controller is stopping: look for the next one'))
    this.#leadership = undefined
  }

  #onLeading(): void {
    const deposed = this.#deposed()
    this.#lastLeader = this.#options.quorum.nodeId
    this.#leadership = new NodeLeadership(this.#options, deposed)
  }

  /** The node whose leadership ended by the election of this one. */
  #deposed(): DeposedLeader | undefined {
    const { quorum } = this.#options
    const { electorsHeardMs: heardMs, leaderHeardMs: heardHereMs, lostLeader } = quorum.status
    const nodeId = this.#lastLeader
    if (nodeId === undefined || nodeId === quorum.nodeId) return undefined
    if (heardMs === undefined || heardHereMs === undefined) return undefined
    const isLost = lostLeader !== undefined && nodeIdOf(lostLeader.member) === nodeId
    return { nodeId, heardMs, heardHereMs, closedMs: isLost ? lostLeader.lostMs : undefined }
  }

  #onResigned(): void {
    this.#leadership?.end(this.#notController())
    this.#leadership = undefined
  }

  /** A leader is heard several times a second, so the last one seen is the one whose silence makes the next. */
  #watchLeader(): void {
    const { quorum, clock } = this.#options
    const { leader } = quorum.status
    // Itself it is only once it leads: until then the one before is needed.
    if (leader !== undefined && nodeIdOf(leader) !== quorum.nodeId) this.#lastLeader = nodeIdOf(leader)
    this.#contactTimer = clock.setTick(CONTACT_INTERVAL_MS, () => this.#watchLeader())
  }

  #accept(stream: MessageStream): void {
    const { clock } = this.#options
    try {
      if (this.#isClosed) throw new NaruError('NODE_DRAINING', 'this node is stopping')
      if (!this.#leadership) throw this.#notController()
      this.#leadership.accept(host => new SessionStream({ stream, host, clock }))
    } catch (thrown) {
      if (!(thrown instanceof NaruError)) throw thrown
      stream.setHandlers({ onMessage() {} })
      stream.fail(thrown)
    }
  }

  #pong(): Buffer {
    return ControllerApi.ping.response.encode({ nodeId: this.#options.quorum.nodeId })
  }

  async #allocateProducerIds(request: Buffer): Promise<Buffer> {
    const node = ControllerApi.allocateProducerIds.request.decode(request)
    const { quorum, controllerOptions } = this.#options
    const block = await quorum.submit(newest =>
      new Controller(newest, controllerOptions).allocateProducerIds(node),
    )
    return ControllerApi.allocateProducerIds.response.encode(block)
  }

  async #awaitApplied(request: Buffer, timeoutMs = AWAIT_TIMEOUT_MS.default): Promise<Buffer> {
    const { metadataIndex } = ControllerApi.awaitApplied.request.decode(request)
    if (this.#awaits >= AWAITS_MAX)
      throw new NaruError(
        'OVERLOADED',
        `${AWAITS_MAX} callers wait for metadata of node ${this.#options.quorum.nodeId}`,
      )
    this.#awaits++
    try {
      await this.awaitServing(metadataIndex, Math.min(timeoutMs, AWAIT_TIMEOUT_MS.max))
    } finally {
      this.#awaits--
    }
    const { appliedEndIndex } = this.#options.quorum.image
    return ControllerApi.awaitApplied.response.encode({ appliedIndex: appliedEndIndex })
  }

  /** This node has applied the metadata so far and opened the partitions that it then hosts. */
  async awaitServing(metadataIndex: MetadataIndex, timeoutMs: number): Promise<void> {
    const { quorum, clock, whenPartitionsOpen } = this.#options
    const endMs = clock.monotonicMs() + timeoutMs
    await quorum.awaitApplied(metadataIndex, timeoutMs)
    const error = () =>
      new NaruError(
        'DEADLINE_EXCEEDED',
        `node ${quorum.nodeId} has not opened all of its partitions within ${Math.round(timeoutMs)} ms (its log says how far it is)`,
        { outcome: 'none' },
      )
    await within(clock, whenPartitionsOpen(), { timeoutMs: endMs - clock.monotonicMs(), error })
  }

  #notController(): NaruError {
    const { leaderId, nodeId } = this.#options.quorum
    if (leaderId === undefined || leaderId === nodeId)
      return new NaruError('NOT_CONTROLLER', 'the controller is moving: try again')
    return new NaruError(
      'NOT_CONTROLLER',
      `node ${nodeId} is not the controller, node ${leaderId} is: send it there`,
      { details: { leader_id: String(leaderId) } },
    )
  }
}
