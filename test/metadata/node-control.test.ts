import { describe, expect, it } from 'vitest'
import { formCluster } from '../../src/metadata/controller.ts'
import type { NodeRegistration } from '../../src/metadata/node-registration.ts'
import { contents, errorOf, imageOf, MetadataContext, registration, WALL_MS } from './metadata-context.ts'

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
      'INVALID_REQUEST: node 1 belongs to cluster foreign, this is cluster cluster (check cluster.peers and data.dir of the node)',
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

describe('what a node still has when it comes back', () => {
  const inElr = 'leader=2 isr=2 elr=1 epoch=1/1'
  const gone = 'leader=2 isr=2 elr= epoch=1/1'
  /** Node 1 of partition [1, 2], minimum 2, comes back with the same directory. */
  const comeBack = (
    settings: Record<string, string>,
    more: Partial<NodeRegistration>,
    nodes: number[] = [1, 2],
  ): string => {
    const context = new MetadataContext().addNodes(2)
    context.create({ name: 'logs', assignments: [nodes], settings })
    const fields = { ...registration(1, { incarnation: 'next' }), ...more }
    context.run(context.controller.nodes.register(fields, { isSessionAlive: true, wallMs: WALL_MS }))
    return context.show('logs')
  }
  const two = { 'min.insync.replicas': '2' }

  it('is all that it acknowledged', () => {
    expect(comeBack(two, {})).toBe(inElr)
  })

  it('may lack what was acknowledged on page caches, unless it stopped in good order (C10)', () => {
    const cached = { ...two, 'write.caching': 'true' }
    expect(comeBack(cached, {})).toBe(gone)
    expect(comeBack(cached, { cleanStopEpoch: 1 })).toBe(inElr)
    expect(comeBack(cached, { cleanStopEpoch: 7 })).toBe(gone)
  })

  it('may lack it also where the topic came to sync only while that process ran (C10)', () => {
    const context = new MetadataContext().addNodes(2)
    const settings = { ...two, 'write.caching': 'true' }
    context.create({ name: 'logs', assignments: [[1, 2]], settings })
    context.run(context.controller.settings.alter({ changes: [{ name: 'logs', remove: ['write.caching'] }] }))
    expect(contents(imageOf(contents(context.image)))).toEqual(contents(context.image))
    context.register(1, { incarnation: 'clean', cleanStopEpoch: 1 })
    expect(context.show('logs')).toContain('isr=2 elr=1 ')
    context.register(2, { incarnation: 'cut' })
    expect(context.show('logs')).toContain('isr= elr=1 ')
    // What it has acknowledged since its start was synced.
    context.register(1, { incarnation: 'cut-too' })
    expect(context.show('logs')).toContain('isr= elr=1 ')
  })

  it('is not all that it acknowledged where its directory is an old copy, with one replica or more', () => {
    for (const [nodes, lost] of [
      [[1, 2], gone],
      [[1], 'leader=null isr= elr= epoch=1/1'],
    ] as const) {
      const context = new MetadataContext().addNodes(2)
      context.create({ name: 'logs', assignments: [nodes], settings: nodes.length === 1 ? {} : two })
      // It took part under epochs 2 and 4; under 3 it never came to that, so its directory need not remember it.
      const start = (incarnation: string, directoryEpoch: number, takesPart: boolean) => {
        context.register(1, { incarnation, directoryEpoch })
        if (takesPart)
          context.run(
            context.controller.nodes.unfence({
              ...context.epochOf(1),
              directoryEpoch: context.epochOf(1).nodeEpoch,
            }),
          )
      }
      start('second', 0, true)
      start('third', 2, false)
      start('fourth', 2, true)
      expect(context.show('logs')).not.toContain('isr= elr= ')
      // Also by a state that was made from a snapshot.
      expect(contents(imageOf(contents(context.image)))).toEqual(contents(context.image))
      context.run(context.controller.nodes.fence({ nodeId: 1, nodeEpoch: 4 }))
      expect(context.show('logs')).toMatch(/elr=1 |isr=1 /)
      start('put-back', 2, false)
      expect(context.show('logs').replace(/epoch.*/, '')).toBe(lost.replace(/epoch.*/, ''))
      start('whole-again', 4, true)
    }
  })

  it('is all that there is of a partition with one replica', () => {
    expect(comeBack({ 'write.caching': 'true' }, {}, [1])).toBe('leader=null isr= elr=1 epoch=1/1')
  })
})

describe('a process that was replaced', () => {
  it('does not get its place back', () => {
    const context = new MetadataContext().addNodes(1)
    context.register(1, { incarnation: 'next' })
    const before = { ...registration(1), nodeEpoch: 1 }
    const { nodes } = context.controller
    expect(errorOf(() => nodes.register(before, { isSessionAlive: true, wallMs: WALL_MS }))).toBe(
      'STALE_NODE_EPOCH: node 1 was taken over by another process (epoch 2, at host-1:7452): this one, of epoch 1, must stop',
    )
  })
})

