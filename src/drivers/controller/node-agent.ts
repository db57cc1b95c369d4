import type { Epoch, NodeId } from '../../base/brands.ts'
import { type ErrorReason, NaruError } from '../../base/errors.ts'
import type { Logger } from '../../base/logger.ts'
import type { IsrChange, PartitionRef } from '../../metadata/isr-control.ts'
import type { NodeRegistration } from '../../metadata/node-registration.ts'
import { type Clock, delay, type Timer } from '../../ports/clock.ts'
import type { Prng } from '../../ports/prng.ts'
import type { ServiceHandlers, Transport } from '../../ports/transport.ts'
import type { NodeRegistered } from '../../wire/generated/controller.ts'
import { Controller } from '../../wire/generated/internal-services.ts'
import { ControllerChannels } from './controller-channels.ts'
import { ControllerSession } from './controller-session.ts'
import type { MetadataQuorum } from './metadata-quorum.ts'
import { encodeNodeReport } from './node-report.ts'
import type { ProducerIdBlock } from './producer-ids.ts'
import { within } from './within.ts'

export interface NodeAgentOptions {
  readonly quorum: MetadataQuorum
  readonly transport: Transport
  readonly clock: Clock
  readonly prng: Prng
  readonly logger: Logger
  /** Of this process; the incarnation is drawn at its start. */
  readonly registration: Omit<NodeRegistration, 'clusterId' | 'nodeId' | 'nodeEpoch'>
  /** `host:port` of a node's peers' port; undefined: not known now. */
  readonly addressOfNode: (nodeId: NodeId) => string | undefined
  /** What this node serves as the controller. */
  readonly controllerHandlers: ServiceHandlers
  /** Called once, when the image holds the registration; resolves when the partitions of this node are open. */
  readonly openPartitions: (nodeEpoch: Epoch) => Promise<void>
  /** What the data directory remembers by now; undefined: nobody knows. */
  readonly directoryEpoch?: () => Epoch | undefined
  /** Other nodes that this one cannot reach now (C8). */
  readonly unreachableNodes?: () => readonly NodeId[]
  /** After the start: this node cannot be part of the cluster any more, and must stop. Called once. */
  readonly onEnded: (error: NaruError) => void
  readonly limits?: Partial<NodeAgentLimits>
}

export interface NodeAgentLimits {
  /** Looks at who leads, and reports of this node through Raft's answers. */
  readonly tickMs: number
  /** Between two dials that fail: doubled from min to max, with jitter. */
  readonly redialMs: { readonly min: number; readonly max: number }
  /** How long a node id that is in use may still turn out to be that of a node which is gone. */
  readonly inUseMs: number
}

const NODE_AGENT_LIMITS: NodeAgentLimits = {
  tickMs: 100,
  redialMs: { min: 50, max: 1000 },
  inUseMs: 10_000,
}

/** Of registrations that waiting does not heal. */
const FATAL_REASONS: readonly ErrorReason[] = ['INVALID_CONFIG', 'NODE_REMOVED', 'STALE_NODE_EPOCH']
/** Of a request for producer ids. */
const CALL_TIMEOUT_MS = 10_000
const RETRY_MS = 50
/** One wait for the metadata; it is repeated as long as the session lasts. */
const CATCH_UP_TIMEOUT_MS = 60_000

/**
 * A node's side of its membership in the cluster: finds the controller, registers with it, is unfenced once it has
 * caught up, and does so again with each new controller, under the incarnation, and so the node epoch, of this process.
 * The node that is the controller goes the same way, over a loopback.
 *
 *   away -> registering -> registered      a dial; the answer
 *   registered -> caught up                 the image holds the registration, the partitions are open, and it is unfenced
 *   any -> away                             the stream ended, or another node leads: dialled anew, at a bounded pace
 *   any -> ended                            `close`, or a refusal that waiting does not heal
 */
