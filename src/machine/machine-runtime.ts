import { assert, InvariantViolation } from '../base/assert.ts'
import { NaruError } from '../base/errors.ts'
import type { SnapshotRegistry } from './snapshot-registry.ts'
import type { Handler, MachineResult, StateMachine } from './state-machine.ts'
import { TimerQueue } from './timer-queue.ts'

/**
 * Runs a replicated state machine on one node, leading or standing by: the metadata's on each voter, the
 * groups' on each replica of a `__groups` partition. After Kafka's `CoordinatorRuntime`.
 *
 * Leading: a handler sees the newest state, committed or not; its records are replayed and appended; its answer
 * is parked until they are committed. An answer without records, an error included, is parked too, until all
 * that it may have seen is committed: nobody is ever told of a state that is rolled back later. So a read is a
 * write without records.
 * Losing the lead takes the state back to what is committed and fails what is parked.
 *
 * All indexes are exclusive ends in the log: `endIndex` of what the state holds, `committedEndIndex` of what
 * is committed. One write is one entry (or batch) of the log: it is committed whole or not at all.
 * Invariant: committedEndIndex <= endIndex; parked answers have rising endIndex > committedEndIndex.
 *
 * Synchronous. Driven by the owner of the log: `load` and `onCommitted` as the log grows (`loadCommitted` where both are one),
 * `lead` and `resign` as roles change, `onTime` as time passes. `onDone` callbacks may call back into the runtime.
 */
export class MachineRuntime<R> {
  readonly #options: MachineRuntimeOptions<R>
  readonly #timers = new TimerQueue<MachineTimer<R>>()
  #parked: Parked[] = []
  #isLeading = false
  #endIndex: number
  #committedEndIndex: number

  constructor(options: MachineRuntimeOptions<R>) {
    this.#options = options
    this.#endIndex = this.#committedEndIndex = options.endIndex ?? 0
  }

  get isLeading(): boolean {
    return this.#isLeading
  }

  get endIndex(): number {
    return this.#endIndex
  }

  get committedEndIndex(): number {
    return this.#committedEndIndex
  }

  /** Answers that wait for their commit. */
  get pendingCount(): number {
    return this.#parked.length
  }

