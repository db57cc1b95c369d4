/**
 * How nodes that belong to no cluster make one, once (rule A2). Each is given the same list of peers, asks all of
 * them round after round who they are, and judges the answers of one round:
 *
 *   somebody belongs to a cluster        join it: a cluster is there, another must never be made beside it
 *   somebody is missing, or disagrees    wait, and say for whom or why
 *   all are there and agree              the lowest node id makes the founding record; the others wait for it
 *
 * That all must be there is what makes the cluster one: whoever makes the record has just heard every listed node say
 * that it belongs to none. Were two records made all the same (node ids changed meanwhile), they would name the same
 * directories, each of which takes exactly one: at most one of them gets a majority.
 */
import { assert } from '../base/assert.ts'
import type { NodeId, Uuid } from '../base/brands.ts'
import { findFlaw, isMemberId, type MemberId, type Membership, memberId } from './membership.ts'

/** What a node says of itself. */
export interface PeerIdentity {
  readonly nodeId: NodeId
  readonly directoryId: Uuid
  /** `host:port` of its peers' port. */
  readonly address: string
  /** Its list of peers, sorted. Empty: a cluster of its own. */
  readonly peers: readonly string[]
  /** Absent: it belongs to none. */
  readonly clusterId?: Uuid
}

/** The first record of a cluster; never changes. */
export interface ClusterFounding {
  readonly clusterId: Uuid
  readonly author: NodeId
  readonly founders: readonly Founder[]
}

export interface Founder {
  readonly nodeId: NodeId
  readonly directoryId: Uuid
  readonly address: string
  readonly isVoter: boolean
}

export type FormingVerdict =
  | { readonly kind: 'join'; readonly clusterId: Uuid; readonly through: readonly string[] }
  | { readonly kind: 'found'; readonly founders: readonly Founder[] }
  /** `isWrong`: it does not end by itself. */
  | { readonly kind: 'wait'; readonly reason: string; readonly isWrong: boolean }
  /** Of no use to wait: this node must stop. */
  | { readonly kind: 'refuse'; readonly reason: string }

export interface FormingRound {
  readonly self: PeerIdentity
  /** By listed address; undefined: no answer. This node may be among them, as it may be reached by its own address. */
  readonly answers: ReadonlyMap<string, PeerIdentity | undefined>
  /** That greeted this node since the last round: one may have stopped before it could answer. */
  readonly callers: readonly PeerIdentity[]
}

/** More voters make each change slower and are hardly ever needed: 5 survive the loss of any 2. */
const FOUNDING_VOTERS_MAX = 5

export function judgeRound(round: FormingRound): FormingVerdict {
  return joinIfFormed(round) ?? refuseSharedId(round) ?? waitForAll(round) ?? foundOrWait(round)
}

/** Undefined where no peer belongs to a cluster. */
function joinIfFormed({ self, answers }: FormingRound): FormingVerdict | undefined {
  const formed = [...answers].flatMap(([address, peer]) => (peer?.clusterId ? [{ address, peer }] : []))
  if (formed.length === 0) return undefined
  const namesake = formed.find(({ peer }) => isNamesake(self, peer))
  if (namesake) return refuse(sharedId(self, namesake.peer))
  const matching = formed.filter(({ peer }) => areNested(self.peers, peer.peers))
  const [first, ...others] = matching
  if (!first) {
    const { address, peer } = formed[0] as (typeof formed)[number]
    return wait(
      `the node at ${address} belongs to cluster ${peer.clusterId}, whose cluster.peers (${peer.peers.join(', ')}) are ` +
        `others than this node's (${self.peers.join(', ')}): to join that cluster, list its peers here; ` +
        `to make a new one, take ${address} out of the list on all nodes`,
      true,
    )
  }
  const clusterId = first.peer.clusterId as Uuid
  const other = others.find(({ peer }) => peer.clusterId !== clusterId)
  if (other) {
    return refuse(
      `the peers belong to two clusters, ${first.address} to ${clusterId} and ${other.address} to ${other.peer.clusterId}: ` +
        'list the nodes of one of them in cluster.peers',
    )
  }
  return { kind: 'join', clusterId, through: matching.map(({ address }) => address) }
}

/** Nobody can tell which of two nodes with one id is meant: both of them stop. */
function refuseSharedId({ self, answers, callers }: FormingRound): FormingVerdict | undefined {
  const listed = callers.filter(({ address }) => answers.has(address))
  const namesake = [...answers.values(), ...listed].find(peer => peer && isNamesake(self, peer))
  return namesake && refuse(sharedId(self, namesake))
}

