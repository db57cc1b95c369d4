import { assert } from '../base/assert.ts'
import type { Epoch, NodeId } from '../base/brands.ts'
import type { NodeRef } from './node-control.ts'

export interface SessionTiming {
  /** `node.session.timeout.ms`: a node that is not heard for so long is fenced. */
  readonly sessionTimeoutMs: number
  /** For a node whose session stream closed and whose port refuses, as of a killed process: not heard, not back for so long. */
  readonly disconnectGraceMs: number
  /**
   * Between two ticks of the judge where one may have something to judge soon; twice that as long as all nodes are well. One
   * that comes later by more than this was stalled.
   */
  readonly tickMs: number
}

export const SESSION_TIMING: SessionTiming = { sessionTimeoutMs: 2000, disconnectGraceMs: 300, tickMs: 50 }

/** The node whose leadership ended by the election of this one. */
export interface DeposedLeader {
  readonly nodeId: NodeId
  /** By any of those who elected this one: what it has proven to its own node since then (C12) is nothing. */
  readonly heardMs: number
  /** By this process. */
  readonly heardHereMs: number
  /** The own connection to it closed then, and dialling it again failed: where that was refused, `gone` tells. */
  readonly closedMs?: number | undefined
}

/**
 * Which nodes live, as the controller judges them during one leadership. A session belongs to a node epoch, so that the
 * answers of a restarted process do not keep the one before it alive. It is kept alive by the node's Raft answers. A
 * stream that closed and a port that refuses shorten the wait, because only a process that is gone shows both: one whose
 * connections are reset, and that is cut off then, may answer others under its lease (C12) until a whole session is over.
 *
 * A8: deadlines are judged by `judge`, which the owner calls after a turn that has read the sockets, following a `tick`.
 * What a tick comes late, this process stood still, and the others may have spoken meanwhile: it is added to all deadlines.
 * A new leadership begins with a full session for every node that is not fenced. Only the deposed leader's node counts
 * from when that leader was last heard by a voter of this one, yet has the grace to show itself; from the close, if this
 * process itself saw its connection to that leader close and was refused since: then the grace ran while the election did.
 *
 * Pure. All times are of this process's monotonic clock.
 */
export class NodeSessions {
  readonly #timing: SessionTiming
  readonly #sessions = new Map<NodeId, NodeSession>()
  #tickMs: number
  #periodMs: number
  #isJudgeable = false

