import { expect, test } from 'vitest'
import { quorumValue, tallyVotes } from '../../src/raft/quorum.ts'
import { SeededPrng } from '../harness/seeded-prng.ts'

const CASES = 5000

test('what a majority has reached is what the naive count says', () => {
  const prng = new SeededPrng('quorum')
  for (let i = 0; i < CASES; i++) {
    const voters = drawVoters(prng)
    const values = new Map(voters.map(voter => [voter, prng.pick([0, 1, 2, 3, 5, 8, 1000])]))
    const reachedBy = (voter: string) => values.get(voter) ?? 0
    expect(quorumValue(voters, reachedBy)).toBe(naiveQuorumValue(voters, reachedBy))
  }
})

test('a vote is won or lost when the naive count says so', () => {
  const prng = new SeededPrng('votes')
  for (let i = 0; i < CASES; i++) {
    const voters = drawVoters(prng)
    const answers = new Map<string, boolean>()
    // Strangers answer as well, and count for nothing.
    for (const member of [...voters, 'stranger', 'learner']) {
      if (prng.chance(0.7)) answers.set(member, prng.chance(0.5))
    }
    expect(tallyVotes(voters, answers)).toBe(naiveVerdict(voters, answers))
  }
})

test('without voters nothing is reached and nothing is won', () => {
  expect(quorumValue([], () => 7)).toBe(0)
  expect(tallyVotes([], new Map([['1@a', true]]))).not.toBe('won')
})

function drawVoters(prng: SeededPrng): string[] {
  return Array.from({ length: 1 + Math.floor(prng.fraction() * 7) }, (_, i) => `${i + 1}@a`)
}

/** Tries every value, from the highest down, and counts who has it. */
function naiveQuorumValue(voters: readonly string[], reachedBy: (voter: string) => number): number {
  for (let value = 1000; value > 0; value--) {
    let count = 0
    for (const voter of voters) if (reachedBy(voter) >= value) count++
    if (count * 2 > voters.length) return value
  }
  return 0
}

/** Tries every way in which those who are silent might still answer. */
function naiveVerdict(voters: readonly string[], answers: ReadonlyMap<string, boolean>): string {
  const silent = voters.filter(voter => !answers.has(voter))
  let canWin = false
  let mustWin = true
  for (let mask = 0; mask < 2 ** silent.length; mask++) {
    const granted = voters.filter(voter => answers.get(voter) ?? (mask & (1 << silent.indexOf(voter))) !== 0)
    const wins = granted.length * 2 > voters.length
    canWin ||= wins
    mustWin &&= wins
  }
  return mustWin ? 'won' : canWin ? 'pending' : 'lost'
}
