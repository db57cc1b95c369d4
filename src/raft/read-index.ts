/**
 * Linearizable reads without a write (thesis, section 6.4): the leader notes its commit index, then proves
 * with one round of heartbeats that it still led after the read began. No clock is trusted for it.
 *
 * Invariants:
 *  - rounds rise by 1 and are never reused within a term: an answer to round r says that its sender followed
 *    this leader after round r had begun, and nothing about a later round (a reused id lets a delayed answer
 *    confirm a read that began after it was sent: stale reads in etcd until 3.5);
 *  - a read waits for a round that begins after it;
 *  - no read is taken before an entry of the own term is committed: until then the commit index may be behind.
 *
 * At most one round is under way on behalf of reads; what comes in meanwhile shares the next one.
 */
import { assert } from '../base/assert.ts'
import type { MemberId } from './membership.ts'
import { quorumValue } from './quorum.ts'

export type Reader =
  | { readonly ticket: number; readonly member?: undefined }
  | { readonly member: MemberId; readonly id: string }

export interface ConfirmedRead {
  readonly reader: Reader
  readonly index: number
}

export class ReadIndex {
  readonly #readsMax: number
  /** In the order of their rounds. */
  #pending: { readonly reader: Reader; readonly index: number; readonly round: number }[] = []
  /** Asked before an entry of the own term was committed. */
  #early: Reader[] = []
  #round = 0
  #confirmedRound = 0
  readonly #answeredRounds = new Map<MemberId, number>()

  constructor(readsMax: number) {
    this.#readsMax = readsMax
  }

  get isFull(): boolean {
    return this.#pending.length + this.#early.length >= this.#readsMax
  }

  /** Whether reads wait for a round that has not begun, and none that has begun is waited for. */
  get wantsRound(): boolean {
    const first = this.#pending[0]
    return first !== undefined && first.round > this.#round
  }

  addEarly(reader: Reader): void {
    assert(!this.isFull, 'too many reads wait')
    this.#early.push(reader)
  }

  takeEarly(): Reader[] {
    return this.#early.splice(0)
  }

  /** `commitIndex`: the leader's, at this moment. */
  add(reader: Reader, commitIndex: number): void {
    assert(!this.isFull, 'too many reads wait')
    this.#pending.push({ reader, index: commitIndex, round: this.#round + 1 })
  }

  /** The number for the heartbeats that go out now. */
  beginRound(): number {
    this.#round++
    return this.#round
  }

  get round(): number {
    return this.#round
  }

  answered(member: MemberId, round: number): void {
    if (round > this.#round) return
    this.#answeredRounds.set(member, Math.max(round, this.#answeredRounds.get(member) ?? 0))
  }

  /** The latest round that a majority has answered. */
  confirm(self: MemberId, voters: readonly MemberId[]): number {
    const roundOf = (voter: MemberId) =>
      voter === self ? this.#round : (this.#answeredRounds.get(voter) ?? 0)
    this.#confirmedRound = Math.max(this.#confirmedRound, quorumValue(voters, roundOf))
    return this.#confirmedRound
  }

  /** Reads whose round is confirmed. */
  takeConfirmed(): ConfirmedRead[] {
    const end = this.#pending.findIndex(read => read.round > this.#confirmedRound)
    return this.#pending.splice(0, end === -1 ? this.#pending.length : end)
  }

  takeAll(): Reader[] {
    return [...this.takeEarly(), ...this.#pending.splice(0).map(read => read.reader)]
  }
}
