import type { NodeId, PartitionId } from '../base/brands.ts'
import { NaruError } from '../base/errors.ts'
import type { MachineResult } from '../machine/state-machine.ts'
import type { ControllerOptions } from './controller-options.ts'
import type { MetadataImage } from './metadata-image.ts'
import type { MetadataRecord, PartitionState } from './metadata-record.ts'
import { isActive, isUp } from './node-image.ts'
import { changeRecord, type ElectionFacts, elect } from './partition-election.ts'
import { advanceReassignment } from './partition-reassignment.ts'
import { type PartitionPlace, type ReassignmentResult, unknownPartition } from './reassignment-control.ts'
import { electionFacts, settingsOf } from './topic-elections.ts'
import { requireTopic } from './topic-errors.ts'
import type { TopicView } from './topic-image.ts'

/** Of one request, which is one entry of the metadata log. */
const PARTITIONS_MAX = 1000

/** Handlers about leaderships by name: of the preferred leaders, or of whoever is left. */
export class LeaderControl {
  readonly #image: MetadataImage
  readonly #options: ControllerOptions

  constructor(image: MetadataImage, options: ControllerOptions) {
    this.#image = image
    this.#options = options
  }

  /**
   * Whether the first replica of each partition is in sync and may lead. Then it soon does: the leader hands over by itself
   * (C11). Nobody deposes one for it that lives, since that one could not know that its lease is over (C12). Without
   * places: of all partitions, `PARTITIONS_MAX` at most; those that need nothing are left out of the response.
   */
  awaitPreferred(
    places: readonly PartitionPlace[] | undefined,
  ): MachineResult<MetadataRecord, ReassignmentResult[]> {
    const wishes = places ?? this.#withOtherLeader()
    return this.#change(wishes, ({ topic, partition, state, facts }) => {
      const preferred = state.replicas[0] as NodeId
      if (state.leader === preferred) return state
      if (!isPreferredReady(state, facts))
        throw new NaruError(
          'LEADER_NOT_AVAILABLE',
          `node ${preferred}, the preferred leader of ${topic.name}-${partition}, is not in sync or not running (in sync: ${state.isr})`,
        )
      return state
    })
  }

  /**
   * For partitions without a leader: this node leads, whatever it has. What others had acknowledged and it has not is
   * LOST; the epoch is kept as unclean. A member of ISR or ELR that may lead is elected instead, since that loses nothing.
   */
  recover(
    wishes: readonly (PartitionPlace & { readonly nodeId: NodeId })[],
  ): MachineResult<MetadataRecord, ReassignmentResult[]> {
    return this.#change(wishes, ({ topic, partition, state, facts, wish }) => {
      const name = `${topic.name}-${partition}`
      if (state.leader !== null)
        throw new NaruError(
          'INVALID_REQUEST',
          `${name} is led by node ${state.leader}: there is nothing to recover`,
        )
      const clean = elect(state, { ...facts, isUncleanAllowed: false })
      if (clean.leader !== null) return clean
      const { nodeId } = wish
      if (!state.replicas.includes(nodeId) || !isUp(this.#image.nodes.get(nodeId)))
        throw new NaruError(
          'LEADER_NOT_AVAILABLE',
          `node ${nodeId} cannot lead ${name}: it is no replica of it, or does not run (replicas: ${state.replicas})`,
        )
      const lastUncleanEpoch = state.leaderEpoch + 1
      return { ...state, leader: nodeId, isr: [nodeId], elr: [], lastUncleanEpoch }
    })
  }

  #withOtherLeader(): PartitionPlace[] {
    const places: PartitionPlace[] = []
    for (const { topic, partition } of partitionsLedElsewhere(this.#image)) {
      if (places.length >= PARTITIONS_MAX) break
      places.push({ topic: topic.name, topicId: topic.id, partition })
    }
    return places
  }

  #change<Wish extends PartitionPlace>(
    wishes: readonly Wish[],
    next: (of: {
      topic: TopicView
      partition: PartitionId
      state: PartitionState
      facts: ElectionFacts
      wish: Wish
    }) => PartitionState,
  ): MachineResult<MetadataRecord, ReassignmentResult[]> {
    if (wishes.length > PARTITIONS_MAX)
      throw new NaruError(
        'REQUEST_TOO_LARGE',
        `${wishes.length} partitions in one request, at most ${PARTITIONS_MAX} are taken (split it)`,
      )
    const records = new Map<string, MetadataRecord>()
    const response = wishes.map((wish): ReassignmentResult => {
      const { partition } = wish
      const place = { topic: wish.topic, partition }
      try {
        const topic = requireTopic(this.#image, wish.topic, wish.topicId)
        const before = topic.partition(partition)
        if (before === undefined) throw unknownPartition(topic, partition)
        const facts = electionFacts(this.#image, settingsOf(topic, this.#options.topicDefaults))
        const after = advanceReassignment(next({ topic, partition, state: before, facts, wish }), facts)
        const record = changeRecord({ topicId: topic.id, partition }, { before, after })
        if (record !== undefined) records.set(`${topic.id} ${partition}`, record)
        return { ok: true, ...place }
      } catch (thrown) {
        if (!(thrown instanceof NaruError)) throw thrown
        return { ok: false, ...place, error: thrown }
      }
    })
    return { records: [...records.values()], response }
  }
}

/** Partitions that their preferred leader could lead, and does not, by topic. Not those that are being moved. */
function* partitionsLedElsewhere(
  image: MetadataImage,
): Iterable<{ topic: TopicView; partition: PartitionId }> {
  const active = new Set(
    image.nodes
      .all()
      .filter(isActive)
      .map(node => node.nodeId),
  )
  const topics = [...image.topics.all()].sort((a, b) => (a.name < b.name ? -1 : 1))
  for (const topic of topics)
    for (const [partition, { leader, replicas, isr, reassignment }] of topic.partitions()) {
      const preferred = replicas[0] as NodeId
      const isElsewhere = leader !== null && leader !== preferred && reassignment === undefined
      if (isElsewhere && isr.includes(preferred) && active.has(preferred)) yield { topic, partition }
    }
}

function isPreferredReady(state: PartitionState, facts: ElectionFacts): boolean {
  const preferred = state.replicas[0] as NodeId
  return state.isr.includes(preferred) && facts.isActive(preferred)
}
