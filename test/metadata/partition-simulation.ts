import { NaruError } from '../../src/base/errors.ts'
import type { MachineResult } from '../../src/machine/state-machine.ts'
import type { IsrChange } from '../../src/metadata/isr-control.ts'
import type { MetadataRecord, PartitionState } from '../../src/metadata/metadata-record.ts'
import type { TopicView } from '../../src/metadata/topic-image.ts'
import { resolveTopicSettings } from '../../src/metadata/topic-settings.ts'
import { SeededPrng } from '../harness/seeded-prng.ts'
import * as CODE from './metadata-code.ts'

export type MetadataCode = typeof CODE

const NODES = [1, 2, 3, 4, 5]
const STEPS = 250
const OPTIONS = { nodesListed: NODES.length, defaultPartitions: 2 }

interface SimulatedNode {
  nodeEpoch: number
  directoryId: string
  incarnation: string
}

/**
 * Random lives of nodes and partitions against the controller's handlers, with a model of who holds what is committed.
 *
 * The model: while a partition has a leader and min.insync.replicas in sync, its leader may commit at any moment, and
 * then exactly the ISR of then holds all that is committed. Who enters the ISR has caught up and holds it too; a lost
 * disk, a damaged copy, and an unclean stop under write.caching hold it no more.
 *
 *   P2  every member of ISR and ELR holds all that is committed, unless an unclean election gave it up
 *   P3  ELR is empty while the ISR has min.insync.replicas, so that the maximal ISR covers all that may be elected
 *   P6  a change of the ISR is accepted only from the leader, with its epochs and those of the members being of now
 *   P8  who comes back without what it acknowledged is in no ISR and ELR until it has caught up
 *   P9  a fenced node leads nothing and is in no ISR; a draining one enters no ISR and gets no leadership, unless nobody
 *       else holds all that is committed, or an operator names it; and who holds it and is up is not left without the lead
 *   P10 a leader that lives stays one until it has itself asked for what may end that (C12)
 */
export class PartitionSimulation {
  readonly #code: MetadataCode
  readonly #prng: SeededPrng
  readonly #image
  readonly #controller
  readonly #nodes = new Map<number, SimulatedNode>()
  /** `topic id partition` -> `node@directory` that hold all that is committed. */
  readonly #holders = new Map<string, Set<string>>()
  /** `topic id node epoch` of the processes that ran while the topic acknowledged on page caches. */
  readonly #cached = new Set<string>()
  readonly #log: string[] = []
  readonly #old: IsrChange[] = []
  #made = 0
  /** Of this step: the leader, or a node with a damaged replica, has asked for it. */
  #isAskedByReplica = false
  #isRecovery = false

  constructor(options: { seed: number; code?: MetadataCode }) {
    this.#code = options.code ?? CODE
    this.#prng = new SeededPrng(options.seed)
    this.#image = new this.#code.MetadataImage()
    this.#controller = new this.#code.Controller(this.#image, OPTIONS)
    this.#apply(this.#code.formCluster(this.#image, 'cluster'))
  }

