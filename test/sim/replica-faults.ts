import type { Admin } from '../../src/client/index.ts'
import { OFFSET_FORMAT } from '../../src/log/offset-checkpoint.ts'
import type { MetadataImage } from '../../src/metadata/metadata-image.ts'
import type { SeededPrng } from '../harness/seeded-prng.ts'
import type { ClusterNode, SimBrokerCluster } from '../harness/sim-broker-cluster.ts'
import { SimSegments } from '../harness/sim-segments.ts'
import type { ClusterJournal } from './cluster-journal.ts'
import type { Harm, Swarm } from './cluster-swarm.ts'

export interface ReplicaFaultsOptions {
  readonly cluster: SimBrokerCluster
  readonly swarm: Swarm
  readonly prng: SeededPrng
  readonly journal: ClusterJournal
  /** As the controller has it now; undefined: nobody is. */
  readonly image: () => MetadataImage | undefined
  /** Every replica of others has what this one has, and is on the disk that is known. */
  readonly mayLose: (member: ClusterNode) => boolean
  readonly onDataLost: (nodeId: number, partition?: string) => void
  readonly cutPower: (members: readonly ClusterNode[]) => void
  readonly operate: (what: string, change: (admin: Admin) => Promise<unknown>, counted?: string) => void
}

/** Chance that the power of all is cut when the disk of one is hurt. */
const ALL_OFF = 0.3

interface Place {
  readonly topic: string
  readonly partition: number
}

/** What happens to replicas in particular: rot, lost directories, moves, changed settings. */
export class ReplicaFaults {
  readonly #options: ReplicaFaultsOptions

  constructor(options: ReplicaFaultsOptions) {
    this.#options = options
  }

  /** False: it has no place now. */
  harm(harm: Harm, one: ClusterNode): boolean {
    switch (harm) {
      case 'bit rot':
        return this.#hurt(one, (member, place) => this.#rotOf(member, place))
      case 'lost directory':
        return this.#hurt(one, (member, place) => this.#lossOf(member, place))
      case 'reassignment':
        return this.#reassign()
      case 'preferred leaders':
        this.#options.operate('preferred leaders', admin => admin.electPreferredLeaders())
        return true
      default:
        return this.#changeSetting()
    }
  }

  /** Of a node that is down: its machine is off while somebody looks after its disk. The others stand in as well. */
  #hurt(one: ClusterNode, hurtOf: (member: ClusterNode, place: Place) => (() => void) | undefined): boolean {
    const { cluster, mayLose, prng, cutPower, onDataLost } = this.#options
    const places = this.#places()
    for (const member of [one, ...cluster.members]) {
      if (!mayLose(member)) continue
      const choices = places.flatMap(place => {
        const isShared = place.replicas.length > 1 && place.replicas.includes(member.nodeId)
        const hurt = isShared ? hurtOf(member, place) : undefined
        return hurt ? [{ place, hurt }] : []
      })
      if (choices.length === 0) continue
      const { place, hurt } = prng.pick(choices)
      // Where all come back together, nobody has been replaced by the time at which the damage must be seen.
      cutPower(prng.chance(ALL_OFF) ? cluster.members : [member])
      hurt()
      onDataLost(member.nodeId, `${place.topic}-${place.partition}`)
      return true
    }
    return false
  }

  /**
   * Somewhere in what the disk is known to have synced once: what lies behind may always be a torn tail (B2). In the segment
   * of the recovery point: a start does not look at those before it, whose rot shows when they are read.
   */
  #rotOf(member: ClusterNode, { topic, partition }: Place): (() => void) | undefined {
    const { prng, journal } = this.#options
    const { image, name: machine } = member.machine
    const path = `data/topics/${topic}-${partition}`
    const synced = recoveryPointOf(member, { topic, partition })
    const segments = image.names.find(path)
    if (segments?.kind !== 'directory') return undefined
    const files = [...segments.entries.keys()].filter(one => /^\d{20}\.log$/.test(one)).sort()
    const file = files.findLast(one => Number.parseInt(one, 10) <= synced) ?? ''
    const batches = [...new SimSegments(image, path).visible()].filter(
      one => one.baseOffset >= Number.parseInt(file, 10) && one.lastOffset < synced,
    )
    if (batches.length === 0) return undefined
    const batch = prng.pick(batches)
    const isCut = prng.chance(0.3)
    const position = Math.floor(prng.fraction() * batch.endBytes)
    return () => {
      const what = isCut ? 'is cut' : 'rots'
      journal.tell(machine, () => `${path} ${what} at byte ${position} of ${file}, synced are ${synced}`)
      if (isCut) image.cutFile(`${path}/${file}`, position)
      else image.flipBit(`${path}/${file}`, position, position % 8)
    }
  }

  #lossOf(member: ClusterNode, { topic, partition }: Place): (() => void) | undefined {
    const { image, name: machine } = member.machine
    const path = `data/topics/${topic}-${partition}`
    // What was never durably in use is no loss: a power cut takes it, too.
    if (!image.names.find(path) || recoveryPointOf(member, { topic, partition }) === 0) return undefined
    return () => {
      this.#options.journal.tell(machine, () => `loses ${path}`)
      image.loseDirectory(path)
    }
  }

  #reassign(): boolean {
    const { prng, cluster, operate } = this.#options
    const places = this.#places()
    if (places.length === 0) return false
    if (prng.chance(0.15)) {
      operate('cancel moves', admin => admin.cancelReassignments())
      return true
    }
    const { topic, partition, factor } = prng.pick(places)
    const nodes = cluster.members.map(({ nodeId }) => nodeId)
    const shuffled = nodes.map(nodeId => ({ nodeId, at: prng.fraction() })).sort((a, b) => a.at - b.at)
    const replicas = shuffled.slice(0, Math.max(1, factor)).map(({ nodeId }) => nodeId)
    operate(`move ${topic}-${partition} to ${replicas}`, admin =>
      admin.reassignPartitions([{ topic, partition, replicas }]),
    )
    return true
  }

  #changeSetting(): boolean {
    const { prng, operate, swarm } = this.#options
    const log = swarm.logs.length === 0 ? undefined : prng.pick(swarm.logs)
    if (!log || log.replicationFactor < 2) return false
    const value = prng.pick(['1', '2'])
    operate(`min.insync.replicas of ${log.name}: ${value}`, admin =>
      admin.alterTopicSettings(log.name, { set: { 'min.insync.replicas': value } }),
    )
    return true
  }

  #places(): (Place & { readonly replicas: readonly number[]; readonly factor: number })[] {
    const topics = this.#options.image()?.topics
    const places = []
    for (const name of topics?.names() ?? []) {
      const topic = topics?.byName(name)
      for (const [partition, { replicas }] of topic?.partitions() ?? [])
        places.push({ topic: name, partition, replicas, factor: topic?.replicationFactor ?? 1 })
    }
    return places
  }
}

/** As the checkpoint on its disk says; 0: nothing is known. */
function recoveryPointOf({ machine }: ClusterNode, { topic, partition }: Place): number {
  const node = machine.image.names.find('data/recovery-point')
  if (node?.kind !== 'file') return 0
  for (const line of node.content.read(0, node.content.sizeBytes).toString().split('\n')) {
    const entry = OFFSET_FORMAT.decode(line)
    if (entry?.topic === topic && entry.partition === partition) return entry.offset
  }
  return 0
}
