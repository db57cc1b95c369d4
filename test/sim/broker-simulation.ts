import { NaruError } from '../../src/base/errors.ts'
import { Admin } from '../../src/wire/methods.ts'
import { SeededPrng } from '../harness/seeded-prng.ts'
import { SimBroker } from '../harness/sim-broker.ts'
import { SimMachine } from '../harness/sim-machine.ts'
import { BrokerWorkload, type SimTopic } from './broker-workload.ts'

export interface BrokerSimulationOptions {
  readonly seed: number
  readonly steps?: number
  /** A planted bug: called with the machine when its process is gone, before the next start. */
  readonly whileDown?: (machine: SimMachine) => void
  /** In each step: that syncs begin to fail, more often than by themselves. */
  readonly syncErrorChance?: number
}

export interface BrokerSimulationResult {
  /** Equal for two runs of a seed, or something leaks in. */
  readonly digest: string
  readonly restarts: number
  readonly acknowledged: number
}

const TOPICS = ['a', 'b', 'cached'] as const
const SETTINGS = {
  'auto.create.topics.enable': false,
  'log.retention.check.interval.ms': 1_000,
  'tail.bytes.max': 1024 * 1024,
}

/**
 * One broker on a machine that fails in every way of rule set B, with clients that know what they were told: power
 * cuts (also in the middle of a start), kills, orderly stops, full disks, failed and slow syncs; topics come and go
 * under the same names, settings change, records are deleted. After each start and now and then every partition is
 * read whole and held against its oracle; the end heals everything and must answer every batch.
 */
export async function simulateBroker(options: BrokerSimulationOptions): Promise<BrokerSimulationResult> {
  const simulation = new BrokerSimulation(options)
  try {
    return await simulation.run()
  } catch (thrown) {
    throw new Error(`seed ${options.seed}: ${thrown instanceof Error ? thrown.message : thrown}`, {
      cause: thrown,
    })
  }
}

class BrokerSimulation {
  readonly #steps: number
  readonly #prng: SeededPrng
  readonly #machine: SimMachine
  readonly #workload: BrokerWorkload
  readonly #whileDown: (machine: SimMachine) => void
  readonly #syncErrorChance: number
  #node: SimBroker | undefined
  #restarts = 0

  constructor(options: BrokerSimulationOptions) {
    this.#steps = options.steps ?? 120
    this.#machine = new SimMachine(options.seed)
    this.#prng = new SeededPrng(options.seed).fork('workload')
    this.#workload = new BrokerWorkload(new SeededPrng(options.seed).fork('clients'))
    this.#whileDown = options.whileDown ?? (() => {})
    this.#syncErrorChance = options.syncErrorChance ?? 0
  }

