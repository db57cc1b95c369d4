import { describe, expect, it } from 'vitest'
import { removeNode } from '../../src/metadata/node-removal.ts'
import { errorOf, MetadataContext, registration, WALL_MS } from './metadata-context.ts'

const OPTIONS = { nodesListed: 3, defaultPartitions: 1 }

/** Nodes 1 ... count, of which these are down. */
function clusterOf(count: number): MetadataContext {
  return new MetadataContext({ nodesListed: 3 }).addNodes(count)
}

function stop(context: MetadataContext, ...nodeIds: number[]): void {
  for (const nodeId of nodeIds) context.run(context.controller.nodes.fence(context.epochOf(nodeId)))
}

function remove(
  context: MetadataContext,
  nodeId: number,
  { force = false, isSessionAlive = false } = {},
): void {
  context.run(removeNode(context.image, OPTIONS, { nodeId, force, isSessionAlive }))
}

function replicasOf(context: MetadataContext, name: string, partition = 0): readonly number[] | undefined {
  return context.image.topics.byName(name)?.partition(partition)?.replicas
}

describe('removing a node', () => {
  it('takes one that holds nothing out of the cluster, and its directory for ever', () => {
    const context = clusterOf(3)
    stop(context, 3)
    remove(context, 3)
    expect(context.image.nodes.get(3)).toBeUndefined()
    expect(errorOf(() => context.register(3))).toBe(
      'NODE_REMOVED: node 3 was removed from the cluster (to let it join anew, start it with an empty data directory)',
    )
    expect(context.register(3, { directoryId: 'fresh' })).toEqual({ nodeEpoch: 2 })
    context.image.restore({ records: [...context.image.records()], endIndex: 99 })
    expect(context.image.nodes.get(3)?.directoryId).toBe('fresh')
  })

  it('remembers the directory in a snapshot', () => {
    const context = clusterOf(2)
    stop(context, 2)
    remove(context, 2)
    context.image.restore({ records: [...context.image.records()], endIndex: 99 })
    expect(errorOf(() => context.register(2))).toMatch(/^NODE_REMOVED/)
  })

  it('is refused while it runs, force or not', () => {
    const context = clusterOf(2)
    const running =
      'NODE_NOT_REMOVABLE: node 2 cannot be removed: it is running (naru cluster drain 2, then stop its process)'
    expect(errorOf(() => remove(context, 2))).toBe(running)
    expect(errorOf(() => remove(context, 2, { force: true }))).toBe(running)
    stop(context, 2)
    expect(errorOf(() => remove(context, 2, { force: true, isSessionAlive: true }))).toBe(running)
  })

  it('is refused while it holds replicas, and says which', () => {
    const context = clusterOf(3)
    context.create({
      name: 'logs',
      assignments: [
        [1, 3],
        [1, 2],
      ],
    })
    context.create({ name: 'many', assignments: Array.from({ length: 12 }, () => [3, 2]) })
    stop(context, 3)
    expect(errorOf(() => remove(context, 3))).toBe(
      'NODE_NOT_REMOVABLE: node 3 cannot be removed: it holds replicas of logs-0, many-0, many-1, many-2, many-3, many-4, many-5, many-6, many-7, many-8 and 3 more (move them away: naru cluster rebalance --evacuate 3; or use --force: they are placed anew where possible)',
    )
  })

  it('knows no node that is not there', () => {
    const context = clusterOf(2)
    stop(context, 2)
    remove(context, 2)
    expect(errorOf(() => remove(context, 2))).toBe(
      'UNKNOWN_NODE: node 2 was removed already (see those there are: naru cluster nodes)',
    )
    expect(errorOf(() => remove(context, 9))).toMatch(/^UNKNOWN_NODE: node 9 does not exist/)
  })

  describe('by force', () => {
    it('places its replicas anew where there is another node, outside the ISR', () => {
      const context = clusterOf(4)
      context.create({ name: 'logs', assignments: [[3, 1, 2]] })
      stop(context, 3)
      remove(context, 3, { force: true })
      expect(replicasOf(context, 'logs')).toEqual([1, 2, 4])
      expect(context.show('logs')).toBe('leader=1 isr=1,2 elr= epoch=1/2')
    })

    it('drops them where there is none, and what the topic promised stays', () => {
      const context = clusterOf(3)
      context.create({ name: 'logs', assignments: [[3, 1, 2]] })
      stop(context, 3)
      stop(context, 2)
      expect(context.show('logs')).toBe('leader=1 isr=1 elr=2 epoch=1/2')
      remove(context, 3, { force: true })
      expect(replicasOf(context, 'logs')).toEqual([1, 2])
      expect(context.image.topics.byName('logs')?.settings).toEqual({ 'min.insync.replicas': '2' })
      expect(context.show('logs')).toBe('leader=1 isr=1 elr=2 epoch=1/3')
    })

    it('is refused where no other replica is in sync: it may be the only one with all records', () => {
      const context = clusterOf(3)
      context.create({ name: 'logs', assignments: [[3, 1]] })
      context.create({ name: 'fine', assignments: [[3, 2]] })
      stop(context, 1)
      stop(context, 3)
      expect(errorOf(() => remove(context, 3, { force: true }))).toMatch(
        /^NODE_NOT_REMOVABLE: node 3 cannot be removed: it may be the only one to hold all records of logs-0: no other/,
      )
      expect(replicasOf(context, 'fine')).toEqual([3, 2])
    })

    it('is forgotten by the partitions: a new directory under its id is in none of them', () => {
      const context = clusterOf(3)
      context.create({ name: 'logs', assignments: [[3, 1, 2]] })
      stop(context, 2)
      stop(context, 3)
      remove(context, 3, { force: true })
      const fields = registration(3, { directoryId: 'fresh' })
      const { nodes } = context.controller
      const { records } = nodes.register(fields, { isSessionAlive: false, wallMs: WALL_MS })
      expect(records.map(record => record.type)).toEqual(['nodeRegistered'])
    })
  })
})
