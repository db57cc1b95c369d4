/** Majority arithmetic over the voters of one membership. */
import type { MemberId } from './membership.ts'

export type Verdict = 'won' | 'lost' | 'pending'

function majorityOf(voterCount: number): number {
  return Math.floor(voterCount / 2) + 1
}

/**
 * The largest value that a majority of the voters has reached: of match indexes the index that may commit, of
 * times when each was last heard the time at which a majority was. Without voters nothing is reached: 0.
 */
export function quorumValue(voters: readonly MemberId[], reachedBy: (voter: MemberId) => number): number {
  if (voters.length === 0) return 0
  const falling = voters.map(reachedBy).sort((a, b) => b - a)
  return falling[majorityOf(voters.length) - 1] as number
}

/** Counts only the answers of `voters`: what others say does not matter. */
export function tallyVotes(voters: readonly MemberId[], answers: ReadonlyMap<MemberId, boolean>): Verdict {
  const needed = majorityOf(voters.length)
  let granted = 0
  let refused = 0
  for (const voter of voters) {
    const answer = answers.get(voter)
    if (answer === true) granted++
    if (answer === false) refused++
  }
  if (granted >= needed) return 'won'
  // Refused for good once the voters that may still grant are too few.
  return voters.length - refused < needed ? 'lost' : 'pending'
}
