/**
 * The memberships that the log holds, each from the index of its entry on. The latest one is in force from
 * the moment its entry is appended, committed or not (thesis, section 4.1); truncating the entry away brings
 * the one before back.
 *
 * Invariants: never empty; indexes rise; the first entry is at or below the snapshot, so it is committed and
 * can never be truncated.
 */
import { assert } from '../base/assert.ts'
import { isVoter, type MemberId, type Membership } from './membership.ts'

interface Stage {
  readonly index: number
  readonly membership: Membership
}

export class MembershipHistory {
  #stages: Stage[]

  constructor(start: Stage) {
    this.#stages = [start]
  }

  get latest(): Membership {
    return this.#last.membership
  }

  get latestIndex(): number {
    return this.#last.index
  }

  append(stage: Stage): void {
    assert(stage.index > this.#last.index, `membership at ${stage.index} after ${this.#last.index}`)
    this.#stages.push(stage)
  }

  /** Forgets the memberships at `index` and above. True if the latest one changed by that. */
  truncateFrom(index: number): boolean {
    const kept = this.#stages.filter(stage => stage.index < index)
    assert(kept.length > 0, `truncation from ${index} would take the last committed membership`)
    const changed = kept.length < this.#stages.length
    this.#stages = kept
    return changed
  }

  /** The membership in force at `index`, inclusive. */
  at(index: number): Membership {
    const stage = this.#stages.findLast(candidate => candidate.index <= index)
    assert(stage !== undefined, `membership at ${index} is compacted`)
    return stage.membership
  }

  /** Whether `member` votes in the membership in force at `index` or in any later one. */
  votesSince(index: number, member: MemberId): boolean {
    const first = this.#stages.findLastIndex(stage => stage.index <= index)
    return this.#stages.slice(Math.max(first, 0)).some(stage => isVoter(stage.membership, member))
  }

  /** Forgets what no index from `index` on needs. */
  compact(index: number): void {
    const first = this.#stages.findLastIndex(stage => stage.index <= index)
    if (first > 0) this.#stages = this.#stages.slice(first)
  }

  restore(start: Stage): void {
    this.#stages = [start]
  }

  get #last(): Stage {
    const last = this.#stages.at(-1)
    assert(last !== undefined, 'membership history is empty')
    return last
  }
}
