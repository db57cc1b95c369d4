/**
 * What the leader changes in the membership by itself: a voter whose disk is gone gives its place to what its node is
 * now (rules A3, A4), and members that will never be back are let go. One change at a time, judged anew after each
 * from nothing but what is known to every leader, so that any leader goes on where another one stopped:
 *
 *   voter V, learner N of the same node    demote V    when N is what the node is now, and has caught up
 *   learners V and N, voters of even count promote N   V was demoted for it: it stays as the mark of that until then
 *   learner V, voter N                     remove V
 *
 * A voter is given up only while all others are in contact: what remains must not hang on one that is gone as well.
 */
import type { NodeId } from '../base/brands.ts'
import { type MemberId, type MembershipChange, nodeIdOf } from './membership.ts'
import type { RaftStatus } from './raft-status.ts'

export interface MembershipFacts {
  /** Of the leader. */
  readonly status: RaftStatus
  readonly nowMs: number
  /** The member that a registered node runs now; undefined: not known. */
  readonly currentOf: (nodeId: NodeId) => MemberId | undefined
  readonly isRegistered: (nodeId: NodeId) => boolean
  /** It was registered once, and was removed. */
  readonly isRemoved: (nodeId: NodeId) => boolean
  /** Heard within this, a voter is in contact. */
  readonly contactMs: number
  /** Not heard for so long, a member may be replaced by what its node is now. */
  readonly silentMs: number
  /** Not heard for so long, a member of no registered node is gone. */
  readonly abandonedMs: number
}

export interface MembershipRepair {
  readonly change: MembershipChange
  readonly reason: string
}

export function planRepair(facts: MembershipFacts): MembershipRepair | undefined {
  const { status } = facts
  if (!status.isReady || !status.membershipIsCommitted || status.transferTarget !== undefined)
    return undefined
  return planPromotion(facts) ?? planReplacement(facts) ?? planRemoval(facts)
}

/** Second half of a replacement. */
function planPromotion(facts: MembershipFacts): MembershipRepair | undefined {
  const { voters, learners } = facts.status.membership
  if (voters.length % 2 !== 0) return undefined
  for (const learner of learners) {
    const nodeId = nodeIdOf(learner)
    const former = learners.find(other => other !== learner && nodeIdOf(other) === nodeId)
    if (former === undefined || facts.currentOf(nodeId) !== learner) continue
    if (voters.some(voter => nodeIdOf(voter) === nodeId) || !isCaughtUp(facts, learner)) continue
    return {
      change: { op: 'promote', member: learner },
      reason: `it takes the place of ${former}, whose disk is gone`,
    }
  }
  return undefined
}

function planReplacement(facts: MembershipFacts): MembershipRepair | undefined {
  const { voters, learners } = facts.status.membership
  for (const voter of voters) {
    if (voter === facts.status.self || !isSilent(facts, voter, facts.silentMs)) continue
    const nodeId = nodeIdOf(voter)
    const others = voters.filter(other => other !== voter)
    if (!others.every(other => isInContact(facts, other))) continue
    const successor = facts.currentOf(nodeId)
    if (successor !== undefined && learners.includes(successor) && isCaughtUp(facts, successor)) {
      const reason = `its node runs as ${successor} now, which takes its place`
      return { change: { op: 'demote', member: voter }, reason }
    }
    if (facts.isRemoved(nodeId) && isSilent(facts, voter, facts.abandonedMs))
      return {
        change: { op: 'remove', member: voter },
        reason: `node ${nodeId} was removed from the cluster`,
      }
  }
  return undefined
}

function planRemoval(facts: MembershipFacts): MembershipRepair | undefined {
  const { voters, learners } = facts.status.membership
  for (const learner of learners) {
    const nodeId = nodeIdOf(learner)
    const successor = facts.currentOf(nodeId)
    const isReplaced = successor !== undefined && successor !== learner
    const marksReplacement =
      isReplaced && voters.length % 2 === 0 && learners.includes(successor) && !hasVoter(voters, nodeId)
    if (isReplaced && !marksReplacement && isSilent(facts, learner, facts.silentMs))
      return { change: { op: 'remove', member: learner }, reason: `its node runs as ${successor} now` }
    if (!facts.isRegistered(nodeId) && isSilent(facts, learner, facts.abandonedMs))
      return {
        change: { op: 'remove', member: learner },
        reason: `node ${nodeId} is not registered, and silent`,
      }
  }
  return undefined
}

function hasVoter(voters: readonly MemberId[], nodeId: NodeId): boolean {
  return voters.some(voter => nodeIdOf(voter) === nodeId)
}

function isInContact(facts: MembershipFacts, member: MemberId): boolean {
  return member === facts.status.self || !isSilent(facts, member, facts.contactMs)
}

/** The leader itself is never silent; nor is who is no member. */
function isSilent({ status, nowMs }: MembershipFacts, member: MemberId, forMs: number): boolean {
  const heardMs = status.members.find(other => other.member === member)?.heardMs
  return heardMs !== undefined && nowMs - heardMs >= forMs
}

function isCaughtUp({ status }: MembershipFacts, member: MemberId): boolean {
  const progress = status.members.find(other => other.member === member)
  return progress !== undefined && progress.matchIndex >= status.commitIndex
}
