import { requireKnownNode } from '../metadata/node-registration.ts'
import { removeNode } from '../metadata/node-removal.ts'
import { delay } from '../ports/clock.ts'
import type {
  DrainNodeRequest,
  DrainNodeResponse,
  RemoveNodeRequest,
  RemoveNodeResponse,
} from '../wire/messages.ts'
import { changeMetadata } from './metadata-changes.ts'
import { integerWithin } from './request-checks.ts'
import type { ServiceNode } from './service-node.ts'

/** As `drain.timeout.ms` has it: longer than replicas take to come back into sync after a restart of their node. */
const DRAIN_TIMEOUT_MS = 25_000
/** Between two looks at what the node still leads. */
const DRAIN_AGAIN_MS = 100

/** The calls of naru.v1.Admin that take a node out of the cluster, for a while or for good. On the controller. */
export class AdminNodes {
  readonly #node: ServiceNode

  constructor(node: ServiceNode) {
    this.#node = node
  }

  /** Answers when the node leads nothing that another one could, or at the deadline with what it still leads. */
  async drain(request: DrainNodeRequest, leftMs: number): Promise<DrainNodeResponse> {
    const answer = await this.#moveLeaderships(request, leftMs)
    const { nodeId, cluster } = this.#node
    // Its last act as the controller.
    if (request.nodeId === nodeId) await cluster?.handOver()
    return answer
  }

  async #moveLeaderships(request: DrainNodeRequest, leftMs: number): Promise<DrainNodeResponse> {
    const { clock } = this.#node
    const { nodeId } = request
    const deadlineMs = clock.monotonicMs() + Math.min(drainTimeoutMs(request), leftMs)
    for (;;) {
      const { remaining } = await changeMetadata(this.#node, (controller, newest) => {
        const { nodeEpoch } = requireKnownNode(newest, nodeId)
        return controller.nodes.drain({ nodeId, nodeEpoch })
      })
      const isDone = remaining.every(({ isSole }) => isSole)
      if (isDone || clock.monotonicMs() + DRAIN_AGAIN_MS > deadlineMs)
        return { remaining: remaining.map(({ topic, partition }) => ({ topic, partition })) }
      await delay(clock, DRAIN_AGAIN_MS)
    }
  }

  async remove({ nodeId, force }: RemoveNodeRequest): Promise<RemoveNodeResponse> {
    const { cluster, controllerOptions } = this.#node
    const isSessionAlive = cluster?.isSessionAlive(nodeId) ?? true
    await changeMetadata(this.#node, (_, newest) =>
      removeNode(newest, controllerOptions, { nodeId, force, isSessionAlive }),
    )
    return {}
  }
}

export function drainTimeoutMs({ timeoutMs }: DrainNodeRequest): number {
  return integerWithin(timeoutMs, { name: 'timeout_ms', min: 1, max: 300_000, default: DRAIN_TIMEOUT_MS })
}
