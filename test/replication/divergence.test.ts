import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { answerFollow, truncationTarget } from '../../src/replication/divergence.ts'
import { ArrayLog } from './array-log.ts'

/** Leader and follower talk until the follower is accepted; gives the ends that the follower was cut to. */
function reconcile(leader: ArrayLog, follower: ArrayLog): number[] {
  const cuts: number[] = []
  for (;;) {
    const asked = { fetchOffset: follower.logEndOffset, lastFetchedEpoch: follower.latestEpoch }
    const answer = answerFollow(leader, asked, { mayBeElected: false })
    if (answer.kind === 'accepted') return cuts
    if (answer.kind === 'refused') throw new Error(answer.reason)
    const { offset, isPossible } = truncationTarget(follower, answer)
    expect(isPossible).toBe(true)
    follower.truncateTo(offset)
    cuts.push(offset)
  }
}

/** The cases of the description of KIP-966's specification, chapter 3.3: logs as the epochs of their records. */
describe('logs part as in case', () => {
  const CASES = [
    { name: 'A: the follower is behind in the same epoch', leader: '1111', follower: '11', cuts: [] },
    { name: 'B: the leader went on in a later epoch', leader: '1122', follower: '11', cuts: [] },
    { name: 'C: the follower is ahead in the same epoch', leader: '11', follower: '1111', cuts: [2] },
    {
      name: 'D: the follower has a later epoch that the leader lacks',
      leader: '11',
      follower: '1122',
      cuts: [2],
    },
    { name: 'E: both went on in epochs of their own', leader: '1133', follower: '1122', cuts: [2] },
    { name: 'F: the leader has more of the last common epoch', leader: '11', follower: '12', cuts: [1] },
    { name: 'G: nothing is common', leader: '133', follower: '22', cuts: [0] },
    { name: 'KIP-279: one turn is not enough', leader: '111444', follower: '12233', cuts: [1] },
    { name: 'an empty leader', leader: '', follower: '1122', cuts: [0] },
  ]
  for (const { name, leader, follower, cuts } of CASES) {
    test(name, () => expect(reconcile(ArrayLog.ofEpochs(leader), ArrayLog.ofEpochs(follower))).toEqual(cuts))
  }
})

test('it ends with the follower a prefix of the leader, and cuts no record that both have', () => {
  // Epochs are led by one node each: a record of an epoch at an offset is the same wherever it is.
  const epochs = fc.array(fc.integer({ min: 1, max: 5 }), { maxLength: 12 }).map(list => list.sort().join(''))
  fc.assert(
    fc.property(epochs, epochs, (leaderEpochs, followerEpochs) => {
      const leader = ArrayLog.ofEpochs(leaderEpochs)
      const follower = ArrayLog.ofEpochs(followerEpochs)
      fc.pre(isReachable(leaderEpochs, followerEpochs))
      const common = commonPrefix(leaderEpochs, followerEpochs)
      reconcile(leader, follower)
      expect(follower.epochs).toBe(leaderEpochs.slice(0, follower.logEndOffset))
      expect(follower.logEndOffset).toBe(common)
    }),
    { numRuns: 3000 },
  )
})

describe('what the leader does not have any more', () => {
  const leader = ArrayLog.ofEpochs('111222')
  leader.logStartOffset = 3

  test('resets a follower that needs it', () => {
    const answer = answerFollow(leader, { fetchOffset: 2, lastFetchedEpoch: 1 }, { mayBeElected: false })
    expect(answer).toEqual({ kind: 'refused', reason: 'RESET', logStartOffset: 3 })
  })

  test('resets an empty follower that begins elsewhere', () => {
    for (const fetchOffset of [0, 4, 9]) {
      const answer = answerFollow(
        leader,
        { fetchOffset, lastFetchedEpoch: undefined },
        { mayBeElected: false },
      )
      expect(answer).toMatchObject({ reason: 'RESET' })
    }
    const fits = answerFollow(
      leader,
      { fetchOffset: 3, lastFetchedEpoch: undefined },
      { mayBeElected: false },
    )
    expect(fits).toEqual({ kind: 'accepted' })
  })

  test('is damage where an in-sync follower needs it (B8)', () => {
    const answer = answerFollow(leader, { fetchOffset: 2, lastFetchedEpoch: 1 }, { mayBeElected: true })
    expect(answer).toMatchObject({ reason: 'DAMAGED' })
  })

  test('cannot be compared: a follower that ends at the log start is accepted, one behind it is cut to it', () => {
    const atStart = answerFollow(leader, { fetchOffset: 3, lastFetchedEpoch: 1 }, { mayBeElected: false })
    expect(atStart).toEqual({ kind: 'accepted' })
    const behind = answerFollow(leader, { fetchOffset: 5, lastFetchedEpoch: 1 }, { mayBeElected: false })
    expect(behind).toEqual({ kind: 'diverged', epoch: 1, endOffset: 3, logStartOffset: 3 })
  })
})

test('a follower that would have to cut below its own log start, or cuts nothing, must begin anew', () => {
  const follower = ArrayLog.ofEpochs('2222')
  follower.logStartOffset = 2
  const below = { kind: 'diverged', epoch: 2, endOffset: 1, logStartOffset: 0 } as const
  expect(truncationTarget(follower, below).isPossible).toBe(false)
  follower.logStartOffset = 4
  const nothing = { kind: 'diverged', epoch: 1, endOffset: 9, logStartOffset: 0 } as const
  expect(truncationTarget(follower, nothing).isPossible).toBe(false)
})

function commonPrefix(a: string, b: string): number {
  let at = 0
  while (at < a.length && a[at] === b[at]) at++
  return at
}

/** Two logs share a prefix; behind it an epoch is on one of them only, unless one of them just ends. */
function isReachable(a: string, b: string): boolean {
  const common = commonPrefix(a, b)
  const restA = new Set(a.slice(common))
  const restB = new Set(b.slice(common))
  return [...restA].every(epoch => !restB.has(epoch))
}

describe('behind removed tombstones', () => {
  const leader = ArrayLog.ofEpochs('1111')
  leader.highWatermark = 4
  leader.removedTombstonesEnd = 3
  leader.removals = 7
  const member = { mayBeElected: false }
  const follow = { fetchOffset: 2, lastFetchedEpoch: 1 }

  test('who may hold what they deleted starts over', () => {
    expect(answerFollow(leader, follow, member)).toMatchObject({ kind: 'refused', reason: 'RESET' })
    expect(answerFollow(leader, { ...follow, removals: 6 }, member)).toMatchObject({ reason: 'RESET' })
    expect(answerFollow(leader, follow, { mayBeElected: true })).toMatchObject({ reason: 'DAMAGED' })
  })

  test('who may hold what they deleted starts over also where the leader is new, and its high watermark lags', () => {
    const behind = ArrayLog.ofEpochs('1111')
    behind.highWatermark = 1
    behind.removedTombstonesEnd = 3
    expect(answerFollow(behind, follow, member)).toMatchObject({ kind: 'refused', reason: 'RESET' })
    expect(answerFollow(behind, follow, { mayBeElected: true })).toEqual({ kind: 'accepted' })
  })

  test('who has seen them, has missed none since, or holds nothing goes on', () => {
    expect(answerFollow(leader, { ...follow, fetchOffset: 3 }, member)).toEqual({ kind: 'accepted' })
    expect(answerFollow(leader, { ...follow, removals: 7 }, member)).toEqual({ kind: 'accepted' })
    const empty = { fetchOffset: 0, lastFetchedEpoch: undefined }
    expect(answerFollow(leader, empty, member)).toEqual({ kind: 'accepted' })
  })
})