  /** Throws what an invariant says, with the steps that led there. */
  run(): void {
    try {
      for (const nodeId of NODES) this.#restart(nodeId)
      for (const nodeId of NODES) this.#unfence(nodeId)
      for (let step = 0; step < STEPS; step++) {
        this.#isRecovery = false
        this.#isAskedByReplica = false
        const before = this.#snapshot()
        this.#act()
        this.#check(before)
        for (const [topic, partition, state] of this.#partitions())
          if (this.#prng.chance(0.7)) this.#commit(topic, partition, state)
      }
      this.#checkReplay()
    } catch (error) {
      const { message } = error as Error
      throw new Error(`${message}\n${this.#log.slice(-25).join('\n')}`, { cause: error })
    }
  }

  #act(): void {
    const nodeId = this.#pick(NODES)
    const actions: [weight: number, act: () => void][] = [
      [2, () => this.#create()],
      [8, () => this.#restart(nodeId)],
      [24, () => this.#unfence(nodeId)],
      [12, () => this.#fence(nodeId)],
      [4, () => this.#drain(nodeId)],
      [50, () => this.#alter()],
      [6, () => this.#setSetting()],
      [10, () => this.#reassign()],
      [3, () => this.#run('cancel', () => this.#controller.reassignments.cancel(undefined))],
      [4, () => this.#run('elect', () => this.#controller.leaders.awaitPreferred(undefined))],
      [3, () => this.#recover()],
      [4, () => this.#reportDamage(nodeId)],
      [2, () => this.#changeFactor()],
      [1, () => this.#delete()],
    ]
    let left = this.#below(actions.reduce((sum, [weight]) => sum + weight, 0))
    for (const [weight, act] of actions) {
      left -= weight
      if (left >= 0) continue
      act()
      return
    }
  }

  #create(): void {
    const count = [...this.#image.topics.all()].length
    if (count >= 3) return
    const name = `t${++this.#made}`
    const settings: Record<string, string> = {}
    if (this.#prng.chance(0.2)) settings['write.caching'] = 'true'
    const replicationFactor = 1 + this.#below(3)
    this.#run(`create ${name} x${replicationFactor}`, () =>
      this.#controller.topics.create(
        { topics: [{ name, partitions: 2, replicationFactor, settings }] },
        () => `id-${name}`,
      ),
    )
    for (const [topic, partition, state] of this.#partitions())
      if (topic.name === name)
        this.#holders.set(keyOf(topic, partition), new Set(state.isr.map(id => this.#holder(id))))
  }

  /** A new process, perhaps with an empty disk, perhaps without an orderly stop, perhaps with a partition missing. */
  #restart(nodeId: number): void {
    const before = this.#nodes.get(nodeId)
    const isWiped = before === undefined || this.#prng.chance(0.25)
    const isClean = this.#prng.chance(0.5)
    const directoryId = isWiped ? `disk-${++this.#made}` : before.directoryId
    const incarnation = `process-${++this.#made}`
    const missing = [...this.#partitions()].filter(() => !isWiped && this.#prng.chance(0.1))
    const request = {
      clusterId: 'cluster',
      nodeId,
      directoryId,
      incarnation,
      rack: '',
      clientAddress: 'a:1',
      peerAddress: 'b:1',
      release: '0.1.0',
      ...(isClean && before && { cleanStopEpoch: before.nodeEpoch }),
    }
    for (const [topic, partition, state] of this.#partitions()) {
      const isCached = this.#cached.has(`${topic.id} ${nodeId} ${before?.nodeEpoch}`)
      const isLost = missing.some(([one, at]) => one.id === topic.id && at === partition)
      const isTorn = isCached && !isClean && state.replicas.length > 1
      if (before && (isLost || isTorn))
        this.#holders.get(keyOf(topic, partition))?.delete(`${nodeId}@${before.directoryId}`)
    }
    const answer = this.#run(`register ${nodeId} ${directoryId}${isClean ? ' clean' : ''}`, () =>
      this.#controller.nodes.register(request, { isSessionAlive: false, wallMs: 0 }),
    )
    if (!answer) return
    this.#nodes.set(nodeId, { nodeEpoch: answer.nodeEpoch, directoryId, incarnation })
    // Before it is unfenced.
    for (const [topic, partition] of missing) this.#report(nodeId, topic, partition)
  }

  #unfence(nodeId: number): void {
    this.#run(`unfence ${nodeId}`, () => this.#controller.nodes.unfence(this.#ref(nodeId)))
  }

  #fence(nodeId: number): void {
    const also = this.#prng.chance(0.2) ? [this.#pick(NODES)] : []
    this.#run(`fence ${nodeId},${also}`, () =>
      this.#controller.nodes.fenceAll([...new Set([nodeId, ...also])].map(id => this.#ref(id))),
    )
  }

  #drain(nodeId: number): void {
    this.#run(`drain ${nodeId}`, () => this.#controller.nodes.drain(this.#ref(nodeId)))
  }

  /** Of a random partition: mostly as its leader would, at times stale, or by somebody else, or with dead members. */
  #alter(): void {
    const found = this.#anyPartition()
    if (!found) return
    const [topic, partition, state] = found
    const isHonest = this.#prng.chance(0.6)
    const sender = isHonest ? state.leader : this.#pick(NODES)
    if (sender === null || sender === undefined) return
    const members = state.replicas.filter(id => id === sender || this.#prng.chance(0.6))
    const epoch = (of: number) => (isHonest || this.#prng.chance(0.7) ? of : of - 1)
    const isr = members.map(nodeId => ({ nodeId, nodeEpoch: epoch(this.#ref(nodeId).nodeEpoch) }))
    const { leaderEpoch, partitionEpoch } = state
    const heirs = members.filter(id => id !== sender)
    const successorId = this.#prng.chance(0.1) ? heirs[0] : undefined
    const fresh: IsrChange = {
      topicId: topic.id,
      partition,
      leaderEpoch: epoch(leaderEpoch),
      partitionEpoch: epoch(partitionEpoch),
      isr,
      successorId,
    }
    this.#old.push(fresh)
    // A delayed copy of what was sent before.
    const isOld = this.#prng.chance(0.15)
    const change = isOld ? this.#pick(this.#old.slice(-20)) : fresh
    const contact = { isInContact: () => this.#prng.chance(0.3), mayElect: () => true }
    const problem = this.#problemOf(sender, change)
    this.#isAskedByReplica = true
    const answer = this.#run(`alter by ${sender} ${JSON.stringify(change)}`, () =>
      this.#controller.isr.alter(this.#ref(sender), [change], contact),
    )
    if (answer?.answers[0]?.kind !== 'accepted') return
    if (problem !== undefined) throw new Error(`P6: a change was accepted although ${problem}`)
    const holders = this.#holders.get(`${change.topicId} ${change.partition}`)
    for (const { nodeId } of change.isr) holders?.add(this.#holder(nodeId))
  }

  /** By the state of now, written down apart from the handler. */
  #problemOf(sender: number, change: IsrChange): string | undefined {
    const state = this.#image.topics.byId(change.topicId)?.partition(change.partition)
    if (!state) return 'the partition is gone'
    if (state.leader !== sender) return 'another leads'
    if (state.leaderEpoch !== change.leaderEpoch) return 'the leader epoch is another'
    if (state.partitionEpoch !== change.partitionEpoch) return 'the partition epoch is another'
    for (const { nodeId, nodeEpoch } of change.isr) {
      const node = this.#image.nodes.get(nodeId)
      if (!state.replicas.includes(nodeId)) return `${nodeId} is no replica`
      if (node?.nodeEpoch !== nodeEpoch) return `${nodeId} is another process`
      const isNew = !state.isr.includes(nodeId)
      if (isNew && (node?.isFenced || node?.isDraining)) return `${nodeId} is fenced or draining`
    }
    return undefined
  }

  #setSetting(): void {
    const topic = this.#anyPartition()?.[0]
    if (!topic) return
    const set: Record<string, string> = {}
    const remove: string[] = []
    const flag = this.#prng.chance(0.5) ? 'true' : 'false'
    const kind = this.#below(10)
    if (kind < 6) set['min.insync.replicas'] = String(1 + this.#below(3))
    else if (kind < 8) remove.push('min.insync.replicas')
    else set[kind < 9 ? 'write.caching' : 'unclean.leader.election.enable'] = flag
    this.#run(`set ${topic.name} ${JSON.stringify(set)} -${remove}`, () =>
      this.#controller.settings.alter({ changes: [{ name: topic.name, set, remove }] }),
    )
  }

  #reassign(): void {
    const found = this.#anyPartition()
    if (!found) return
    const [topic, partition] = found
    const replicas = this.#shuffle(NODES).slice(0, 1 + this.#below(3))
    this.#run(`reassign ${topic.name}-${partition} to ${replicas}`, () =>
      this.#controller.reassignments.reassign({
        reassignments: [{ topic: topic.name, partition, replicas }],
      }),
    )
  }

  #changeFactor(): void {
    const topic = this.#anyPartition()?.[0]
    if (!topic) return
    const replicationFactor = 1 + this.#below(4)
    this.#run(`replication factor of ${topic.name}: ${replicationFactor}`, () =>
      this.#controller.reassignments.changeReplicationFactor({ name: topic.name, replicationFactor }),
    )
  }

  #recover(): void {
    const offline = [...this.#partitions()].filter(([, , state]) => state.leader === null)
    if (offline.length === 0) return
    const [topic, partition] = this.#pick(offline)
    const nodeId = this.#pick(NODES)
    this.#isRecovery = true
    this.#run(`recover ${topic.name}-${partition} with ${nodeId}`, () =>
      this.#controller.leaders.recover([{ topic: topic.name, partition, nodeId }]),
    )
  }

  #reportDamage(nodeId: number): void {
    const found = this.#anyPartition()
    if (!found) return
    const [topic, partition] = found
    this.#holders.get(keyOf(topic, partition))?.delete(this.#holder(nodeId))
    this.#report(nodeId, topic, partition)
  }

  #report(nodeId: number, topic: TopicView, partition: number): void {
    this.#isAskedByReplica = true
    this.#run(`damage of ${topic.name}-${partition} on ${nodeId}`, () =>
      this.#controller.isr.reportDamage(this.#ref(nodeId), [{ topicId: topic.id, partition }]),
    )
  }

  #delete(): void {
    const topic = this.#anyPartition()?.[0]
    if (topic)
      this.#run(`delete ${topic.name}`, () =>
        this.#controller.topics.delete({ topics: [{ name: topic.name }] }),
      )
  }

  #run<T>(what: string, work: () => MachineResult<MetadataRecord, T>): T | undefined {
    try {
      const result = work()
      this.#log.push(`${what}: ${result.records.map(record => JSON.stringify(record)).join(' ')}`)
      this.#apply(result)
      return result.response
    } catch (error) {
      if (!(error instanceof NaruError) && (error as Error).name !== 'NaruError') throw error
      this.#log.push(`${what}: ${(error as Error).message}`)
      return undefined
    }
  }

  readonly #records: MetadataRecord[] = []

  #apply(result: MachineResult<MetadataRecord, unknown>): void {
    for (const record of result.records) this.#image.replay(record)
    this.#records.push(...result.records)
    for (const topic of this.#image.topics.all())
      if (resolve(topic)['write.caching'])
        for (const { nodeId, nodeEpoch } of this.#image.nodes.all())
          this.#cached.add(`${topic.id} ${nodeId} ${nodeEpoch}`)
  }

  #commit(topic: TopicView, partition: number, state: PartitionState): void {
    if (state.leader === null || state.isr.length < resolve(topic)['min.insync.replicas']) return
    this.#holders.set(keyOf(topic, partition), new Set(state.isr.map(id => this.#holder(id))))
  }

  #check(before: ReadonlyMap<string, PartitionState>): void {
    for (const [topic, partition, state] of this.#partitions()) {
      const name = `${topic.name}-${partition}`
      const was = before.get(keyOf(topic, partition))
      this.#checkPlaces(keyOf(topic, partition), name, state, was)
      if (was && !this.#isAskedByReplica) this.#checkSurprises(name, { was, state })
      const isUnclean = state.lastUncleanEpoch !== (was?.lastUncleanEpoch ?? null)
      if (isUnclean) {
        const isAllowed = this.#isRecovery || resolve(topic)['unclean.leader.election.enable']
        if (!isAllowed) throw new Error(`P8: ${name} had an unclean election that nothing allows`)
        this.#holders.set(keyOf(topic, partition), new Set(state.isr.map(id => this.#holder(id))))
      }
      const holders = this.#holders.get(keyOf(topic, partition))
      for (const nodeId of [...state.isr, ...state.elr])
        if (!holders?.has(this.#holder(nodeId)))
          throw new Error(`P2: ${name} may elect node ${nodeId}, which lacks committed records`)
      if (state.elr.length > 0 && state.isr.length >= resolve(topic)['min.insync.replicas'])
        throw new Error(`P3: ${name} has ISR ${state.isr}, enough, and ELR ${state.elr}`)
    }
  }

  #checkPlaces(of: string, name: string, state: PartitionState, was: PartitionState | undefined): void {
    const { leader } = state
    const node = (nodeId: number) => this.#image.nodes.get(nodeId)
    const isLastResort = this.#isRecovery || !(was && this.#mayLeadOn(of, was))
    for (const nodeId of state.isr) {
      if (node(nodeId)?.isFenced !== false)
        throw new Error(`P9: fenced node ${nodeId} is in the ISR of ${name}`)
      const isNew = was && !was.isr.includes(nodeId)
      if (isNew && node(nodeId)?.isDraining && !(isLastResort && nodeId === leader))
        throw new Error(`P9: draining node ${nodeId} entered the ISR of ${name}`)
    }
    if (leader === null) {
      const idle = holders(state).find(nodeId => node(nodeId)?.isFenced === false)
      if (idle !== undefined) throw new Error(`P9: node ${idle} could lead ${name}, and nobody does`)
      return
    }
    if (!state.isr.includes(leader)) throw new Error(`P9: leader ${leader} of ${name} is not in its ISR`)
    if (node(leader)?.isDraining && was && was.leader !== leader && !isLastResort)
      throw new Error(`P9: draining node ${leader} got the lead of ${name}`)
  }

  /** One that is active held all that is committed before the step, and holds it still. */
  #mayLeadOn(partition: string, was: PartitionState): boolean {
    const holding = this.#holders.get(partition)
    return holders(was).some(nodeId => {
      const node = this.#image.nodes.get(nodeId)
      return node && !node.isFenced && !node.isDraining && holding?.has(this.#holder(nodeId))
    })
  }

  /** A replica whose node lives hears of what nobody there has asked for late, or never. */
  #checkSurprises(name: string, of: { was: PartitionState; state: PartitionState }): void {
    const { was, state } = of
    const lives = (nodeId: number) => this.#image.nodes.get(nodeId)?.isFenced === false
    if (was.leader !== null && was.leader !== state.leader && lives(was.leader))
      throw new Error(`P10: ${name} was taken from node ${was.leader}, which lives`)
  }

  /** The log alone makes the same image, and a snapshot of it, too. */
  #checkReplay(): void {
    const again = new this.#code.MetadataImage()
    for (const record of this.#records) again.replay(record)
    const restored = new this.#code.MetadataImage()
    for (const record of again.records()) restored.replay(record)
    const text = JSON.stringify([...this.#image.records()])
    if (JSON.stringify([...again.records()]) !== text) throw new Error('replay makes another image')
    if (JSON.stringify([...restored.records()]) !== text) throw new Error('a snapshot makes another image')
  }

  #snapshot(): Map<string, PartitionState> {
    return new Map(
      [...this.#partitions()].map(([topic, partition, state]) => [keyOf(topic, partition), state]),
    )
  }

  *#partitions(): Iterable<[TopicView, number, PartitionState]> {
    for (const topic of this.#image.topics.all())
      for (const [partition, state] of topic.partitions()) yield [topic, partition, state]
  }

  #anyPartition(): [TopicView, number, PartitionState] | undefined {
    const all = [...this.#partitions()]
    return all.length === 0 ? undefined : this.#pick(all)
  }

  #ref(nodeId: number) {
    return { nodeId, nodeEpoch: this.#nodes.get(nodeId)?.nodeEpoch ?? 0 }
  }

  #holder(nodeId: number): string {
    return `${nodeId}@${this.#image.nodes.get(nodeId)?.directoryId}`
  }

  /** Of 0 ... count - 1. */
  #below(count: number): number {
    return Math.floor(this.#prng.fraction() * count)
  }

  #pick<T>(from: readonly T[]): T {
    return from[this.#below(from.length)] as T
  }

  #shuffle<T>(from: readonly T[]): T[] {
    return from
      .map(one => ({ one, order: this.#below(1_000_000) }))
      .sort((a, b) => a.order - b.order)
      .map(({ one }) => one)
  }
}

/** All that may be elected without a loss. */
function holders({ isr, elr }: PartitionState): readonly number[] {
  return [...isr, ...elr]
}

function keyOf(topic: TopicView, partition: number): string {
  return `${topic.id} ${partition}`
}

function resolve(topic: TopicView) {
  return resolveTopicSettings(topic.settings, { replicationFactor: topic.replicationFactor })
}
