import { describe, expect, it } from 'vitest'
import { SeededPrng } from '../../harness/seeded-prng.ts'
import {
  bridge,
  cutBetween,
  everywhere,
  firewallRules,
  type Links,
  linkName,
  mute,
  ring,
  shuffled,
} from './links.ts'

const FIVE = [1, 2, 3, 4, 5]
const PLACES = FIVE.map(nodeId => ({ nodeId, address: `198.18.0.${nodeId}` }))

/** Whom a node hears. */
function heardBy(nodeId: number, links: Links, nodes = FIVE): number[] {
  return nodes.filter(other => other !== nodeId && !links.get(linkName(other, nodeId))?.isCut)
}

describe('faults of links', () => {
  it('cut two groups from each other, and nothing within', () => {
    const links = cutBetween([1, 2], [3, 4, 5])
    expect(heardBy(1, links)).toEqual([2])
    expect(heardBy(4, links)).toEqual([3, 5])
  })

  it('mute a node that still hears', () => {
    const links = mute([1], [2, 3])
    expect(heardBy(1, links)).toEqual([2, 3, 4, 5])
    expect(heardBy(2, links)).toEqual([3, 4, 5])
  })

  it('leave one node as a bridge between two halves', () => {
    expect(FIVE.map(nodeId => heardBy(nodeId, bridge(FIVE)))).toEqual([
      [2, 3],
      [1, 3],
      [1, 2, 4, 5],
      [3, 5],
      [3, 4],
    ])
    const three = [1, 2, 3]
    expect(three.map(nodeId => heardBy(nodeId, bridge(three), three))).toEqual([[2], [1, 3], [2]])
  })

  it('make a ring, in which each node sees a majority of its own', () => {
    expect(FIVE.map(nodeId => heardBy(nodeId, ring(FIVE)))).toEqual([
      [2, 5],
      [1, 3],
      [2, 4],
      [3, 5],
      [1, 4],
    ])
  })
})

describe('firewall rules', () => {
  it('drop, lose and delay what comes from a node, and nothing else', () => {
    const links: Links = new Map([
      [linkName(1, 2), { isCut: true }],
      [linkName(3, 2), { lossPercent: 7 }],
      [linkName(4, 2), { delayMs: [20, 120] }],
      [linkName(2, 5), { isCut: true }],
    ])
    expect(firewallRules(links, 2, PLACES)).toBe(
      [
        '*filter',
        ':INPUT ACCEPT [0:0]',
        '-A INPUT -s 198.18.0.1 -j DROP',
        '-A INPUT -s 198.18.0.3 -m statistic --mode random --probability 0.07 -j DROP',
        '-A INPUT -s 198.18.0.4 -j NFQUEUE --queue-num 1 --queue-bypass',
        'COMMIT',
        '',
      ].join('\n'),
    )
  })

  it('are none where all is well', () => {
    expect(firewallRules(new Map(), 2, PLACES)).toBe('*filter\n:INPUT ACCEPT [0:0]\nCOMMIT\n')
    const slow = firewallRules(everywhere(FIVE, { delayMs: [1, 2] }), 2, PLACES)
    expect(slow).not.toContain('198.18.0.2 ')
  })
})

it('shuffles by the seed', () => {
  const drawn = shuffled(FIVE, new SeededPrng(7))
  expect([...drawn].sort()).toEqual(FIVE)
  expect(shuffled(FIVE, new SeededPrng(7))).toEqual(drawn)
})
