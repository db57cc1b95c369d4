import type { NodeId, Uuid } from '../../base/brands.ts'
import { NaruError } from '../../base/errors.ts'
import type { NodeIdentity } from '../../log/node-file.ts'
import { delay, type Timer } from '../../ports/clock.ts'
import type { ServiceHandlers } from '../../ports/transport.ts'
import { type ClusterFounding, foundingMembership } from '../../raft/cluster-forming.ts'
import { type MemberId, nodeIdOf } from '../../raft/membership.ts'
import type { Greeting, JoinRequest, JoinResponse } from '../../wire/generated/peers.ts'
import type { MetadataQuorum } from '../controller/metadata-quorum.ts'
import { ClusterFormer } from './cluster-former.ts'
import { MembershipKeeper, notLeading } from './membership-keeper.ts'
import { type NodeFormation, openFormation } from './node-formation.ts'
import { PeerCalls } from './peer-calls.ts'
import { PeerDirectory } from './peer-directory.ts'
import {
  type FormedNode,
  PEER_TIMING,
  type PeerNetworkOptions,
  type PeerTiming,
} from './peer-network-options.ts'
import { PeerPresence } from './peer-presence.ts'
import { notReady, PeersService, PROTOCOL_VERSION } from './peers-service.ts'

/** How often the author of a cluster looks whether others can vote for it. */
const CAMPAIGN_POLL_MS = 10
/** Connections for greetings that were not used for so long are closed. */
const SWEEP_MS = 10_000

/**
 * A node among its peers: finds or makes its cluster, knows where the members of the quorum are, keeps its own place in
 * it, and on the leader keeps the membership. Its life is told at `PeerNetworkOptions`.
 */
export class PeerNetwork {
  readonly #options: PeerNetworkOptions
  readonly #timing: PeerTiming
  readonly #directory = new PeerDirectory()
  readonly #service: PeersService
  readonly #calls: PeerCalls
  readonly #stopped: Promise<never>
  #stop: (error: NaruError) => void = () => {}
  #address = ''
  #forming: Promise<FormedNode> | undefined
  #formation: NodeFormation | undefined
  #former: ClusterFormer | undefined
  #quorum: MetadataQuorum | undefined
  #presence: PeerPresence | undefined
  #keeper: MembershipKeeper | undefined
  #tendTimer: Timer | undefined
  #sweptMs = 0
  #isClosed = false

