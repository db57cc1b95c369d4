import type { NodeId } from '../base/brands.ts'
import type { PartitionState } from './metadata-record.ts'
import { isActive } from './node-image.ts'
import type { NodesImage } from './nodes-image.ts'
import { targetOf } from './partition-reassignment.ts'
import type { Placement } from './placement.ts'

/**
 * The replicas of a partition that shall have so many: those that it has, and others as `placement` finds them; or
 * fewer of those that it has. Those go first that are not in sync, then those whose rack another one covers, then the
 * last in order of preference.
 */
export function replicasFor(
  state: PartitionState,
  by: { readonly count: number; readonly nodes: NodesImage; readonly placement: Placement },
): readonly NodeId[] {
  const { count, nodes, placement } = by
  const replicas = [...targetOf(state)]
  while (replicas.length < count) {
    const another = placement.placeAnother(replicas)
    if (another === undefined) break
    replicas.push(another)
  }
  const costOf = (nodeId: NodeId, at: number) => {
    const node = nodes.get(nodeId)
    const isInSync = state.isr.includes(nodeId) && isActive(node)
    const isAlone =
      !node?.rack || !replicas.some(other => other !== nodeId && nodes.get(other)?.rack === node.rack)
    return (isInSync ? 10_000 : 0) + (isAlone ? 1000 : 0) + (replicas.length - at)
  }
  while (replicas.length > count) {
    const costs = replicas.map(costOf)
    replicas.splice(costs.indexOf(Math.min(...costs)), 1)
  }
  return replicas
}
