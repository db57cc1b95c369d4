import type { NodeId } from '../base/brands.ts'
import type { MetadataQuorum } from '../drivers/controller/metadata-quorum.ts'
import type { MetadataImage } from '../metadata/metadata-image.ts'
import { type LedPartition, partitionsLedBy } from '../metadata/node-control.ts'
import { isActive } from '../metadata/node-image.ts'
import { type Clock, delay } from '../ports/clock.ts'

/** Between two looks at what this node leads. */
const LOOK_MS = 20

/**
 * Waits until others lead what this node led (C11): it is draining, so its leaders hand over by themselves. Where no other
 * replica is in sync, one may get there before the time is over. Returns what this node leads still, and nobody else could
 * take: those of one replica are left out, since they can only go down with it.
 */
export async function drainPartitions(options: {
  readonly quorum: MetadataQuorum
  readonly clock: Clock
  readonly timeoutMs: number
  /** The node ends in another way. */
  readonly isOver: () => boolean
}): Promise<LedPartition[]> {
  const { quorum, clock, timeoutMs, isOver } = options
  const endMs = clock.monotonicMs() + timeoutMs
  for (;;) {
    const { image, nodeId } = quorum
    const remaining = [...partitionsLedBy(image, nodeId)].filter(({ isSole }) => !isSole)
    const isDone = remaining.length === 0 || isClusterStopping(image, nodeId)
    const isHopeless = !remaining.some(one => mayMove(image, nodeId, one))
    if (isDone || isHopeless || isOver() || clock.monotonicMs() >= endMs) return remaining
    await delay(clock, LOOK_MS)
  }
}

/** Nobody is left who could take anything, and those who stop as well are not waited for. */
function isClusterStopping(image: MetadataImage, nodeId: NodeId): boolean {
  return !image.nodes.all().some(node => node.nodeId !== nodeId && isActive(node))
}

/** Another replica is in sync, or may be soon: its node has not stopped in good order. */
function mayMove(image: MetadataImage, nodeId: NodeId, { topicId, partition }: LedPartition): boolean {
  const replicas = image.topics.byId(topicId)?.partition(partition)?.replicas ?? []
  return replicas.some(other => other !== nodeId && image.nodes.get(other)?.isDraining === false)
}
