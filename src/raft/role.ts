/**
 * What the three role classes have in common. A node is in exactly one role; `RaftNode` routes to it and
 * makes the transitions that a role asks for:
 *
 *   follower -> pre-candidate -> candidate -> leader     nothing heard in time; a majority would vote; did vote
 *   follower -> candidate                                the leader handed over
 *   any      -> follower                                 a newer term, another's leadership, or no majority
 */
import type { NaruError } from '../base/errors.ts'
import type { MemberId, MembershipChange } from './membership.ts'
import type { RaftMessage } from './messages.ts'
import type { RoleName } from './raft-output.ts'

export interface Role {
  readonly name: RoleName
  readonly leader: MemberId | undefined
  /** Whether a leader is alive as far as this node can tell: it then helps nobody to depose it (rule A7). */
  readonly hearsLeader: boolean
  readonly nextDeadlineMs: number
  /** A message of the current term, votes aside (`voting.ts`). */
  onMessage(message: RaftMessage): void
  onTick(): void
  /** This node did not run for so long: nobody else is to be blamed for that time. */
  onStall(stalledMs: number): void
  onPersisted(): void
  onVoteGranted(): void
  onReadIndex(ticket: number): void
  onConnection(member: MemberId, state: 'lost' | 'restored'): void
  /** The role ends: what waits in it is given up. */
  onEnd(reason: string): void
}

/** What only a leader can be asked. Each answers with the reason for a refusal. */
export interface LeaderRequests {
  propose(commands: readonly Uint8Array[]): NaruError | undefined
  changeMembership(change: MembershipChange): NaruError | undefined
  transfer(to: MemberId): NaruError | undefined
}

export interface Transitions {
  becomeFollower(next: { leader: MemberId | undefined; reason: string }): void
  /** Asks first whether a majority would vote, which disturbs nobody. */
  becomePreCandidate(reason: string): void
  becomeCandidate(next: { transfer: boolean; reason: string }): void
  becomeLeader(): void
}
