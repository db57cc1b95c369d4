import { Consumer } from '../wire/methods.ts'
import { FetchCall } from './fetch-call.ts'
import { type HandlerEntry, notImplemented, telling, unary } from './handlers.ts'
import { listOffsets } from './list-offsets.ts'
import { ReadMemory } from './read-memory.ts'
import { ReadSession } from './read-session.ts'
import type { ServiceNode } from './service-node.ts'

/** naru.v1.Consumer */
export function consumerService(node: ServiceNode): HandlerEntry[] {
  const memory = new ReadMemory({ bytesMax: node.readBytesInFlightMax })
  return [
    unary(Consumer.fetch, (request, context) => new FetchCall(node, memory, request).run(context)),
    telling(Consumer.read, stream => {
      new ReadSession(node, memory, stream)
    }),
    unary(Consumer.listOffsets, request => listOffsets(node, memory, request)),
    ...notImplemented('consumer groups', [Consumer.subscribe]),
  ]
}