function waitForAll({ self, answers }: FormingRound): FormingVerdict | undefined {
  for (const [address, peer] of answers) {
    if (!peer || areEqual(self.peers, peer.peers)) continue
    return wait(
      `the node at ${address} has other cluster.peers (${peer.peers.join(', ') || 'none'}) than this node ` +
        `(${self.peers.join(', ')}): give all nodes the same list`,
      true,
    )
  }
  const missing = [...answers].filter(([, peer]) => !peer).map(([address]) => address)
  if (missing.length === 0) return undefined
  const answered = answers.size - missing.length
  return wait(
    `${answered} of the ${answers.size} nodes of cluster.peers are there; the cluster is made when all are: ` +
      `waiting for ${missing.join(', ')}`,
    false,
  )
}

function foundOrWait({ self, answers }: FormingRound): FormingVerdict {
  const listed = [...answers] as [string, PeerIdentity][]
  const byNode = new Map<NodeId, string>()
  for (const [address, { nodeId }] of listed) {
    const twin = byNode.get(nodeId)
    if (twin !== undefined)
      return wait(
        `${twin} and ${address} in cluster.peers are both node ${nodeId}: list each node once`,
        true,
      )
    byNode.set(nodeId, address)
  }
  if (!byNode.has(self.nodeId)) {
    return wait(
      'this node is not in cluster.peers: it joins when the nodes listed there have made the cluster',
      false,
    )
  }
  const nodes = listed.sort(([, a], [, b]) => a.nodeId - b.nodeId)
  const author = (nodes[0] as [string, PeerIdentity])[1].nodeId
  if (author !== self.nodeId)
    return wait(`all nodes of cluster.peers are there: node ${author} makes the cluster`, false)
  const voters = foundingVoters(nodes.length)
  const founders = nodes.map(([address, { nodeId, directoryId }], i) => {
    return { nodeId, directoryId, address, isVoter: i < voters }
  })
  return { kind: 'found', founders }
}

/** An even count tolerates no more failures than the odd one below it, and needs one more node for each change. */
function foundingVoters(nodes: number): number {
  const voters = Math.min(nodes, FOUNDING_VOTERS_MAX)
  return voters % 2 === 0 ? voters - 1 : voters
}

export function foundingMembership({ founders }: ClusterFounding): Membership {
  const members = (isVoter: boolean) =>
    founders.filter(founder => founder.isVoter === isVoter).map(founderMember)
  const membership = { voters: members(true).sort(), learners: members(false).sort() }
  const flaw = findFlaw(membership)
  assert(flaw === undefined, `founding: ${flaw}`)
  return membership
}

export function founderMember({ nodeId, directoryId }: Founder): MemberId {
  return memberId(nodeId, directoryId)
}

/** What is wrong with a founding from the network or a disk. */
export function foundingFlaw({ clusterId, author, founders }: ClusterFounding): string | undefined {
  if (clusterId === '') return 'it names no cluster'
  const stray = founders.find(founder => !isMemberId(founderMember(founder)))
  if (stray) return `"${founderMember(stray)}" is not <node id>@<directory id>`
  if (new Set(founders.map(({ nodeId }) => nodeId)).size !== founders.length)
    return 'two founders share a node id'
  if (!founders.some(({ isVoter }) => isVoter)) return 'it has no voter'
  if (!founders.some(({ nodeId }) => nodeId === author)) return 'its author is no founder'
  return undefined
}

/**
 * A formed node that starts finds none of its own among its peers, but another cluster: it is in the wrong place, or
 * they are. Undefined: nothing speaks against it.
 */
export function foreignCluster(
  self: PeerIdentity,
  answers: Iterable<PeerIdentity | undefined>,
): PeerIdentity | undefined {
  const formed = [...answers].filter(
    peer => peer?.clusterId !== undefined && peer.directoryId !== self.directoryId,
  )
  if (formed.some(peer => peer?.clusterId === self.clusterId)) return undefined
  return formed[0]
}

function isNamesake(self: PeerIdentity, peer: PeerIdentity): boolean {
  return peer.nodeId === self.nodeId && peer.directoryId !== self.directoryId
}

function sharedId(self: PeerIdentity, peer: PeerIdentity): string {
  return `the nodes at ${self.address} and ${peer.address} both have node.id ${self.nodeId}: give each its own`
}

/** Lists that grew or shrank are of one cluster; lists that only overlap are of two that share an address by mistake. */
function areNested(one: readonly string[], other: readonly string[]): boolean {
  const [smaller, larger] = one.length <= other.length ? [one, other] : [other, one]
  return smaller.every(address => larger.includes(address))
}

function areEqual(one: readonly string[], other: readonly string[]): boolean {
  return one.length === other.length && one.every((address, i) => address === other[i])
}

function wait(reason: string, isWrong: boolean): FormingVerdict {
  return { kind: 'wait', reason, isWrong }
}

function refuse(reason: string): FormingVerdict {
  return { kind: 'refuse', reason }
}