  constructor(options: {
    readonly nowMs: number
    /** Those that are registered and not fenced. */
    readonly nodes: readonly NodeRef[]
    readonly deposed?: DeposedLeader | undefined
    readonly timing?: Partial<SessionTiming>
  }) {
    const { nowMs, nodes, deposed } = options
    this.#timing = { ...SESSION_TIMING, ...options.timing }
    this.#tickMs = nowMs
    this.#periodMs = this.#timing.tickMs
    for (const { nodeId, nodeEpoch } of nodes)
      this.#sessions.set(
        nodeId,
        nodeId === deposed?.nodeId
          ? this.#deposedSession(nodeEpoch, deposed, nowMs)
          : newSession(nodeEpoch, nowMs),
      )
  }

  #deposedSession(nodeEpoch: Epoch, deposed: DeposedLeader, nowMs: number): NodeSession {
    const { heardMs, heardHereMs, closedMs } = deposed
    const { sessionTimeoutMs, disconnectGraceMs } = this.#timing
    const earliestMs = nowMs + Math.min(0, disconnectGraceMs - sessionTimeoutMs)
    const countedMs = Math.min(nowMs, Math.max(heardMs, earliestMs))
    return { ...newSession(nodeEpoch, countedMs), aliveMs: heardHereMs, closedMs }
  }

  /** The node has registered over a stream that is open now. */
  open({ nodeId, nodeEpoch }: NodeRef, nowMs: number): void {
    this.#sessions.set(nodeId, newSession(nodeEpoch, nowMs))
  }

  /** The stream of that session was seen to close. */
  close(node: NodeRef, nowMs: number): void {
    const session = this.#find(node)
    if (session) session.closedMs ??= nowMs
  }

  /** A Raft answer of that very process. Answers come with each heartbeat, so this is told again and again. */
  heard(node: NodeRef, atMs: number): void {
    const session = this.#find(node)
    if (!session) return
    session.heardMs = Math.max(session.heardMs, atMs)
    session.isReported = true
    if (atMs <= session.aliveMs) return
    session.aliveMs = atMs
    session.isGone = false
  }

  /** A dial to the node was refused then: the process that has spoken before is gone. Told again and again, after `heard`. */
  gone(nodeId: NodeId, atMs: number): void {
    const session = this.#sessions.get(nodeId)
    if (session && atMs > session.aliveMs) session.isGone = true
  }

  /** It was heard since its session was opened: the way from it to here works. */
  isReported(node: NodeRef): boolean {
    return this.#find(node)?.isReported ?? false
  }

  isAlive(nodeId: NodeId, nowMs: number): boolean {
    const session = this.#sessions.get(nodeId)
    return session !== undefined && nowMs < this.#deadlineMs(session)
  }

  /** The node has left, or is fenced. A session that was opened anew since it was judged stays: then it says `false`. */
  end(node: NodeRef, { onlyIfDue = false } = {}): boolean {
    const session = this.#find(node)
    if (!session || (onlyIfDue && !session.isDue)) return false
    return this.#sessions.delete(node.nodeId)
  }

  /** What `judge` told could not be done: it will tell it again. */
  retry(node: NodeRef): void {
    const session = this.#find(node)
    if (session) session.isDue = false
  }

  /** From the last tick to the next one, as of the last judgement. */
  get periodMs(): number {
    return this.#periodMs
  }

  /** A timer of the judge fired. */
  tick(nowMs: number): void {
    assert(nowMs >= this.#tickMs, 'a monotonic clock went back')
    const lateMs = nowMs - this.#tickMs - this.#periodMs
    this.#tickMs = nowMs
    this.#isJudgeable = true
    if (lateMs > this.#timing.tickMs) this.#forgive({ stalledMs: lateMs, nowMs })
  }

  /** After the turn of a tick. The sessions that have just ended; each is told once. */
  judge(nowMs: number): NodeRef[] {
    // Long after its tick, what the sockets hold may be unread: the next tick finds how long this process stood still.
    const isFresh = this.#isJudgeable && nowMs - this.#tickMs <= this.#timing.disconnectGraceMs / 2
    this.#isJudgeable = false
    this.#periodMs = this.#isCalm(nowMs) ? 2 * this.#timing.tickMs : this.#timing.tickMs
    if (!isFresh) return []
    const due: NodeRef[] = []
    for (const [nodeId, session] of this.#sessions) {
      if (session.isDue || nowMs < this.#deadlineMs(session)) continue
      session.isDue = true
      due.push({ nodeId, nodeEpoch: session.nodeEpoch })
    }
    return due
  }

  /** All nodes have their streams and are heard: a deadline that comes up now is still many ticks away. */
  #isCalm(nowMs: number): boolean {
    const soonMs = nowMs + this.#timing.sessionTimeoutMs / 2
    for (const session of this.#sessions.values())
      if (session.closedMs !== undefined || this.#deadlineMs(session) < soonMs) return false
    return true
  }

  #deadlineMs({ begunMs, aliveMs, heardMs, closedMs, isGone }: NodeSession): number {
    const { sessionTimeoutMs, disconnectGraceMs } = this.#timing
    if (closedMs === undefined) return heardMs + sessionTimeoutMs
    // A node that is heard and cannot get a stream for a whole session is of no use: ISR changes travel on it.
    const silentMs = Math.min(heardMs, Math.max(begunMs, closedMs)) + sessionTimeoutMs
    return isGone ? Math.min(silentMs, Math.max(aliveMs, closedMs) + disconnectGraceMs) : silentMs
  }

  #forgive({ stalledMs, nowMs }: { stalledMs: number; nowMs: number }): void {
    for (const session of this.#sessions.values()) {
      session.heardMs = Math.min(nowMs, session.heardMs + stalledMs)
      if (session.closedMs !== undefined) session.closedMs = Math.min(nowMs, session.closedMs + stalledMs)
    }
  }

  #find({ nodeId, nodeEpoch }: NodeRef): NodeSession | undefined {
    const session = this.#sessions.get(nodeId)
    return session?.nodeEpoch === nodeEpoch ? session : undefined
  }
}

interface NodeSession {
  readonly nodeEpoch: Epoch
  readonly begunMs: number
  /** The process was there: it has opened the session, or spoken, then. */
  aliveMs: number
  heardMs: number
  /** The stream was seen to close then, and is not back. */
  closedMs: number | undefined
  /** The process is gone. */
  isGone: boolean
  isReported: boolean
  /** Told by `judge`; nothing came of it yet. */
  isDue: boolean
}

function newSession(nodeEpoch: Epoch, heardMs: number): NodeSession {
  const times = { begunMs: heardMs, aliveMs: heardMs, heardMs, closedMs: undefined }
  return { nodeEpoch, ...times, isGone: false, isReported: false, isDue: false }
}
