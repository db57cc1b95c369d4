/**
 * What the leader changes in the membership by itself: a voter whose disk is gone gives its place to what its node is
 * now (rules A3, A4), and members that will never be back are let go. One change at a time, judged anew after each
 * from nothing but what is known to every leader, so that any leader goes on where another one stopped:
 *
 *   voter V, learner N of the same node    demote V    when N is what the node is now, and has caught up
 *   learners V and N, voters of even count promote N   V was demoted for it: it stays as the mark of that until then
 *   learner V, voter N                     remove V
 *
 * An even count of voters is never meant to last (it survives no more failures than one less): so where two learners of
 * one node meet it, a promotion does no harm even if nobody was demoted for it.
 *
 * A voter is given up only while all others are in contact: what remains must not hang on one that is gone as well.
 */
import type { NodeId } from '../base/brands.ts'
import { type MemberId, type MembershipChange, nodeIdOf } from './membership.ts'
import type { MemberStatus, RaftStatus } from './raft-status.ts'

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
  const plan = new RepairPlan(facts)
  return plan.promotion() ?? plan.replacement() ?? plan.removal()
}

class RepairPlan {
  readonly #facts: MembershipFacts
  readonly #progress: ReadonlyMap<MemberId, MemberStatus>
  readonly #voterNodes: ReadonlySet<NodeId>

  constructor(facts: MembershipFacts) {
    const { membership, members } = facts.status
    this.#facts = facts
    this.#progress = new Map(members.map(progress => [progress.member, progress]))
    this.#voterNodes = new Set(membership.voters.map(nodeIdOf))
  }

  /** Second half of a replacement. */
  promotion(): MembershipRepair | undefined {
    if (!this.#isEven) return undefined
    const { learners } = this.#facts.status.membership
    const before = new Map<NodeId, MemberId>()
    for (const learner of learners) {
      const nodeId = nodeIdOf(learner)
      const other = before.get(nodeId)
      before.set(nodeId, learner)
      const current = other === undefined ? undefined : this.#facts.currentOf(nodeId)
      if (current === undefined || (current !== learner && current !== other)) continue
      if (this.#voterNodes.has(nodeId) || !this.#isCaughtUp(current)) continue
      const former = current === learner ? other : learner
      return {
        change: { op: 'promote', member: current },
        reason: `it takes the place of ${former}, whose disk is gone`,
      }
    }
    return undefined
  }

  replacement(): MembershipRepair | undefined {
    const { status, silentMs, abandonedMs } = this.#facts
    const { voters, learners } = status.membership
    for (const voter of voters) {
      if (!this.#isSilent(voter, silentMs)) continue
      const others = voters.filter(other => other !== voter)
      if (others.some(other => this.#isSilent(other, this.#facts.contactMs))) continue
      const nodeId = nodeIdOf(voter)
      const successor = this.#facts.currentOf(nodeId)
      if (successor !== undefined && learners.includes(successor) && this.#isCaughtUp(successor)) {
        const reason = `its node runs as ${successor} now, which takes its place`
        return { change: { op: 'demote', member: voter }, reason }
      }
      if (this.#facts.isRemoved(nodeId) && this.#isSilent(voter, abandonedMs))
        return {
          change: { op: 'remove', member: voter },
          reason: `node ${nodeId} was removed from the cluster`,
        }
    }
    return undefined
  }

  removal(): MembershipRepair | undefined {
    const { status, silentMs, abandonedMs } = this.#facts
    for (const learner of status.membership.learners) {
      if (!this.#isSilent(learner, silentMs)) continue
      const nodeId = nodeIdOf(learner)
      const successor = this.#facts.currentOf(nodeId)
      if (successor !== undefined && successor !== learner && !this.#marksReplacement(successor))
        return { change: { op: 'remove', member: learner }, reason: `its node runs as ${successor} now` }
      if (!this.#facts.isRegistered(nodeId) && this.#isSilent(learner, abandonedMs))
        return {
          change: { op: 'remove', member: learner },
          reason: `node ${nodeId} is not registered, and silent`,
        }
    }
    return undefined
  }

  get #isEven(): boolean {
    return this.#facts.status.membership.voters.length % 2 === 0
  }

  /** The successor of a learner is still to be promoted: what tells that is that learner. */
  #marksReplacement(successor: MemberId): boolean {
    return this.#isEven && this.#progress.has(successor) && !this.#voterNodes.has(nodeIdOf(successor))
  }

  /** The leader itself never is, nor is who is no member. */
  #isSilent(member: MemberId, forMs: number): boolean {
    const heardMs = this.#progress.get(member)?.heardMs
    return heardMs !== undefined && this.#facts.nowMs - heardMs >= forMs
  }

  #isCaughtUp(member: MemberId): boolean {
    const matchIndex = this.#progress.get(member)?.matchIndex
    return matchIndex !== undefined && matchIndex >= this.#facts.status.commitIndex
  }
}
