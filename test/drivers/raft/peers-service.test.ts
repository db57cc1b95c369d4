import { describe, expect, it } from 'vitest'
import { PeerDirectory } from '../../../src/drivers/raft/peer-directory.ts'
import { PeersService } from '../../../src/drivers/raft/peers-service.ts'
import type { MessageInit } from '../../../src/wire/codec.ts'
import { Peers } from '../../../src/wire/generated/internal-services.ts'
import type { Greeting, JoinRequest } from '../../../src/wire/generated/peers.ts'

const OWN: Greeting = {
  protocolVersion: 1,
  nodeId: 1,
  directoryId: 'a',
  address: 'a:1',
  peers: ['a:1', 'b:1'],
  clusterId: 'X',
  memberId: '1@a',
  members: [],
}
const { clusterId: _, memberId: __, ...UNFORMED } = { ...OWN, nodeId: 2, directoryId: 'b', address: 'b:1' }
const FOUNDING = {
  clusterId: 'X',
  author: 1,
  founders: [{ nodeId: 1, directoryId: 'a', address: 'a:1', isVoter: true }],
}
const JOIN: JoinRequest = {
  clusterId: 'X',
  memberId: '2@b',
  directoryId: 'b',
  address: 'b:1',
  isForwarded: false,
}

function service(overrides: Partial<ConstructorParameters<typeof PeersService>[0]> = {}) {
  const greeted: Greeting[] = []
  const { handlers } = new PeersService({
    greeting: () => OWN,
    founding: FOUNDING,
    onGreeted: greeting => greeted.push(greeting),
    join: async () => ({ leader: { memberId: '1@a', address: 'a:1' } }),
    ...overrides,
  })
  const call = (path: string, bytes: Buffer): Promise<Uint8Array> => {
    const handler = handlers.get(path)
    if (handler?.kind !== 'unary') throw new Error(`${path} is not there`)
    const context = { metadata: {}, timeoutMs: undefined, peer: 'test', onCancel: () => {}, ping: () => {} }
    return handler.handle(bytes, context)
  }
  return {
    greeted,
    greet: async (greeting: MessageInit<Greeting> | undefined, nonce = 'n') =>
      Peers.greet.response.decode(
        (await call(Peers.greet.path, Peers.greet.request.encode({ greeting, nonce }))) as Buffer,
      ),
    join: async (request: MessageInit<JoinRequest>) =>
      Peers.join.response.decode((await call(Peers.join.path, Peers.join.request.encode(request))) as Buffer),
  }
}

describe('a greeting', () => {
  it('is answered with the founding, under its nonce, only to who belongs to no cluster', async () => {
    const { greet, greeted } = service()
    expect(await greet(UNFORMED, 'n7')).toEqual({ greeting: OWN, offer: { nonce: 'n7', founding: FOUNDING } })
    expect((await greet({ ...UNFORMED, clusterId: 'Y' })).offer).toBeUndefined()
    expect(greeted.map(({ clusterId }) => clusterId)).toEqual([undefined, 'Y'])
  })

  it.each<[string, MessageInit<Greeting> | undefined]>([
    ['nobody', undefined],
    ['another version', { ...UNFORMED, protocolVersion: 2 }],
    ['a negative node', { ...UNFORMED, nodeId: -1 }],
    ['no directory', { ...UNFORMED, directoryId: '' }],
    ['a directory that is no id', { ...UNFORMED, directoryId: 'a b' }],
    ['no address', { ...UNFORMED, address: 'b' }],
    ['an endless address', { ...UNFORMED, address: `${'b'.repeat(1000)}:1` }],
    ['peers that are no addresses', { ...UNFORMED, peers: ['x'] }],
    ['too many peers', { ...UNFORMED, peers: new Array(101).fill('a:1') }],
    ["another node's member", { ...UNFORMED, memberId: '3@b' }],
  ])('of %s is refused, and nothing is kept of it', async (_name, greeting) => {
    const { greet, greeted } = service()
    await expect(greet(greeting)).rejects.toMatchObject({ reason: 'INVALID_REQUEST' })
    expect(greeted).toEqual([])
  })

  it('is heard out only so far', async () => {
    const { greet, greeted } = service()
    const members = new Array(5000).fill({ memberId: '3@c', address: 'c:1' })
    await greet({ ...UNFORMED, members: [{ memberId: '3@c', address: 'no address' }, ...members] })
    expect(greeted[0]?.members.length).toBeLessThanOrEqual(1000)
    expect(greeted[0]?.members.every(({ address }) => address === 'c:1')).toBe(true)
  })
})

