import { describe, expect, it } from 'vitest'
import type { MemberId } from '../../src/raft/membership.ts'
import { type MembershipFacts, planRepair } from '../../src/raft/membership-repair.ts'
import type { RaftStatus } from '../../src/raft/raft-status.ts'

interface Scene {
  readonly voters: readonly MemberId[]
  readonly learners?: readonly MemberId[]
  /** Milliseconds; others were heard just now. */
  readonly silentFor?: Readonly<Record<MemberId, number>>
  readonly matchIndex?: Readonly<Record<MemberId, number>>
  /** What the nodes run now. */
  readonly current?: readonly MemberId[]
  readonly unregistered?: readonly number[]
  readonly removed?: readonly number[]
  readonly status?: Partial<RaftStatus>
}

const NOW_MS = 1_000_000

/** As the leader 1@a sees it, with 100 entries committed. */
function plan(scene: Scene) {
  const { voters, learners = [], silentFor = {}, matchIndex = {}, current = [] } = scene
  const { unregistered = [], removed = [] } = scene
  const others = [...voters, ...learners].filter(member => member !== '1@a')
  const status = {
    self: '1@a',
    isReady: true,
    membershipIsCommitted: true,
    transferTarget: undefined,
    commitIndex: 100,
    membership: { voters, learners },
    members: others.map(member => ({
      member,
      matchIndex: matchIndex[member] ?? 100,
      heardMs: NOW_MS - (silentFor[member] ?? 0),
    })),
    ...scene.status,
  } as RaftStatus
  const facts: MembershipFacts = {
    status,
    nowMs: NOW_MS,
    currentOf: nodeId => current.find(member => member.startsWith(`${nodeId}@`)),
    isRegistered: nodeId => ![...unregistered, ...removed].includes(nodeId),
    isRemoved: nodeId => removed.includes(nodeId),
    contactMs: 500,
    silentMs: 2000,
    abandonedMs: 30_000,
  }
  return planRepair(facts)?.change
}

const LONG_MS = 60_000
const REPLACED: Scene = {
  voters: ['1@a', '2@b', '3@old'],
  learners: ['3@new'],
  silentFor: { '3@old': LONG_MS },
  current: ['3@new'],
}

describe('a voter whose node runs as a learner now', () => {
  it('gives its place in three steps, each following from the membership alone', () => {
    expect(plan(REPLACED)).toEqual({ op: 'demote', member: '3@old' })
    const demoted = { ...REPLACED, voters: ['1@a', '2@b'], learners: ['3@new', '3@old'] }
    expect(plan(demoted)).toEqual({ op: 'promote', member: '3@new' })
    expect(plan({ ...demoted, learners: ['3@old', '3@new'] })).toEqual({ op: 'promote', member: '3@new' })
    const promoted = { ...demoted, voters: ['1@a', '2@b', '3@new'], learners: ['3@old'] }
    expect(plan(promoted)).toEqual({ op: 'remove', member: '3@old' })
    expect(plan({ ...promoted, learners: [] })).toBeUndefined()
  })

  it.each<[string, Partial<Scene>]>([
    ['the old one still speaks', { silentFor: { '3@old': 100 } }],
    ['another voter is out of contact', { silentFor: { '3@old': LONG_MS, '2@b': 600 } }],
    ['the new one has not caught up', { matchIndex: { '3@new': 99 } }],
    ['it is not known what the node runs', { current: [] }],
    ['the node runs the old one', { current: ['3@old'] }],
    ['the new one is no learner yet', { learners: [] }],
    ['another change is under way', { status: { membershipIsCommitted: false } }],
    ['the leader is not ready', { status: { isReady: false } }],
    ['the leadership is moving', { status: { transferTarget: '2@b' } }],
  ])('keeps it while %s', (_, change) => {
    expect(plan({ ...REPLACED, ...change })).toBeUndefined()
  })

  it('is the mark of its successor until that has caught up', () => {
    const demoted = { ...REPLACED, voters: ['1@a', '2@b'], learners: ['3@new', '3@old'] }
    expect(plan({ ...demoted, matchIndex: { '3@new': 10 } })).toBeUndefined()
  })
})

describe('a learner', () => {
  const learners = ['4@old', '4@new']
  const voters = ['1@a', '2@b', '3@c']

  it('is let go when its node runs as another member, and nobody becomes a voter by it', () => {
    expect(plan({ voters, learners, silentFor: { '4@old': 3000 }, current: ['4@new'] })).toEqual({
      op: 'remove',
      member: '4@old',
    })
    expect(plan({ voters, learners, silentFor: { '4@old': 100 }, current: ['4@new'] })).toBeUndefined()
  })

  it('stays while its node is registered, however long it is down', () => {
    expect(plan({ voters, learners: ['4@old'], silentFor: { '4@old': LONG_MS } })).toBeUndefined()
  })

  it('is let go without a node, once it was silent for long', () => {
    const scene = { voters, learners: ['4@old'], unregistered: [4] }
    expect(plan({ ...scene, silentFor: { '4@old': LONG_MS } })).toEqual({ op: 'remove', member: '4@old' })
    expect(plan({ ...scene, silentFor: { '4@old': 20_000 } })).toBeUndefined()
  })
})

describe('a voter of a node that was removed', () => {
  const voters = ['1@a', '2@b', '3@c']

  it('is let go, but never because it has not registered yet', () => {
    const silentFor = { '3@c': LONG_MS }
    expect(plan({ voters, removed: [3], silentFor })).toEqual({ op: 'remove', member: '3@c' })
    expect(plan({ voters, unregistered: [3], silentFor })).toBeUndefined()
    expect(plan({ voters, removed: [3], silentFor: { '3@c': 20_000 } })).toBeUndefined()
    expect(plan({ voters, removed: [3], silentFor: { ...silentFor, '2@b': 1000 } })).toBeUndefined()
  })
})
