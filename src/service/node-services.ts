import type { MethodPath, ServiceHandler, ServiceHandlers } from '../ports/transport.ts'
import { Controller } from '../wire/generated/internal-services.ts'
import { Admin, Consumer } from '../wire/methods.ts'
import { adminService } from './admin-service.ts'
import { ConcurrencyLimit } from './concurrency-limit.ts'
import { consumerService, forwardedRead } from './consumer-service.ts'
import { ControllerCalls } from './controller-calls.ts'
import { deleteRecords } from './delete-records.ts'
import { type ForwardedHandler, forwardService } from './forward-service.ts'
import { Forwarder } from './forwarder.ts'
import { FreshMetadata } from './fresh-metadata.ts'
import { type GroupsServices, groupsServices } from './groups/groups-service.ts'
import { unary } from './handlers.ts'
import { LeaderForwarding } from './leader-forwarding.ts'
import { listOffsets } from './list-offsets.ts'
import { metadataService } from './metadata-service.ts'
import { describeReplicas } from './partition-recovery.ts'
import { ProduceTopics } from './produce-topics.ts'
import { forwardedProduce, producerService } from './producer-service.ts'
import { ReadMemory } from './read-memory.ts'
import { countWithin } from './request-checks.ts'
import type { ServiceNode, ServiceOptions } from './service-node.ts'
import { OwnClient } from './subscribe/own-client.ts'

/** Deletions of records that run at a time; each rewrites a checkpoint. */
const DELETIONS_MAX = 16
const DELETIONS_WAITING_MAX = 10_000

/** What a node serves, each method by its path. */
export interface NodeServices {
  /** The public API, for the clients' port. */
  readonly handlers: ServiceHandlers
  /** What other nodes hand on to this one, for the peers' port. */
  readonly peerHandlers: ServiceHandlers
  /** Ends the channels to other nodes. */
  close(): void
}

const REPLICAS_DESCRIBED_MAX = 1000

/** What all calls of a node share, whichever port they come in at. */
interface Shared {
  readonly topics: ProduceTopics
  readonly memory: ReadMemory
  readonly deletions: ConcurrencyLimit
}

export function nodeServices(options: ServiceOptions): NodeServices {
  const { controller: quorum, clock, prng, cluster } = options
  const forwarder = new Forwarder({ quorum, clock, prng, cluster })
  const controllerCalls = new ControllerCalls(forwarder)
  const freshMetadata = new FreshMetadata({ quorum, clock })
  const leaders = cluster && new LeaderForwarding({ quorum, clock, cluster })
  const node: ServiceNode = {
    ...options,
    controllerCalls,
    freshMetadata,
    leaders,
  }
  const shared: Shared = {
    topics: new ProduceTopics(node),
    memory: new ReadMemory({ bytesMax: node.readBytesInFlightMax }),
    deletions: new ConcurrencyLimit({
      what: 'deletions of records',
      runningMax: DELETIONS_MAX,
      waitingMax: DELETIONS_WAITING_MAX,
    }),
  }
  const groups = groupsServices(node, shared.memory)
  const handlers = new Map<MethodPath, ServiceHandler>()
  const ownClient = new OwnClient({ ...options, handlers })
  for (const [path, handler] of [
    ...producerService(node, shared.topics),
    ...consumerService(node, { memory: shared.memory, client: ownClient, committed: groups.committed }),
    ...adminService(node, shared.deletions),
    ...metadataService(node),
    ...groups.handlers,
  ])
    handlers.set(path, handler)
  return {
    handlers,
    peerHandlers: new Map([
      ...forwardService({ quorum, controllerCalls, leaderCalls: leaderCalls(node, shared, groups) }),
      forwardedProduce(node, shared.topics),
      forwardedRead(node, shared.memory),
      ...groups.peerHandlers,
      unary(Controller.describeReplicas, request => {
        countWithin(request.replicas.length, { name: 'replicas', max: REPLICAS_DESCRIBED_MAX })
        return { replicas: describeReplicas(node, request.replicas) }
      }),
    ]),
    close: () => {
      ownClient.close()
      forwarder.close()
      leaders?.close()
    },
  }
}

/** The calls of one request about partitions that this node leads, as other nodes hand them on. */
function leaderCalls(
  node: ServiceNode,
  { memory, deletions }: Shared,
  groups: GroupsServices,
): Map<MethodPath, ForwardedHandler> {
  const isEntry = false
  return new Map<MethodPath, ForwardedHandler>([
    ...groups.forwarded,
    [
      Consumer.listOffsets.path,
      async bytes => {
        const request = Consumer.listOffsets.request.decode(bytes)
        return Consumer.listOffsets.response.encode(await listOffsets(node, memory, { request, isEntry }))
      },
    ],
    [
      Admin.deleteRecords.path,
      async bytes => {
        const request = Admin.deleteRecords.request.decode(bytes)
        return Admin.deleteRecords.response.encode(await deleteRecords(node, deletions, { request, isEntry }))
      },
    ],
  ])
}
