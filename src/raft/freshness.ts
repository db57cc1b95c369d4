/**
 * How fresh the state of a member is, by round trips: it says when it asks, by its own clock, in its answers to
 * heartbeats; the leader, once a majority has confirmed that it led after that, answers what its log ended with then. A
 * member that has applied so much knew everything, when it asked, that was committed or even proposed.
 *
 * Only the time of asking counts, never that of an arrival: what lay in a socket while a process stood still is as
 * old as it is, and a deposed leader proves nothing. Nor does what an earlier process of the member asked: its clock was
 * another one, and may have been far ahead.
 */
import type { MemberId } from './membership.ts'

export interface FreshnessProof {
  /** The process that asked. */
  readonly incarnation: string
  /** By its clock. */
  readonly askedMs: number
  /** The last entry of the leader's log when it was asked: only who has applied it is as fresh as that. */
  readonly index: number
}

/** The leader's side, itself included: it asks with each round that it begins. */
export class FreshnessProofs {
  /** Of each member the oldest that is not proven: one that is replaced all the time would never be. */
  readonly #pending = new Map<MemberId, FreshnessProof & { readonly round: number }>()
  readonly #proven = new Map<MemberId, FreshnessProof>()

  /** `round`: the first one to begin after it was asked. */
  asked(member: MemberId, question: FreshnessProof & { readonly round: number }): void {
    if (!this.#pending.has(member)) this.#pending.set(member, question)
  }

  /** A majority followed this leader when that round began. */
  confirmed(confirmedRound: number): void {
    for (const [member, { round, ...proof }] of this.#pending) {
      if (round > confirmedRound) continue
      this.#pending.delete(member)
      this.#proven.set(member, proof)
    }
  }

  of(member: MemberId): FreshnessProof | undefined {
    return this.#proven.get(member)
  }
}

/** A member's own side: the proofs that it was given, as far as it has applied what they name. */
export class Freshness {
  readonly #incarnation: string
  #freshMs: number | undefined
  #waiting: FreshnessProof | undefined
  #next: FreshnessProof | undefined

  constructor(options: { incarnation: string }) {
    this.#incarnation = options.incarnation
  }

  note(proof: FreshnessProof, appliedIndex: number): void {
    if (proof.incarnation !== this.#incarnation) return
    if (this.#waiting) this.#next = proof
    else this.#waiting = proof
    this.applied(appliedIndex)
  }

  applied(appliedIndex: number): void {
    while (this.#waiting && this.#waiting.index <= appliedIndex) {
      this.#freshMs = Math.max(this.#freshMs ?? this.#waiting.askedMs, this.#waiting.askedMs)
      this.#waiting = this.#next
      this.#next = undefined
    }
  }

  /** Undefined: nothing was proven in this process. */
  get freshMs(): number | undefined {
    return this.#freshMs
  }
}
