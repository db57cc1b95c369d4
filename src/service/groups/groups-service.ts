import { NaruError } from '../../base/errors.ts'
import type { MethodPath } from '../../ports/transport.ts'
import { Coordination } from '../../wire/generated/internal-services.ts'
import { RECORD_REQUEST_BYTES_MAX } from '../../wire/limits.ts'
import { Groups } from '../../wire/methods.ts'
import { decodeStrictly, LENGTH } from '../../wire/strict-reader.ts'
import type { ForwardedHandler } from '../forward-service.ts'
import { type HandlerEntry, unary, unaryBytes } from '../handlers.ts'
import type { ReadMemory } from '../read-memory.ts'
import { invalidRequest } from '../request-checks.ts'
import type { ServiceNode } from '../service-node.ts'
import { attendHandler, forwardedAttend } from './attend-service.ts'
import { CommittedPlaces } from './committed-places.ts'
import { groupCalls } from './group-calls.ts'
import { GroupEntry } from './group-entry.ts'
import { GroupsTopic } from './groups-topic.ts'
import { listGroups, listGroupsHere } from './list-groups.ts'

export interface GroupsServices {
  /** naru.v1.Groups, for the clients' port. */
  readonly handlers: readonly HandlerEntry[]
  /** naru.internal.v1.Coordination, for the peers' port. */
  readonly peerHandlers: readonly HandlerEntry[]
  /** Calls of one group, as other nodes hand them on to this one, its coordinator's. */
  readonly forwarded: ReadonlyMap<MethodPath, ForwardedHandler>
  /** For calls that read beside a group. */
  readonly committed: CommittedPlaces
}

export function groupsServices(node: ServiceNode, memory: ReadMemory): GroupsServices {
  const topic = new GroupsTopic(node)
  const entry = new GroupEntry(node, topic)
  const calls = groupCalls(node, memory)
  const serverOf = ({ path }: { path: MethodPath }) => calls.get(path) as ForwardedHandler
  const atCoordinator = (
    method: { readonly path: MethodPath },
    kind: { readonly creates: boolean; readonly repeatable: boolean },
  ): HandlerEntry =>
    unaryBytes(method, async (request, context) => {
      const group = groupOf(method.path, request)
      return entry.call({ method, group, request, serve: serverOf(method), ...kind }, context)
    })
  const writes = { creates: true, repeatable: false }
  const reads = { creates: false, repeatable: true }
  return {
    handlers: [
      attendHandler({ node, memory, topic }),
      atCoordinator(Groups.commitOffsets, writes),
      atCoordinator(Groups.fetchOffsets, reads),
      unary(Groups.listGroups, request => listGroups(node, topic, request)),
      atCoordinator(Groups.describeGroup, reads),
      atCoordinator(Groups.resetOffsets, writes),
      atCoordinator(Groups.deleteGroup, { creates: false, repeatable: false }),
    ],
    peerHandlers: [
      forwardedAttend(node, memory),
      unary(Coordination.listGroups, request => listGroupsHere(node, request)),
    ],
    forwarded: calls,
    committed: new CommittedPlaces(node, (request, group) => {
      const method = Groups.fetchOffsets
      return entry.call({ method, group, request, serve: serverOf(method), ...reads })
    }),
  }
}

/**
 * The node that the client called reads no more of a call than whose it is: the rest is checked where it is served. What is
 * large is refused before that.
 */
function groupOf(path: MethodPath, request: Buffer): string {
  if (request.length > RECORD_REQUEST_BYTES_MAX)
    throw new NaruError(
      'REQUEST_TOO_LARGE',
      `${path}: ${request.length} bytes, at most ${RECORD_REQUEST_BYTES_MAX}: split it`,
    )
  const group = decodeStrictly('request', request, (reader, end) => {
    let found = ''
    while (reader.hasMore(end)) {
      const tag = reader.tag()
      if (tag === GROUP_TAG) found = reader.string('group')
      else reader.skipUnknown(tag)
    }
    return found
  })
  if (group === '') throw invalidRequest('group is empty: name the group')
  return group
}

/** `string group = 1` of all requests about one group. */
const GROUP_TAG = (1 << 3) | LENGTH
