/**
 * What a leader knows of one other member, and how it may send to it. Owns its transitions; the replicator
 * asks and reports, and never sets a field.
 *
 *   probe      one append at a time, until an answer says where the logs agree
 *   replicate  appends one after the other without waiting, within the inflight window
 *   snapshot   nothing but heartbeats until the member has the snapshot
 *
 *   probe -> replicate  an append was accepted        replicate -> probe  one was refused, or the connection broke
 *   any -> snapshot     the log no longer reaches back far enough
 *   snapshot -> probe   the member holds the snapshot, sending it failed, or nothing was heard of it for too long
 *
 * Invariants: matchIndex < nextIndex; matchIndex never falls; the window is empty outside `replicate`.
 * After etcd-io/raft's tracker.Progress.
 */
import { assert } from '../base/assert.ts'
import { type InflightLimits, InflightWindow } from './inflight-window.ts'

export type ProgressState = 'probe' | 'replicate' | 'snapshot'

export class Progress {
  #state: ProgressState = 'probe'
  /** Equal to the leader's log up to here, and durable there. */
  #matchIndex = 0
  /** The next entry to send; what lies between match and this is on its way. */
  #nextIndex: number
  /** The highest commit index that the member was told of, assuming that nothing sent was lost. */
  #commitSent = 0
  /** An unanswered probe, or a full window, holds back further appends until an answer of any kind. */
  #paused = false
  #snapshotDeadlineMs = 0
  #heardMs: number
  readonly #window: InflightWindow

  constructor(start: { nextIndex: number; nowMs: number; limits: InflightLimits }) {
    this.#nextIndex = start.nextIndex
    this.#heardMs = start.nowMs
    this.#window = new InflightWindow(start.limits)
  }

  get state(): ProgressState {
    return this.#state
  }

  get matchIndex(): number {
    return this.#matchIndex
  }

  get nextIndex(): number {
    return this.#nextIndex
  }

  get heardMs(): number {
    return this.#heardMs
  }

  get inflightCount(): number {
    return this.#window.count
  }

  get isPaused(): boolean {
    return this.#paused || this.#state === 'snapshot'
  }

  get mayCarryEntries(): boolean {
    return this.#state !== 'replicate' || !this.#window.isFull
  }

  /** Whether being told `commitIndex` may let the member commit more than what was sent to it so far does. */
  lacksCommit(commitIndex: number): boolean {
    return commitIndex > this.#commitSent && this.#commitSent < this.#nextIndex - 1
  }

  heard(nowMs: number): void {
    this.#heardMs = Math.max(this.#heardMs, nowMs)
  }

  sentAppend(sent: { entryCount: number; bytes: number; commitIndex: number }): void {
    assert(this.#state !== 'snapshot', 'append sent to a member that waits for a snapshot')
    if (this.#state === 'probe') {
      this.#paused = true
    } else {
      if (sent.entryCount > 0) {
        this.#nextIndex += sent.entryCount
        this.#window.add({ lastIndex: this.#nextIndex - 1, bytes: sent.bytes })
      }
      // The one append that goes out with a full window is a probe: were the whole window lost, it would show that.
      this.#paused = this.#window.isFull
    }
    this.#commitSent = sent.commitIndex
  }

  sentHeartbeat(commitIndex: number): void {
    this.#commitSent = Math.max(this.#commitSent, commitIndex)
  }

  sentSnapshot(index: number, deadlineMs: number): void {
    this.#enter('snapshot')
    this.#snapshotDeadlineMs = deadlineMs
    this.#nextIndex = Math.max(index, this.#matchIndex) + 1
    this.#commitSent = index
  }

  snapshotGoesOn(deadlineMs: number): void {
    if (this.#state === 'snapshot') this.#snapshotDeadlineMs = deadlineMs
  }

  snapshotFailed(): void {
    if (this.#state === 'snapshot') this.#probeFrom(this.#matchIndex + 1)
  }

  snapshotIsOverdue(nowMs: number): boolean {
    return this.#state === 'snapshot' && nowMs >= this.#snapshotDeadlineMs
  }

  /** `logBase`: where the leader's log starts. */
  accepted(index: number, logBase: number): void {
    const advanced = index > this.#matchIndex
    if (advanced) {
      this.#matchIndex = index
      this.#nextIndex = Math.max(this.#nextIndex, index + 1)
      this.#paused = false
    }
    if (this.#state === 'snapshot') {
      if (!advanced) return
      // Whatever snapshot it was that the member installed: what counts is whether the log reaches back to it.
      // If it was compacted beyond that meanwhile, the next thing to send is a newer snapshot.
      this.#enter(index >= logBase ? 'replicate' : 'probe')
      this.#nextIndex = index + 1
      return
    }
    if (this.#state === 'probe') {
      // An old answer below match proves nothing about what the member will take next.
      if (index < this.#matchIndex) return
      this.#enter('replicate')
      this.#nextIndex = this.#matchIndex + 1
      return
    }
    this.#window.release(index)
    this.#paused = this.#paused && this.#window.isFull
  }

  /** `hintIndex`: the highest index at which the logs can agree. The echo of an old append tells nothing. */
  refused(previousIndex: number, hintIndex: number): void {
    if (this.#state === 'replicate' && previousIndex > this.#matchIndex) this.#probeFrom(this.#matchIndex + 1)
    else if (this.#state === 'probe' && previousIndex === this.#nextIndex - 1)
      this.#probeFrom(Math.max(Math.min(previousIndex, hintIndex + 1), this.#matchIndex + 1))
  }

  /** Any answer shows that the member reads again: one more append may go out to learn where it stands. */
  resume(): void {
    this.#paused = false
  }

  /** What was on its way is lost. In `probe` it is not known yet where the logs agree: that search goes on. */
  connectionLost(): void {
    if (this.#state === 'probe') this.#paused = false
    else this.#probeFrom(this.#matchIndex + 1)
  }

  #probeFrom(nextIndex: number): void {
    this.#enter('probe')
    this.#nextIndex = nextIndex
    this.#commitSent = Math.min(this.#commitSent, nextIndex - 1)
  }

  #enter(state: ProgressState): void {
    this.#state = state
    this.#paused = false
    this.#window.clear()
  }
}
