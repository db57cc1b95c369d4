import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { NaruError } from '../../src/base/errors.ts'
import { MachineRuntime } from '../../src/machine/machine-runtime.ts'
import type { MachineResult } from '../../src/machine/state-machine.ts'
import type { MetadataDelta } from '../../src/metadata/metadata-delta.ts'
import { MetadataImage } from '../../src/metadata/metadata-image.ts'
import type { MetadataRecord } from '../../src/metadata/metadata-record.ts'
import { removeNode } from '../../src/metadata/node-removal.ts'
import { contents, errorOf, imageOf, MetadataContext, registration, WALL_MS } from './metadata-context.ts'

const OPTIONS = { nodesListed: 3, defaultPartitions: 3 }

describe('MetadataImage', () => {
  it('is the same on every node that replays the same records, and comes back from a snapshot', () => {
    fc.assert(
      fc.property(operations, steps => {
        const context = new MetadataContext({ nodesListed: 3 })
        for (const step of steps) tryStep(context, step, result => context.run(result))
        expect(contents(imageOf(context.log))).toEqual(contents(context.image))
        const snapshot = contents(context.image)
        expect(contents(imageOf(snapshot))).toEqual(snapshot)
        const behind = new MetadataImage()
        behind.restore({ records: snapshot, endIndex: 7 })
        expect(contents(behind)).toEqual(snapshot)
        expect(behind.appliedEndIndex).toBe(7)
      }),
      { numRuns: 150 },
    )
  })

  it('goes back to what is committed, wherever a leadership ends (naive twin: replay of the committed log)', () => {
    fc.assert(
      fc.property(operations, fc.array(fc.nat(3), { maxLength: 30 }), (steps, commits) => {
        const context = new MetadataContext({ nodesListed: 3 })
        const entries: (readonly MetadataRecord[])[] = []
        const runtime = runtimeOver(context.image, entries)
        let committed = 0
        steps.forEach((step, index) => {
          tryStep(context, step, result =>
            runtime.write(
              () => result,
              () => {},
            ),
          )
          committed = Math.min(entries.length, committed + (commits[index] ?? 0))
          runtime.onCommitted(committed)
        })
        expect(contents(context.image)).toEqual(contents(imageOf([...context.log, ...entries.flat()])))
        runtime.resign()
        const twin = imageOf([...context.log, ...entries.slice(0, committed).flat()])
        expect(contents(context.image)).toEqual(contents(twin))
        expect(context.image.topics.partitionCount).toBe(twin.topics.partitionCount)
        for (const topic of twin.topics.all())
          expect(context.image.topics.colliding(topic.name)?.id).toBe(topic.id)
      }),
      { numRuns: 150 },
    )
  })

  it('keeps its invariants: a fenced node leads nothing and is in no ISR; no ELR above the minimum', () => {
    fc.assert(
      fc.property(operations, steps => {
        const context = new MetadataContext({ nodesListed: 3 })
        for (const step of steps) {
          tryStep(context, step, result => context.run(result))
          for (const topic of context.image.topics.all())
            for (const [, state] of topic.partitions()) {
              for (const nodeId of state.isr) expect(context.image.nodes.get(nodeId)?.isFenced).toBe(false)
              const minInsync = Number(
                topic.settings['min.insync.replicas'] ?? (state.replicas.length < 3 ? 1 : 2),
              )
              if (state.isr.length >= minInsync) expect(state.elr).toEqual([])
            }
        }
      }),
      { numRuns: 150 },
    )
  })

  it('tells by a delta all that a subscriber has to act on', () => {
    fc.assert(
      fc.property(operations, fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 40 }), (steps, sizes) => {
        const context = new MetadataContext({ nodesListed: 3 })
        for (const step of steps) tryStep(context, step, result => context.run(result))
        const follower = new MetadataImage()
        const subscriber = new Subscriber(follower)
        let at = 0
        for (let turn = 0; at < context.log.length; turn++) {
          const records = context.log.slice(at, at + (sizes[turn % sizes.length] as number))
          at += records.length
          subscriber.onDelta(follower.apply({ records, endIndex: at }))
          subscriber.expectToHoldAll()
        }
        const late = new MetadataImage()
        const restarted = new Subscriber(late)
        restarted.onDelta(late.apply({ records: context.log.slice(0, at >> 1), endIndex: at }))
        restarted.onDelta(late.restore({ records: contents(follower), endIndex: at + 1 }))
        restarted.expectToHoldAll()
      }),
      { numRuns: 150 },
    )
  })

  it('leaves no trace in a delta of a topic that came and went', () => {
    const context = new MetadataContext().addNodes(1)
    const before = context.log.length
    context.create({ name: 'logs' })
    context.run(context.controller.topics.delete({ topics: [{ name: 'logs' }] }))
    const image = imageOf(context.log.slice(0, before))
    expect(image.apply({ records: context.log.slice(before), endIndex: 1 }).isEmpty).toBe(true)
  })

  it('tells what a partition was before the first of several changes', () => {
    const context = new MetadataContext().addNodes(2)
    context.create({ name: 'logs', assignments: [[1, 2]] })
    const image = imageOf(context.log)
    const length = context.log.length
    const before = image.topics.byName('logs')?.partition(0)
    context.run(context.controller.nodes.fence(context.epochOf(2)))
    context.run(context.controller.nodes.fence(context.epochOf(1)))
    const delta = image.apply({ records: context.log.slice(length), endIndex: 1 })
    expect(delta.changedPartitions.get('topic-id-1')?.get(0)).toEqual(before)
  })

  it('tells of settings that a snapshot changes, and only of those', () => {
    const context = new MetadataContext().addNodes(1)
    for (const name of ['same', 'logs']) context.create({ name, settings: { 'retention.ms': '1' } })
    const behind = imageOf(context.log)
    context.run(
      context.controller.settings.alter({ changes: [{ name: 'logs', set: { 'retention.ms': '2' } }] }),
    )
    const delta = behind.restore({ records: contents(context.image), endIndex: 1 })
    expect([...delta.changedSettings]).toEqual(['topic-id-2'])
    expect(delta.changedPartitions.size + delta.changedNodes.size + delta.createdTopics.size).toBe(0)
  })

  it('refuses records that a newer release wrote', () => {
    const image = new MetadataImage()
    const newer = { type: 'cluster', version: 1, clusterId: 'c' } as unknown as MetadataRecord
    expect(errorOf(() => image.replay(newer))).toBe(
      'DATA_DIRECTORY_VERSION: the metadata log holds a cluster record of version 1; this release knows up to 0 (install a newer release)',
    )
    expect(errorOf(() => image.replay({ type: 'featureLevel', version: 0, level: 2 }))).toMatch(
      /^DATA_DIRECTORY_VERSION: the metadata log holds feature level 2/,
    )
  })

  it.each([
    [{ type: 'topicDeleted', topicId: 'none' }, 'does not exist'],
    [{ type: 'topic', topicId: 'other', name: 'logs', settings: {} }, 'topic name logs is taken'],
    [{ type: 'partitionChanged', partition: 0, partitionEpoch: 2 }, 'partition epoch 2 after 0'],
    [
      { type: 'partitionChanged', partition: 0, partitionEpoch: 1, leader: null },
      'without a new leader epoch',
    ],
    [{ type: 'partitionChanged', partition: 0, partitionEpoch: 1, isr: [] }, 'leader 1 is not in the ISR'],
    [{ type: 'partitionChanged', partition: 0, partitionEpoch: 1, isr: [1, 9] }, 'not within the replicas'],
    [
      { type: 'partitionChanged', partition: 0, partitionEpoch: 1, elr: [1] },
      'must be replicas outside the ISR',
    ],
    [{ type: 'nodeFenced', nodeId: 1, nodeEpoch: 5 }, 'which is not registered'],
    [{ type: 'nodeRegistered', nodeId: 1, nodeEpoch: 1 }, 'epoch 1 after 1'],
    [{ type: 'producerIds', nodeId: 1, nextProducerId: 0 }, 'producer ids went back'],
    [{ type: 'cluster', clusterId: 'c' }, 'names its cluster twice'],
  ])('stops at a record that cannot follow what was before: %j', (fields, message) => {
    const context = new MetadataContext().addNodes(1)
    context.create({ name: 'logs', partitions: 1 })
    const record = { version: 0, topicId: 'topic-id-1', ...fields } as unknown as MetadataRecord
    expect(() => context.image.replay(record)).toThrow(message)
  })
})

