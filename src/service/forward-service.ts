import { NaruError } from '../base/errors.ts'
import type { MetadataQuorum } from '../drivers/controller/metadata-quorum.ts'
import type { MethodPath } from '../ports/transport.ts'
import type { CallRequest, CallResponse } from '../wire/generated/forward.ts'
import { Forward } from '../wire/generated/internal-services.ts'
import type { ControllerCalls } from './controller-calls.ts'
import { type HandlerEntry, unary } from './handlers.ts'

/** Serves a call here, and never anywhere else. */
export type ForwardedHandler = (request: Buffer, timeoutMs: number) => Promise<Uint8Array>

export interface ForwardServiceOptions {
  readonly quorum: MetadataQuorum
  readonly controllerCalls: ControllerCalls
  /** About partitions that this node leads; what it does not lead is said of each partition. */
  readonly leaderCalls: ReadonlyMap<MethodPath, ForwardedHandler>
}

/** naru.internal.v1.Forward: what other nodes hand on to this one, as the controller or as a leader. */
export function forwardService(options: ForwardServiceOptions): HandlerEntry[] {
  return [unary(Forward.call, request => serve(options, request))]
}

/** All refusals here are proof that nothing was done, which the node that the client called counts on. */
async function serve(
  { quorum, controllerCalls, leaderCalls }: ForwardServiceOptions,
  call: CallRequest,
): Promise<CallResponse> {
  const { clusterId, toNodeId, fromNodeId, method, request, timeoutMs } = call
  const forLeader = leaderCalls.get(method)
  if (clusterId !== quorum.clusterId || toNodeId !== quorum.nodeId)
    throw new NaruError(
      forLeader === undefined ? 'NOT_CONTROLLER' : 'NOT_LEADER',
      `node ${fromNodeId} of cluster ${clusterId} looked for node ${toNodeId} here, at node ${quorum.nodeId} of cluster ${quorum.clusterId}`,
    )
  const { appliedEndIndex } = quorum.image
  if (method === '') return { response: Buffer.alloc(0), metadataIndex: appliedEndIndex }
  const handler = forLeader ?? controllerCalls.handlers.get(method)
  if (handler === undefined)
    throw new NaruError('NOT_IMPLEMENTED', `the release of node ${quorum.nodeId} does not serve ${method}`, {
      details: { method },
    })
  // Never from here to yet another node: two nodes that take each other for the controller would go on for ever.
  if (forLeader === undefined && !quorum.isLeading) throw notController(quorum)
  const response = await handler(request, timeoutMs)
  return { response: Buffer.from(response), metadataIndex: quorum.image.appliedEndIndex }
}

function notController({ nodeId, leaderId }: MetadataQuorum): NaruError {
  const known = leaderId === undefined ? 'none is known here' : `node ${leaderId} is`
  return new NaruError('NOT_CONTROLLER', `node ${nodeId} is not the controller now, ${known}`, {
    outcome: 'none',
    ...(leaderId !== undefined && { details: { leader_id: String(leaderId) } }),
  })
}