  constructor(options: PeerNetworkOptions) {
    this.#options = { ...options, peers: [...options.peers].sort() }
    this.#timing = { ...PEER_TIMING, ...options.timing }
    const { transport } = options
    this.#calls = new PeerCalls({
      transport,
      timeoutMs: this.#timing.callTimeoutMs,
      greeting: () => this.#greeting(),
    })
    const node = this
    this.#service = new PeersService({
      greeting: () => this.#greeting(),
      get founding() {
        return node.#founding
      },
      onGreeted: greeting => this.#onGreeted(greeting),
      join: request => this.#onJoin(request),
    })
    this.#stopped = new Promise((_, reject) => {
      this.#stop = reject
    })
    this.#stopped.catch(() => {})
  }

  /** What the peers' port serves for this. Refused with NODE_STARTING until the node knows who it is. */
  get handlers(): ServiceHandlers {
    return this.#service.handlers
  }

  /**
   * The node's identity in its cluster: as it is on the disk, or else found with the others, however long that takes.
   * Resolves with `node.json` and `raft/` in place. Rejects with INVALID_CONFIG where the node, as it is set up, can
   * have none, and with DATA_DIRECTORY_DAMAGED where it had one and lost it.
   */
  formOrJoin(ownAddress: string): Promise<FormedNode> {
    this.#address = ownAddress.toLowerCase()
    this.#forming = this.#formOrJoin()
    return Promise.race([this.#forming, this.#stopped])
  }

  addressOf(member: MemberId): string | undefined {
    return this.#directory.addressOf(member)
  }

  /** Of the peers' port of a node, whatever its directory is. */
  addressOfNode(nodeId: NodeId): string | undefined {
    return this.#directory.addressOfNode(nodeId)
  }

  /** Once Raft runs and serves: keeps this node's place, and the membership where it leads. */
  attachQuorum(quorum: MetadataQuorum): void {
    if (this.#isClosed) return
    const { identity } = this.#formed()
    const { clock, prng, peers, onEvent, onRefused } = this.#options
    const shared = { quorum, clock, timing: this.#timing, directory: this.#directory, onEvent }
    this.#quorum = quorum
    this.#directory.setRegistered(nodeId => quorum.image.nodes.get(nodeId))
    this.#keeper = new MembershipKeeper(shared)
    this.#presence = new PeerPresence({
      ...shared,
      peers,
      prng,
      calls: this.#calls,
      directoryId: identity.directoryId,
      self: () => this.#greeting(),
      onGreeted: greeting => this.#onGreeted(greeting),
      onRefused: error => {
        if (!this.#isClosed) onRefused(error)
      },
    })
    this.#tend()
  }

  /** Only on the leader (NOT_CONTROLLER elsewhere); resolves when it is committed. Waits until the node has caught up. */
  addVoter(nodeId: NodeId, timeoutMs?: number): Promise<void> {
    return this.#keeper?.addVoter(nodeId, timeoutMs) ?? Promise.reject(notReady())
  }

  /** Only on the leader, which may be the one that goes; resolves when it is committed. */
  removeVoter(nodeId: NodeId, directoryId?: Uuid, timeoutMs?: number): Promise<void> {
    return this.#keeper?.removeVoter(nodeId, directoryId, timeoutMs) ?? Promise.reject(notReady())
  }

  /** Ends `formOrJoin`; resolves when nothing more is written. */
  async close(): Promise<void> {
    this.#isClosed = true
    this.#stop(new NaruError('NODE_DRAINING', 'this node is stopping'))
    this.#tendTimer?.cancel()
    this.#former?.close()
    this.#presence?.close()
    this.#keeper?.close()
    this.#calls.close()
    await this.#forming?.catch(() => {})
  }

  async #formOrJoin(): Promise<FormedNode> {
    const { onEvent, peers, nodeId } = this.#options
    const formation = await openFormation(this.#options)
    this.#checkOpen()
    this.#use(formation)
    if (formation.isDone) return { identity: this.#formed().identity, campaignAtOnce: false, isNew: false }
    if (formation.clusterId === undefined) {
      this.#former = new ClusterFormer({
        ...this.#options,
        timing: this.#timing,
        calls: this.#calls,
        self: () => this.#greeting(),
      })
      await formation.belongTo(await this.#former.run())
      this.#checkOpen()
      this.#use(formation)
    }
    await formation.finish()
    const { identity, founding } = this.#formed()
    const facts = { clusterId: identity.clusterId, nodeId, peers }
    const isAuthor = founding?.author === nodeId
    const done = isAuthor
      ? 'made its cluster'
      : founding
        ? 'is a founder of its cluster'
        : 'joins its cluster'
    onEvent({ level: 'info', message: `this node ${done}`, facts })
    if (isAuthor) await this.#awaitVoters(founding)
    return { identity, campaignAtOnce: isAuthor, isNew: true }
  }

  /** A campaign that nobody can hear yet would cost a whole election timeout. */
  async #awaitVoters(founding: ClusterFounding): Promise<void> {
    const { clock, nodeId } = this.#options
    const { voters } = foundingMembership(founding)
    const others = voters.map(nodeIdOf).filter(voter => voter !== nodeId)
    const deadlineMs = clock.monotonicMs() + this.#timing.campaignWaitMs
    const isReady = (voter: NodeId) => this.#directory.currentOf(voter) !== undefined
    while (others.filter(isReady).length < Math.floor(voters.length / 2)) {
      if (this.#isClosed || clock.monotonicMs() >= deadlineMs) return
      await delay(clock, CAMPAIGN_POLL_MS)
    }
  }

  #checkOpen(): void {
    if (this.#isClosed) throw new NaruError('NODE_DRAINING', 'this node is stopping')
  }

  #use(formation: NodeFormation): void {
    this.#formation = formation
    if (formation.founding) this.#directory.setFounding(formation.founding)
  }

  get #founding(): ClusterFounding | undefined {
    return this.#formation?.founding
  }

  #formed(): { identity: NodeIdentity; founding: ClusterFounding | undefined } {
    const { nodeId } = this.#options
    const { clusterId, directoryId, founding } = this.#formation ?? {}
    if (clusterId === undefined || directoryId === undefined) throw notReady()
    return { identity: { clusterId, nodeId, directoryId }, founding }
  }

  #greeting(): Greeting {
    if (!this.#formation || this.#isClosed) throw notReady()
    const { nodeId, peers } = this.#options
    const { directoryId, clusterId } = this.#formation
    const memberId = this.#quorum?.status.self
    return {
      protocolVersion: PROTOCOL_VERSION,
      nodeId,
      directoryId,
      address: this.#address,
      peers,
      ...(clusterId !== undefined && { clusterId }),
      ...(memberId !== undefined && { memberId }),
      members: clusterId === undefined ? [] : this.#directory.known(),
    }
  }

  #onGreeted(greeting: Greeting): void {
    const { clusterId, memberId, directoryId, address, members } = greeting
    const own = this.#formation
    if (own?.clusterId === undefined) this.#former?.onGreeted(greeting)
    if (clusterId === undefined || clusterId !== own?.clusterId || directoryId === own.directoryId) return
    this.#directory.heardOf(members)
    if (memberId === undefined) return
    this.#directory.greeted({ member: memberId, directoryId, address })
    this.#quorum?.redial(memberId)
  }

  async #onJoin(request: JoinRequest): Promise<JoinResponse> {
    if (!this.#quorum || !this.#presence || !this.#keeper) throw notReady()
    const { memberId: member, directoryId, address, isForwarded } = request
    this.#directory.greeted({ member, directoryId, address })
    if (this.#quorum.isLeading) {
      await this.#keeper.admit({ member, directoryId })
      return { leader: { memberId: this.#quorum.status.self, address: this.#address } }
    }
    if (isForwarded) throw notLeading(this.#quorum.leaderId)
    return this.#presence.askLeader(request)
  }

  #tend(): void {
    const { clock } = this.#options
    this.#presence?.tend()
    this.#keeper?.tend()
    if (clock.monotonicMs() - this.#sweptMs >= SWEEP_MS) {
      this.#sweptMs = clock.monotonicMs()
      this.#calls.sweep()
    }
    this.#tendTimer = clock.setTick(this.#timing.tendMs, () => this.#tend())
  }
}