describe('fencing several nodes', () => {
  it('elects none of them, and leaves those that registered anew alone', () => {
    const context = new MetadataContext().addNodes(3)
    context.create({ name: 'logs', assignments: [[1, 2, 3]] })
    context.register(3, { incarnation: 'next' })
    context.run(context.controller.nodes.unfence(context.epochOf(3)))
    const gone = [context.epochOf(1), context.epochOf(2), { nodeId: 3, nodeEpoch: 1 }]
    context.run(context.controller.nodes.fenceAll(gone))
    // One change of the leader, and none of them in between.
    expect(context.show('logs')).toBe('leader=null isr= elr=1,2 epoch=1/2')
    expect(context.image.nodes.get(3)?.isFenced).toBe(false)
    expect(context.controller.nodes.fenceAll(gone).records).toEqual([])
  })
})

describe('draining a node', () => {
  it('leaves the handing over to the node itself, tells what it leads, and leaves it in its ISRs', () => {
    const context = new MetadataContext().addNodes(3)
    context.create({ name: 'shared', assignments: [[1, 2, 3]] })
    context.create({ name: 'alone', assignments: [[1], [2]] })
    const drain = () => context.run(context.controller.nodes.drain(context.epochOf(1)))
    const remaining = [
      { topic: 'alone', topicId: 'topic-id-2', partition: 0, isSole: true },
      { topic: 'shared', topicId: 'topic-id-1', partition: 0, isSole: false },
    ]
    expect(drain()).toEqual({ remaining })
    expect(context.image.nodes.get(1)).toMatchObject({ isDraining: true, isFenced: false })
    expect(context.show('shared')).toBe('leader=1 isr=1,2,3 elr= epoch=0/0')
    expect(context.controller.nodes.drain(context.epochOf(1)).records).toEqual([])
  })

  it('gives it no leadership that another could take, until it registers again', () => {
    const context = new MetadataContext().addNodes(3)
    const settings = { 'min.insync.replicas': '2' }
    context.create({ name: 'logs', assignments: [[3, 1, 2]], settings })
    context.run(context.controller.nodes.drain(context.epochOf(1)))
    context.run(context.controller.nodes.fence(context.epochOf(3)))
    expect(context.show('logs')).toBe('leader=2 isr=1,2 elr= epoch=1/1')
    const both = [1, 2].map(nodeId => context.epochOf(nodeId))
    context.run(context.controller.nodes.fenceAll(both))
    for (const node of [...both].reverse()) context.run(context.controller.nodes.unfence(node))
    expect(context.show('logs')).toBe('leader=2 isr=2 elr=1 epoch=3/3')
    context.register(1, { incarnation: 'next' })
    context.run(context.controller.nodes.unfence(context.epochOf(1)))
    context.run(context.controller.nodes.fence(context.epochOf(2)))
    expect(context.show('logs')).toBe('leader=1 isr=1 elr=2 epoch=4/4')
  })

  it('lets it lead on what only it has: offline it would serve nobody', () => {
    const context = new MetadataContext().addNodes(2)
    context.create({ name: 'logs', assignments: [[1, 2]] })
    context.run(context.controller.nodes.drain(context.epochOf(1)))
    const isr = [{ nodeId: 1 }, { nodeId: 2 }]
    const handover = { topicId: 'topic-id-1', partition: 0, leaderEpoch: 0, partitionEpoch: 0, isr }
    context.run(context.controller.isr.alter(context.epochOf(1), [{ ...handover, successorId: 2 }]))
    context.run(context.controller.nodes.fence(context.epochOf(2)))
    expect(context.show('logs')).toBe('leader=1 isr=1 elr= epoch=2/2')
    // Node 1 is the only one with the records while it is away for a moment: 2 comes back without any.
    context.run(context.controller.nodes.fence(context.epochOf(1)))
    context.register(2, { incarnation: 'next', directoryId: 'empty' })
    context.run(context.controller.nodes.unfence(context.epochOf(2)))
    expect(context.show('logs')).toBe('leader=null isr= elr=1 epoch=3/3')
    context.run(context.controller.nodes.unfence(context.epochOf(1)))
    expect(context.image.nodes.get(1)).toMatchObject({ isDraining: true })
    expect(context.show('logs')).toBe('leader=1 isr=1 elr= epoch=4/4')
  })

  it('elects it before one that lacks records, where that is allowed', () => {
    const context = new MetadataContext().addNodes(3)
    const settings = { 'unclean.leader.election.enable': 'true' }
    context.create({ name: 'logs', assignments: [[3, 1, 2]], settings })
    context.run(context.controller.nodes.fence(context.epochOf(3)))
    context.run(context.controller.nodes.unfence(context.epochOf(3)))
    context.run(context.controller.nodes.drain(context.epochOf(2)))
    expect(context.show('logs')).toBe('leader=1 isr=1,2 elr= epoch=1/1')
    context.run(context.controller.nodes.fence(context.epochOf(1)))
    expect(context.show('logs')).toBe('leader=2 isr=2 elr=1 epoch=2/2')
  })
})
