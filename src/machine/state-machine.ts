/**
 * The contract of a replicated state machine (Kafka's coordinator runtime): a handler looks at the state and
 * returns records and a response; replaying records is the only thing that changes the state, on the leader
 * right after the handler, everywhere else when the log brings them. So all come to the same state.
 */
export interface StateMachine<R> {
  /** Applies one record. Decides nothing: same records, same state. Throws only if the log or the code is wrong. */
  replay(record: R): void
  /** Back to the state before the first record; a snapshot follows. */
  clear(): void
}

export interface MachineResult<R, T> {
  /** Take effect together or not at all. May be empty. */
  readonly records: readonly R[]
  /** Leaves when the records are committed. */
  readonly response: T
}

/** Changes nothing by itself: validates, decides, returns. A `NaruError` thrown is the caller's answer. */
export type Handler<R, T> = () => MachineResult<R, T>
