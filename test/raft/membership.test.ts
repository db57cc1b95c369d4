import { describe, expect, test } from 'vitest'
import {
  changeMembership,
  decodeMembership,
  encodeMembership,
  type Membership,
  type MembershipChange,
  memberId,
  nodeIdOf,
} from '../../src/raft/membership.ts'
import { MembershipHistory } from '../../src/raft/membership-history.ts'
import { SeededPrng } from '../harness/seeded-prng.ts'

const POOL = ['1@a', '1@b', '2@a', '3@a', '4@a', '5@a']
const OPS = ['add-learner', 'promote', 'demote', 'remove'] as const

describe('a change of the membership', () => {
  test('leaves every old majority with a voter in every new one', () => {
    const prng = new SeededPrng('membership')
    let membership: Membership = { voters: ['1@a', '2@a', '3@a'], learners: [] }
    let changes = 0
    for (let i = 0; i < 4000; i++) {
      const change: MembershipChange = { op: prng.pick(OPS), member: prng.pick(POOL) }
      const result = changeMembership(membership, change)
      if ('refusal' in result) continue
      changes++
      expect(alwaysIntersect(membership.voters, result.after.voters)).toBe(true)
      expect(new Set(result.after.voters.map(nodeIdOf)).size).toBe(result.after.voters.length)
      expect(result.after.voters.length).toBeGreaterThan(0)
      membership = result.after
    }
    expect(changes).toBeGreaterThan(500)
  })

  test('refuses two disks of one node as voters', () => {
    const before = { voters: ['1@a', '2@a'], learners: ['1@b'] }
    expect(changeMembership(before, { op: 'promote', member: memberId(1, 'b') })).toEqual({
      refusal: '1@a of the same node is still a voter: remove it first',
    })
  })

  test('refuses to leave no voter', () => {
    for (const op of ['remove', 'demote'] as const) {
      expect(changeMembership({ voters: ['1@a'], learners: [] }, { op, member: '1@a' })).toHaveProperty(
        'refusal',
      )
    }
  })
})

describe('an encoded membership', () => {
  test('comes back as it was', () => {
    const membership = { voters: ['1@a', '2@a'], learners: ['3@x-_9'] }
    expect(decodeMembership(encodeMembership(membership))).toEqual(membership)
  })

  test('is refused when anything about it is wrong', () => {
    const texts = [
      '',
      'null',
      '[]',
      '{"version":2,"voters":[],"learners":[]}',
      '{"version":1,"voters":["1@a"]}',
      '{"version":1,"voters":["1@a","1@a"],"learners":[]}',
      '{"version":1,"voters":["1@a","1@b"],"learners":[]}',
      '{"version":1,"voters":["1@a"],"learners":["1@a"]}',
      '{"version":1,"voters":["2@a","1@a"],"learners":[]}',
      '{"version":1,"voters":["x"],"learners":[]}',
      '{"version":1,"voters":[1],"learners":[]}',
      '{"version":1,"voters":"1@a","learners":[]}',
    ]
    for (const text of texts) expect(decodeMembership(Buffer.from(text)), text).toBeUndefined()
  })
})

describe('the history of memberships', () => {
  const a = { voters: ['1@a'], learners: [] }
  const b = { voters: ['1@a', '2@a'], learners: [] }
  const c = { voters: ['2@a'], learners: [] }

  test('brings the one before back when the entry is truncated', () => {
    const history = new MembershipHistory({ index: 0, membership: a })
    history.append({ index: 5, membership: b })
    history.append({ index: 7, membership: c })
    expect([4, 5, 6, 7, 9].map(index => history.at(index))).toEqual([a, b, b, c, c])
    expect(history.truncateFrom(7)).toBe(true)
    expect(history.latest).toBe(b)
    expect(history.truncateFrom(6)).toBe(false)
    expect(() => history.truncateFrom(0)).toThrow('last committed membership')
  })

  test('knows whether a member still votes in what may not be committed', () => {
    const history = new MembershipHistory({ index: 0, membership: a })
    history.append({ index: 5, membership: b })
    history.append({ index: 7, membership: c })
    expect(history.votesSince(6, '1@a')).toBe(true)
    expect(history.votesSince(7, '1@a')).toBe(false)
  })
})

function alwaysIntersect(before: readonly string[], after: readonly string[]): boolean {
  return majorities(before).every(one =>
    majorities(after).every(other => one.some(voter => other.includes(voter))),
  )
}

function majorities(voters: readonly string[]): string[][] {
  const subsets = Array.from({ length: 2 ** voters.length }, (_, mask) =>
    voters.filter((_voter, i) => (mask & (1 << i)) !== 0),
  )
  return subsets.filter(subset => subset.length * 2 > voters.length)
}
