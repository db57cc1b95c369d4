import { NaruError } from '../../base/errors.ts'
import type { Logger } from '../../base/logger.ts'
import type { NodeRef } from '../../metadata/node-control.ts'
import type { NodeSessions } from '../../metadata/node-sessions.ts'
import type { Clock, Timer } from '../../ports/clock.ts'
import { nodeIdOf } from '../../raft/membership.ts'
import type { MetadataQuorum } from './metadata-quorum.ts'
import { decodeNodeReport } from './node-report.ts'

export interface NodeFencingOptions {
  readonly quorum: MetadataQuorum
  readonly sessions: NodeSessions
  readonly clock: Clock
  readonly logger: Logger
  /** The process that judges: it hears itself. */
  readonly incarnation: string
  /** Resolves when it is committed. */
  readonly fence: (nodes: readonly NodeRef[]) => Promise<unknown>
  /** They are fenced. */
  readonly onFenced: (nodes: readonly NodeRef[]) => void
  /** After each judgement. */
  readonly onJudged: () => void
}

/**
 * Judges the sessions of nodes while this node is the controller: ticks of a timer, then, after a turn of the event loop
 * that has read the sockets, what Raft has heard, then the judgement (rule A8).
 */
export class NodeFencing {
  readonly #options: NodeFencingOptions
  #timer: Timer | undefined
  #isStopped = false

  constructor(options: NodeFencingOptions) {
    this.#options = options
    this.#schedule()
  }

  stop(): void {
    this.#isStopped = true
    this.#timer?.cancel()
  }

  #schedule(): void {
    const { clock, sessions } = this.#options
    this.#timer = clock.setTick(sessions.periodMs, () => {
      sessions.tick(clock.monotonicMs())
      clock.afterTurn(() => {
        if (this.#isStopped) return
        this.#judge()
        this.#schedule()
      })
    })
  }

  #judge(): void {
    const { clock, sessions, onJudged } = this.#options
    this.#hear()
    const due = sessions.judge(clock.monotonicMs())
    if (due.length > 0) void this.#fence(due)
    onJudged()
  }

  #hear(): void {
    const { quorum, sessions, clock, incarnation } = this.#options
    const self = quorum.image.nodes.get(quorum.nodeId)
    if (self?.incarnation === incarnation) sessions.heard(self, clock.monotonicMs())
    for (const { member, heardMs, refusedMs, attachment } of quorum.status.members) {
      const nodeEpoch = decodeNodeReport(attachment)?.nodeEpoch
      if (nodeEpoch !== undefined) sessions.heard({ nodeId: nodeIdOf(member), nodeEpoch }, heardMs)
      if (refusedMs !== undefined) sessions.gone(nodeIdOf(member), refusedMs)
    }
  }

  async #fence(nodes: readonly NodeRef[]): Promise<void> {
    const { fence, onFenced, sessions, logger, quorum } = this.#options
    // Those that are fenced already only lose their session: they were about to take part.
    const active = nodes.filter(({ nodeId }) => quorum.image.nodes.get(nodeId)?.isFenced === false)
    const facts = { nodes: nodes.map(node => node.nodeId) }
    if (active.length > 0)
      logger.warn(facts, 'nodes are not heard any more: they are fenced, and others lead what they led')
    try {
      await fence(nodes)
    } catch (thrown) {
      const { reason } = NaruError.from(thrown)
      for (const node of nodes) sessions.retry(node)
      if (!this.#isStopped) logger.warn({ ...facts, reason }, 'fencing nodes failed; it is tried again')
      return
    }
    if (!this.#isStopped) onFenced(nodes)
  }
}
