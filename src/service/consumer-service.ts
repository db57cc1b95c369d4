import { Forward } from '../wire/generated/internal-services.ts'
import { Consumer } from '../wire/methods.ts'
import { FetchCall } from './fetch-call.ts'
import type { CommittedPlaces } from './groups/committed-places.ts'
import { type HandlerEntry, refuse, telling, unary } from './handlers.ts'
import { isDirect } from './leader-attempts.ts'
import { wrongNode } from './leader-forwarding.ts'
import { listOffsets } from './list-offsets.ts'
import type { ReadMemory } from './read-memory.ts'
import { ReadSession } from './read-session.ts'
import type { ServiceNode } from './service-node.ts'
import type { OwnClient } from './subscribe/own-client.ts'
import { SubscribeSession } from './subscribe/subscribe-session.ts'

/** naru.v1.Consumer */
export function consumerService(
  node: ServiceNode,
  parts: { readonly memory: ReadMemory; readonly client: OwnClient; readonly committed: CommittedPlaces },
): HandlerEntry[] {
  const { memory, client, committed } = parts
  return [
    unary(Consumer.fetch, (request, context) =>
      new FetchCall(node, memory, { request, context, committed }).run(),
    ),
    telling(Consumer.read, stream => {
      new ReadSession(node, memory, { stream, isEntry: !isDirect(stream.metadata), committed })
    }),
    unary(Consumer.listOffsets, (request, { metadata }) =>
      listOffsets(node, memory, { request, isEntry: !isDirect(metadata), committed }),
    ),
    telling(Consumer.subscribe, stream => {
      new SubscribeSession(node, { memory, client, stream })
    }),
  ]
}

/** What other nodes' clients read of the partitions that this node leads; on the peers' port. */
export function forwardedRead(node: ServiceNode, memory: ReadMemory): HandlerEntry {
  return telling(Forward.read, stream => {
    const error = wrongNode(node.controller, stream)
    if (error === undefined) new ReadSession(node, memory, { stream, isEntry: false })
    else refuse(stream, error)
  })
}
