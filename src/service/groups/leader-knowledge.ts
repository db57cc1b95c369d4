import type { Offset, PartitionId, Uuid } from '../../base/brands.ts'
import { NaruError } from '../../base/errors.ts'
import { findPosition, requireReadable } from '../positions.ts'
import { RemotePositions } from '../remote-positions.ts'
import type { ServiceNode } from '../service-node.ts'
import { settledWithin } from '../settled-within.ts'

/** Whoever looks at a group waits so long for leaders, and then does without them. */
const ENDS_MS_MAX = 1_500
/** So long a commit waits for a leader that may know better. */
const CHECK_MS_MAX = 500

export interface PartitionPlace {
  readonly topic: string
  readonly topicId: Uuid
  readonly partition: PartitionId
}

interface PlaceToReach extends PartitionPlace {
  readonly nextOffset: Offset
}

export interface PartitionEnds {
  readonly highWatermark: Offset
  readonly logStartOffset: Offset
}

/** What the leaders of partitions know of them, for the coordinator of a group: each is asked once, and not waited for long. */
export class LeaderKnowledge {
  readonly #node: ServiceNode
  readonly #elsewhere: RemotePositions

  constructor(node: ServiceNode) {
    this.#node = node
    this.#elsewhere = new RemotePositions(node)
  }

  /** In the order asked; undefined: no leader, or it has not answered in time. */
  async endsOf(places: readonly PartitionPlace[]): Promise<(PartitionEnds | undefined)[]> {
    const ends = new Array<PartitionEnds | undefined>(places.length)
    const asked: Promise<void>[] = []
    for (const [index, place] of places.entries()) {
      const leader = this.#node.replicas.leader(place.topicId, place.partition)
      if (leader !== undefined) {
        const { highWatermark, logStartOffset } = leader
        ends[index] = { highWatermark, logStartOffset }
        continue
      }
      const work = this.#endsThere(place).then(
        found => {
          ends[index] = found
        },
        () => {},
      )
      asked.push(work)
    }
    if (asked.length > 0) await settledWithin(this.#node.clock, Promise.all(asked), ENDS_MS_MAX)
    // A copy: what comes later is too late.
    return [...ends]
  }

  /**
   * Why an offset is not one that a reader of the partition can have reached: it is beyond what is committed there
   * (G7). undefined also where no leader says so in time: a commit does not depend on more than its coordinator.
   */
  async beyondEnd(places: readonly PlaceToReach[]): Promise<ReadonlyMap<number, NaruError>> {
    const found = new Map<number, NaruError>()
    const asked: Promise<void>[] = []
    for (const [index, place] of places.entries()) {
      const leader = this.#node.replicas.leader(place.topicId, place.partition)
      if (leader !== undefined && place.nextOffset <= leader.highWatermark) continue
      const work = this.#check(place).catch((thrown: unknown) => {
        if (isBeyondEnd(thrown, place.nextOffset)) found.set(index, thrown)
      })
      asked.push(work)
    }
    if (asked.length > 0) await settledWithin(this.#node.clock, Promise.all(asked), CHECK_MS_MAX)
    return new Map(found)
  }

  async #check(place: PlaceToReach): Promise<void> {
    const { topic, topicId, partition, nextOffset: offset } = place
    const leader = this.#node.replicas.leader(topicId, partition)
    if (leader !== undefined) {
      await findPosition({ leader, node: this.#node }, { offset }, 'EARLIEST')
      requireReadable(leader, offset)
      return
    }
    const leaderId = this.#leaderElsewhere(place)
    if (leaderId === undefined) return
    await this.#elsewhere.find(leaderId, { topic, topicId, partition, position: { offset } })
  }

  async #endsThere(place: PartitionPlace): Promise<PartitionEnds | undefined> {
    const leaderId = this.#leaderElsewhere(place)
    if (leaderId === undefined) return undefined
    const { topic, topicId, partition } = place
    const offsetAt = (at: 'EARLIEST' | 'LATEST') =>
      this.#elsewhere.offsetOf(leaderId, { topic, topicId, partition, position: { at } })
    const [logStartOffset, highWatermark] = await Promise.all([offsetAt('EARLIEST'), offsetAt('LATEST')])
    return { logStartOffset, highWatermark }
  }

  #leaderElsewhere({ topicId, partition }: PartitionPlace): number | undefined {
    const { nodeId, leaders, controller } = this.#node
    const leaderId = controller.image.topics.byId(topicId)?.partition(partition)?.leader
    return leaders === undefined || leaderId === nodeId ? undefined : (leaderId ?? undefined)
  }
}

function isBeyondEnd(thrown: unknown, offset: Offset): thrown is NaruError {
  if (!(thrown instanceof NaruError) || thrown.reason !== 'OFFSET_OUT_OF_RANGE') return false
  return offset > Number(thrown.details['high_watermark'])
}
