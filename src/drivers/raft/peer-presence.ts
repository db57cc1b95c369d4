import type { Uuid } from '../../base/brands.ts'
import { NaruError } from '../../base/errors.ts'
import type { Clock } from '../../ports/clock.ts'
import { type Prng, randomUuid } from '../../ports/prng.ts'
import { foreignCluster } from '../../raft/cluster-forming.ts'
import type { MemberId } from '../../raft/membership.ts'
import type { Greeting, JoinRequest, JoinResponse } from '../../wire/generated/peers.ts'
import type { MetadataQuorum } from '../controller/metadata-quorum.ts'
import { notLeading } from './membership-keeper.ts'
import type { PeerCalls } from './peer-calls.ts'
import type { PeerDirectory } from './peer-directory.ts'
import type { PeerEvent, PeerTiming } from './peer-network-options.ts'

/** Greeted in one round beside the listed peers. */
const OTHERS_MAX = 64
/** The leader may wait for other changes of the membership first. */
const JOIN_TIMEOUT_MS = 5000

export interface PeerPresenceOptions {
  readonly quorum: MetadataQuorum
  readonly directory: PeerDirectory
  readonly calls: PeerCalls
  readonly peers: readonly string[]
  readonly self: () => Greeting
  readonly directoryId: Uuid
  readonly onGreeted: (greeting: Greeting) => void
  readonly clock: Clock
  readonly prng: Prng
  readonly timing: PeerTiming
  readonly onEvent: (event: PeerEvent) => void
  readonly onRefused: (error: NaruError) => void
}

/**
 * Keeps a member findable and part of the quorum. Each leader is greeted once: so it knows where this node is, and
 * that it is what its node id means now. Without a leader, everybody known is greeted (at the start too, as the node
 * may have moved), and who is no member yet asks for a place, again and again until a leader speaks.
 */
export class PeerPresence {
  readonly #options: PeerPresenceOptions
  #isBusy = false
  #isClosed = false
  /** The leadership that was greeted. */
  #greeted: string | undefined
  readonly #startMs: number
  #lastSeekMs = Number.NEGATIVE_INFINITY
  #otherIndex = 0

  constructor(options: PeerPresenceOptions) {
    this.#options = options
    this.#startMs = options.clock.monotonicMs()
  }

  close(): void {
    this.#isClosed = true
  }

  /** Called every now and then. */
  tend(): void {
    const { quorum, clock, timing } = this.#options
    if (this.#isBusy || this.#isClosed) return
    const { leader, term, self } = quorum.status
    const nowMs = clock.monotonicMs()
    if (leader === self) return
    if (leader !== undefined && this.#isMember && this.#leaderlessMs < timing.leaderlessMs) {
      const leadership = `${term} ${leader}`
      if (leadership !== this.#greeted) this.#run(this.#greetLeader(leader, leadership))
    } else if (nowMs - this.#lastSeekMs >= timing.leaderlessMs) {
      this.#lastSeekMs = nowMs
      this.#run(this.#seek())
    }
  }

  /** Asks the leader for the place; or passes the request of another on to it, once. */
  async askLeader(request: JoinRequest): Promise<JoinResponse> {
    const { quorum, calls } = this.#options
    const { leader } = quorum.status
    const address = leader === undefined ? undefined : this.#options.directory.addressOf(leader)
    if (leader === quorum.status.self || address === undefined) throw notLeading(quorum.leaderId)
    return calls.join(address, { ...request, isForwarded: true }, JOIN_TIMEOUT_MS)
  }

  get #isMember(): boolean {
    const { self, membership } = this.#options.quorum.status
    return membership.voters.includes(self) || membership.learners.includes(self)
  }

  #run(work: Promise<void>): void {
    this.#isBusy = true
    work
      .catch((thrown: unknown) => {
        this.#options.onEvent({ level: 'warn', message: NaruError.from(thrown).message, facts: {} })
      })
      .finally(() => {
        this.#isBusy = false
      })
  }

  async #greetLeader(leader: MemberId, leadership: string): Promise<void> {
    const address = this.#options.directory.addressOf(leader)
    const greeting = address === undefined ? undefined : await this.#greet(address)
    if (greeting?.memberId === leader) this.#greeted = leadership
    // Else it has moved: others may know where to.
    else if (!this.#isClosed) await this.#greetAll()
  }

