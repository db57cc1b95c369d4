import { NaruError } from '../../base/errors.ts'
import type { Admin, ClusterDescription, PartitionDescription, PartitionPlace } from '../../client/index.ts'

/** From worst to least. */
export type Ailment = 'offline' | 'underMinIsr' | 'underReplicated'

export interface UnhealthyPartition extends PartitionPlace {
  readonly ailment: Ailment
  /** Replicas that are not in sync; undefined if the topic could not be described. */
  readonly missing: readonly number[] | undefined
}

/** More topics than this are not looked up for one screen. */
const DESCRIBED_TOPICS_MAX = 20

/** What ails each of the partitions that the cluster names (it counts all, and names the first 100, worst first). */
export async function unhealthyPartitions(
  admin: Admin,
  { unhealthy, offlinePartitions, underMinIsrPartitions }: ClusterDescription,
): Promise<UnhealthyPartition[]> {
  const described = await describe(admin, unhealthy)
  return unhealthy.map((place, index) => {
    const found = described.get(keyOf(place))
    const missing = found?.replicas.filter(one => !found.isr.includes(one))
    return { ...place, ailment: ailmentAt(index, { offlinePartitions, underMinIsrPartitions }), missing }
  })
}

function ailmentAt(
  index: number,
  { offlinePartitions, underMinIsrPartitions }: { offlinePartitions: number; underMinIsrPartitions: number },
): Ailment {
  if (index < offlinePartitions) return 'offline'
  return index < offlinePartitions + underMinIsrPartitions ? 'underMinIsr' : 'underReplicated'
}

async function describe(
  admin: Admin,
  places: readonly PartitionPlace[],
): Promise<ReadonlyMap<string, PartitionDescription>> {
  const names = [...new Set(places.map(one => one.topic))].slice(0, DESCRIBED_TOPICS_MAX)
  if (names.length === 0) return new Map()
  try {
    const topics = await admin.describeTopics(names)
    return new Map(
      topics.flatMap(({ name, partitions }) =>
        partitions.map(one => [keyOf({ topic: name, partition: one.partition }), one] as const),
      ),
    )
  } catch (thrown) {
    // One was deleted meanwhile, or nothing can be known for certain without a quorum: the names must do.
    if (thrown instanceof NaruError) return new Map()
    throw thrown
  }
}

function keyOf({ topic, partition }: PartitionPlace): string {
  return `${topic}-${partition}`
}