export class NodeAgent {
  readonly #options: NodeAgentOptions
  readonly #limits: NodeAgentLimits
  readonly #channels: ControllerChannels
  readonly #started: Promise<Epoch>
  #settleStart: { resolve: (nodeEpoch: Epoch) => void; reject: (error: NaruError) => void } | undefined
  #session: ControllerSession | undefined
  /** Of the leadership that the session is of, once its node is seen to lead. */
  #leaderTerm: number | undefined
  /** Registered sessions are handed to those who wait for one. */
  readonly #waiting = new Set<WaitingForSession>()
  #unsubscribe: (() => void) | undefined
  #nodeEpoch: Epoch | undefined
  #opening: Promise<void> | undefined
  #report: Buffer | undefined
  #tickTimer: Timer | undefined
  #failedDials = 0
  #nextDialMs = 0
  #inUseSinceMs: number | undefined
  #end: NaruError | undefined
  #hasLeft = false
  #isAside = false
  /** It has asked for it, and was not taken back since. */
  #mayBeAside = false

  constructor(options: NodeAgentOptions) {
    this.#options = options
    this.#limits = { ...NODE_AGENT_LIMITS, ...options.limits }
    this.#channels = new ControllerChannels(options)
    this.#started = new Promise((resolve, reject) => {
      this.#settleStart = { resolve, reject }
    })
    // Whoever asks for it gets the reason; nobody has to.
    this.#started.catch(() => {})
  }

  /** Resolves with the node epoch when the node is unfenced for the first time; rejects if it can never be. */
  start(): Promise<Epoch> {
    if (!this.#unsubscribe && !this.#end) {
      this.#unsubscribe = this.#options.quorum.onLeadership({
        onLeading: () => {
          this.#nextDialMs = 0
          this.#tick()
        },
        onResigned() {},
      })
      this.#tick()
    }
    return this.#started
  }

  /** As `start`, without starting. */
  get whenServing(): Promise<Epoch> {
    return this.#started
  }

  /** Undefined before the first registration. */
  get nodeEpoch(): Epoch | undefined {
    return this.#nodeEpoch
  }

  /** As this node knows: by its metadata, under the epoch of this process. */
  get isFenced(): boolean {
    const node = this.#ownImage()
    return node === undefined || node.isFenced
  }

  get isDraining(): boolean {
    return this.#ownImage()?.isDraining ?? false
  }

  /**
   * The lease of what this node leads (C12), monotonic: by then the image held all that the controller had decided, and
   * the controller had this node's sign of life, so that it fences it a session later at the earliest. Counted from the
   * sending: what arrives may have lain in a socket while this process stood still. Undefined: never, or this node has itself
   * asked to be fenced at once, which may have happened.
   */
  get lastHeardControllerMs(): number | undefined {
    return this.#mayBeAside ? undefined : this.#options.quorum.freshMs
  }

  async allocateProducerIds(): Promise<ProducerIdBlock> {
    const { allocateProducerIds } = Controller
    const { nodeId } = this.#options.quorum
    return this.#withSession(CALL_TIMEOUT_MS, async (session, timeoutMs) => {
      const request = allocateProducerIds.request.encode({ nodeId, nodeEpoch: this.#nodeEpoch })
      const answer = await session.channel.unary(allocateProducerIds.path, request, { timeoutMs })
      const { firstProducerId, count } = allocateProducerIds.response.decode(answer)
      return { first: firstProducerId, count }
    })
  }

  /**
   * Brings changes of ISRs to the controller, on the session of now, and tells what became of each, in order. Rejects
   * without a session, and when it ends first: then it is not known what became of them. They are never sent again by
   * this node's agent: their owner does it, unchanged, until metadata or a refusal end them (C5). A refusal means that
   * no earlier copy of the same change can be accepted any more, because the controller drops what an older session of
   * this node brought. Its `partitionEpoch` is the partition's of then; above the change's, metadata are on their way.
   */
  async alterPartitions(changes: readonly IsrChange[]): Promise<readonly IsrChangeOutcome[]> {
    const session = this.#session
    if (!session?.isRegistered)
      throw new NaruError('NOT_CONTROLLER', 'this node has no session with the controller now', {
        outcome: 'none',
      })
    const wire = changes.map(({ damaged, ...change }) => ({ ...change, damagedNodeIds: damaged ?? [] }))
    const { partitionsAltered } = await session.request({ alterPartitions: { changes: wire } })
    return changes.map((change, at): IsrChangeOutcome => {
      const answer = partitionsAltered?.answers[at]
      if (answer === undefined) return { kind: 'unknown' }
      if (answer.accepted) return { kind: 'accepted' }
      // Of a partition that is gone: that it is shows in metadata which are not here yet.
      const { partitionEpoch = change.partitionEpoch + 1, problem } = answer
      return { kind: 'refused', partitionEpoch, problem }
    })
  }

  /**
   * Replicas here are damaged (B4). Resolves once they are neither in sync nor eligible by committed metadata, which
   * this node may not have applied yet. Tried with each session until the time is over.
   */
  async reportDamage(replicas: readonly PartitionRef[], timeoutMs: number): Promise<void> {
    await this.#withSession(timeoutMs, session => session.request({ reportDamage: { replicas } }))
  }

  /**
   * This node cannot write now (B6): it is fenced at once, without waiting for anything, and others lead what it led.
   * Until `comeBack` it stays so, also with a new controller.
   */
  async stepAside(timeoutMs: number): Promise<void> {
    this.#isAside = this.#mayBeAside = true
    await this.#withSession(timeoutMs, session => session.request({ stepAside: {} }))
  }

  async comeBack(timeoutMs: number): Promise<void> {
    this.#isAside = false
    await this.#withSession(timeoutMs, session => this.#takePart(session))
  }

  /** Before a stop (C11): this node gets nothing new, and its leaders hand over what they can. Resolves when that begins. */
  async drain(timeoutMs: number): Promise<void> {
    await this.#withSession(timeoutMs, session => session.request({ drain: {} }))
  }

  /** This process stops now: it is fenced at once, so that nobody waits for its session to end. Then it is closed. */
  async leave(timeoutMs: number): Promise<void> {
    // What it leads is answered until its servers close, and the controller may have let others lead it by then.
    this.#hasLeft = this.#mayBeAside = true
    try {
      if (this.#nodeEpoch !== undefined && !this.isFenced)
        await this.#withSession(timeoutMs, session => session.request({ leave: {} }))
    } finally {
      this.close()
    }
  }

  close(): void {
    this.#finish(new NaruError('NODE_DRAINING', 'this node is stopping: use another one, or try again'))
  }

  #tick(): void {
    if (this.#end) return
    const { clock, quorum } = this.#options
    this.#attach()
    const { leaderId } = quorum
    if (this.#session && leaderId !== undefined && !this.#isOfLeadership(this.#session, leaderId))
      this.#drop()
    if (!this.#session && clock.monotonicMs() >= this.#nextDialMs) this.#dial()
    const isSoon = !this.#session && this.#nextDialMs - clock.monotonicMs() < this.#limits.tickMs
    const waitMs = Math.max(1, this.#nextDialMs - clock.monotonicMs())
    this.#tickTimer?.cancel()
    const tick = () => this.#tick()
    this.#tickTimer = isSoon ? clock.setTimer(waitMs, tick) : clock.setTick(this.#limits.tickMs, tick)
  }

  /** False: another node leads now, or this one anew, perhaps as another process, which nobody need have told the stream. */
  #isOfLeadership({ nodeId }: ControllerSession, leaderId: NodeId): boolean {
    if (nodeId !== leaderId) return false
    const { term } = this.#options.quorum.status
    this.#leaderTerm ??= term
    return this.#leaderTerm === term
  }

  /** Another leadership has begun: what this stream's controller might still say is void. */
  #drop(): void {
    this.#session?.close()
    this.#session = undefined
    this.#failedDials = 0
    this.#nextDialMs = 0
  }

  #attach(): void {
    const { quorum, unreachableNodes } = this.#options
    const report = encodeNodeReport({
      ...(this.#nodeEpoch !== undefined && { nodeEpoch: this.#nodeEpoch }),
      appliedIndex: quorum.image.appliedEndIndex,
      unreachableNodeIds: unreachableNodes?.() ?? [],
    })
    if (this.#report?.equals(report)) return
    this.#report = report
    quorum.attach(report)
  }

  #dial(): void {
    const { quorum, clock, registration } = this.#options
    const target = this.#channels.next()
    if (target === undefined) {
      this.#pause()
      return
    }
    const { nodeId, channel } = target
    const { clusterId } = quorum
    this.#leaderTerm = undefined
    this.#session = new ControllerSession({
      nodeId,
      channel,
      clock,
      registration: { ...registration, clusterId, nodeId: quorum.nodeId, nodeEpoch: this.#nodeEpoch },
      onRegistered: (session, answer) => void this.#onRegistered(session, answer),
      onClosed: (session, error) => this.#onClosed(session, error),
    })
  }

  async #onRegistered(session: ControllerSession, answer: NodeRegistered): Promise<void> {
    this.#failedDials = 0
    this.#inUseSinceMs = undefined
    this.#nodeEpoch = answer.nodeEpoch
    this.#attach()
    for (const { resolve } of this.#waiting) resolve(session)
    this.#waiting.clear()
    try {
      await this.#catchUp(session, answer)
    } catch (thrown) {
      const error = NaruError.from(thrown)
      if (this.#session !== session || this.#end) return
      this.#options.logger.warn({ reason: error.reason }, `this node cannot catch up yet: ${error.message}`)
      session.close()
      this.#session = undefined
      this.#pause()
    }
  }

  async #catchUp(session: ControllerSession, { nodeEpoch, metadataIndex }: NodeRegistered): Promise<void> {
    const { quorum, openPartitions } = this.#options
    while (quorum.image.appliedEndIndex < metadataIndex) {
      await quorum.awaitApplied(metadataIndex, CATCH_UP_TIMEOUT_MS).catch(ignoreDeadline)
      if (this.#session !== session) return
    }
    this.#opening ??= openPartitions(nodeEpoch)
    try {
      await this.#opening
    } catch (thrown) {
      this.#finish(NaruError.from(thrown))
      return
    }
    // A node that leaves asks for nothing but that.
    if (this.#session !== session || this.#hasLeft || this.#isAside) return
    await this.#takePart(session)
  }

  async #takePart(session: ControllerSession): Promise<void> {
    const { quorum, logger } = this.#options
    const directoryEpoch = this.#options.directoryEpoch?.()
    await session.request({ caughtUp: { appliedIndex: quorum.image.appliedEndIndex, directoryEpoch } })
    if (this.#session !== session) return
    // After all that was asked before on this session; what came over an older one is dropped.
    if (!this.#isAside && !this.#hasLeft) this.#mayBeAside = false
    const nodeEpoch = this.#nodeEpoch as Epoch
    if (this.#settleStart) logger.info({ nodeEpoch, controllerId: session.nodeId }, 'this node takes part')
    this.#settleStart?.resolve(nodeEpoch)
    this.#settleStart = undefined
  }

  #onClosed(session: ControllerSession, error: NaruError): void {
    if (this.#session !== session) return
    this.#session = undefined
    this.#channels.onFailed(session.nodeId, error)
    const { clock, logger } = this.#options
    const nowMs = clock.monotonicMs()
    const isInUse = error.reason === 'NODE_ID_IN_USE'
    this.#inUseSinceMs = isInUse ? (this.#inUseSinceMs ?? nowMs) : undefined
    const isInUseForLong = isInUse && nowMs - (this.#inUseSinceMs ?? nowMs) >= this.#limits.inUseMs
    if (isInUseForLong || FATAL_REASONS.includes(error.reason)) {
      this.#finish(error)
      return
    }
    const facts = { controllerId: session.nodeId, reason: error.reason }
    const isExpected = error.reason === 'NOT_CONTROLLER' || error.reason === 'NODE_DRAINING'
    if (isExpected) logger.debug(facts, error.message)
    else logger.warn(facts, `no session with the controller: ${error.message}`)
    this.#pause()
    this.#tick()
  }

  #pause(): void {
    const { clock, prng } = this.#options
    const { min, max } = this.#limits.redialMs
    const waitMs = Math.min(max, min * 2 ** Math.min(this.#failedDials, 10))
    this.#failedDials++
    this.#nextDialMs = clock.monotonicMs() + waitMs * (0.5 + prng.fraction() / 2)
  }

  /** For calls that do no harm when they happen twice: tried with each session until the time is over. */
  async #withSession<T>(
    timeoutMs: number,
    call: (session: ControllerSession, timeoutMs: number) => Promise<T>,
  ): Promise<T> {
    const { clock } = this.#options
    const endMs = clock.monotonicMs() + timeoutMs
    for (;;) {
      const leftMs = endMs - clock.monotonicMs()
      const session = await this.#registered(leftMs)
      try {
        return await within(clock, call(session, leftMs), this.#late(leftMs))
      } catch (thrown) {
        const error = NaruError.from(thrown)
        if (!error.retriable || this.#end || clock.monotonicMs() + RETRY_MS >= endMs) throw error
      }
      await delay(clock, RETRY_MS)
    }
  }

  async #registered(timeoutMs: number): Promise<ControllerSession> {
    if (this.#end) throw this.#end
    if (this.#session?.isRegistered) return this.#session
    let waiting: WaitingForSession | undefined
    const session = new Promise<ControllerSession>((resolve, reject) => {
      waiting = { resolve, reject }
      this.#waiting.add(waiting)
    })
    try {
      return await within(this.#options.clock, session, this.#late(timeoutMs))
    } finally {
      if (waiting) this.#waiting.delete(waiting)
    }
  }

  #late(timeoutMs: number) {
    const { nodeId } = this.#options.quorum
    const what = `the controller did not answer node ${nodeId} within ${Math.round(timeoutMs)} ms (naru cluster quorum shows who is missing)`
    return { timeoutMs, error: () => new NaruError('DEADLINE_EXCEEDED', what) }
  }

  #finish(error: NaruError): void {
    if (this.#end) return
    this.#end = error
    this.#unsubscribe?.()
    this.#tickTimer?.cancel()
    for (const { reject } of this.#waiting) reject(error)
    this.#waiting.clear()
    this.#session?.close()
    this.#session = undefined
    this.#channels.close()
    const isStarting = this.#settleStart
    this.#settleStart = undefined
    if (isStarting) isStarting.reject(error)
    else if (error.reason !== 'NODE_DRAINING') this.#options.onEnded(error)
  }

  #ownImage() {
    const { quorum } = this.#options
    const node = quorum.image.nodes.get(quorum.nodeId)
    return node?.nodeEpoch === this.#nodeEpoch ? node : undefined
  }
}

/** What became of a change of an ISR. */
export type IsrChangeOutcome =
  | { readonly kind: 'accepted' }
  | { readonly kind: 'refused'; readonly partitionEpoch: Epoch; readonly problem: string }
  | { readonly kind: 'unknown' }

interface WaitingForSession {
  readonly resolve: (session: ControllerSession) => void
  readonly reject: (error: NaruError) => void
}

/** The metadata are late, which the log of Raft says more about: the wait goes on. */
function ignoreDeadline(thrown: unknown): void {
  if (!(thrown instanceof NaruError) || thrown.reason !== 'DEADLINE_EXCEEDED') throw thrown
}
