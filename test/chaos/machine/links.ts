import type { Prng } from '../../../src/ports/prng.ts'
import type { SeededPrng } from '../../harness/seeded-prng.ts'

/** What goes wrong on the way from one node to another. Nothing: a link without an entry. */
export interface LinkFault {
  /** Nothing arrives. */
  readonly isCut?: boolean
  /** Of packets. */
  readonly lossPercent?: number
  /** Of each packet; both bounds. */
  readonly delayMs?: readonly [number, number]
}

/** The faults of all directed links, by `from>to`. */
export type Links = ReadonlyMap<string, LinkFault>

export const NO_FAULTS: Links = new Map()

export function linkName(from: number, to: number): string {
  return `${from}>${to}`
}

/** Neither group hears the other. */
export function cutBetween(one: readonly number[], other: readonly number[]): Links {
  const cut = { isCut: true }
  return new Map(
    one.flatMap(a => other.flatMap(b => [[linkName(a, b), cut] as const, [linkName(b, a), cut] as const])),
  )
}

/** What the first ones send does not reach the others; they hear. */
export function mute(one: readonly number[], other: readonly number[]): Links {
  return new Map(one.flatMap(a => other.map(b => [linkName(a, b), { isCut: true }] as const)))
}

/** Two halves, which one node in the middle reaches both of. */
export function bridge(nodes: readonly number[]): Links {
  const half = Math.floor((nodes.length - 1) / 2)
  return cutBetween(nodes.slice(0, half), nodes.slice(half + 1))
}

/** Each node reaches the two beside it only: with five, every one of them sees another majority. */
export function ring(nodes: readonly number[]): Links {
  const links = new Map<string, LinkFault>()
  for (const [at, from] of nodes.entries())
    for (const [other, to] of nodes.entries()) {
      const distance = Math.abs(at - other)
      if (distance > 1 && distance < nodes.length - 1) links.set(linkName(from, to), { isCut: true })
    }
  return links
}

/** The same fault on every link. */
export function everywhere(nodes: readonly number[], fault: LinkFault): Links {
  return new Map(
    nodes.flatMap(from => nodes.filter(to => to !== from).map(to => [linkName(from, to), fault] as const)),
  )
}

export function shuffled<T>(values: readonly T[], prng: SeededPrng): T[] {
  const left = [...values]
  const drawn: T[] = []
  while (left.length > 0) drawn.push(...left.splice(below(left.length, prng), 1))
  return drawn
}

/** 0 ... count - 1 */
export function below(count: number, prng: Prng): number {
  return Math.floor(prng.fraction() * count)
}

export interface NodePlace {
  readonly nodeId: number
  readonly address: string
}

/** The rules that make `links` come true at the receiving node, as `iptables-restore` takes them. */
export function firewallRules(links: Links, receiver: number, places: readonly NodePlace[]): string {
  const rules: string[] = []
  for (const { nodeId, address } of places) {
    const fault = links.get(linkName(nodeId, receiver))
    if (fault === undefined) continue
    const from = `-A INPUT -s ${address}`
    if (fault.isCut) rules.push(`${from} -j DROP`)
    if (fault.lossPercent !== undefined) {
      const share = (fault.lossPercent / 100).toFixed(2)
      rules.push(`${from} -m statistic --mode random --probability ${share} -j DROP`)
    }
    if (fault.delayMs !== undefined)
      rules.push(`${from} -j NFQUEUE --queue-num ${DELAY_QUEUE} --queue-bypass`)
  }
  return ['*filter', ':INPUT ACCEPT [0:0]', ...rules, 'COMMIT', ''].join('\n')
}

export const DELAY_QUEUE = 1
