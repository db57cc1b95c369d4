import type { NodeId, Uuid } from '../../base/brands.ts'
import { NaruError } from '../../base/errors.ts'
import type { ServiceHandlers } from '../../ports/transport.ts'
import type { ClusterFounding } from '../../raft/cluster-forming.ts'
import { isMemberId, type MemberId, nodeIdOf } from '../../raft/membership.ts'
import { Peers } from '../../wire/generated/internal-services.ts'
import type { Greeting, GreetResponse, JoinRequest, JoinResponse } from '../../wire/generated/peers.ts'

export const PROTOCOL_VERSION = 1

/** Waits for a change of the membership each; a few nodes join at a time. */
const JOINS_MAX = 64
const PEERS_MAX = 100
/** Told of others in one greeting; more is not looked at. */
const MEMBERS_MAX = 1000
const ADDRESS = /^\S{1,253}:\d{1,5}$/
const ID = /^[A-Za-z0-9_-]{1,64}$/

/** The node that answers, as far as it is by now. */
export interface PeersServiceNode {
  /** Throws NODE_STARTING before the node knows who it is. */
  greeting(): Greeting
  readonly founding: ClusterFounding | undefined
  onGreeted(greeting: Greeting): void
  /** Resolves with the leader once the asker is a member. */
  join(request: JoinRequest): Promise<JoinResponse>
}

/** What others may ask a node on its peers' port while clusters are made and joined: `naru.internal.v1.Peers`. */
export class PeersService {
  readonly #node: PeersServiceNode
  #joins = 0

  constructor(node: PeersServiceNode) {
    this.#node = node
  }

  get handlers(): ServiceHandlers {
    return new Map([
      [Peers.greet.path, { kind: 'unary', handle: async bytes => this.#greet(bytes) }],
      [Peers.join.path, { kind: 'unary', handle: bytes => this.#join(bytes) }],
    ])
  }

  #greet(bytes: Buffer): Buffer {
    const { greeting, nonce } = Peers.greet.request.decode(bytes)
    const answer = this.#node.greeting()
    this.#node.onGreeted(checkGreeting(greeting))
    const { founding } = this.#node
    const offer = founding && greeting?.clusterId === undefined ? { nonce, founding } : undefined
    return Peers.greet.response.encode({ greeting: answer, offer } satisfies GreetAnswer)
  }

  async #join(bytes: Buffer): Promise<Buffer> {
    const request = Peers.join.request.decode(bytes)
    const { clusterId } = this.#node.greeting()
    if (clusterId === undefined) throw notReady()
    checkJoin(request, clusterId)
    if (this.#joins >= JOINS_MAX)
      throw new NaruError('OVERLOADED', `${JOINS_MAX} nodes ask this one for a place in the quorum already`)
    this.#joins++
    try {
      return Peers.join.response.encode(await this.#node.join(request))
    } finally {
      this.#joins--
    }
  }
}

type GreetAnswer = { readonly greeting: Greeting; readonly offer: GreetResponse['offer'] | undefined }

export function notReady(): NaruError {
  return new NaruError('NODE_STARTING', 'this node does not take part in a cluster yet: try again')
}

/** Also of answers: what a node says of itself is kept and passed on. */
export function checkGreeting(greeting: Greeting | undefined): Greeting {
  if (!greeting) throw new NaruError('INVALID_REQUEST', 'a greeting says who greets')
  const { protocolVersion, nodeId, directoryId, address, peers, memberId } = greeting
  if (protocolVersion !== PROTOCOL_VERSION)
    throw new NaruError(
      'INVALID_REQUEST',
      `node ${nodeId} at ${address} speaks version ${protocolVersion} of the protocol between nodes, this one ` +
        `version ${PROTOCOL_VERSION}: run releases of Naru that know each other`,
    )
  const isSound =
    isNodeId(nodeId) &&
    ID.test(directoryId) &&
    ADDRESS.test(address) &&
    peers.length <= PEERS_MAX &&
    peers.every(peer => ADDRESS.test(peer)) &&
    (memberId === undefined || isMemberOf(memberId, nodeId))
  if (!isSound)
    throw new NaruError('INVALID_REQUEST', `the greeting of node ${nodeId} at ${address} is malformed`)
  return {
    ...greeting,
    members: greeting.members.slice(0, MEMBERS_MAX).filter(known => ADDRESS.test(known.address)),
  }
}

function checkJoin({ clusterId, memberId, directoryId, address }: JoinRequest, own: Uuid): void {
  if (clusterId !== own) throw foreign(clusterId, own)
  if (!isMemberId(memberId) || !ID.test(directoryId) || !ADDRESS.test(address))
    throw new NaruError('INVALID_REQUEST', `the request of ${memberId} at ${address} to join is malformed`)
}

function foreign(clusterId: Uuid, own: Uuid): NaruError {
  return new NaruError(
    'INVALID_CONFIG',
    `a node of cluster ${clusterId} asks to join cluster ${own}: correct its cluster.peers, or give it an empty data.dir ` +
      'if it shall belong to this cluster',
    { details: { cluster_id: own } },
  )
}

function isMemberOf(member: MemberId, nodeId: NodeId): boolean {
  return isMemberId(member) && nodeIdOf(member) === nodeId
}

function isNodeId(nodeId: number): boolean {
  return Number.isInteger(nodeId) && nodeId >= 0
}
