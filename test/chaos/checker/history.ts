import { assert } from '../../../src/base/assert.ts'

/**
 * What clients did to partitions and were told, as it was recorded: an event when a call begins, and another one when it
 * ends. One JSON object a line. Each value is written by one operation only, so that it is known again wherever it
 * turns up.
 *
 * - `send`: wrote `values` to one partition; ok with their `offsets`.
 * - `assign`: the process reads the partition from `startOffset` on; undefined: from somewhere. Its polls before and after
 *   are not compared.
 * - `poll`: took records that the process was sent; in order, and nothing left out since the poll before.
 * - `fetch`: asked a leader for what is there from `startOffset` on; ok with the `endOffset` (high watermark) it gave.
 * - `latest`: asked a leader for the end.
 * - `hang`: the node was stopped from without, and went on at the end; of no partition.
 * - `unrest`: leaders may have changed, or not have heard of it, until the end; of no partition.
 * - `commit`: a member of `group` says that all before `position` is done; `committed`: asks for it, ok with the `position`, or
 *   with none. A group's `assign` and `poll` name it, too.
 * - `own`: the coordinator's record, as it can be read from `__groups`, calls the process the owner of a partition for `group`, until
 *   the end; `position`: what the group had committed when it began. Times are of the reading: later than the record.
 * - `stored`: the same record says that `group` has committed `position`.
 * - `drain`: of the final phase, by way of one node: everything from the beginning to the end.
 *
 * ok: it happened. fail: it certainly did not. info: nobody knows, as of all that have no second event.
 */
export type HistoryEvent = Invocation | Completion

export interface Invocation {
  readonly id: number
  readonly type: 'invoke'
  readonly op: OperationKind
  readonly process: string
  /** The node that was asked, where it was a certain one. */
  readonly node?: number
  readonly partition: string
  readonly timeMs: number
  readonly values?: readonly string[]
  readonly startOffset?: number
  readonly group?: string
  /** Offset of the first record that is not done. */
  readonly position?: number
}

export interface Completion {
  readonly id: number
  readonly type: Outcome
  readonly timeMs: number
  readonly values?: readonly string[]
  readonly offsets?: readonly number[]
  /** Exclusive. */
  readonly endOffset?: number
  readonly position?: number
  readonly error?: string
}

export type OperationKind =
  | 'send'
  | 'assign'
  | 'poll'
  | 'fetch'
  | 'latest'
  | 'commit'
  | 'committed'
  | 'own'
  | 'stored'
  | 'hang'
  | 'unrest'
  | 'drain'
export type Outcome = 'ok' | 'fail' | 'info'

/** Both events of an operation. */
export interface Operation {
  readonly id: number
  readonly op: OperationKind
  readonly process: string
  readonly node: number | undefined
  readonly partition: string
  readonly outcome: Outcome
  /** Of a `send` what it wrote, else what it read. */
  readonly values: readonly string[]
  /** Of each value; none of a `send` that is not known to be stored. */
  readonly offsets: readonly number[]
  readonly startOffset: number | undefined
  readonly endOffset: number | undefined
  readonly group: string | undefined
  /** Committed, or found to be committed. */
  readonly position: number | undefined
  readonly invokedMs: number
  /** Undefined: it never ended. */
  readonly completedMs: number | undefined
  readonly error: string | undefined
}

/** By invocation. */
export function operationsOf(events: Iterable<HistoryEvent>): Operation[] {
  const begun = new Map<number, Invocation>()
  const operations: Operation[] = []
  for (const event of events) {
    const begin = begun.get(event.id)
    if (event.type === 'invoke') {
      assert(begin === undefined, `operation ${event.id} began twice`)
      begun.set(event.id, event)
    } else {
      assert(begin !== undefined, `operation ${event.id} ends once, after it began`)
      begun.delete(event.id)
      operations.push(operation(begin, event))
    }
  }
  for (const begin of begun.values()) operations.push(operation(begin, undefined))
  return operations.sort((a, b) => a.invokedMs - b.invokedMs)
}

/** A file of events; the line that a killed recorder left half-written at the end does not count. */
export function parseHistory(text: string): HistoryEvent[] {
  const lines = text.split('\n')
  const last = lines.pop()
  assert(last !== undefined, 'a split text has a last line')
  return lines.map(line => JSON.parse(line) as HistoryEvent)
}

/** Of those that read, what they read; anything else of what is not ok is not known. */
export function isRead({ op, outcome }: Operation): boolean {
  return outcome === 'ok' && (op === 'poll' || op === 'fetch' || op === 'drain')
}

/** Infinite: it never ended. */
export function endOf(one: Operation): number {
  return one.completedMs ?? Number.POSITIVE_INFINITY
}

function operation(begin: Invocation, end: Completion | undefined): Operation {
  const outcome = end?.type ?? 'info'
  const isOk = outcome === 'ok'
  const values = (begin.op === 'send' ? begin.values : isOk ? end?.values : undefined) ?? NOTHING
  const offsets = (isOk ? end?.offsets : undefined) ?? NOTHING
  assert(!isOk || offsets.length === values.length, `operation ${begin.id}: each value has its offset`)
  return {
    id: begin.id,
    op: begin.op,
    process: begin.process,
    node: begin.node,
    partition: begin.partition,
    outcome,
    values,
    offsets,
    startOffset: begin.startOffset,
    endOffset: isOk ? end?.endOffset : undefined,
    group: begin.group,
    position: begin.position ?? (isOk ? end?.position : undefined),
    invokedMs: begin.timeMs,
    completedMs: end?.timeMs,
    error: end?.error,
  }
}

const NOTHING: readonly never[] = []
