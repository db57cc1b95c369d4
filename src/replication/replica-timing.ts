/** Paces and patience of replication. All times that come in are of one clock that does not run while nobody listens (A8). */
export interface ReplicaTiming {
  /** A follower that has not caught up for so long leaves the ISR (`replica.lag.time.max.ms`). */
  readonly lagTimeMaxMs: number
  /** A follower whose stream broke, and that has not followed again for so long, leaves the ISR. */
  readonly disconnectGraceMs: number
  /** A member of the ISR that has not followed so long after the leader began leaves it. */
  readonly firstFollowMs: number
  /** After the controller refused a proposal: until the next one. */
  readonly proposalBackoffMs: number
  /** After a leader refused a `Follow`: until the next one. */
  readonly followBackoffMs: number
  /** The same for a follower whose disk is full, and that has told so. */
  readonly fullBackoffMs: number
  /** A `Follow` without an answer is sent anew. */
  readonly followTimeoutMs: number
  /**
   * A handover holds produces up while the followers fetch the rest, for so long at most, and so long again for the
   * controller's answer (C11).
   */
  readonly handoverMsMax: number
  /** After a handover that did not come about: until the next one. */
  readonly handoverRetryMs: number
  /** How long the preferred leader must have been able to lead without a break before it gets the partition back. */
  readonly preferredReadyMs: number
}

export const REPLICA_TIMING: ReplicaTiming = {
  lagTimeMaxMs: 5_000,
  disconnectGraceMs: 300,
  firstFollowMs: 1_000,
  proposalBackoffMs: 500,
  followBackoffMs: 100,
  fullBackoffMs: 1_000,
  followTimeoutMs: 3_000,
  handoverMsMax: 1_000,
  handoverRetryMs: 1_000,
  preferredReadyMs: 2_000,
}