describe('a request to join', () => {
  it.each<[string, Partial<JoinRequest>, string]>([
    ['another cluster', { clusterId: 'Y' }, 'INVALID_CONFIG'],
    ['no member', { memberId: 'x' }, 'INVALID_REQUEST'],
    ['no directory', { directoryId: '' }, 'INVALID_REQUEST'],
    ['no address', { address: '' }, 'INVALID_REQUEST'],
  ])('of %s is refused', async (_name, overrides, reason) => {
    await expect(service().join({ ...JOIN, ...overrides })).rejects.toMatchObject({ reason })
  })

  it('of another cluster names both clusters', async () => {
    const refused = service().join({ ...JOIN, clusterId: 'Y' })
    await expect(refused).rejects.toThrow(/cluster Y asks to join cluster X/)
  })

  it('waits for the node to have a cluster', async () => {
    const { clusterId, ...unformed } = OWN
    expect(clusterId).toBe('X')
    const refused = service({ greeting: () => unformed }).join(JOIN)
    await expect(refused).rejects.toMatchObject({ reason: 'NODE_STARTING' })
  })

  it('waits with a bounded number of others', async () => {
    let finish = () => {}
    const held = new Promise<void>(resolve => {
      finish = resolve
    })
    const { join } = service({ join: () => held.then(() => ({})) })
    const answers = Array.from({ length: 65 }, () => join(JOIN))
    await expect(answers[64]).rejects.toMatchObject({ reason: 'OVERLOADED' })
    finish()
    await Promise.all(answers.slice(0, 64))
    await expect(join(JOIN)).resolves.toEqual({})
  })
})

describe('the directory of peers', () => {
  const node = (nodeEpoch: number, directoryId: string, peerAddress: string) =>
    ({ nodeEpoch, directoryId, peerAddress }) as never

  it('believes the newest source that names the very member', () => {
    const directory = new PeerDirectory()
    expect(directory.addressOf('1@a')).toBeUndefined()
    directory.setFounding({
      ...FOUNDING,
      founders: [{ nodeId: 1, directoryId: 'a', address: 'old:1', isVoter: true }],
    })
    expect(directory.addressOf('1@a')).toBe('old:1')
    directory.heardOf([{ memberId: '1@a', address: 'heard:1' }])
    expect(directory.addressOf('1@a')).toBe('heard:1')
    let registered = node(5, 'a', 'registered:1')
    directory.setRegistered(nodeId => (nodeId === 1 ? registered : undefined))
    expect(directory.addressOf('1@a')).toBe('registered:1')
    directory.greeted({ member: '1@a', directoryId: 'a', address: 'greeted:1' })
    expect(directory.addressOf('1@a')).toBe('greeted:1')
    directory.heardOf([{ memberId: '1@a', address: 'heard:1' }])
    expect(directory.addressOf('1@a')).toBe('greeted:1')
    registered = node(6, 'a', 'registered:2')
    expect(directory.addressOf('1@a')).toBe('registered:2')
  })

  it('knows a node by what it is now, and does not give its address to what it was', () => {
    const directory = new PeerDirectory()
    directory.setRegistered(nodeId => (nodeId === 1 ? node(5, 'new', 'n1:1') : undefined))
    expect(directory.addressOf('1@old')).toBeUndefined()
    expect(directory.addressOf('1@new')).toBe('n1:1')
    directory.greeted({ member: '1@started-over', directoryId: 'new', address: 'n1:2' })
    expect(directory.addressOf('1@started-over')).toBe('n1:2')
    expect(directory.currentOf(1)?.member).toBe('1@started-over')
    expect(directory.addressOfNode(1)).toBe('n1:2')
  })

  it('forgets who was at an address when another one greets from it', () => {
    const directory = new PeerDirectory()
    directory.greeted({ member: '1@a', directoryId: 'a', address: 'x:1' })
    directory.greeted({ member: '2@b', directoryId: 'b', address: 'x:1' })
    expect(directory.addressOf('1@a')).toBeUndefined()
    expect(directory.currentOf(1)).toBeUndefined()
    expect(directory.known()).toEqual([{ memberId: '2@b', address: 'x:1' }])
  })

  it('is bounded, and keeps the newest', () => {
    const directory = new PeerDirectory()
    for (let nodeId = 0; nodeId < 5000; nodeId++) {
      directory.greeted({ member: `${nodeId}@d`, directoryId: 'd', address: `n${nodeId}:1` })
      directory.heardOf([{ memberId: `${nodeId}@x`, address: `h${nodeId}:1` }])
    }
    expect(directory.addresses().size).toBe(4000)
    expect(directory.addressOf('4999@d')).toBe('n4999:1')
    expect(directory.addressOf('0@d')).toBeUndefined()
    expect(directory.known()[0]).toEqual({ memberId: '4999@d', address: 'n4999:1' })
    expect(directory.known().length).toBe(200)
  })
})
