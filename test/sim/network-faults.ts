import type { SeededPrng } from '../harness/seeded-prng.ts'
import type { ClusterNode, SimBrokerCluster } from '../harness/sim-broker-cluster.ts'
import type { ClientProcess } from './client-process.ts'
import type { ClusterJournal } from './cluster-journal.ts'

export interface NetworkFaultsOptions {
  readonly cluster: SimBrokerCluster
  readonly prng: SeededPrng
  readonly journal: ClusterJournal
  readonly clients: readonly ClientProcess[]
  /** Something befalls the links of these nodes, or of all. */
  readonly disturb: (...members: ClusterNode[]) => void
}

export type NetworkHarm =
  | 'partition'
  | 'isolated node'
  | 'bridge partition'
  | 'one-way cut'
  | 'reset connections'
  | 'slow link'

const SLOW_MS_MAX = 400

/** What happens to the links between nodes, and between them and their clients. */
export class NetworkFaults {
  readonly #options: NetworkFaultsOptions

  constructor(options: NetworkFaultsOptions) {
    this.#options = options
  }

  /** False: it has no place now. */
  harm(harm: NetworkHarm, one: ClusterNode): boolean {
    const { cluster, prng, clients, disturb } = this.#options
    if (harm !== 'reset connections' && harm !== 'slow link') return this.#partition(harm, one)
    // A client that has lost its connection does not know what became of its batches, and sends them again.
    const isOfClient = prng.chance(0.5)
    const member = isOfClient ? undefined : prng.pick(cluster.members)
    const [a, b] = [one.machine.name, (member ?? prng.pick(clients)).machine.name]
    if (a === b) return false
    if (harm === 'slow link') {
      if (member) disturb()
      cluster.network.slow(a, b, prng.fraction() * SLOW_MS_MAX)
    } else {
      if (member) disturb(one, member)
      cluster.network.reset(a, b)
    }
    return true
  }

  #partition(harm: NetworkHarm, one: ClusterNode): boolean {
    const { cluster, prng, journal, disturb } = this.#options
    const names = cluster.members.map(({ machine }) => machine.name)
    const { name } = one.machine
    const left =
      harm === 'isolated node' || harm === 'one-way cut' ? [name] : names.filter(() => prng.chance(0.5))
    const right = names.filter(other => !left.includes(other))
    const isBothWays = harm !== 'one-way cut'
    disturb()
    const inwards = prng.chance(0.5)
    for (const a of left)
      for (const b of right) {
        // The bridge is seen by both sides.
        if (harm === 'bridge partition' && (a === name || b === name)) continue
        if (isBothWays || inwards) cluster.network.cut(b, a)
        if (isBothWays || !inwards) cluster.network.cut(a, b)
      }
    journal.tell(
      '--',
      () =>
        `${harm}: ${left.join(' ')} | ${right.join(' ')}${harm === 'bridge partition' ? ` but ${name}` : ''}`,
    )
    return left.length > 0 && right.length > 0
  }
}