  async run(): Promise<BrokerSimulationResult> {
    await this.#start()
    for (let step = 0; step < this.#steps; step++) {
      await this.#step()
      if (this.#workload.failure) throw this.#workload.failure
    }
    await this.#heal()
    const { counts } = this.#workload
    const digest = `${this.#machine.scheduler.digest} ${JSON.stringify(counts)}`
    return { digest, restarts: this.#restarts, acknowledged: counts.acknowledged }
  }

  async #step(): Promise<void> {
    const node = this.#node
    if (!node) return this.#start()
    if (node.broker.failure) return this.#crash()
    const { scheduler, image } = this.#machine
    if (this.#syncErrorChance > 0 && this.#prng.chance(this.#syncErrorChance))
      image.syncErrorProbability = 0.2
    const topic = this.#prng.pick([...this.#workload.topics.values(), undefined])
    const roll = this.#prng.fraction() * 100
    if (!topic || roll < 3) return this.#createOrDelete(node)
    if (roll < 66) {
      for (let left = 1 + Math.floor(this.#prng.fraction() * 4); left > 0; left--)
        this.#workload.send(node, topic)
      await scheduler.runFor(this.#prng.fraction() * 4)
    } else if (roll < 70) await this.#untilSettled(this.#check(node, topic))
    else if (roll < 74) await this.#untilSettled(this.#workload.deleteRecords(node, topic))
    else if (roll < 78) await this.#untilSettled(this.#alter(node, topic))
    else if (roll < 81) await scheduler.runFor(this.#prng.pick([100, 1_500, 70_000]))
    else if (roll < 84)
      image.syncLatencyMs = this.#prng.pick([
        { min: 0.2, max: 2 },
        { min: 5, max: 60 },
      ])
    else if (roll < 88) this.#fillOrFree()
    else if (roll < 89) image.syncErrorProbability = 0.2
    else if (roll < 92) return this.#crash()
    else if (roll < 95) this.#crashSoon()
    else if (roll < 97) await this.#stop(node)
  }

  #fillOrFree(): void {
    const { image } = this.#machine
    const isFull = image.capacityBytes < Number.POSITIVE_INFINITY
    const roomBytes = Math.floor(this.#prng.fraction() ** 2 * 30_000)
    image.capacityBytes = isFull ? Number.POSITIVE_INFINITY : image.usedBytes + roomBytes
  }

  async #createOrDelete(node: SimBroker): Promise<void> {
    const { topics } = this.#workload
    const name = this.#prng.pick(TOPICS)
    const existing = topics.get(name)
    if (!existing) {
      const topic = this.#workload.newTopic(
        name,
        1 + Math.floor(this.#prng.fraction() * 2),
        name === 'cached',
      )
      topics.set(name, topic)
      const settings = { 'segment.ms': '1000', 'segment.bytes': '1048576', 'max.message.bytes': '1000000' }
      const caching = name === 'cached' ? { 'write.caching': 'true' } : {}
      const made = node.createTopic(name, { ...settings, ...caching }, topic.oracles.length)
      await this.#untilSettled(made.catch(error => this.#expectRefusal(error)))
    } else if (this.#prng.chance(0.3)) {
      existing.isGone = true
      await this.#untilSettled(
        node.call(Admin.deleteTopics, { topics: [name] }).then(
          ({ results }) => {
            if (!results[0]?.failure) topics.delete(name)
          },
          error => this.#expectRefusal(error),
        ),
      )
    }
  }

  async #alter(node: SimBroker, topic: SimTopic): Promise<void> {
    const set = this.#prng.pick([
      { 'segment.ms': this.#prng.pick(['1000', '100000']) },
      { 'index.interval.bytes': this.#prng.pick(['64', '4096', '100000']) },
      topic.name === 'cached'
        ? { 'write.caching': this.#prng.pick(['true', 'false']) }
        : { 'segment.ms': '2000' },
    ])
    const change = { topic: topic.name, set: set as Record<string, string> }
    await node.call(Admin.alterConfigs, { changes: [change] }).catch(error => this.#expectRefusal(error))
  }

  #expectRefusal(error: unknown): void {
    if (!(error instanceof NaruError) || error.reason === 'INTERNAL') throw error
  }

  /** Waits for the work, unless the machine dies under it, or the disk has no room for its answer. */
  async #untilSettled(work: Promise<unknown>): Promise<void> {
    let isSettled = false
    let failure: unknown
    work.then(
      () => {
        isSettled = true
      },
      error => {
        isSettled = true
        failure = error
      },
    )
    const { scheduler, incarnation } = this.#machine
    const endMs = scheduler.nowMs + 2_000
    const isOver = () => isSettled || !incarnation.isAlive || scheduler.nowMs > endMs
    scheduler.schedule(2_001, () => {}, { label: 'patience' })
    await scheduler.runUntil(isOver)
    if (failure) throw failure
  }

  async #crash(): Promise<void> {
    const isPowerCut = this.#prng.chance(0.6)
    if (isPowerCut) this.#machine.powerCut()
    else this.#machine.kill()
    this.#down(isPowerCut)
    await this.#start()
  }

