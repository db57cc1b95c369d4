import type { NodeId, Uuid } from '../../base/brands.ts'
import type { NodeImage } from '../../metadata/node-image.ts'
import { type ClusterFounding, founderMember } from '../../raft/cluster-forming.ts'
import { isMemberId, type MemberId, memberId, nodeIdOf } from '../../raft/membership.ts'

/** Told of in greetings and held of others: members of the largest cluster, and some that are gone. */
const MEMBERS_MAX = 2000
/** Passed on in one greeting. */
const KNOWN_MEMBERS_MAX = 200

export interface GreetedMember {
  readonly member: MemberId
  readonly directoryId: Uuid
  readonly address: string
}

interface Greeted extends GreetedMember {
  /** Of the registration that was known then: one that came after it is newer. */
  readonly nodeEpoch: number
}

/**
 * Where the members of the quorum are, from the newest source that names the very member: what it said of itself since
 * its last registration, its registration, what others said of it, the founding of the cluster. An address may be
 * stale or somebody else's by now; who dials checks who answers (raft-hello.ts).
 */
export class PeerDirectory {
  readonly #greeted = new Map<MemberId, Greeted>()
  /** The last one that greeted for a node: what the node is now. */
  readonly #current = new Map<NodeId, MemberId>()
  readonly #hearsay = new Map<MemberId, string>()
  #founding: ClusterFounding | undefined
  #registered: (nodeId: NodeId) => NodeImage | undefined = () => undefined

  setFounding(founding: ClusterFounding): void {
    this.#founding = founding
  }

  /** The committed image's nodes, once there is one. */
  setRegistered(registered: (nodeId: NodeId) => NodeImage | undefined): void {
    this.#registered = registered
  }

  greeted(peer: GreetedMember): void {
    const { member, address } = peer
    const nodeId = nodeIdOf(member)
    // Who is there now is known first hand: nobody else is, whatever they said.
    for (const [other, known] of this.#greeted)
      if (known.address === address && other !== member) this.#greeted.delete(other)
    // Again at the end, as the newest.
    this.#greeted.delete(member)
    this.#greeted.set(member, { ...peer, nodeEpoch: this.#registered(nodeId)?.nodeEpoch ?? 0 })
    this.#current.delete(nodeId)
    this.#current.set(nodeId, member)
    this.#hearsay.delete(member)
    keepNewest(this.#greeted)
    keepNewest(this.#current)
  }

  heardOf(members: Iterable<{ readonly memberId: string; readonly address: string }>): void {
    for (const { memberId: member, address } of members) {
      if (!isMemberId(member) || this.#greeted.has(member)) continue
      this.#hearsay.delete(member)
      this.#hearsay.set(member, address)
    }
    keepNewest(this.#hearsay)
  }

  addressOf(member: MemberId): string | undefined {
    const nodeId = nodeIdOf(member)
    const node = this.#registered(nodeId)
    const greeted = this.#greeted.get(member)
    if (greeted && greeted.nodeEpoch >= (node?.nodeEpoch ?? 0)) return greeted.address
    const isCurrent = node && (greeted?.directoryId ?? directoryOf(member)) === node.directoryId
    if (isCurrent) return node.peerAddress
    return greeted?.address ?? this.#hearsay.get(member) ?? this.#foundersAddress(member)
  }

  addressOfNode(nodeId: NodeId): string | undefined {
    const member = this.#current.get(nodeId)
    const address = member === undefined ? undefined : this.addressOf(member)
    return address ?? this.#registered(nodeId)?.peerAddress ?? this.#foundersAddressOf(nodeId)
  }

  /** The member that last greeted for a node, in this process's time. */
  currentOf(nodeId: NodeId): GreetedMember | undefined {
    const member = this.#current.get(nodeId)
    return member === undefined ? undefined : this.#greeted.get(member)
  }

  /** What is worth telling others: first hand only, the newest first. */
  known(): { memberId: MemberId; address: string }[] {
    const newest = [...this.#greeted.values()].reverse().slice(0, KNOWN_MEMBERS_MAX)
    return newest.map(({ member, address }) => ({ memberId: member, address }))
  }

  /** Of everybody that was ever heard of, this process's time. */
  addresses(): Set<string> {
    const founders = this.#founding?.founders.map(({ address }) => address) ?? []
    const greeted = [...this.#greeted.values()].map(({ address }) => address)
    return new Set([...founders, ...this.#hearsay.values(), ...greeted])
  }

  #foundersAddress(member: MemberId): string | undefined {
    return this.#founding?.founders.find(founder => founderMember(founder) === member)?.address
  }

  #foundersAddressOf(nodeId: NodeId): string | undefined {
    return this.#founding?.founders.find(founder => founder.nodeId === nodeId)?.address
  }
}

/** Of a member that keeps its first name; one that started over (rule A4) says in its greeting which one it has. */
function directoryOf(member: MemberId): Uuid {
  return member.slice(memberId(nodeIdOf(member), '').length)
}

function keepNewest<Value>(map: Map<unknown, Value>): void {
  for (const key of map.keys()) {
    if (map.size <= MEMBERS_MAX) return
    map.delete(key)
  }
}
