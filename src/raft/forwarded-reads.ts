/**
 * Read-index requests of a follower, on their way to the leader and back.
 *
 * Ids carry the incarnation of the process: an answer to a request from before a restart names an index that
 * may be older than the request that would otherwise have got the same id.
 */
import type { MemberId } from './membership.ts'
import type { ReadIndexAnswer } from './messages.ts'
import type { NodeState } from './node-state.ts'

export class ForwardedReads {
  readonly #state: NodeState
  /** By id, in the order asked. */
  readonly #waiting = new Map<string, { readonly ticket: number; deadlineMs: number }>()

  constructor(state: NodeState) {
    this.#state = state
  }

  ask(ticket: number, leader: MemberId | undefined): void {
    const { self, term, incarnation, outbox, nowMs, timing, limits } = this.#state
    if (leader === undefined) {
      this.#abort([ticket], 'no leader is known')
      return
    }
    if (this.#waiting.size >= limits.readsMax) {
      this.#abort([ticket], 'too many reads wait')
      return
    }
    const id = `${incarnation}/${this.#state.nextReadNumber()}`
    this.#waiting.set(id, { ticket, deadlineMs: nowMs + timing.electionTimeoutMs.min })
    outbox.send({ type: 'read-index-request', from: self, to: leader, term, id })
  }

  onAnswer({ id, index }: ReadIndexAnswer): void {
    const read = this.#waiting.get(id)
    if (read === undefined) return
    this.#waiting.delete(id)
    if (index === undefined) this.#abort([read.ticket], 'the leader cannot answer now')
    else this.#state.outbox.answerRead({ ticket: read.ticket, index })
  }

  onTick(): void {
    const late: number[] = []
    for (const [id, read] of this.#waiting) {
      if (this.#state.nowMs < read.deadlineMs) break
      this.#waiting.delete(id)
      late.push(read.ticket)
    }
    this.#abort(late, 'the leader did not answer in time')
  }

  onStall(stalledMs: number): void {
    for (const read of this.#waiting.values()) read.deadlineMs += stalledMs
  }

  abort(reason: string): void {
    const tickets = [...this.#waiting.values()].map(read => read.ticket)
    this.#waiting.clear()
    this.#abort(tickets, reason)
  }

  #abort(tickets: readonly number[], reason: string): void {
    if (tickets.length > 0) this.#state.outbox.tell({ type: 'reads-aborted', tickets, reason })
  }
}