  #crashSoon(): void {
    const change = this.#machine.image.changes + 1 + Math.floor(this.#prng.fraction() * 40)
    this.#machine.crashAtChange(change, () => this.#down(true))
  }

  #down(isPowerCut: boolean): void {
    this.#node = undefined
    this.#workload.crashed(isPowerCut)
    const { image } = this.#machine
    image.syncErrorProbability = 0
    this.#whileDown(this.#machine)
  }

  async #stop(node: SimBroker): Promise<void> {
    await this.#untilSettled(node.broker.close())
    if (!this.#machine.incarnation.isAlive) return
    this.#machine.kill()
    this.#down(false)
  }

  /** Until the node serves: a crash that was due may come in the middle of its recovery. */
  async #start(): Promise<void> {
    const { scheduler, image } = this.#machine
    image.capacityBytes = Number.POSITIVE_INFINITY
    for (let tries = 0; tries < 10; tries++) {
      this.#restarts++
      const { incarnation } = this.#machine
      if (this.#prng.chance(0.2)) this.#crashSoon()
      let node: SimBroker | undefined
      let failure: unknown
      SimBroker.start(this.#machine, SETTINGS).then(
        started => {
          node = started
        },
        error => {
          failure = error
        },
      )
      await scheduler.runUntil(() => node !== undefined || failure !== undefined || !incarnation.isAlive)
      if (failure) throw failure
      if (!node || !incarnation.isAlive) continue
      this.#node = node
      await this.#checkAll(node)
      return
    }
    throw new Error('the node does not start')
  }

  async #checkAll(node: SimBroker): Promise<void> {
    const names = new Set<string>()
    await this.#untilSettled(
      node.call(Admin.listTopics, {}).then(({ topics }) => {
        for (const { topic } of topics) names.add(topic)
      }),
    )
    if (this.#node !== node) return
    for (const [name, topic] of this.#workload.topics) {
      if (names.has(name)) {
        topic.isGone = false
        await this.#untilSettled(this.#check(node, topic))
        if (this.#node !== node) return
      } else if (topic.isGone || topic.oracles.every(oracle => oracle.isEmpty))
        this.#workload.topics.delete(name)
      else throw new Error(`topic ${name} is gone, and nobody deleted it`)
    }
  }

  async #check(node: SimBroker, topic: SimTopic): Promise<void> {
    for (const [partition, oracle] of topic.oracles.entries()) {
      try {
        const { knownEnd } = oracle
        oracle.check(await node.readAll(topic.name, partition), knownEnd)
      } catch (thrown) {
        // A topic whose making or deletion has not been answered may be there or not; on a full disk it is not.
        const isOpen = topic.isGone || oracle.isEmpty
        const isMissing =
          thrown instanceof NaruError && /^UNKNOWN_(TOPIC|PARTITION)$|^DISK_FULL$/.test(thrown.reason)
        const isDying = node !== this.#node || node.broker.refusal !== undefined
        if (!isDying && !(isOpen && isMissing)) throw thrown
      }
    }
  }

  /** Nothing fails any more: every batch gets its answer, and everything acknowledged is there. */
  async #heal(): Promise<void> {
    const { image, scheduler } = this.#machine
    image.capacityBytes = Number.POSITIVE_INFINITY
    image.syncErrorProbability = 0
    image.syncLatencyMs = { min: 0.2, max: 2 }
    if (!this.#node || this.#node.broker.failure) await this.#crash()
    while (!this.#node) await this.#start()
    await scheduler.runFor(65_000)
    if (!this.#node) await this.#start()
    for (const topic of this.#workload.topics.values())
      for (const { open, label } of topic.producers)
        if (open?.isInFlight) throw new Error(`a batch of ${label} was never answered: ${open.values[0]}`)
    this.#machine.powerCut()
    this.#down(true)
    await this.#start()
    while (!this.#node) await this.#start()
    if (this.#workload.failure) throw this.#workload.failure
  }
}
