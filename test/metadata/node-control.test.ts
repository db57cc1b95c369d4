import { describe, expect, it } from 'vitest'
import { formCluster } from '../../src/metadata/controller.ts'
import { contents, errorOf, MetadataContext, registration, WALL_MS } from './metadata-context.ts'

describe('registering a node', () => {
  it('gives exactly this record, fenced until it has caught up', () => {
    const context = new MetadataContext()
    const { clusterId, ...fields } = registration(1, { rack: 'a' })
    const { records, response } = context.controller.nodes.register(
      { clusterId, ...fields },
      { isSessionAlive: false, wallMs: WALL_MS },
    )
    expect(records).toEqual([
      { type: 'nodeRegistered', version: 0, ...fields, nodeEpoch: 1, registeredAtMs: WALL_MS },
    ])
    expect(response).toEqual({ nodeEpoch: 1 })
    context.run({ records, response })
    expect(context.image.nodes.get(1)).toMatchObject({ isFenced: true, isDraining: false, rack: 'a' })
  })

  it('gives the same incarnation the same epoch, without a record', () => {
    const context = new MetadataContext().addNodes(1)
    const before = contents(context.image)
    expect(context.register(1, { isSessionAlive: true })).toEqual({ nodeEpoch: 1 })
    expect(contents(context.image)).toEqual(before)
  })

  it('lets another incarnation of the same directory take over at once', () => {
    const context = new MetadataContext().addNodes(1)
    context.create({ name: 'logs', partitions: 1 })
    expect(context.register(1, { incarnation: 'next', isSessionAlive: true })).toEqual({ nodeEpoch: 2 })
    expect(context.show('logs')).toBe('leader=null isr= elr=1 epoch=1/1')
    context.run(context.controller.nodes.unfence(context.epochOf(1)))
    expect(context.show('logs')).toBe('leader=1 isr=1 elr= epoch=2/2')
  })

  it('refuses another directory while the session lives', () => {
    const context = new MetadataContext().addNodes(1)
    const again = (isSessionAlive: boolean) =>
      context.register(1, { incarnation: 'next', directoryId: 'other', isSessionAlive })
    expect(errorOf(() => again(true))).toBe(
      'NODE_ID_IN_USE: node.id 1 is in use by the node at host-1:7452 with another data directory (stop that one, or choose another node.id)',
    )
    expect(again(false)).toEqual({ nodeEpoch: 2 })
  })

  it('takes a node with a new directory out of every ISR and ELR, even where it is the last (A1)', () => {
    const context = new MetadataContext().addNodes(2)
    context.create({ name: 'alone', assignments: [[1]] })
    context.create({ name: 'both', assignments: [[1, 2]] })
    context.create({ name: 'eligible', assignments: [[1, 2]], settings: { 'min.insync.replicas': '2' } })
    context.run(context.controller.nodes.fence(context.epochOf(1)))
    expect(context.show('eligible')).toBe('leader=2 isr=2 elr=1 epoch=1/1')
    context.register(1, { incarnation: 'next', directoryId: 'empty' })
    context.run(context.controller.nodes.unfence(context.epochOf(1)))
    expect(context.show('alone')).toBe('leader=null isr= elr= epoch=1/2')
    expect(context.show('both')).toBe('leader=2 isr=2 elr= epoch=1/1')
    expect(context.show('eligible')).toBe('leader=2 isr=2 elr= epoch=1/2')
  })

  it.each([
    [
      { clusterId: 'foreign' },
      'INVALID_CONFIG: node 1 belongs to cluster foreign, this is cluster cluster (check cluster.peers and data.dir of the node)',
    ],
    [
      { clientAddress: 'nowhere' },
      'INVALID_CONFIG: address "nowhere" of node 1 is not host:port (check advertised.address)',
    ],
    [{ rack: 'r'.repeat(256) }, 'INVALID_CONFIG: rack of node 1 is longer than 255 characters'],
    [{ nodeId: -1 }, 'INVALID_CONFIG: node.id -1 is not a whole number of 0 to 2147483647'],
  ])('refuses %.40j', (fields, error) => {
    const { nodes } = new MetadataContext().controller
    expect(
      errorOf(() =>
        nodes.register({ ...registration(1), ...fields }, { isSessionAlive: false, wallMs: WALL_MS }),
      ),
    ).toBe(error)
  })

  it('never gives an epoch of a removed node again, also after a snapshot', () => {
    const context = new MetadataContext().addNodes(1)
    context.register(1, { incarnation: 'second' })
    context.image.replay({
      type: 'nodeRemoved',
      version: 0,
      nodeId: 1,
      nodeEpoch: 2,
      directoryId: 'old',
    })
    context.image.restore({ records: contents(context.image), endIndex: 9 })
    expect(context.register(1)).toEqual({ nodeEpoch: 3 })
  })
})

