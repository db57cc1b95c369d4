import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { NodeImage } from '../../src/metadata/node-image.ts'
import { Placement } from '../../src/metadata/placement.ts'

describe('placement', () => {
  it('spreads replicas and leaders of equal nodes evenly', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 9 }),
        fc.integer({ min: 1, max: 5 }),
        fc.nat(60),
        (n, rf, count) => {
          const replicationFactor = Math.min(n, rf)
          const partitions = place({ nodes: nodes(n), count, replicationFactor })
          expect(spread(n, partitions.flat())).toBeLessThanOrEqual(1)
          expect(spread(n, partitions.map(first))).toBeLessThanOrEqual(1)
        },
      ),
      { numRuns: 300 },
    )
  })

  it('uses each node once per partition, and as many racks as there are', () => {
    const racks = fc.array(fc.constantFrom('a', 'b', 'c', 'd'), { minLength: 1, maxLength: 8 })
    fc.assert(
      fc.property(racks, fc.integer({ min: 1, max: 5 }), fc.nat(30), (rackOf, rf, count) => {
        const replicationFactor = Math.min(rackOf.length, rf)
        const all = rackOf.map((rack, index) => node(index + 1, { rack }))
        for (const replicas of place({ nodes: all, count, replicationFactor })) {
          expect(new Set(replicas).size).toBe(replicationFactor)
          const used = new Set(replicas.map(nodeId => rackOf[nodeId - 1]))
          expect(used.size).toBe(Math.min(replicationFactor, new Set(rackOf).size))
        }
      }),
      { numRuns: 300 },
    )
  })

  it('lets only active nodes lead, and prefers them where racks allow', () => {
    const all = [node(1, { isFenced: true }), node(2), node(3, { isDraining: true }), node(4)]
    for (const replicas of place({ nodes: all, count: 20, replicationFactor: 2 }))
      expect([...replicas].sort()).toEqual([2, 4])
    for (const replicas of place({ nodes: all, count: 20, replicationFactor: 3 }))
      expect([2, 4]).toContain(replicas[0])
  })

  it('counts what is there already', () => {
    const existing = [{ replicas: [1, 2] }, { replicas: [1, 2] }].map(({ replicas }) => ({
      ...{ replicas, isr: replicas, elr: [], leader: 1 },
      ...{ leaderEpoch: 0, partitionEpoch: 0, lastUncleanEpoch: null },
    }))
    expect(new Placement(nodes(4), existing).place(2)).toEqual([3, 4])
    // Node 1 leads both: of the same pair, node 2 is next.
    expect(new Placement(nodes(2), existing).place(2)).toEqual([2, 1])
  })

  it('pairs nodes with changing partners, so that a lost one is replaced by many', () => {
    const partitions = place({ nodes: nodes(6), count: 60, replicationFactor: 2 })
    const partners = partitions
      .filter(replicas => replicas.includes(1))
      .flatMap(replicas => replicas.filter(id => id !== 1))
    expect(new Set(partners).size).toBe(5)
  })
})

function place(of: { nodes: NodeImage[]; count: number; replicationFactor: number }): number[][] {
  const placement = new Placement(of.nodes, [])
  return Array.from({ length: of.count }, () => placement.place(of.replicationFactor))
}

function nodes(count: number): NodeImage[] {
  return Array.from({ length: count }, (_, index) => node(index + 1))
}

function node(nodeId: number, more: Partial<NodeImage> = {}): NodeImage {
  const ids = { nodeEpoch: 1, incarnation: 'i', directoryId: 'd' }
  const addresses = { rack: '', clientAddress: 'h:1', peerAddress: 'h:2' }
  const facts = { release: '0.1.0', registeredAtMs: 0 }
  return { nodeId, ...ids, ...addresses, ...facts, isFenced: false, isDraining: false, ...more }
}

/** Difference between the most and the least often used of nodes 1 ... n. */
function spread(n: number, used: number[]): number {
  const counts = Array.from({ length: n }, (_, index) => used.filter(nodeId => nodeId === index + 1).length)
  return Math.max(...counts) - Math.min(...counts)
}

function first(replicas: readonly number[]): number {
  return replicas[0] as number
}
