import type { NodeId } from '../base/brands.ts'
import { NaruError } from '../base/errors.ts'
import type { MetadataQuorum } from '../drivers/controller/metadata-quorum.ts'
import type { Clock } from '../ports/clock.ts'
import type { Channel, MessageStream, MethodPath } from '../ports/transport.ts'
import { Coordination, Forward } from '../wire/generated/internal-services.ts'
import type { MessageInit } from '../wire/messages.ts'
import type { Method } from '../wire/methods.ts'
import { AppendLink, type RemoteAppend } from './append-link.ts'
import type { ServiceCluster } from './service-cluster.ts'

/** Who is meant by a forwarded stream, as metadata of the call: addresses are given again. */
const CLUSTER_HEADER = 'naru-cluster'
const NODE_HEADER = 'naru-to-node'

export interface LeaderForwardingOptions {
  readonly quorum: MetadataQuorum
  readonly clock: Clock
  readonly cluster: ServiceCluster
}

/**
 * The way from the node that a client called to the leaders of its partitions (rule E2): one stream of batches per leader
 * for all clients, one stream of reads per client and leader, and single calls. Nothing is tried again here: who asks
 * knows whether that is safe. What is forwarded is never forwarded again.
 */
export class LeaderForwarding {
  readonly #options: LeaderForwardingOptions
  readonly #channels = new Map<NodeId, Channel>()
  readonly #appends = new Map<NodeId, AppendLink>()
  #isClosed = false

  constructor(options: LeaderForwardingOptions) {
    this.#options = options
  }

  /** `done` is called exactly once, in a later turn, and in order for what goes to one partition. */
  append(leaderId: NodeId, append: RemoteAppend): void {
    let link = this.#appends.get(leaderId)
    if (link === undefined) {
      link = new AppendLink({
        clock: this.#options.clock,
        leaderId,
        open: () => this.#open(leaderId, Forward.produce.path),
        onClosed: closed => {
          if (this.#appends.get(leaderId) === closed) this.#appends.delete(leaderId)
        },
      })
      this.#appends.set(leaderId, link)
    }
    link.send(append)
  }

  /** Consumer.Read at that node, for what it leads itself. Throws CONNECTION_FAILED where its address is not known. */
  openRead(leaderId: NodeId): MessageStream {
    return this.#open(leaderId, Forward.read.path)
  }

  /** Groups.Attend at that node, for a group that it coordinates itself. As `openRead`. */
  openAttend(leaderId: NodeId): MessageStream {
    return this.#open(leaderId, Coordination.attend.path)
  }

  /** A call about partitions that the node leads. */
  async call<Request, Response>(
    leaderId: NodeId,
    method: Method<Request, Response>,
    call: { readonly request: MessageInit<Request>; readonly timeoutMs: number },
  ): Promise<Response> {
    const request = method.request.encode(call.request)
    return method.response.decode(await this.pass(leaderId, method, { ...call, request }))
  }

  /** The same with the bytes as a client sent them, and as it gets them. */
  async pass(
    leaderId: NodeId,
    method: { readonly path: MethodPath },
    call: { readonly request: Uint8Array; readonly timeoutMs: number },
  ): Promise<Buffer> {
    const { clusterId, nodeId: fromNodeId } = this.#options.quorum
    const { request } = call
    const timeoutMs = Math.max(1, Math.floor(call.timeoutMs))
    const envelope = { clusterId, fromNodeId, toNodeId: leaderId, method: method.path, request, timeoutMs }
    return (await this.ask(leaderId, Forward.call, { request: envelope, timeoutMs })).response
  }

  /** A call of the peers' port, which says itself who is meant. */
  async ask<Request, Response>(
    nodeId: NodeId,
    method: Method<Request, Response>,
    { request, timeoutMs }: { readonly request: MessageInit<Request>; readonly timeoutMs: number },
  ): Promise<Response> {
    const bytes = method.request.encode(request)
    return method.response.decode(await this.#channel(nodeId).unary(method.path, bytes, { timeoutMs }))
  }

  close(): void {
    this.#isClosed = true
    for (const link of this.#appends.values()) link.close()
    for (const channel of this.#channels.values()) channel.close()
    this.#appends.clear()
    this.#channels.clear()
  }

  #open(leaderId: NodeId, path: string): MessageStream {
    const metadata = { [CLUSTER_HEADER]: this.#options.quorum.clusterId, [NODE_HEADER]: String(leaderId) }
    return this.#channel(leaderId).stream(path, { metadata })
  }

  #channel(nodeId: NodeId): Channel {
    if (this.#isClosed) throw new NaruError('NODE_DRAINING', 'this node is stopping and forwards no more')
    const { cluster } = this.#options
    const address = cluster.addressOfNode(nodeId)
    if (address === undefined)
      throw new NaruError(
        'CONNECTION_FAILED',
        `the leader is node ${nodeId}, and this node does not know its address`,
        {
          outcome: 'none',
          details: { leader_id: String(nodeId) },
        },
      )
    const known = this.#channels.get(nodeId)
    if (known?.address === address) return known
    known?.close()
    const channel = cluster.transport.connect(address, { purpose: 'forward' })
    this.#channels.set(nodeId, channel)
    return channel
  }
}

/** The error for a forwarded stream that means another node, or one of another cluster. */
export function wrongNode(quorum: MetadataQuorum, { metadata }: MessageStream): NaruError | undefined {
  const cluster = metadata[CLUSTER_HEADER]
  const node = metadata[NODE_HEADER]
  if (cluster === quorum.clusterId && node === String(quorum.nodeId)) return undefined
  return new NaruError(
    'NOT_LEADER',
    `a node looked for node ${node} of cluster ${cluster} here, at node ${quorum.nodeId} of cluster ${quorum.clusterId}`,
  )
}
