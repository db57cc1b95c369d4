import { describe, expect, it } from 'vitest'
import { NaruError } from '../../../src/base/errors.ts'
import type { MetadataQuorum } from '../../../src/drivers/controller/metadata-quorum.ts'
import type { PeerCalls } from '../../../src/drivers/raft/peer-calls.ts'
import { PeerDirectory } from '../../../src/drivers/raft/peer-directory.ts'
import { PEER_TIMING } from '../../../src/drivers/raft/peer-network-options.ts'
import { PeerPresence } from '../../../src/drivers/raft/peer-presence.ts'
import { MetadataImage } from '../../../src/metadata/metadata-image.ts'
import type { Greeting } from '../../../src/wire/generated/peers.ts'
import { PeerCluster } from './peer-cluster.ts'

const ADDRESSES = { '1@a': 'a:1', '2@b': 'b:1', '3@c': 'c:1' }
const GREETING: Greeting = {
  protocolVersion: 1,
  nodeId: 3,
  directoryId: 'c',
  address: 'c:1',
  peers: Object.values(ADDRESSES),
  clusterId: 'X',
  memberId: '3@c',
  members: [],
}

/** Node 3 of a cluster of three, with the leader that a test gives it; what it calls is written down. */
function scene() {
  const cluster = PeerCluster.of(1)
  const { clock } = cluster.node(1).machine
  const voters = Object.keys(ADDRESSES)
  const status = { self: '3@c', term: 1, leader: undefined as string | undefined, leaderHeardMs: 0 }
  const called: string[] = []
  const down = new Set<string>()
  const directory = new PeerDirectory()
  for (const [member, address] of Object.entries(ADDRESSES))
    directory.greeted({ member, directoryId: member.slice(2), address })
  const presence = new PeerPresence({
    quorum: {
      clusterId: 'X',
      image: new MetadataImage(),
      get status() {
        return { ...status, membership: { voters, learners: [] } }
      },
    } as unknown as MetadataQuorum,
    directory,
    calls: {
      greet: async (address: string) => {
        called.push(address)
        if (down.has(address)) throw new NaruError('CONNECTION_FAILED', address)
        const [memberId = ''] = Object.entries(ADDRESSES).find(([, known]) => known === address) ?? []
        return { greeting: { ...GREETING, nodeId: Number(memberId[0]), memberId, address } }
      },
    } as unknown as PeerCalls,
    peers: GREETING.peers,
    self: () => GREETING,
    directoryId: 'c',
    onGreeted: () => {},
    clock,
    prng: cluster.prng,
    timing: PEER_TIMING,
    onEvent: () => {},
    onRefused: error => {
      throw error
    },
  })
  /** Its calls while a leader of the term speaks all the time. */
  const under = async (leader: string, term: number) => {
    called.length = 0
    for (let tends = 0; tends < 5; tends++) {
      Object.assign(status, { leader, term, leaderHeardMs: clock.monotonicMs() })
      presence.tend()
      await cluster.scheduler.runFor(PEER_TIMING.tendMs)
    }
    return [...called]
  }
  return { under, down }
}

describe('a node', () => {
  it('makes itself known to each new leadership, once', async () => {
    const { under } = scene()
    expect(await under('1@a', 1)).toEqual(['a:1'])
    expect(await under('1@a', 1)).toEqual([])
    expect(await under('2@b', 2)).toEqual(['b:1'])
    expect(await under('2@b', 3)).toEqual(['b:1'])
    expect(await under('3@c', 4)).toEqual([])
  })

  it('asks the others where a leader is that it cannot reach, until it is reached', async () => {
    const { under, down } = scene()
    down.add('a:1')
    expect(new Set(await under('1@a', 1))).toEqual(new Set(['a:1', 'b:1']))
    down.clear()
    expect(await under('1@a', 1)).toEqual(['a:1'])
  })
})
