import type { Epoch, MetadataIndex, NodeId, Uuid } from '../../base/brands.ts'
import { NaruError } from '../../base/errors.ts'
import type { Logger } from '../../base/logger.ts'
import type { MachineResult } from '../../machine/state-machine.ts'
import { Controller } from '../../metadata/controller.ts'
import type { ControllerOptions } from '../../metadata/controller-options.ts'
import type { IsrChange, IsrChangeAnswer, PartitionRef } from '../../metadata/isr-control.ts'
import type { MetadataRecord } from '../../metadata/metadata-record.ts'
import type { LedPartition, NodeRef } from '../../metadata/node-control.ts'
import type { NodeRegistration } from '../../metadata/node-registration.ts'
import {
  type DeposedLeader,
  NodeSessions,
  SESSION_TIMING,
  type SessionTiming,
} from '../../metadata/node-sessions.ts'
import type { Clock } from '../../ports/clock.ts'
import type { MetadataQuorum } from './metadata-quorum.ts'
import { NodeContacts } from './node-contacts.ts'
import { NodeFencing } from './node-fencing.ts'
import type { SessionHost, SessionStream } from './session-stream.ts'

export interface NodeLeadershipOptions {
  readonly quorum: MetadataQuorum
  readonly clock: Clock
  readonly logger: Logger
  readonly controllerOptions: ControllerOptions
  /** Of this process (A5). */
  readonly incarnation: Uuid
  readonly timing?: Partial<SessionTiming>
  /** Other nodes that this one cannot reach now (C8). */
  readonly unreachableNodes?: () => readonly NodeId[]
}

/** Of a leadership, by a majority of the quorum. Longer than a leader without one goes on. */
const CONFIRM_TIMEOUT_MS = 5_000
/** Nodes with a stream to the controller. */
const SESSIONS_MAX = 1000

/**
 * The nodes of the cluster as the controller deals with them, for one leadership of the quorum: their streams, their
 * sessions, and the changes of metadata that follow. It ends with the leadership; the next controller begins its own.
 */
export class NodeLeadership implements SessionHost {
  readonly #options: NodeLeadershipOptions
  readonly #sessions: NodeSessions
  readonly #fencing: NodeFencing
  readonly #contacts: NodeContacts
  readonly #streams = new Map<NodeId, SessionStream>()
  readonly #all = new Set<SessionStream>()
  #unheard: { readonly stream: SessionStream; readonly settle: (error?: NaruError) => void }[] = []
  #isOver = false

