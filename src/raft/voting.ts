/** Answers to those who campaign. The same in every role; the role only says whether it hears a leader. */
import type { PreVoteRequest, VoteRequest } from './messages.ts'
import type { NodeState } from './node-state.ts'
import type { Role } from './role.ts'

/** Changes neither term nor vote, whatever the answer (R15). */
export function onPreVoteRequest(state: NodeState, role: Role, request: PreVoteRequest): void {
  const granted = request.term >= state.term && state.log.isUpToDate(request.last) && !role.hearsLeader
  state.outbox.send({
    type: 'pre-vote-answer',
    from: state.self,
    to: request.from,
    term: state.term,
    requestTerm: request.term,
    granted,
  })
}

/**
 * Whether the request must not even raise the term: who still hears the leader takes the candidate for cut off,
 * or removed from the cluster (thesis, section 4.2.3). The leader's own wish is no disturbance.
 */
export function isDisturbance(role: Role, request: VoteRequest): boolean {
  return role.hearsLeader && !request.transfer
}

/**
 * The request is of the current term. Members that are not voters by their own log vote as well: the entry
 * that makes them voters may not have reached them, and they may be needed to elect who holds it.
 */
export function onVoteRequest(state: NodeState, role: Role, request: VoteRequest): void {
  const free = state.votedFor === undefined && role.leader === undefined
  const granted = (free || state.votedFor === request.from) && state.log.isUpToDate(request.last)
  if (granted) {
    state.voteFor(request.from)
    role.onVoteGranted()
  }
  const { quietMs, self, term } = state
  const known = granted && quietMs !== undefined ? { quietMs } : {}
  state.outbox.send({ type: 'vote-answer', from: self, to: request.from, term, granted, ...known })
}
