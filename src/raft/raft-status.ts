/** A node's own view of the quorum, for the controller, `naru cluster quorum`, metrics and tests. */
import { Leader } from './leader.ts'
import type { MemberId, Membership } from './membership.ts'
import type { LogPosition } from './messages.ts'
import type { LostLeader, NodeState } from './node-state.ts'
import type { ProgressState } from './progress.ts'
import type { RoleName } from './raft-output.ts'
import type { Role } from './role.ts'

export interface RaftStatus {
  readonly self: MemberId
  readonly role: RoleName
  readonly term: number
  readonly votedFor: MemberId | undefined
  readonly leader: MemberId | undefined
  readonly membership: Membership
  /** The latest membership is committed; the next change may be made. */
  readonly membershipIsCommitted: boolean
  readonly logStart: LogPosition
  readonly last: LogPosition
  readonly persistedIndex: number
  readonly commitIndex: number
  readonly appliedIndex: number
  readonly snapshotIndex: number
  /** On a leader: an entry of its term is committed, reads and membership changes work. */
  readonly isReady: boolean
  readonly transferTarget: MemberId | undefined
  /** When a leader was last heard; on one that led, when it last heard a majority. Undefined: never in this process. */
  readonly leaderHeardMs: number | undefined
  /**
   * On one that has led: since then none of those who elected it had heard the leader before, who could prove nothing to
   * anybody after that.
   */
  readonly electorsHeardMs: number | undefined
  /** The leader before, if this node saw its connection to it close, and has not got it back. */
  readonly lostLeader: LostLeader | undefined
  /** On a leader: every other member. */
  readonly members: readonly MemberStatus[]
}

export interface MemberStatus {
  readonly member: MemberId
  readonly state: ProgressState
  readonly matchIndex: number
  readonly nextIndex: number
  readonly isPaused: boolean
  readonly inflightCount: number
  /** Of its last answer; of the start of this leadership if there was none. */
  readonly heardMs: number
  /** When it refused a dial last, so that its process was gone; undefined: not since it was connected. */
  readonly refusedMs: number | undefined
  /** What the last answer carried: the node epoch, applied index and unreachable peers of the member's driver. */
  readonly attachment: Uint8Array | undefined
}

export function makeStatus(state: NodeState, role: Role): RaftStatus {
  const { log, memberships } = state
  const leader = role instanceof Leader ? role : undefined
  return {
    self: state.self,
    role: role.name,
    term: state.term,
    votedFor: state.votedFor,
    leader: role.leader,
    membership: state.membership,
    membershipIsCommitted: memberships.latestIndex <= log.commitIndex,
    logStart: log.base,
    last: log.last,
    persistedIndex: log.persistedIndex,
    commitIndex: log.commitIndex,
    appliedIndex: log.appliedIndex,
    snapshotIndex: state.snapshot.index,
    isReady: leader?.isReady ?? false,
    transferTarget: leader?.transferTarget,
    leaderHeardMs: state.leaderHeardMs,
    electorsHeardMs: state.electorsHeardMs,
    lostLeader: state.lostLeader,
    members:
      leader === undefined
        ? []
        : [...leader.replicator.members].map(member => memberStatus(state, leader, member)),
  }
}

function memberStatus(of: NodeState, leader: Leader, member: MemberId): MemberStatus {
  const progress = leader.replicator.progressOf(member)
  const attachment = leader.replicator.contactOf(member)?.attachment
  if (progress === undefined) throw new Error(`no progress of ${member}`)
  const { state, matchIndex, nextIndex, isPaused, inflightCount, heardMs } = progress
  const refusedMs = of.refusedMsOf(member)
  return { member, state, matchIndex, nextIndex, isPaused, inflightCount, heardMs, refusedMs, attachment }
}