  constructor(options: NodeLeadershipOptions, deposed: DeposedLeader | undefined) {
    this.#options = options
    const { quorum, clock, logger, incarnation } = options
    this.#contacts = new NodeContacts(options)
    const timing: SessionTiming = { ...SESSION_TIMING, ...options.timing }
    const nodes = quorum.image.nodes.all().filter(node => !node.isFenced)
    this.#sessions = new NodeSessions({ nowMs: clock.monotonicMs(), nodes, deposed, timing })
    this.#fencing = new NodeFencing({
      quorum,
      clock,
      logger,
      incarnation,
      sessions: this.#sessions,
      fence: due => this.#change(controller => controller.nodes.fenceAll(due)),
      onFenced: fenced => this.#onFenced(fenced),
      onJudged: () => this.#settleUnheard(),
    })
  }

  isSessionAlive(nodeId: NodeId): boolean {
    return this.#sessions.isAlive(nodeId, this.#options.clock.monotonicMs())
  }

  /** A stream that a node has opened. Throws OVERLOADED. */
  accept(makeStream: (host: SessionHost) => SessionStream): void {
    if (this.#all.size >= SESSIONS_MAX)
      throw new NaruError('OVERLOADED', `${SESSIONS_MAX} nodes have a session with the controller already`)
    this.#all.add(makeStream(this))
  }

  /** Another node leads, or may: the nodes look for it. */
  end(error: NaruError): void {
    this.#isOver = true
    this.#fencing.stop()
    this.#settleUnheard()
    for (const stream of this.#all) stream.fail(error)
    this.#all.clear()
    this.#streams.clear()
  }

  async register(
    stream: SessionStream,
    registration: NodeRegistration,
  ): Promise<NodeRef & { metadataIndex: MetadataIndex }> {
    const { quorum, clock, logger } = this.#options
    const { nodeId, peerAddress, release } = registration
    const { nodeEpoch, isOldCopy } = await this.#change(controller =>
      controller.nodes.register(registration, {
        isSessionAlive: this.isSessionAlive(nodeId),
        wallMs: clock.wallMs(),
      }),
    )
    const node = { nodeId, nodeEpoch }
    this.#checkLeading()
    // One that is over already opens no session: that would count as one whose end nobody saw.
    if (!stream.isClosed) {
      const earlier = this.#streams.get(nodeId)
      this.#streams.set(nodeId, stream)
      this.#sessions.open(node, clock.monotonicMs())
      earlier?.fail(replaced(earlier, node))
      logger.info({ nodeId, nodeEpoch, peerAddress, release }, 'a node has registered')
      if (isOldCopy)
        logger.warn(
          { nodeId, nodeEpoch },
          'the data directory of a node is an old copy: it lacks what it had, is in sync with nothing, and is filled by the others',
        )
    }
    return { ...node, metadataIndex: quorum.image.appliedEndIndex }
  }

  async caughtUp(
    stream: SessionStream,
    node: NodeRef & { readonly directoryEpoch: Epoch | undefined },
  ): Promise<void> {
    if (this.#options.quorum.image.nodes.get(node.nodeId)?.isFenced === true)
      await this.#whenHeard(stream, node)
    await this.#change(controller => controller.nodes.unfence(node))
  }

  async drain(node: NodeRef): Promise<readonly LedPartition[]> {
    const { remaining } = await this.#change(controller => controller.nodes.drain(node))
    return remaining
  }

  async leave(node: NodeRef): Promise<void> {
    await this.#change(controller => controller.nodes.fence(node))
    this.#sessions.end(node)
    this.#options.logger.info({ nodeId: node.nodeId }, 'a node has left in good order')
  }

  /** Its session lives on: `caughtUp` ends it. */
  async stepAside(stream: SessionStream): Promise<void> {
    const node = this.#requireCurrent(stream)
    await this.#change(controller => controller.nodes.fence(node))
    this.#options.logger.warn({ nodeId: node.nodeId }, 'a node cannot write now: others lead what it led')
  }

  async alterPartitions(
    stream: SessionStream,
    changes: readonly IsrChange[],
  ): Promise<readonly IsrChangeAnswer[]> {
    const node = this.#requireCurrent(stream)
    const { answers, elected } = await this.#change(({ isr }) => {
      const result = isr.alter(node, changes, this.#contacts)
      // At once, not at the commit: the next request may come first.
      for (const partition of result.response.elected) this.#contacts.onElected(partition)
      return result
    })
    if (elected.length > 0)
      this.#options.logger.warn(
        { nodeId: node.nodeId, partitions: elected.length },
        'a leader is cut off from replicas that reach each other: others lead from now on',
      )
    if (answers.some(({ kind }) => kind === 'refused')) await this.#confirmLeading()
    return answers
  }

  /**
   * A refusal changes nothing, so no commit proves that this leadership was not over when it judged: the next one may have
   * accepted a copy of what the node gives up by it (C5).
   */
  async #confirmLeading(): Promise<void> {
    await this.#options.quorum.readIndex(CONFIRM_TIMEOUT_MS)
    this.#checkLeading()
  }

  async reportDamage(stream: SessionStream, replicas: readonly PartitionRef[]): Promise<void> {
    const node = this.#requireCurrent(stream)
    await this.#change(({ isr }) => isr.reportDamage(node, replicas))
    this.#options.logger.warn(
      { nodeId: node.nodeId, partitions: replicas.length },
      'replicas are damaged: they are out of sync, and others lead where there are any',
    )
  }

  onClosed(stream: SessionStream): void {
    this.#all.delete(stream)
    this.#settleUnheard()
    const { node } = stream
    if (node === undefined || this.#streams.get(node.nodeId) !== stream) return
    this.#streams.delete(node.nodeId)
    this.#sessions.close(node, this.#options.clock.monotonicMs())
  }

  /**
   * The node whose newest stream this is. What an older one still brings is dropped: the node takes a refusal on a newer
   * one for the end of its proposal (C5).
   */
  #requireCurrent(stream: SessionStream): NodeRef {
    const { node } = stream
    if (node !== undefined && this.#streams.get(node.nodeId) === stream) return node
    throw new NaruError('CANCELLED', 'the node has opened another session', { outcome: 'none' })
  }

  /** A node that hears the controller and is not heard by it would be fenced again, over and over. */
  #whenHeard(stream: SessionStream, node: NodeRef): Promise<void> {
    if (this.#sessions.isReported(node)) return Promise.resolve()
    return new Promise((resolve, reject) => {
      const settle = (error?: NaruError) => (error ? reject(error) : resolve())
      this.#unheard.push({ stream, settle })
    })
  }

  #settleUnheard(): void {
    const waiting = this.#unheard
    this.#unheard = []
    for (const one of waiting) {
      const { node, isClosed } = one.stream
      if (this.#isOver || isClosed || node === undefined)
        one.settle(new NaruError('NOT_CONTROLLER', 'the session is over', { outcome: 'none' }))
      else if (this.#sessions.isReported(node)) one.settle()
      else this.#unheard.push(one)
    }
  }

  #onFenced(nodes: readonly NodeRef[]): void {
    const { sessionTimeoutMs } = { ...SESSION_TIMING, ...this.#options.timing }
    for (const node of nodes) {
      const { nodeId, nodeEpoch } = node
      const stream = this.#streams.get(nodeId)
      // Also where it is heard again by now: it is fenced, and only a new session gets it out of that.
      const hasEnded = this.#sessions.end(node, { onlyIfDue: true })
      if (!hasEnded || stream?.node?.nodeEpoch !== nodeEpoch) continue
      stream.fail(
        new NaruError(
          'DEADLINE_EXCEEDED',
          `node ${nodeId} was not heard for ${sessionTimeoutMs} ms and is fenced: it registers again`,
        ),
      )
    }
  }

  async #change<T>(handler: (controller: Controller) => MachineResult<MetadataRecord, T>): Promise<T> {
    this.#checkLeading()
    const { quorum, controllerOptions } = this.#options
    return quorum.submit(newest => handler(new Controller(newest, controllerOptions)))
  }

  #checkLeading(): void {
    if (this.#isOver)
      throw new NaruError('NOT_CONTROLLER', 'the controller has moved', { outcome: 'unknown' })
  }
}

/** The error for the stream that a node has opened another one for. */
function replaced(earlier: SessionStream, { nodeId, nodeEpoch }: NodeRef): NaruError {
  if (earlier.node?.nodeEpoch === nodeEpoch)
    return new NaruError('CANCELLED', `node ${nodeId} has opened another session`)
  return new NaruError(
    'STALE_NODE_EPOCH',
    `node ${nodeId} was taken over by another process (epoch ${nodeEpoch}): this one, of epoch ${earlier.node?.nodeEpoch}, must stop`,
    { details: { node_id: String(nodeId), node_epoch: String(nodeEpoch) } },
  )
}
