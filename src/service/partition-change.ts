import type { Uuid } from '../base/brands.ts'
import type { ServiceNode } from './service-node.ts'

/** Resolves when partitions of the topic have changed in the metadata, or the time is over. */
export function changeOf(node: ServiceNode, of: { topicId: Uuid; timeoutMs: number }): Promise<void> {
  return new Promise(resolve => {
    const stop = () => {
      timer.cancel()
      unsubscribe()
      // The partitions of this node learn of the change in the same turn, perhaps later than this.
      node.clock.afterTurn(resolve)
    }
    const timer = node.clock.setTimer(of.timeoutMs, stop)
    const unsubscribe = node.controller.subscribe(delta => {
      if (delta.changedPartitions.has(of.topicId) || delta.deletedTopics.has(of.topicId)) stop()
    })
  })
}