  /** From now on handlers run. The state must hold the whole log; for Raft, an own entry is committed (A6). */
  lead(): void {
    assert(this.#parked.length === 0, 'answers of an earlier leadership are still parked')
    this.#isLeading = true
  }

  /** Runs a handler. `onDone` is called once: at the commit, or at once if there is nothing to wait for. */
  write<T>(handler: Handler<R, T>, onDone: (outcome: Outcome<T>) => void): void {
    const refusal = this.#refusal()
    if (refusal !== undefined) {
      onDone({ ok: false, error: refusal })
      return
    }
    const { outcome, hasRecords } = this.#run(handler)
    this.#park({ hasRecords, finish: error => onDone(error === undefined ? outcome : { ok: false, error }) })
  }

  /**
   * The log holds `records` up to `endIndex`, by another leader's hand or this node's own: what the state
   * holds already (because a write put it there) is passed over, so the caller need not know who wrote it.
   */
  load(entry: LogPart<R>): void {
    if (entry.endIndex <= this.#endIndex) return
    this.#options.registry.take(this.#endIndex)
    this.#replay(entry)
  }

  /** As `load` and `onCommitted`: nobody goes back to before what is committed, so no way back is kept. */
  loadCommitted(entry: LogPart<R>): void {
    if (entry.endIndex > this.#endIndex) this.#replay(entry)
    this.onCommitted(entry.endIndex)
  }

  #replay({ records, endIndex }: LogPart<R>): void {
    assert(
      !this.#isLeading || records.length === 0,
      () => `records up to ${endIndex} by another hand while leading`,
    )
    for (const record of records) this.#options.machine.replay(record)
    this.#endIndex = endIndex
  }

  /** The log is committed up to `endIndex`, all of which was loaded or written here. */
  onCommitted(endIndex: number): void {
    if (endIndex <= this.#committedEndIndex) return
    assert(endIndex <= this.#endIndex, `commit of ${endIndex} beyond the loaded ${this.#endIndex}`)
    this.#committedEndIndex = endIndex
    if (endIndex === this.#endIndex) this.#options.registry.forgetAll()
    else this.#options.registry.forgetBelow(endIndex)
    const waiting = this.#parked.findIndex(parked => parked.endIndex > endIndex)
    const done = this.#parked.splice(0, waiting < 0 ? this.#parked.length : waiting)
    for (const parked of done) parked.finish(undefined)
  }

  /** Another node leads, or may: back to the committed state. Also for a standby whose log was cut. */
  resign(): void {
    this.#isLeading = false
    this.#timers.clear()
    if (this.#endIndex > this.#committedEndIndex) {
      this.#options.registry.revertTo(this.#committedEndIndex)
      this.#options.registry.forgetAll()
      this.#endIndex = this.#committedEndIndex
    }
    const failed = this.#parked
    this.#parked = []
    // Appended records may yet be committed by the next leader.
    for (const parked of failed)
      parked.finish(this.#options.lostLeadership(parked.hasRecords ? 'unknown' : 'none'))
  }

  /** Replaces the state by that of a snapshot of the log up to `endIndex`, which is committed. */
  restore(snapshot: { records: Iterable<R>; endIndex: number }): void {
    assert(!this.#isLeading, 'a leader does not take snapshots from others')
    this.#options.registry.forgetAll()
    this.#options.machine.clear()
    for (const record of snapshot.records) this.#options.machine.replay(record)
    this.#endIndex = this.#committedEndIndex = snapshot.endIndex
  }

  /**
   * Runs a handler once `deadlineMs` has come, unless it is set anew under the same key, or the
   * lead is lost (a new leader sets its own). Callers bound the number of keys by what they bound: members, groups.
   */
  schedule(key: string, timer: { deadlineMs: number; handler: TimerHandler<R> }): void {
    assert(this.#isLeading, `timer ${key} set without leading`)
    this.#timers.set(key, { deadlineMs: timer.deadlineMs, value: { handler: timer.handler } })
  }

  /** When to call `onTime` next. */
  get nextDeadlineMs(): number | undefined {
    return this.#timers.nextDeadlineMs
  }

  /** Runs what is due, at most `TIMERS_PER_TURN_MAX`: `nextDeadlineMs` tells whether some is left. */
  onTime(nowMs: number): void {
    for (let count = 0; count < TIMERS_PER_TURN_MAX; count++) {
      const due = this.#timers.takeDue(nowMs)
      if (due === undefined) return
      const { outcome } = this.#run(() => due.value.handler(nowMs))
      if (!outcome.ok) this.#onTimerFailed(due, { error: outcome.error, nowMs })
    }
  }

  #onTimerFailed(
    due: { key: string; value: MachineTimer<R> },
    failure: { error: NaruError; nowMs: number },
  ): void {
    this.#options.onTimerFailed?.(due.key, failure.error)
    // The log refuses for a moment (full, changing hands): the deadline stays due. Anything else would fail again.
    const isWorthRetry = failure.error.retriable && this.#isLeading && !this.#timers.has(due.key)
    if (isWorthRetry)
      this.#timers.set(due.key, { deadlineMs: failure.nowMs + TIMER_RETRY_MS, value: due.value })
  }

  #refusal(): NaruError | undefined {
    if (!this.#isLeading) return this.#options.lostLeadership('none')
    const { pendingMax } = this.#options
    if (this.#parked.length < pendingMax) return undefined
    return new NaruError('OVERLOADED', `${pendingMax} changes wait for their commit already: try again later`)
  }

  #run<T>(handler: Handler<R, T>): { outcome: Outcome<T>; hasRecords: boolean } {
    try {
      const result = handler()
      if (result.records.length > 0) this.#append(result)
      return { outcome: { ok: true, response: result.response }, hasRecords: result.records.length > 0 }
    } catch (thrown) {
      if (thrown instanceof InvariantViolation) throw thrown
      return { outcome: { ok: false, error: NaruError.from(thrown) }, hasRecords: false }
    }
  }

  /** Replays before it appends: records that cannot be replayed would stop every node that reads the log. */
  #append(result: MachineResult<R, unknown>): void {
    const { registry, machine, append } = this.#options
    registry.take(this.#endIndex)
    try {
      for (const record of result.records) machine.replay(record)
      const endIndex = append(result.records)
      assert(endIndex > this.#endIndex, `append ended at ${endIndex}, before it at ${this.#endIndex}`)
      this.#endIndex = endIndex
    } catch (thrown) {
      registry.revertTo(this.#endIndex)
      throw thrown
    }
  }

  #park(answer: Omit<Parked, 'endIndex'>): void {
    if (this.#endIndex === this.#committedEndIndex) answer.finish(undefined)
    else this.#parked.push({ ...answer, endIndex: this.#endIndex })
  }
}

/** Some of the log, up to `endIndex`, exclusive. */
export interface LogPart<R> {
  readonly records: readonly R[]
  readonly endIndex: number
}

export interface MachineRuntimeOptions<R> {
  readonly machine: StateMachine<R>
  /** The one that the machine's timeline structures were made with. */
  readonly registry: SnapshotRegistry
  /**
   * Puts the records of one write at the end of the log as one entry (not yet durable) and returns the log's
   * new exclusive end. Throws a NaruError if it refuses; then nothing was appended.
   */
  readonly append: (records: readonly R[]) => number
  /** What a caller is told whose write met a lost leadership, or none. */
  readonly lostLeadership: (outcome: 'none' | 'unknown') => NaruError
  /** Answers parked at a time: more are refused, because commits have fallen behind. */
  readonly pendingMax: number
  /** Where the log begins that will be loaded. Default 0. */
  readonly endIndex?: number
  /** A timer's handler failed: somebody should log it. A retriable failure is tried again by itself. */
  readonly onTimerFailed?: (key: string, error: NaruError) => void
}

export type Outcome<T> =
  | { readonly ok: true; readonly response: T }
  | { readonly ok: false; readonly error: NaruError }

export type TimerHandler<R> = (nowMs: number) => MachineResult<R, unknown>

interface MachineTimer<R> {
  readonly handler: TimerHandler<R>
}

interface Parked {
  readonly endIndex: number
  readonly hasRecords: boolean
  /** With an error: the lead was lost. Without: the outcome that was parked. */
  readonly finish: (error: NaruError | undefined) => void
}

/** A mass expiry (a thousand members of a dead machine) is spread over turns of the event loop. */
export const TIMERS_PER_TURN_MAX = 256
/** Long enough for a full log buffer to empty, short beside the seconds that timers are set for. */
export const TIMER_RETRY_MS = 100
