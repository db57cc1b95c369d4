import type { MemberId } from '../../src/raft/membership.ts'
import type { RaftInput } from '../../src/raft/raft-input.ts'
import type { RaftNode } from '../../src/raft/raft-node.ts'
import type { RaftOutput } from '../../src/raft/raft-output.ts'
import type { RaftStatus } from '../../src/raft/raft-status.ts'
import type { ClusterJournal } from './cluster-journal.ts'

/** What a leader was asked and answered in one term. Moments are counted, and no two are the same. */
interface Leadership {
  readonly term: number
  now: number
  /** When each read came, by its ticket or id. */
  readonly reads: Map<number | string, number>
  /** When the heartbeat of a round left first: whoever answers it may have heard no later one. */
  readonly rounds: Map<number, number>
  /** The latest heartbeat that each member has answered, by when it left. */
  readonly answered: Map<MemberId, number>
}

/**
 * R13 where it is decided: a leader answers a read once a majority has answered heartbeats that left after the read came.
 * What clients see says so, too, but only where another leader has committed something in between.
 */
export class ReadIndexOracle {
  readonly #journal: ClusterJournal
  readonly #leaderships = new WeakMap<RaftNode, Leadership>()

  constructor(journal: ClusterJournal) {
    this.#journal = journal
  }

  onStep(
    node: RaftNode,
    { input, output, now }: { input: RaftInput; output: RaftOutput; now: RaftStatus },
  ): void {
    if (now.role !== 'leader') return
    const leadership = this.#leadershipOf(node, now.term)
    this.#take(leadership, input)
    leadership.now++
    for (const message of output.sendNow) {
      if (message.type === 'heartbeat' && !leadership.rounds.has(message.round))
        leadership.rounds.set(message.round, leadership.now)
      if (message.type === 'read-index-answer' && message.index !== undefined)
        this.#checkConfirmed(leadership, now, message.id)
    }
    for (const { ticket } of output.readStates) this.#checkConfirmed(leadership, now, ticket)
    leadership.now++
  }

  #take(leadership: Leadership, input: RaftInput): void {
    const { now, term, reads, rounds, answered } = leadership
    if (input.type === 'read-index') reads.set(input.ticket, now)
    if (input.type !== 'message') return
    const { message } = input
    if (message.type === 'read-index-request') reads.set(message.id, now)
    if (message.type !== 'heartbeat-answer' || message.term !== term) return
    const leftAt = rounds.get(message.round) ?? 0
    answered.set(message.from, Math.max(leftAt, answered.get(message.from) ?? 0))
  }

  #checkConfirmed({ reads, answered }: Leadership, now: RaftStatus, read: number | string): void {
    const { self, term, membership } = now
    const { voters } = membership
    const cameAt = reads.get(read)
    const confirmers = voters.filter(
      voter => voter === self || (cameAt !== undefined && (answered.get(voter) ?? 0) > cameAt),
    )
    this.#journal.expect(
      cameAt !== undefined && confirmers.length > voters.length / 2,
      () =>
        `R13 the leader ${self} of term ${term} answers a read that only ${confirmers.join(' ') || 'nobody'} of ${voters.join(' ')} confirmed after it came`,
    )
    reads.delete(read)
  }

  #leadershipOf(node: RaftNode, term: number): Leadership {
    const known = this.#leaderships.get(node)
    if (known?.term === term) return known
    const made = { term, now: 1, reads: new Map(), rounds: new Map(), answered: new Map() }
    this.#leaderships.set(node, made)
    return made
  }
}
