import { NaruError } from '../../src/base/errors.ts'
import { encodeMetadataRecord } from '../../src/drivers/controller/metadata-record-codec.ts'
import { Admin } from '../../src/wire/methods.ts'
import { SeededPrng } from '../harness/seeded-prng.ts'
import type { SimBroker } from '../harness/sim-broker.ts'
import { type ClusterNode, SimBrokerCluster } from '../harness/sim-broker-cluster.ts'

/** What is known of a topic: a change that was refused did not happen, one of unknown outcome may have. */
interface SimTopicFate {
  readonly name: string
  created: 'pending' | 'yes' | 'no' | 'unknown'
  deleted: 'not asked' | 'pending' | 'yes' | 'no' | 'unknown'
}

/**
 * Whole nodes that come and go in every way, with a network that breaks, while clients make and delete topics through
 * any of them. In the end everything heals: all nodes have the same metadata, in which is all that was answered.
 */
export class ClusterLife {
  readonly #prng: SeededPrng
  readonly #cluster: SimBrokerCluster
  readonly #topics: SimTopicFate[] = []
  #failure: unknown

  constructor(options: { seed: number; nodes: number }) {
    this.#prng = new SeededPrng(options.seed).fork('workload')
    this.#cluster = new SimBrokerCluster(options)
  }

  /** Returns how much was answered, and what is equal for two runs of a seed. */
  async run(steps: number): Promise<{ digest: string; answered: number }> {
    const { members, scheduler } = this.#cluster
    for (const member of members) this.#cluster.boot(member)
    for (let step = 0; step < steps; step++) {
      this.#step()
      await scheduler.runFor(this.#prng.fraction() ** 2 * 3_000)
      if (this.#failure) throw this.#failure
    }
    await this.#heal()
    this.#check()
    const answered = this.#topics.filter(({ created, deleted }) => created === 'yes' || deleted === 'yes')
    return { digest: String(scheduler.digest), answered: answered.length }
  }

  #step(): void {
    const { members, network } = this.#cluster
    const roll = this.#prng.fraction() * 100
    const member = this.#prng.pick(members)
    if (roll < 45) this.#create()
    else if (roll < 55) this.#delete()
    else if (roll < 78) this.#comeOrGo(member, roll)
    else if (roll < 90) {
      const other = this.#prng.pick(members)
      network.cut(member.machine.name, other.machine.name)
      if (this.#prng.chance(0.7)) network.cut(other.machine.name, member.machine.name)
    } else network.heal()
  }

  #comeOrGo(member: ClusterNode, roll: number): void {
    if (!member.node) this.#boot(member)
    else if (roll < 62) this.#cluster.kill(member)
    else if (roll < 70) this.#cluster.powerCut(member)
    else {
      const { node } = member
      void node.broker.close().then(() => {
        if (member.node === node) this.#cluster.kill(member)
      }, this.#note)
    }
  }

  #boot(member: ClusterNode): void {
    this.#cluster.boot(member)
    void member.started.catch(this.#note)
  }

  #create(): void {
    const node = this.#anyNode()
    if (!node) return
    const fate: SimTopicFate = { name: `t${this.#topics.length}`, created: 'pending', deleted: 'not asked' }
    this.#topics.push(fate)
    void node.createTopic(fate.name, {}, 1 + Math.floor(this.#prng.fraction() * 4)).then(
      () => {
        fate.created = 'yes'
      },
      thrown => {
        fate.created = this.#outcomeOf(thrown)
      },
    )
  }

  #delete(): void {
    const node = this.#anyNode()
    const fate = this.#topics.find(topic => topic.created === 'yes' && topic.deleted === 'not asked')
    if (!node || !fate) return
    fate.deleted = 'pending'
    void node.call(Admin.deleteTopics, { topics: [fate.name] }).then(
      ({ results }) => {
        fate.deleted = results[0]?.failure ? 'unknown' : 'yes'
      },
      thrown => {
        fate.deleted = this.#outcomeOf(thrown)
      },
    )
  }

  #anyNode(): SimBroker | undefined {
    const { running } = this.#cluster
    return running.length > 0 ? this.#prng.pick(running).node : undefined
  }

  #outcomeOf(thrown: unknown): 'no' | 'unknown' {
    this.#note(thrown)
    return thrown instanceof NaruError && thrown.outcome === 'none' ? 'no' : 'unknown'
  }

  readonly #note = (thrown: unknown): void => {
    const isExpected = thrown instanceof NaruError && thrown.reason !== 'INTERNAL'
    if (!isExpected) this.#failure ??= thrown
  }

  async #heal(): Promise<void> {
    const cluster = this.#cluster
    cluster.network.heal()
    await cluster.scheduler.runFor(15_000)
    for (const member of cluster.members) if (!member.node) this.#boot(member)
    await cluster.serving(...cluster.members)
    const last = `last-${this.#topics.length}`
    await cluster.run(cluster.any.createTopic(last))
    await cluster.until(() => cluster.running.every(({ node }) => node.image.topics.byName(last)), 30_000)
    // Replicas come back into sync all the while: images are compared at one index.
    const isAlike = () => new Set(cluster.running.map(({ node }) => node.image.appliedEndIndex)).size === 1
    await cluster.until(isAlike, 30_000)
    if (this.#failure) throw this.#failure
  }

  #check(): void {
    const { running } = this.#cluster
    const images = running.map(({ node }) =>
      [...node.image.records()].map(record => encodeMetadataRecord(record).toString('hex')).join('\n'),
    )
    if (new Set(images).size !== 1)
      throw new Error(`the nodes have different metadata:\n${images.join('\n')}`)
    const { topics } = this.#cluster.any.image
    for (const { name, created, deleted } of this.#topics) {
      const isThere = topics.byName(name) !== undefined
      const must = created === 'yes' && (deleted === 'not asked' || deleted === 'no')
      const mustNot = created === 'no' || deleted === 'yes'
      if ((must && !isThere) || (mustNot && isThere))
        throw new Error(`topic ${name}: created ${created}, deleted ${deleted}, but is there: ${isThere}`)
    }
  }
}