  /** Since a leader was last heard. One that stopped speaking is still the leader for a learner, which elects nobody. */
  get #leaderlessMs(): number {
    const { quorum, clock } = this.#options
    return clock.monotonicMs() - (quorum.status.leaderHeardMs ?? this.#startMs)
  }

  async #seek(): Promise<void> {
    const { quorum, timing } = this.#options
    const answers = await this.#greetAll()
    const { leader, self } = quorum.status
    if (this.#isClosed || leader === self) return
    if (this.#isMember && leader !== undefined && this.#leaderlessMs < timing.leaderlessMs) return
    const greetings = [...answers.values()]
    if (quorum.status.leaderHeardMs === undefined && this.#refuseForeign(greetings)) return
    if (this.#isMember && this.#leaderlessMs < timing.lostMs) return
    for (const [address, greeting] of answers) {
      if (greeting.clusterId !== quorum.clusterId) continue
      if (await this.#join(address)) return
    }
  }

  /** True: there is nothing more to try now. */
  async #join(address: string): Promise<boolean> {
    const { quorum, directory, calls, self, directoryId, onEvent, onRefused } = this.#options
    const { clusterId, status } = quorum
    const own = { memberId: status.self, directoryId, address: self().address }
    try {
      const { leader } = await calls.join(address, { clusterId, ...own, isForwarded: false }, JOIN_TIMEOUT_MS)
      if (leader) directory.heardOf([leader])
      onEvent({ level: 'info', message: 'this node has a place in the quorum', facts: { through: address } })
      return true
    } catch (thrown) {
      const error = NaruError.from(thrown)
      if (!HOPELESS.has(error.reason)) return this.#isClosed
      if (!this.#isClosed) onRefused(error)
      return true
    }
  }

  #refuseForeign(greetings: readonly Greeting[]): boolean {
    const { quorum, self, onRefused } = this.#options
    const { voters } = quorum.status.membership
    const isAlone = voters.length === 1 && voters[0] === quorum.status.self
    const other = isAlone ? undefined : foreignCluster(self(), greetings)
    if (!other) return false
    onRefused(
      new NaruError(
        'INVALID_CONFIG',
        `the data directory of this node belongs to cluster ${quorum.clusterId}, but its peers (${other.address}) to ` +
          `cluster ${other.clusterId}: correct cluster.peers, or use an empty data.dir to join the other cluster`,
        { details: { cluster_id: quorum.clusterId, other_cluster_id: other.clusterId ?? '' } },
      ),
    )
    return true
  }

  /** Who answered, by address; the listed ones first. */
  async #greetAll(): Promise<Map<string, Greeting>> {
    const { peers, self } = this.#options
    const own = self().address
    const others = [...this.#knownAddresses()].filter(address => !peers.includes(address))
    const first = others.length > OTHERS_MAX ? this.#otherIndex % others.length : 0
    this.#otherIndex += OTHERS_MAX
    const some = [...others.slice(first), ...others.slice(0, first)].slice(0, OTHERS_MAX)
    const addresses = [...peers, ...some].filter(address => address !== own)
    const greetings = await Promise.all(addresses.map(address => this.#greet(address)))
    return new Map(addresses.flatMap((address, i) => (greetings[i] ? [[address, greetings[i]]] : [])))
  }

  #knownAddresses(): Set<string> {
    const { directory, quorum } = this.#options
    const registered = quorum.image.nodes.all().map(({ peerAddress }) => peerAddress)
    return new Set([...directory.addresses(), ...registered])
  }

  /** Undefined: no answer, or none that makes sense. */
  async #greet(address: string): Promise<Greeting | undefined> {
    const { calls, prng, onGreeted } = this.#options
    try {
      const { greeting } = await calls.greet(address, randomUuid(prng))
      onGreeted(greeting)
      return greeting
    } catch {
      return undefined
    }
  }
}

/** Asking again cannot help. */
const HOPELESS: ReadonlySet<string> = new Set(['NODE_REMOVED', 'INVALID_CONFIG'])