/** A part of the node that keeps its own copy of what it hears: it must never miss a thing. */
class Subscriber {
  readonly #image: MetadataImage
  readonly #partitions = new Map<string, unknown>()
  readonly #settings = new Map<string, unknown>()
  readonly #nodes = new Map<number, unknown>()

  constructor(image: MetadataImage) {
    this.#image = image
  }

  onDelta(delta: MetadataDelta): void {
    for (const [topicId, topic] of delta.deletedTopics) {
      expect(this.#settings.delete(topicId)).toBe(true)
      for (const [partition] of topic.partitions()) this.#partitions.delete(`${topicId}/${partition}`)
    }
    for (const topicId of [...delta.createdTopics, ...delta.changedSettings])
      this.#settings.set(topicId, this.#image.topics.byId(topicId)?.settings)
    for (const [topicId, partitions] of delta.changedPartitions)
      for (const [partition, before] of partitions) {
        const key = `${topicId}/${partition}`
        expect(before).toEqual(this.#partitions.get(key))
        this.#partitions.set(key, this.#image.topics.byId(topicId)?.partition(partition))
      }
    for (const nodeId of delta.changedNodes) {
      const node = this.#image.nodes.get(nodeId)
      if (node === undefined) this.#nodes.delete(nodeId)
      else this.#nodes.set(nodeId, node)
    }
  }

  expectToHoldAll(): void {
    const topics = [...this.#image.topics.all()]
    expect(this.#settings).toEqual(new Map(topics.map(topic => [topic.id, topic.settings])))
    const partitions = topics.flatMap(topic =>
      [...topic.partitions()].map(([partition, state]) => [`${topic.id}/${partition}`, state] as const),
    )
    expect(this.#partitions).toEqual(new Map(partitions))
    expect(this.#nodes).toEqual(new Map(this.#image.nodes.all().map(node => [node.nodeId, node])))
  }
}

const KINDS = [
  'register',
  'unfence',
  'fence',
  'create',
  'create',
  'delete',
  'widen',
  'alter',
  'producerIds',
  'drain',
  'removeNode',
] as const

const operations = fc.array(fc.tuple(fc.constantFrom(...KINDS), fc.nat(5), fc.nat(5)), { maxLength: 40 })

type Step = [(typeof KINDS)[number], number, number]
type Run = (result: MachineResult<MetadataRecord, unknown>) => void

/** Refused steps are part of the game: they must leave everything as it is. */
function tryStep(context: MetadataContext, step: Step, run: Run): void {
  try {
    const result = resultOf(context, step)
    if (result !== undefined) run(result)
  } catch (error) {
    if (!(error instanceof NaruError)) throw error
  }
}

function resultOf(
  context: MetadataContext,
  [kind, a, b]: Step,
): MachineResult<MetadataRecord, unknown> | undefined {
  const { controller, image, nextTopicId } = context
  const node = context.epochOf((a % 4) + 1)
  const name = `topic${a % 2 === 0 ? '.' : '_'}${b % 3}`
  switch (kind) {
    case 'register': {
      const directoryId = b === 0 ? 'new' : 'kept'
      const fields = registration(node.nodeId, { incarnation: `incarnation-${b}`, directoryId })
      return controller.nodes.register(fields, { isSessionAlive: false, wallMs: WALL_MS })
    }
    case 'unfence':
      return controller.nodes.unfence(node)
    case 'fence':
      return controller.nodes.fence(node)
    case 'create': {
      const topics = [{ name, partitions: b + 1, replicationFactor: (a % 3) + 1 }, { name: `more-${a}` }]
      return controller.topics.create({ topics }, nextTopicId)
    }
    case 'delete':
      return controller.topics.delete({ topics: [{ name }, { name: `more-${b}` }] })
    case 'widen':
      return controller.topics.addPartitions({ name, partitionCount: a + b })
    case 'alter': {
      const changes = [
        { name, set: { 'min.insync.replicas': String((b % 3) + 1) } },
        {
          name: `more-${b}`,
          set: { 'unclean.leader.election.enable': String(a > 2) },
          remove: ['retention.ms'],
        },
      ]
      return controller.settings.alter({ changes })
    }
    case 'producerIds':
      return controller.allocateProducerIds(node)
    case 'drain':
      return controller.nodes.drain(node)
    default:
      return removeNode(image, OPTIONS, { nodeId: node.nodeId, force: b % 2 === 1, isSessionAlive: false })
  }
}

function runtimeOver(
  image: MetadataImage,
  entries: (readonly MetadataRecord[])[],
): MachineRuntime<MetadataRecord> {
  const runtime = new MachineRuntime<MetadataRecord>({
    machine: image,
    registry: image.registry,
    append: records => entries.push(records),
    lostLeadership: outcome => new NaruError('NOT_CONTROLLER', 'the controller moved', { outcome }),
    pendingMax: 1000,
  })
  runtime.lead()
  return runtime
}
