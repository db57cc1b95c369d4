/**
 * The leader's sending side: keeps one `Progress` for each other member, and brings their logs, their commit
 * index and, where the log no longer goes back far enough, a snapshot to them.
 */
import { assert } from '../base/assert.ts'
import type { FreshnessProofs } from './freshness.ts'
import type { MemberId } from './membership.ts'
import type { AppendAnswer, LogEntry } from './messages.ts'
import type { NodeState } from './node-state.ts'
import { Progress } from './progress.ts'

/** What the last answer of a member told: its liveness, and what its driver attached. */
export interface MemberContact {
  readonly heardMs: number
  readonly attachment: Uint8Array | undefined
}

export class Replicator {
  readonly #state: NodeState
  readonly #progress = new Map<MemberId, Progress>()
  readonly #attachments = new Map<MemberId, Uint8Array | undefined>()

  constructor(state: NodeState) {
    this.#state = state
    this.followMembership()
  }

  get members(): IterableIterator<MemberId> {
    return this.#progress.keys()
  }

  progressOf(member: MemberId): Progress | undefined {
    return this.#progress.get(member)
  }

  contactOf(member: MemberId): MemberContact | undefined {
    const progress = this.#progress.get(member)
    if (progress === undefined) return undefined
    return { heardMs: progress.heardMs, attachment: this.#attachments.get(member) }
  }

  /** Durable there and equal to the own log; of this node itself what is durable here. */
  matchIndexOf(member: MemberId): number {
    if (member === this.#state.self) return this.#state.log.persistedIndex
    return this.#progress.get(member)?.matchIndex ?? 0
  }

  heardMsOf(member: MemberId): number {
    if (member === this.#state.self) return this.#state.nowMs
    return this.#progress.get(member)?.heardMs ?? Number.NEGATIVE_INFINITY
  }

  /** A member that stays keeps its progress; one that was removed loses it, and starts from nothing if it returns. */
  followMembership(): void {
    const { membership, self, log, nowMs, limits } = this.#state
    const { voters, learners } = membership
    const members = new Set([...voters, ...learners])
    members.delete(self)
    for (const member of this.#progress.keys()) {
      if (members.has(member)) continue
      this.#progress.delete(member)
      this.#attachments.delete(member)
    }
    const window = { messagesMax: limits.inflightMessagesMax, bytesMax: limits.inflightBytesMax }
    for (const member of members) {
      if (this.#progress.has(member)) continue
      this.#progress.set(member, new Progress({ nextIndex: log.lastIndex + 1, nowMs, limits: window }))
    }
  }

  /** An answer of any kind shows that the member lives. */
  heard(member: MemberId, attachment: Uint8Array | undefined): void {
    this.#progress.get(member)?.heard(this.#state.nowMs)
    if (this.#progress.has(member)) this.#attachments.set(member, attachment)
  }

  stalled(stalledMs: number): void {
    for (const progress of this.#progress.values()) {
      progress.heard(Math.min(this.#state.nowMs, progress.heardMs + stalledMs))
    }
  }

  onAppendAnswer({ from, result }: AppendAnswer): void {
    const progress = this.#progress.get(from)
    if (progress === undefined) return
    const { log } = this.#state
    if (result.accepted) {
      if (result.matchIndex > log.lastIndex) {
        const reason = `acknowledges ${result.matchIndex}, which was never sent`
        this.#state.outbox.tell({ type: 'message-ignored', from, kind: 'append-answer', reason })
        return
      }
      progress.accepted(result.matchIndex, log.base.index)
    } else {
      // The other side skipped what it could; so does this one, with the terms that only this log knows.
      const hint = log.lastPositionOfTermAtMost(result.hint)
      progress.refused(result.previousIndex, hint.index)
    }
  }

  onHeartbeatAnswer(member: MemberId): void {
    const progress = this.#progress.get(member)
    if (progress === undefined) return
    progress.resume()
    // Something sent may be lost, or a probe unanswered: an append, empty if it must be, brings that to light.
    if (progress.state === 'probe' || progress.matchIndex < this.#state.log.lastIndex) {
      this.sendTo(member, { evenEmpty: true })
    }
  }

  broadcastAppend(): void {
    for (const member of this.#progress.keys()) this.sendTo(member)
  }

  broadcastHeartbeat(round: number, proofs: FreshnessProofs): void {
    const { self, term, log, outbox } = this.#state
    for (const [member, progress] of this.#progress) {
      const commitIndex = Math.min(log.commitIndex, progress.matchIndex)
      const proof = proofs.of(member)
      outbox.send({ type: 'heartbeat', from: self, to: member, term, commitIndex, round, proof })
      progress.sentHeartbeat(commitIndex)
    }
  }

  /** Whatever the member lacks and may be sent now: entries as far as its window allows, else the news of a commit. */
  sendTo(member: MemberId, options: { evenEmpty: boolean } = { evenEmpty: false }): void {
    const progress = this.#progress.get(member)
    if (progress === undefined) return
    let evenEmpty = options.evenEmpty || progress.state === 'probe'
    while (!progress.isPaused) {
      if (progress.nextIndex <= this.#state.log.base.index) {
        this.#sendSnapshot(member, progress)
        return
      }
      const entries = this.#entriesFor(progress)
      if (entries.length === 0 && !evenEmpty && !progress.lacksCommit(this.#state.log.commitIndex)) return
      this.#sendAppend(member, progress, entries)
      evenEmpty = false
    }
  }

  onConnection(member: MemberId, connection: 'lost' | 'restored'): void {
    const progress = this.#progress.get(member)
    if (progress === undefined) return
    progress.connectionLost()
    if (connection === 'restored') this.sendTo(member)
  }

  onSnapshotReport(member: MemberId, status: 'progress' | 'failed'): void {
    const progress = this.#progress.get(member)
    if (status === 'failed') progress?.snapshotFailed()
    else progress?.snapshotGoesOn(this.#snapshotDeadlineMs)
  }

  onTick(): void {
    for (const progress of this.#progress.values()) {
      if (progress.snapshotIsOverdue(this.#state.nowMs)) progress.snapshotFailed()
    }
  }

  get #snapshotDeadlineMs(): number {
    return this.#state.nowMs + this.#state.timing.snapshotTimeoutMs
  }

  #entriesFor(progress: Progress): LogEntry[] {
    if (!progress.mayCarryEntries) return []
    const { log, limits } = this.#state
    const { appendBytesMax, appendEntriesMax } = limits
    return log.entriesFrom(progress.nextIndex, { bytesMax: appendBytesMax, countMax: appendEntriesMax })
  }

  #sendAppend(member: MemberId, progress: Progress, entries: LogEntry[]): void {
    const { self, term, log, outbox } = this.#state
    const index = progress.nextIndex - 1
    const previousTerm = log.termAt(index)
    assert(previousTerm !== undefined, `append to ${member} from ${index}, outside the log`)
    const previous = { index, term: previousTerm }
    const { commitIndex } = log
    outbox.send({ type: 'append', from: self, to: member, term, previous, entries, commitIndex })
    const bytes = entries.reduce((sum, entry) => sum + entry.data.length, 0)
    progress.sentAppend({ entryCount: entries.length, bytes, commitIndex })
  }

  /** Only to who is there: a snapshot is too much to send into the void. */
  #sendSnapshot(member: MemberId, progress: Progress): void {
    const { self, term, snapshot, outbox, nowMs, timing } = this.#state
    if (nowMs - progress.heardMs >= timing.electionTimeoutMs.min) return
    outbox.send({ type: 'snapshot', from: self, to: member, term, snapshot })
    progress.sentSnapshot(snapshot.index, this.#snapshotDeadlineMs)
  }
}
