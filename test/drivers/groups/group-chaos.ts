import { NaruError } from '../../../src/base/errors.ts'
import { SeededPrng } from '../../harness/seeded-prng.ts'
import type { SimBroker } from '../../harness/sim-broker.ts'
import { type ClusterNode, SimBrokerCluster } from '../../harness/sim-broker-cluster.ts'
import { commit, committed, makeLogs } from './group-calls.ts'

const GROUPS = ['a', 'b', 'c', 'd', 'e']
const CALL_MS_MAX = 20_000

/** A group as its clients know it: one writer, whose commits only rise. */
interface KnownGroup {
  readonly name: string
  /** The newest that was answered; and that was asked for. */
  acked: number
  asked: number
  isBusy: boolean
}

/**
 * Whole nodes that are killed, lose power and are cut off, while clients commit through any of them, and read. Nobody
 * ever reads less than what had been answered before it asked: not from a coordinator that lost its place, nor from one
 * that has just taken over, nor from a view that is wrong (D1, D2, C12).
 */
export class GroupChaos {
  readonly #prng: SeededPrng
  readonly #cluster: SimBrokerCluster
  readonly #groups: KnownGroup[] = GROUPS.map(name => ({ name, acked: -1, asked: -1, isBusy: false }))
  #problem: string | undefined
  answeredCommits = 0
  answeredReads = 0

  constructor(seed: number) {
    this.#prng = new SeededPrng(`group chaos ${seed}`)
    this.#cluster = new SimBrokerCluster({ seed, nodes: 3 })
  }

  async run(steps: number): Promise<void> {
    const cluster = this.#cluster
    for (const member of cluster.members) cluster.boot(member)
    await cluster.serving(...cluster.members)
    await cluster.run(makeLogs(cluster.any))
    for (let step = 0; step < steps; step++) {
      this.#step()
      await cluster.scheduler.runFor(this.#prng.fraction() ** 2 * 800)
      if (this.#problem !== undefined) throw new Error(this.#problem)
    }
    await this.#heal()
    for (const group of this.#groups) await this.#readInTheEnd(group)
    if (this.#problem !== undefined) throw new Error(this.#problem)
  }

  #step(): void {
    const { members, network } = this.#cluster
    const roll = this.#prng.fraction() * 100
    const member = this.#prng.pick(members)
    if (roll < 50) this.#commit()
    else if (roll < 84) this.#read()
    else if (roll < 92) this.#comeOrGo(member)
    else if (roll < 96) {
      const other = this.#prng.pick(members)
      network.cut(member.machine.name, other.machine.name)
      network.cut(other.machine.name, member.machine.name)
    } else network.heal()
  }

  #comeOrGo(member: ClusterNode): void {
    if (!member.node) this.#cluster.boot(member)
    else if (this.#cluster.running.length < 3) return
    else if (this.#prng.chance(0.5)) this.#cluster.kill(member)
    else {
      // LevelDB may be gone, or not open, when the node comes back: it all follows from the log.
      this.#cluster.powerCut(member)
      if (this.#prng.chance(0.3)) member.machine.state.isDamaged = true
    }
  }

  #commit(): void {
    const node = this.#anyNode()
    const group = this.#prng.pick(this.#groups)
    if (!node || group.isBusy) return
    group.isBusy = true
    const next = Math.min(10, Math.max(group.acked, 0) + (this.#prng.chance(0.3) ? 1 : 0))
    group.asked = Math.max(group.asked, next)
    void this.#timely(commit(node, group.name, { 0: next })).then(
      () => {
        group.acked = Math.max(group.acked, next)
        group.isBusy = false
        this.answeredCommits++
      },
      () => {
        group.isBusy = false
      },
    )
  }

  #read(): void {
    const node = this.#anyNode()
    const group = this.#prng.pick(this.#groups)
    if (!node) return
    const { acked } = group
    void this.#timely(committed(node, group.name)).then(
      found => this.#check(group, acked, found[0]),
      thrown => this.#checkRefusal(group, acked, NaruError.from(thrown)),
    )
  }

  #check(group: KnownGroup, acked: number, found: number | undefined): void {
    this.answeredReads++
    const value = found ?? -1
    if (value < acked || value > group.asked)
      this.#problem ??= `group ${group.name}: ${value} was read, ${acked} had been answered, ${group.asked} was asked for`
  }

  #checkRefusal(group: KnownGroup, acked: number, error: NaruError): void {
    if (error.reason === 'UNKNOWN_GROUP') this.#check(group, acked, undefined)
    else if (!error.retriable && error.reason !== 'UNKNOWN_OUTCOME' && error.reason !== 'DEADLINE_EXCEEDED')
      this.#problem ??= `group ${group.name}: ${error.reason} ${error.message}`
  }

  async #heal(): Promise<void> {
    const cluster = this.#cluster
    cluster.network.heal()
    for (const member of cluster.members) if (!member.node) cluster.boot(member)
    await cluster.serving(...cluster.members)
  }

  async #readInTheEnd(group: KnownGroup): Promise<void> {
    const { acked } = group
    for (let tries = 0; tries < 40; tries++) {
      const outcome = await this.#cluster.run(
        committed(this.#cluster.any, group.name).then(
          found => ({ found: found[0] }),
          (error: NaruError) => ({ error }),
        ),
      )
      if ('found' in outcome || outcome.error.reason === 'UNKNOWN_GROUP') {
        this.#check(group, acked, 'found' in outcome ? outcome.found : undefined)
        return
      }
      await this.#cluster.scheduler.runFor(500)
    }
    this.#problem ??= `group ${group.name} cannot be read though all nodes run`
  }

  #timely<T>(call: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const late = new NaruError('DEADLINE_EXCEEDED', 'no answer')
      this.#cluster.scheduler.schedule(CALL_MS_MAX, () => reject(late), { label: 'late' })
      call.then(resolve, reject)
    })
  }

  #anyNode(): SimBroker | undefined {
    const { running } = this.#cluster
    return running.length === 0 ? undefined : this.#prng.pick(running).node
  }
}