describe('fencing a node', () => {
  it('elects in order of preference among the nodes in sync', () => {
    const context = new MetadataContext().addNodes(3)
    context.create({ name: 'logs', assignments: [[3, 1, 2]] })
    context.run(context.controller.nodes.fence(context.epochOf(3)))
    expect(context.show('logs')).toBe('leader=1 isr=1,2 elr= epoch=1/1')
    context.run(context.controller.nodes.fence(context.epochOf(2)))
    expect(context.show('logs')).toBe('leader=1 isr=1 elr=2 epoch=1/2')
    context.run(context.controller.nodes.fence(context.epochOf(1)))
    expect(context.show('logs')).toBe('leader=null isr= elr=2,1 epoch=2/3')
    context.run(context.controller.nodes.unfence(context.epochOf(3)))
    expect(context.show('logs')).toBe('leader=null isr= elr=2,1 epoch=2/3')
    context.run(context.controller.nodes.unfence(context.epochOf(2)))
    expect(context.show('logs')).toBe('leader=2 isr=2 elr=1 epoch=3/4')
  })

  it('elects a node that lacks records only where that is allowed, and keeps the epoch as unclean', () => {
    const context = new MetadataContext().addNodes(2)
    context.create({ name: 'logs', assignments: [[1, 2]] })
    const { nodes, settings } = context.controller
    context.run(nodes.fence(context.epochOf(2)))
    context.run(nodes.fence(context.epochOf(1)))
    context.run(nodes.unfence(context.epochOf(2)))
    expect(context.show('logs')).toBe('leader=null isr= elr=1 epoch=1/2')
    const set = { 'unclean.leader.election.enable': 'true' }
    context.run(settings.alter({ changes: [{ name: 'logs', set }] }))
    expect(context.show('logs')).toBe('leader=2 isr=2 elr= epoch=2/3 unclean=2')
  })

  it('happens once, and only by the epoch that is registered', () => {
    const context = new MetadataContext().addNodes(1)
    const { nodes } = context.controller
    context.run(nodes.fence(context.epochOf(1)))
    expect(nodes.fence(context.epochOf(1)).records).toEqual([])
    expect(errorOf(() => nodes.fence({ nodeId: 1, nodeEpoch: 7 }))).toBe(
      'STALE_NODE_EPOCH: node 1 spoke with epoch 7, it is registered with epoch 1 (it must register again)',
    )
    expect(errorOf(() => nodes.unfence({ nodeId: 4, nodeEpoch: 1 }))).toBe(
      'STALE_NODE_EPOCH: node 4 spoke with epoch 1, it is not registered (it must register again)',
    )
  })
})

describe('producer ids', () => {
  it('come in blocks of 1000 that follow one another, to registered nodes only', () => {
    const context = new MetadataContext().addNodes(2)
    const { controller } = context
    const { records } = controller.allocateProducerIds(context.epochOf(1))
    expect(records).toEqual([{ type: 'producerIds', version: 0, nodeId: 1, nextProducerId: 1000 }])
    expect(context.run(controller.allocateProducerIds(context.epochOf(1)))).toEqual({
      firstProducerId: 0,
      count: 1000,
    })
    expect(context.run(controller.allocateProducerIds(context.epochOf(2)))).toEqual({
      firstProducerId: 1000,
      count: 1000,
    })
    expect(errorOf(() => controller.allocateProducerIds({ nodeId: 1, nodeEpoch: 0 }))).toMatch(
      /^STALE_NODE_EPOCH/,
    )
  })
})

describe('forming a cluster', () => {
  it('happens once', () => {
    const context = new MetadataContext()
    expect(context.log).toEqual([
      { type: 'featureLevel', version: 0, level: 1 },
      { type: 'cluster', version: 0, clusterId: 'cluster' },
    ])
    expect(formCluster(context.image, 'another')).toEqual({
      records: [],
      response: { clusterId: 'cluster' },
    })
  })
})
