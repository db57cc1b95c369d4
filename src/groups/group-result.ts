import type { Epoch } from '../base/brands.ts'
import type { MachineResult } from '../machine/state-machine.ts'
import type { GroupRecord } from './group-record.ts'

/**
 * What a handler of the groups returns. `timers` are set by the driver when the handler has run (not at the
 * commit: a heartbeat must count although the log stands still for a moment), each replacing one of the same key. None is
 * ever cancelled: a timer whose cause is gone does nothing.
 */
export interface GroupResult<T> extends MachineResult<GroupRecord, T> {
  readonly timers: readonly GroupTimer[]
  /**
   * Members whose `membership` may differ from what their streams were told (they may also be gone). The driver reads
   * it through the runtime, so that nothing is told that is not committed, and tells the difference (`MembershipFeed`).
   */
  readonly changed: readonly MemberName[]
}

export interface GroupTimer {
  readonly key: string
  readonly delayMs: number
  /** `nowMs` is the wall clock, as for all handlers of the groups. */
  readonly run: (nowMs: number) => GroupResult<unknown>
}

export interface MemberName {
  readonly group: string
  readonly member: string
}

/** The one stream that speaks for a member: a newer one of the same member has a higher epoch. */
export interface MemberStream extends MemberName {
  readonly attachEpoch: Epoch
}

/** A handler that only looks. Its answer, too, leaves when what it has seen is committed. */
export function readOnly<T>(response: T, timers: readonly GroupTimer[] = []): GroupResult<T> {
  return { records: [], response, timers, changed: [] }
}
