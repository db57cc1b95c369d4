import { describe, expect, it } from 'vitest'
import {
  type FormingVerdict,
  foreignCluster,
  foundingFlaw,
  foundingMembership,
  judgeRound,
  type PeerIdentity,
} from '../../src/raft/cluster-forming.ts'

const PEERS = ['a:1', 'b:1', 'c:1']

function peer(nodeId: number, overrides: Partial<PeerIdentity> = {}): PeerIdentity {
  const address = `${'abcdefgh'[nodeId - 1]}:1`
  return { nodeId, directoryId: `d${nodeId}`, address, peers: PEERS, ...overrides }
}

/** As node 1 judges, or another that is given; the others in the order of their addresses, undefined for no answer. */
function judge(
  others: readonly (PeerIdentity | undefined)[],
  { self = peer(1), callers = [] }: { self?: PeerIdentity; callers?: readonly PeerIdentity[] } = {},
): FormingVerdict {
  const listed = self.peers.filter(address => address !== self.address)
  const answers = new Map<string, PeerIdentity | undefined>()
  if (self.peers.includes(self.address)) answers.set(self.address, self)
  for (const [i, address] of listed.entries()) answers.set(address, others[i])
  return judgeRound({ self, answers, callers })
}

describe('a round of greetings', () => {
  it('makes a cluster when all are there, by the lowest node id, for the lowest five', () => {
    expect(judge([peer(2), peer(3)])).toEqual({
      kind: 'found',
      founders: [1, 2, 3].map(nodeId => ({
        nodeId,
        directoryId: `d${nodeId}`,
        address: `${'abc'[nodeId - 1]}:1`,
        isVoter: true,
      })),
    })
    expect(judge([peer(1), peer(3)], { self: peer(2) })).toMatchObject({
      kind: 'wait',
      reason: 'all nodes of cluster.peers are there: node 1 makes the cluster',
    })
    const peers = ['a:1', 'b:1', 'c:1', 'd:1', 'e:1', 'f:1', 'g:1']
    const many = [1, 2, 3, 4, 5, 6, 7].map(nodeId => peer(nodeId, { peers }))
    const verdict = judge(many.slice(1), { self: many[0] as PeerIdentity })
    const voters = verdict.kind === 'found' ? verdict.founders.filter(({ isVoter }) => isVoter) : []
    expect(voters.map(({ nodeId }) => nodeId)).toEqual([1, 2, 3, 4, 5])
  })

  it.each([
    ['somebody is missing', [peer(2), undefined], /^2 of the 3 nodes .* waiting for c:1$/, false],
    ['all are missing', [undefined, undefined], /^1 of the 3 nodes .* waiting for b:1, c:1$/, false],
    [
      'lists differ',
      [peer(2), peer(3, { peers: ['a:1'] })],
      /c:1 has other cluster.peers \(a:1\) than/,
      true,
    ],
    ['a list is empty', [peer(2), peer(3, { peers: [] })], /other cluster.peers \(none\)/, true],
    ['a node is listed twice', [peer(2), peer(2)], /b:1 and c:1 in cluster.peers are both node 2/, true],
  ])('waits while %s', (_, others, reason, isWrong) => {
    const verdict = judge(others)
    expect(verdict).toMatchObject({ kind: 'wait', isWrong })
    expect(verdict.kind === 'wait' && verdict.reason).toMatch(reason)
  })

  it('never makes a cluster as one that is not listed', () => {
    const verdict = judge([peer(1), peer(2), peer(3)], { self: peer(0, { address: 'z:1' }) })
    expect(verdict).toMatchObject({ kind: 'wait', isWrong: false })
  })

  it('never makes one beside another, and joins that', () => {
    const other = peer(3, { clusterId: 'X' })
    expect(judge([undefined, other])).toEqual({ kind: 'join', clusterId: 'X', through: ['c:1'] })
    expect(judge([peer(2, { clusterId: 'X' }), other])).toMatchObject({ through: ['b:1', 'c:1'] })
    // The list has grown or shrunk since.
    expect(judge([undefined, { ...other, peers: ['c:1'] }])).toMatchObject({ kind: 'join' })
    expect(judge([undefined, { ...other, peers: [...PEERS, 'z:1'] }])).toMatchObject({ kind: 'join' })
  })

  it('is not drawn into a cluster that shares only an address', () => {
    const verdict = judge([peer(2), peer(3, { clusterId: 'X', peers: ['c:1', 'd:1', 'e:1'] })])
    expect(verdict).toMatchObject({ kind: 'wait', isWrong: true })
    expect(verdict.kind === 'wait' && verdict.reason).toContain('belongs to cluster X')
  })

  it('refuses two clusters, and two nodes of one id, also when one of them only called', () => {
    expect(judge([peer(2, { clusterId: 'X' }), peer(3, { clusterId: 'Y' })])).toMatchObject({
      kind: 'refuse',
      reason: expect.stringMatching(/two clusters, b:1 to X and c:1 to Y/),
    })
    const twin = peer(1, { directoryId: 'other', address: 'b:1' })
    const refusal = { kind: 'refuse', reason: expect.stringContaining('both have node.id 1') }
    expect(judge([twin, undefined])).toMatchObject(refusal)
    expect(judge([{ ...twin, clusterId: 'X' }, undefined])).toMatchObject(refusal)
    expect(judge([undefined, undefined], { callers: [twin] })).toMatchObject(refusal)
    // Anybody may call; only who is listed can be in the way.
    const stranger = { ...twin, address: 'z:1' }
    expect(judge([peer(2), peer(3)], { callers: [stranger] })).toMatchObject({ kind: 'found' })
  })
})

describe('a founding', () => {
  const founder = (nodeId: number, isVoter = true) => ({
    nodeId,
    directoryId: `d${nodeId}`,
    address: 'a:1',
    isVoter,
  })
  const sound = {
    clusterId: 'X',
    author: 1,
    founders: [founder(1), founder(10), founder(2), founder(3, false)],
  }

  it('is the first membership', () => {
    expect(foundingMembership(sound)).toEqual({
      voters: ['10@d10', '1@d1', '2@d2'].sort(),
      learners: ['3@d3'],
    })
    expect(foundingFlaw(sound)).toBeUndefined()
  })

  it.each([
    [{ clusterId: '' }, 'no cluster'],
    [{ author: 7 }, 'author'],
    [{ founders: [] }, 'no voter'],
    [{ founders: [founder(1, false)] }, 'no voter'],
    [{ founders: [founder(1), { ...founder(1), directoryId: 'x' }] }, 'share a node id'],
    [{ founders: [{ ...founder(1), directoryId: 'a b' }] }, '"1@a b"'],
  ])('is refused with %j', (overrides, flaw) => {
    expect(foundingFlaw({ ...sound, ...overrides })).toContain(flaw)
  })
})

describe('a formed node among foreign ones', () => {
  const self = peer(1, { clusterId: 'X' })

  it('is in the wrong place only if none of its own is there', () => {
    const foreign = peer(2, { clusterId: 'Y' })
    expect(foreignCluster(self, [foreign, undefined])).toBe(foreign)
    expect(foreignCluster(self, [foreign, peer(3, { clusterId: 'X' })])).toBeUndefined()
    expect(foreignCluster(self, [peer(2), undefined])).toBeUndefined()
    // Itself, under another of its names, is not one of its own.
    expect(foreignCluster(self, [foreign, self])).toBe(foreign)
  })
})
